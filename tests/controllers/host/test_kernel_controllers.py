"""From the configuration to kernel parameters, modules and rules of udev, and back; in real time, with threads."""

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.common.journal import Journal
from nodespan.controllers.config.loading import load
from nodespan.controllers.host.etc_file import EtcFileController
from nodespan.controllers.host.etc_file_config import UdevRuleController, rules_text
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.kernel_module import KernelModuleConfigController, KernelModuleSpecController
from nodespan.controllers.host.kernel_module_rules import listed_modules, status_of
from nodespan.controllers.host.kernel_parameters import KernelParameters
from nodespan.controllers.host.kernel_params import (
    RECORD,
    ForwardingController,
    KernelParamConfigController,
    KernelParamSpecController,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.files import EtcFileStatus
from nodespan.resources.kubespan import KUBESPAN_CONFIG_ID, KubeSpanConfig, KubeSpanConfigSpec
from nodespan.resources.network import LinkStatus, LinkStatusSpec, NetworkProblem, Severity
from nodespan.resources.runtime import (
    KernelModuleStatus,
    KernelModuleStatusSpec,
    KernelParamDefaultSpec,
    KernelParamStatus,
    KernelParamStatusSpec,
    LoadedKernelModule,
    LoadedKernelModuleSpec,
)
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.host.machine import Machine, machine
from tests.support.process import eventually

FORWARD = "/proc/sys/net/ipv4/ip_forward"
FORWARDING = "proc.sys.net.ipv4.ip_forward"


@attrs.frozen
class Run:
    """A node on a machine."""

    node: Node
    on: Machine
    leaving: trio.Event

    async def configure(self, text: str) -> None:
        loaded = load(text)
        assert loaded.errors == ()
        await self.node.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)

    def problems(self) -> dict[str, str]:
        return {found.id: found.spec.message for found in self.node.state.list(NetworkProblem)}

    async def has(self, path: str, content: str | None) -> None:
        await eventually(lambda: self.on.read(path) == content)


@asynccontextmanager
async def run(
    on: Machine, *, host: Host | None = None, links: dict[str, int] | None = None, again_after: float = math.inf
) -> AsyncIterator[Run]:
    look, leaving, known = host or on.host, trio.Event(), links or {}

    def make() -> KernelParameters:
        own = on.directory / "root"
        journal = Journal(on.state_dir / RECORD)
        return KernelParameters(look, journal, own=own, link_index=lambda name: known.get(name, 0))

    controllers = (
        ForwardingController(own=on.directory / "root"),
        KernelParamConfigController(),
        KernelParamSpecController(look, on.state_dir, leaving=leaving, poll_interval=0.05, grace=0.2, make=make),
        KernelModuleConfigController(),
        KernelModuleSpecController(look, look_interval=0.1, again_after=again_after),
        UdevRuleController(),
        EtcFileController(on.managed_files(), leaving=leaving, poll_interval=0.05, retry_interval=0.3, grace=0.2),
    )
    async with running(*controllers) as node:
        yield Run(node, on, leaving)


@pytest.fixture
def on(tmp_path: Path) -> Machine:
    made = machine(tmp_path)
    made.write(FORWARD, "0\n")
    made.write("/proc/sys/net/ipv6/conf/all/forwarding", "0\n")
    made.write("/proc/modules", "br_netfilter 32768 0 - Live 0x0000000000000000\nxt_x 1 2 a,b, Loading 0x1 (OE)\n")
    return made


async def test_nothing_is_touched_while_nothing_is_configured(on: Machine) -> None:
    before = on.tree()
    async with run(on) as at:
        await at.configure("machine: {network: {hostname: a}}")
        await at.node.settled()
        assert on.tree() == before
        assert on.commands.asked == []
        assert not (on.state_dir / RECORD).exists()


async def test_a_parameter_follows_the_configuration_and_comes_back(on: Machine) -> None:
    before = on.tree()
    async with run(on) as at:
        await at.configure("machine: {sysctls: {net.ipv4.ip_forward: 1}}")
        await at.has(FORWARD, "1\n")
        spec = KernelParamStatusSpec(current="1", default="0")
        await at.node.eventually(KernelParamStatus, FORWARDING, spec=spec)
        # Another program changes it.
        on.write(FORWARD, "0\n")
        await at.has(FORWARD, "1\n")
        await at.configure("machine: {sysctls: {net.ipv4.no_such: '1'}}")
        await at.has(FORWARD, "0\n")
        await at.node.gone(KernelParamStatus, FORWARDING)
        id = "KernelParamSpecs/proc.sys.net.ipv4.no_such"
        await at.node.eventually(NetworkProblem, id)
        await at.configure("machine: {}")
        await at.node.gone(NetworkProblem, id)
    assert on.tree() == before


async def test_a_new_process_puts_back_what_a_killed_one_left(on: Machine) -> None:
    before = on.tree()
    async with run(on) as at:
        await at.configure("machine: {sysctls: {net.ipv4.ip_forward: 1}}")
        await at.has(FORWARD, "1\n")
    assert on.read(FORWARD) == "1\n"
    async with run(on) as at:
        await at.node.settled()
        assert on.read(FORWARD) == "1\n"
        await at.configure("machine: {}")
        await at.has(FORWARD, "0\n")
    async with run(on) as at:
        await at.configure("machine: {sysctls: {net.ipv4.ip_forward: 1}}")
        await at.has(FORWARD, "1\n")
    async with run(on) as at:
        at.leaving.set()
        await at.has(FORWARD, "0\n")
    assert on.tree() == before


async def test_a_link_that_appears_gets_its_setting_without_a_look(on: Machine) -> None:
    path, links = "/proc/sys/net/ipv4/conf/eth7/rp_filter", {"eth7": 7}
    async with run(on, links=links) as at:
        await at.configure("machine: {sysctls: {net.ipv4.conf.eth7.rp_filter: 2}}")
        id = "KernelParamSpecs/proc.sys.net.ipv4.conf.eth7.rp_filter"
        problem = await at.node.eventually(NetworkProblem, id)
        assert problem.spec.severity is Severity.WARNING
        on.write(path, "0\n")
        await at.node.put(LinkStatus, "eth7", LinkStatusSpec(index=7))
        await at.has(path, "2\n")
        await at.node.gone(NetworkProblem, id)


async def test_a_default_that_is_a_limit_lowers_none_and_a_named_value_does(on: Machine) -> None:
    defaults = "apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\ndefaults: {kernelParameters: true}\n"
    on.write("/proc/sys/kernel/pid_max", "4194304\n")
    on.write("/proc/sys/kernel/panic", "20\n")
    async with run(on) as at:
        await at.configure(defaults)
        await at.has("/proc/sys/kernel/panic", "10\n")
        assert on.read("/proc/sys/kernel/pid_max") == "4194304\n"
        await at.configure(f"{defaults}---\nmachine: {{sysctls: {{kernel/pid_max: 1000}}}}\n")
        await at.has("/proc/sys/kernel/pid_max", "1000\n")
        await at.configure("machine: {}")
        await at.has("/proc/sys/kernel/pid_max", "4194304\n")


MESH = KubeSpanConfigSpec(enabled=True, advertise_kubernetes_networks=True)
NETWORKS = "apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\npodNetworks: [10.244.1.0/24, 'fd00:1::/64']\n"


async def test_a_node_that_advertises_networks_forwards_ipv4_and_is_told_of_ipv6(on: Machine) -> None:
    async with run(on) as at:
        await at.node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, MESH)
        await at.configure(NETWORKS)
        await at.node.eventually(KernelParamDefaultSpec, FORWARDING)
        await at.has(FORWARD, "1\n")
        await at.node.eventually(NetworkProblem, "KernelParamDefaultSpecs/proc.sys.net.ipv6.conf.all.forwarding")
        sysctls = "{net/ipv4/ip_forward: '0', net.ipv6.conf.all.forwarding: '1'}"
        await at.configure(f"{NETWORKS}---\nmachine: {{sysctls: {sysctls}}}\n")
        await at.has(FORWARD, "0\n")
        await at.has("/proc/sys/net/ipv6/conf/all/forwarding", "1\n")
        await eventually(lambda: list(at.problems()) == [f"KernelParamDefaultSpecs/{FORWARDING}"])
        await at.node.destroy(KubeSpanConfig, KUBESPAN_CONFIG_ID)
        await at.configure("machine: {}")
        await at.has("/proc/sys/net/ipv6/conf/all/forwarding", "0\n")
        await eventually(lambda: not at.problems())
    assert on.read(FORWARD) == "0\n"


async def test_in_a_named_namespace_the_machine_is_left_alone(on: Machine) -> None:
    on.write("/proc/sys/kernel/panic", "0\n")
    async with run(on, host=Host(refusal="the machine is not its own")) as at:
        await at.configure(
            "machine: {sysctls: {kernel.panic: 5, net.ipv4.ip_forward: 1}, kernel: {modules: [{name: dummy}]}}"
        )
        await at.has(FORWARD, "1\n")
        await eventually(
            lambda: (
                at.problems()
                == {
                    "KernelParamSpecs/proc.sys.kernel.panic": "the machine is not its own",
                    "KernelModuleSpecs/dummy": "the machine is not its own",
                }
            )
        )
        assert on.read("/proc/sys/kernel/panic") == "0\n"
        assert on.commands.asked == []


async def test_modules_are_loaded_once_and_shown(on: Machine) -> None:
    on.write("/sys/module/bonding/parameters/x", "1")
    async with run(on) as at:
        await at.configure(
            "machine: {kernel: {modules: [{name: dummy, parameters: [numdummies=2]}, {name: br-netfilter}, "
            "{name: bonding}, {name: ../evil}]}}"
        )
        status = await at.node.eventually(KernelModuleStatus, "br-netfilter")
        assert (status.spec.type, status.spec.state) == ("dynamic", "live")
        # All that are loaded are listed beside, whoever loaded them.
        assert (await at.node.eventually(LoadedKernelModule, "xt_x")).spec.state == "Loading"
        await at.node.eventually(
            KernelModuleStatus, "bonding", spec=KernelModuleStatusSpec(type="built-in", state="built-in")
        )
        await at.node.eventually(KernelModuleStatus, "dummy", spec=KernelModuleStatusSpec())
        assert "modprobe -- dummy numdummies=2" in on.commands.asked
        assert not [line for line in on.commands.asked if "evil" in line or "netfilter" in line]
        assert "is not the name of a kernel module" in at.problems()["KernelModuleSpecs/../evil"]
        on.write("/proc/modules", "dummy 16384 0 - Live 0x0\n")
        await at.node.eventually(KernelModuleStatus, "dummy", lambda found: found.spec.state == "live")
        on.commands.failing.add("modprobe")
        await at.configure("machine: {kernel: {modules: [{name: xyz}]}}")
        await eventually(lambda: list(at.problems()) == ["KernelModuleSpecs/xyz"])
        await at.configure("machine: {}")
        await eventually(lambda: not at.problems())
        await at.node.gone(KernelModuleStatus, "xyz")
        assert not at.node.state.list(LoadedKernelModule)
    # Never unloaded.
    assert not [line for line in on.commands.asked if "-r" in line or "rmmod" in line]


def list_modules(on: Machine, text: str) -> None:
    """What the kernel lists from now on, at one moment: a look never finds half of it."""
    file = on.path("/proc/modules")
    new = file.with_name("modules.new")
    new.write_text(text)
    new.replace(file)


async def test_a_module_that_is_named_by_an_alias_is_loaded_once_and_found(on: Machine) -> None:
    on.commands.printed["modprobe -R -- fs-ext9"] = "ext_nine\n"
    on.commands.printed["modprobe -R -- odd"] = "../evil\n"
    on.commands.failing.add("modprobe -R -- gone")
    on.write(f"/lib/modules/{os.uname().release}/modules.builtin", "kernel/net/x/mute-one.ko\nkernel/y.ko\n")
    async with run(on) as at:
        loads = [f"modprobe -- {name}" for name in ("fs-ext9", "odd", "gone", "mute-one")]
        list_modules(on, "ext_nine 7 0 - Live 0x0\n")
        await at.configure(
            "machine: {kernel: {modules: [{name: fs-ext9}, {name: odd}, {name: gone}, {name: mute-one}]}}"
        )
        status = KernelModuleStatusSpec(type="dynamic", state="live", size=7, address="0x0")
        await at.node.eventually(KernelModuleStatus, "fs-ext9", spec=status)
        await eventually(lambda: sorted(at.problems()) == ["KernelModuleSpecs/gone", "KernelModuleSpecs/odd"])
        await at.node.eventually(
            KernelModuleStatus, "mute-one", spec=KernelModuleStatusSpec(type="built-in", state="built-in")
        )
        assert "modprobe odd loads nothing" in at.problems()["KernelModuleSpecs/odd"]
        # Looks go on, loads do not.
        list_modules(on, "ext_nine 8 0 - Live 0x0\n")
        await at.node.eventually(KernelModuleStatus, "fs-ext9", lambda found: found.spec.size == 8)
        assert sorted(line for line in on.commands.asked if line in loads) == sorted(loads)
        # What was taken away is loaded again, under the name that is known.
        on.commands.asked.clear()
        list_modules(on, "")
        await eventually(lambda: "modprobe -- fs-ext9" in on.commands.asked)
        list_modules(on, "ext_nine 9 0 - Live 0x0\n")
        await at.configure("machine: {kernel: {modules: [{name: fs-ext9}]}}")
        await at.node.eventually(KernelModuleStatus, "fs-ext9", lambda found: found.spec.size == 9)
        await eventually(lambda: not at.problems())


async def test_a_module_that_modprobe_does_not_load_is_tried_again_after_a_while(on: Machine) -> None:
    list_modules(on, "")
    async with run(on, again_after=0.0) as at:
        await at.configure("machine: {kernel: {modules: [{name: odd}]}}")
        await eventually(lambda: on.commands.asked.count("modprobe -- odd") > 2)
        await eventually(lambda: list(at.problems()) == ["KernelModuleSpecs/odd"])
        list_modules(on, "odd 7 0 - Live 0x0\n")
        await at.node.eventually(KernelModuleStatus, "odd", lambda found: found.spec.state == "live")
        await eventually(lambda: not at.problems())


def test_what_the_kernel_says_of_its_modules() -> None:
    text = "xt_x 12 2 a,b, Loading 0x1 (OE)\nbroken\nother 1 1 - Live 0x0\ny 5 0 [permanent], Unloading 0x2\n"
    found = listed_modules(text)
    assert list(found) == ["xt_x", "other", "y"]
    assert found["xt_x"] == LoadedKernelModuleSpec(
        size=12, reference_count=2, dependencies=("a", "b"), state="Loading", address="0x1"
    )
    assert status_of(found["xt_x"]) == KernelModuleStatusSpec(
        type="dynamic", state="loading", size=12, reference_count=2, dependencies=("a", "b"), address="0x1"
    )
    assert status_of(found["y"]) == KernelModuleStatusSpec(
        type="dynamic", state="unloading", size=5, dependencies=("[permanent]",), address="0x2"
    )
    assert len(listed_modules("".join(f"m{number} 1 0 - Live 0x0\n" for number in range(9000)))) == 4096


RULES = "/etc/udev/rules.d/99-nodespan.rules"
TRIGGERS = [f"udevadm trigger --type={type} --action=add" for type in ("devices", "subsystems")]


async def test_rules_of_udev_are_a_file_that_udev_is_told_of(on: Machine) -> None:
    before = on.tree()
    async with run(on) as at:
        await at.configure('machine: {udev: {rules: [\'SUBSYSTEM=="net", NAME="x"\', "a\\nb"]}}')
        await at.has(RULES, 'SUBSYSTEM=="net", NAME="x"\na\\\nb\n')
        # Whoever reads the file has been told by then, had there been any.
        await at.node.eventually(EtcFileStatus, RULES.removeprefix("/etc/"))
        assert on.commands.changes() == []
        on.write("/run/udev/control", "")
        await at.configure(
            "machine: {udev: {rules: [old]}}\n---\napiVersion: v1alpha1\nkind: UdevRulesConfig\nrules: [new]\n"
        )
        await at.has(RULES, "new\n")
        await eventually(lambda: on.commands.asked == ["udevadm control --reload", *TRIGGERS])
        on.commands.asked.clear()
        await at.configure("apiVersion: v1alpha1\nkind: UdevRulesConfig\nrules: []\n")
        await at.has(RULES, None)
        # Devices keep what they have: the rules are only no longer read.
        await eventually(lambda: on.commands.asked == ["udevadm control --reload"])
    on.path("/run/udev/control").unlink()
    assert on.tree() == before


def test_a_line_break_within_a_rule_is_read_on() -> None:
    assert rules_text(("a", "b\nc\n", "")) == "a\nb\\\nc\n\n"

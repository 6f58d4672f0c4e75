"""A whole machine configuration of the originals, unchanged: a real agent brings the machine up, and leaves nothing.

The machine is a network, mount and UTS namespace of the guest with the guest's own network cards in it, one of which is
at the far end: a DHCP server, and something that answers.
"""

import contextlib
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from runtime.cli import main
from tests.support.agent import agent
from tests.support.netns import Namespace, execute, namespaces
from tests.support.process import eventually, running
from tests.support.told import Told, differences
from tests.vm.configured import real_cards
from tests.vm.run import MAC_PREFIX

DATA = Path(__file__).parent / "data" / "machine.yaml"
EMPTY = "version: v1alpha1\nmachine: {type: controlplane}\n"
# There is no etcd, and nothing that sets the clock.
PROBLEMS = {
    *("OperatorSpecs/vip/bond0.100/198.51.100.15", "OperatorSpecs/vip/enp1s0/10.22.0.15"),
    "TimeServerSpecs/timeservers",
}
# What the cards are called, in their order; the last is the far end's.
CARDS = ("enp0s16", "enp0s17f0", "enp0s20", "enp0s17f1", "enp1s0", "eno3", "enp0s19", "far")
# The first link of each kind waits for the kernel to load a module, and all of it is emulated.
PATIENCE = 40.0
_SCRIPT = """\
mount -t sysfs sysfs /sys && mount -t tmpfs none "$0" &&
for place in /etc /usr/local; do
    mkdir -p "$0$place/upper" "$0$place/work" &&
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$0$place/upper,workdir=$0$place/work" "$place" || exit 1
done
echo before > /proc/sys/kernel/hostname && touch "$0/ready" && exec sleep 600
"""


@attrs.frozen
class Machine(Told):
    """The machine: `holder` is the process that keeps its mounts and its name."""

    far: Namespace
    holder: int
    directory: Path

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What to put before a command to have it run there."""
        return ("nsenter", f"--target={self.holder}", "--mount", "--uts", "--")

    def read(self, path: str) -> str:
        """A file there, "" if there is none."""
        return execute(*self.wrapper, "sh", "-c", f"cat {path} 2>/dev/null || true")

    def files(self) -> str:
        """Every file that a configuration may change, with its mode and the sum of what is in it."""
        places = "corp hosts hostname resolv.conf issue environment.d /usr/local/share/ca-certificates"
        find = f"cd /etc && find {places} -type f -exec stat -c '%n %a' {{}} + -exec cksum {{}} + 2>/dev/null | sort"
        return execute(*self.wrapper, "sh", "-c", f"{find}; hostname")

    def configure(self, text: str) -> None:
        """Replace the configuration, at once."""
        new = self.directory / "config.new"
        new.write_text(text)
        new.rename(self.directory / "config.yaml")

    def get(self, *arguments: str) -> str:
        """What `nodespan get` prints. In this process, for another one takes long to start."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert main(["get", "--socket", str(self.directory / "agent.sock"), *arguments]) == 0
        return printed.getvalue()

    def specs(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """The specs that `nodespan get -o json` prints, by id."""
        text, decoder, found = self.get(*arguments, "-o", "json"), json.JSONDecoder(), {}
        while text.strip():
            value, end = decoder.raw_decode(text)
            found[str(value["metadata"]["id"])] = value["spec"]
            text = text[end:].lstrip()
        return found


@contextlib.asynccontextmanager
async def machine(directory: Path) -> AsyncIterator[Machine]:
    (directory / "over").mkdir()
    over = str(directory / "over")
    with namespaces("node", "far") as (inside, far):
        inside.run("ip", "link", "add", "first", "type", "vrf", "table", "9")
        inside.run("ip", "link", "del", "first")
        places = {name: f"{MAC_PREFIX}{number:02x}" for number, name in enumerate(CARDS)}
        own = {name: mac for name, mac in places.items() if name != "far"}
        with real_cards(inside, own), real_cards(far, {"far": places["far"]}):
            prepare_far(far)
            for name in own:
                # What is up before is up afterwards, and what has another MTU keeps it: they are not nodespan's.
                inside.run("ip", "link", "set", name, "up", "mtu", "1480" if name == "enp1s0" else "1500")
            command = ("unshare", "--mount", "--uts", "sh", "-c", _SCRIPT, over)
            async with running(*command, namespace=inside) as holder:
                made = Machine(inside, far, holder.pid, directory)
                await eventually(lambda: "yes" in made.read(f"{over}/ready && echo yes"), within=PATIENCE)
                yield made


def prepare_far(far: Namespace) -> None:
    far.run("ip", "link", "set", "far", "up")
    far.run("ip", "link", "add", "link", "far", "name", "far.100", "type", "vlan", "id", "100")
    far.run("ip", "link", "set", "far.100", "up")
    for address, link in (("172.16.5.1/24", "far"), ("10.20.0.1/24", "far"), ("198.51.100.9/24", "far.100")):
        far.run("ip", "addr", "add", address, "dev", link)


def links_are_as_configured(on: Machine) -> None:
    assert on.members("bond0") == ["enp0s16", "enp0s17f0"]
    report = on.inside.run("cat", "/proc/net/bonding/bond0")
    assert [
        line in report
        for line in ("MII Polling Interval (ms): 100", "Up Delay (ms): 200", "fault-tolerance (active-backup)")
    ] == [True] * 3
    assert [on.link(name)["address"] for name in ("bond0", "enp0s16", "enp0s17f0", "bond0.100")] == [
        f"{MAC_PREFIX}00"
    ] * 4
    assert (on.data("bond0.100")["id"], on.link("bond0.100")["mtu"], on.link("bond0.100")["link"]) == (
        100,
        1400,
        "bond0",
    )
    assert (on.link("enp0s20")["master"], on.data("br0")["stp_state"]) == ("br0", 1)
    assert on.link("br0")["address"] == f"{MAC_PREFIX}02"
    assert on.members("bond1") == ["d0", "d1"]
    assert (on.data("bond1")["mode"], on.data("bond1")["xmit_hash_policy"]) == ("balance-xor", "layer3+4")
    assert on.link("bond1")["address"] == "02:00:00:00:0d:00"
    assert (on.data("storage"), on.link("storage")["mtu"]) == (
        {"protocol": "802.1ad", "id": 200, "flags": ["REORDER_HDR"]},
        1450,
    )
    assert (on.link("veth-a")["link"], on.link("veth-b")["mtu"], on.link("veth-b")["master"]) == ("veth-b", 1400, "br1")
    assert (on.data("br1")["vlan_filtering"], on.link("br1")["address"]) == (1, "02:00:00:00:0b:01")
    assert (on.link("d2")["master"], on.data("vrf-blue")["table"]) == ("vrf-blue", 123)
    assert on.link("enp0s19")["ifalias"] == "net0"
    made = ("bond0.100", "br0", "bond1", "storage", "veth-a", "br1", "vrf-blue", "dummy1", "wg0", "wg1")
    assert {name: "UP" in on.link(name)["flags"] for name in made} == dict.fromkeys(made, True)


def addresses_are_as_configured(on: Machine) -> None:
    for name, addresses in {
        "bond0": {"10.20.0.5/24"},
        "bond0.100": {"198.51.100.5/24"},
        "br0": {"10.21.0.5/24"},
        "enp1s0": {"10.22.0.5/24", "fd22::5/64", "10.22.0.9/32", "10.23.0.5/24"},
        "eno3": set(),
        "dummy1": {"10.24.0.5/32"},
        "wg0": {"192.168.2.1/24"},
        "bond1": {"10.15.0.3/16"},
        "d2": {"10.30.0.5/24"},
        "veth-a": {"192.0.2.129/30"},
    }.items():
        assert (name, on.addresses(name)) == (name, addresses)
    for name, metric in (("enp0s17f1", 512), ("enp0s19", 600)):
        (leased,) = on.addresses(name)
        assert leased.startswith("172.16.5.1")
        routes = on.ip("-4", "route", "show", "default", "dev", name)
        assert [(route["gateway"], route["metric"]) for route in routes] == [("172.16.5.1", metric)]


def routes_are_as_configured(on: Machine) -> None:
    assert on.routes() == {
        ("default", "10.20.0.1", "bond0"),
        ("10.100.0.0/16", "198.51.100.9", "bond0.100"),
        ("10.8.0.0/16", "", "enp1s0"),
        ("10.255.0.0/16", "", ""),
    }
    assert on.routes(family="-6") == {("fd23::/64", "fd22::1", "enp1s0"), ("fd99::/32", "", "lo")}
    (route,) = on.ip("-4", "route", "show", "table", "180")
    assert {key: route.get(key) for key in ("dst", "gateway", "dev", "metric")} == {
        "dst": "10.31.0.0/16",
        "gateway": "10.15.0.1",
        "dev": "bond1",
        "metric": 300,
    }
    assert "mtu 1300" in on.inside.run("ip", "route", "show", "table", "180")
    assert {rule[0] for rule in on.rules()} == {1100, 1101}
    assert on.inside.run("ip", "-6", "rule", "show").count("prohibit") == 1


def tunnels_are_as_configured(on: Machine) -> None:
    lines = [line.split("\t") for line in on.inside.run("wg", "show", "all", "dump").splitlines()]
    peer = "Dkb6bFbwBOYsAOmCBZNHsYLBmPuVu3l+6hjKpWcoCUo="
    secret = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert [line[:1] + line[3:] for line in lines if len(line) == 5] == [
        ["wg0", "51821", "0x40"],
        ["wg1", lines[-2][3], "off"],
    ]
    assert [line[:5] + line[8:] for line in lines if len(line) > 5] == [
        ["wg0", peer, "(none)", "192.0.2.14:8172", "192.168.88.0/24", "5"],
        ["wg1", peer, secret, "[2001:db8::1]:51820", "10.9.0.0/24,fd09::/64", "off"],
    ]


def host_is_as_configured(on: Machine) -> None:
    hosts = [line.split() for line in on.read("/etc/hosts").splitlines()]
    assert ["10.20.0.9", "nine.corp.example"] in hosts
    assert ["10.20.0.8", "eight.corp.example", "eight"] in hosts
    assert execute(*on.wrapper, "hostname") == "web\n"
    resolvers = on.read("/etc/resolv.conf").split()
    assert [word in resolvers for word in ("192.0.2.53", "192.0.2.54", "corp.example")] == [True] * 3
    assert (on.read("/etc/corp/motd"), on.read("/etc/corp/app.conf"), on.read("/etc/issue")) == (
        "hello\n",
        "secret\n",
        "ours\n",
    )
    assert on.specs("hostname")["hostname"] == {"hostname": "web", "domainname": "corp.example"}
    assert on.specs("timeservers")["timeservers"]["timeServers"] == ["ntp1.corp.example", "ntp2.corp.example"]


def resources_are_as_configured(on: Machine) -> None:
    operators = on.specs("operatorspecs")
    assert operators.keys() == {
        *("dhcp4/enp0s17f1", "dhcp4/enp0s19"),
        *("vip/bond0.100/198.51.100.15", "vip/enp1s0/10.22.0.15"),
    }
    devices = on.specs("deviceconfigspecs")
    assert devices["bond0/000"]["device"]["bond"]["interfaces"] == ["enp0s16", "enp0s17f0"]
    assert "enp1s0/003" in devices
    status = on.specs("links", "enp0s17f0")["enp0s17f0"]
    assert (status["hardwareAddr"], status["permanentAddr"]) == (f"{MAC_PREFIX}00", f"{MAC_PREFIX}01")


def packets_get_through(on: Machine) -> None:
    for target in ("10.20.0.1", "198.51.100.9"):
        on.inside.run("ping", "-c", "1", "-w", "5", target)


CHECKS: tuple[Callable[[Machine], None], ...] = (
    links_are_as_configured,
    addresses_are_as_configured,
    routes_are_as_configured,
    tunnels_are_as_configured,
    host_is_as_configured,
    resources_are_as_configured,
    packets_get_through,
)


@pytest.mark.needs_program("dnsmasq", "unshare", "nsenter", "wg")
async def test_a_whole_machine_configuration_comes_true_and_leaves_nothing(tmp_path: Path) -> None:
    async with machine(tmp_path) as on, dhcp_server(on):
        before, files = await on.rest(), on.files()

        async def comes_true() -> None:
            on.configure(DATA.read_text())
            for check in CHECKS:
                await comes_to(check, on)

        async def is_as_before() -> None:
            def same() -> bool:
                assert not differences(before, on.everything())
                assert on.files() == files
                return True

            await eventually(same, within=PATIENCE)

        on.configure(EMPTY)
        config = ("--config", str(tmp_path / "config.yaml"), "--root", "/", "--cleanup")
        async with agent(tmp_path, *config, namespace=on.inside, wrapper=on.wrapper, patience=PATIENCE) as served:
            await comes_true()
            assert problems_of(on).keys() == PROBLEMS
            on.configure(EMPTY)
            await is_as_before()
            assert problems_of(on) == {}
            on.configure(DATA.read_text())
            await comes_to(addresses_are_as_configured, on)
            os.kill(served.pid, signal.SIGTERM)
            await eventually(lambda: not Path(f"/proc/{served.pid}").exists(), within=PATIENCE)
            await is_as_before()


async def comes_to(check: Callable[[Machine], None], on: Machine) -> None:
    """Wait until a check holds."""

    await on.shows(lambda: check(on), within=PATIENCE)


def problems_of(on: Machine) -> dict[str, str]:
    """What `nodespan get networkproblems` shows."""
    return {id: str(spec["message"]) for id, spec in on.specs("networkproblems").items()}


@contextlib.asynccontextmanager
async def dhcp_server(on: Machine) -> AsyncIterator[None]:
    command = ("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--log-facility=-", "--no-ping")
    files = (f"--dhcp-leasefile={on.directory}/leases", f"--pid-file={on.directory}/pid", "--user=root")
    lends = ("--interface=far", "--bind-interfaces", "--dhcp-range=172.16.5.100,172.16.5.120,1h")
    async with running(*command, *files, *lends, namespace=on.far):
        yield

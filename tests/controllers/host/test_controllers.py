"""From the configuration to the files of a machine, and back; in real time, for there are worker threads."""

import functools
import itertools
import os
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from nodespan.controllers.host import trust_rules
from nodespan.controllers.host.environment import EnvironmentController
from nodespan.controllers.host.etc_file import EtcFileController
from nodespan.controllers.host.etc_file_config import EtcFileConfigController
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.hostname_config import HostnameConfigController
from nodespan.controllers.host.hostname_spec import HostnameSpecController, Names
from nodespan.controllers.host.machine_file import MachineFileController
from nodespan.controllers.host.managed_files import ManagedFiles
from nodespan.controllers.host.network_etc_file import NetworkEtcFileController
from nodespan.controllers.host.resolver_config import ResolverConfigController
from nodespan.controllers.host.static_host import StaticHostController
from nodespan.controllers.host.statuses import ResolverSpecController, TimeServerSpecController
from nodespan.controllers.host.time_server_config import TimeServerConfigController
from nodespan.controllers.host.trusted_roots import TrustedRootsController
from nodespan.controllers.network.merge.controllers import (
    HostnameMergeController,
    ResolverMergeController,
    TimeServerMergeController,
)
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    Document,
    EnvironmentConfig,
    EtcFileConfig,
    MachineConfig,
    MachineConfigSpec,
    MainDocument,
    TrustedRootsConfig,
)
from nodespan.resources.config import (
    Machine as MachineSection,
)
from nodespan.resources.config.main import HostEntry, MachineFile, Network, TimeSettings
from nodespan.resources.files import EtcFileSpec, EtcFileStatus, MachineFileStatus
from nodespan.resources.network import (
    HOSTNAME_ID,
    HostnameSpec,
    NetworkProblem,
    NodeAddress,
    NodeAddressSpec,
    ResolverStatus,
    StaticHost,
    TimeServerStatus,
)
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle, TrustedRoot
from nodespan.runtime.resource import FrozenMapping
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.host.machine import RESTS, Machine, machine, unchanged
from tests.support.certificates import Authority
from tests.support.process import eventually

AUTHORITY = Authority("corp")
SYSTEM = Authority("system")
BUNDLE = "/etc/ssl/certs/ca-certificates"
RESOLVED = "/etc/systemd/resolved.conf.d/50-nodespan.conf"
TIMESYNCD = "/etc/systemd/timesyncd.conf.d/50-nodespan.conf"


@attrs.define
class FakeNames:
    """The names of a kernel of the test's own."""

    names: Names = attrs.field(factory=lambda: Names("before", "(none)"))

    def read(self) -> Names:
        """What they are."""
        return self.names

    def write(self, names: Names) -> None:
        """Set them."""
        self.names = names


@attrs.frozen
class Run:
    """A node on a machine."""

    node: Node
    machine: Machine
    leaving: trio.Event
    names: FakeNames

    async def configure(self, *documents: Document, **section: object) -> None:
        """Give it this configuration."""
        given = MachineSection(**section)  # type: ignore[arg-type]
        spec = MachineConfigSpec(main=MainDocument(machine=given), documents=documents)
        await self.node.put(MachineConfig, MACHINE_CONFIG_ID, spec)

    async def has(self, path: str, content: str | None) -> None:
        """Wait until a file has this content."""
        await eventually(lambda: self.machine.read(path) == content)

    async def unconfigure(self) -> None:
        """Take the configuration away."""
        await self.node.destroy(MachineConfig, MACHINE_CONFIG_ID)

    def problems(self) -> list[str]:
        """What could not be done."""
        files = [found.spec.error for found in self.node.state.list(MachineFileStatus) if found.spec.error]
        return files + [found.spec.message for found in self.node.state.list(NetworkProblem)]

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait for something."""
        await eventually(check)


@asynccontextmanager
async def run(
    on: Machine, *, names: FakeNames | None = None, host: Host | None = None, grace: float = 0.2
) -> AsyncIterator[Run]:
    files, leaving, names = on.managed_files(), trio.Event(), names or FakeNames()
    if host is not None:
        files.host = host
    look = files.host
    controllers = (
        EnvironmentController(look, own={"HOME": "/root"}),
        EtcFileConfigController(),
        EtcFileController(files, leaving=leaving, poll_interval=0.05, retry_interval=0.3, grace=grace),
        HostnameConfigController(),
        HostnameMergeController(),
        HostnameSpecController(look, on.state_dir, leaving=leaving, names=names, grace=grace),
        MachineFileController(files, leaving=leaving, poll_interval=0.05, retry_interval=0.3, grace=grace),
        NetworkEtcFileController(look, look_interval=0.3),
        ResolverConfigController(),
        ResolverMergeController(),
        ResolverSpecController(),
        StaticHostController(),
        TimeServerConfigController(),
        TimeServerMergeController(),
        TimeServerSpecController(),
        TrustedRootsController(
            files, on.state_dir, leaving=leaving, poll_interval=0.05, retry_interval=0.3, grace=grace
        ),
    )
    async with running(*controllers) as node:
        await node.put(NodeAddress, "default", NodeAddressSpec(addresses=("192.0.2.7/24",)))
        yield Run(node, on, leaving, names)


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with systemd and what an ordinary distribution has."""
    made = machine(tmp_path)
    made.run_systemd()
    made.commands.states |= {"chronyd.service": RESTS, "chrony.service": RESTS}
    made.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 before\n")
    made.write("/etc/hostname", "before\n")
    made.write("/usr/sbin/update-ca-certificates", "#!/bin/sh\n", mode=0o755)
    made.write("/usr/local/share/ca-certificates/own.crt", "theirs")
    made.write("/etc/ssl/certs/ca-certificates.crt", SYSTEM.pem.decode())
    made.write("/run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n")
    made.path("/etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path("/etc/ssl/certs/ca-certificates.crt")))
    return made


def entry(path: str, op: str, content: str = "", permissions: int = 0o644) -> MachineFile:
    return MachineFile(path=path, op=op, content=content, permissions=permissions)


async def test_a_full_configuration_is_applied_and_undone(debian: Machine) -> None:
    with unchanged(debian):
        async with run(debian) as at:
            await at.configure(
                EtcFileConfig(name="app/app.conf", contents="app\n", mode=0o600),
                EnvironmentConfig(variables=FrozenMapping({"https_proxy": "http://p:3128"})),
                TrustedRootsConfig(name="corp", certificates=AUTHORITY.pem.decode()),
                files=(entry("/srv/data/x", "create", "x\n", 0o640), entry("/etc/hostname", "append", "no\n")),
                time=TimeSettings(servers=("ntp.example",)),
                network=Network(
                    hostname="web.corp.example",
                    nameservers=("10.0.0.53",),
                    extra_host_entries=(HostEntry(ip="10.0.0.1", aliases=("one",)),),
                ),
            )
            await at.has("/etc/app/app.conf", "app\n")
            await at.has("/srv/data/x", "x\n")
            await at.until(lambda: "DNS=10.0.0.53\n" in (debian.read(RESOLVED) or ""))
            await at.until(lambda: "NTP=ntp.example\n" in (debian.read(TIMESYNCD) or ""))
            await at.until(lambda: at.names.read() == Names("web", "corp.example"))
            await at.until(lambda: "192.0.2.7 web.corp.example web\n" in (debian.read("/etc/hosts") or ""))
            assert (debian.read("/etc/hosts") or "").startswith("127.0.0.1 localhost\n127.0.1.1 before\n")
            await at.has("/usr/local/share/ca-certificates/nodespan-corp.crt", AUTHORITY.pem.decode())
            await at.until(lambda: debian.path("/etc/systemd/system.conf.d/50-nodespan.conf").exists())
            status = await at.node.eventually(MachineFileStatus, "000", lambda found: found.spec.applied)
            assert status.spec.path == "/srv/data/x"
            # Whichever names a file first has it; the other says so.
            await at.until(lambda: any("/etc/hostname is written by" in problem for problem in at.problems()))
            told = {
                "systemctl restart systemd-timesyncd.service",
                "systemctl restart systemd-resolved.service",
                "systemctl daemon-reload",
                "update-ca-certificates --fresh",
            }
            await at.until(lambda: told <= set(debian.commands.asked))
            debian.commands.changes()
            await at.unconfigure()
            await at.until(lambda: debian.kept() == [])
            await at.until(lambda: at.names.read() == Names("before", "(none)"))
            assert told <= set(debian.commands.changes())
            await at.until(lambda: at.node.state.list(EtcFileSpec) == [])
            await at.until(lambda: at.node.state.list(MachineFileStatus) == [])


async def test_a_file_that_is_no_longer_configured_is_restored_at_once_also_after_the_start(
    debian: Machine,
) -> None:
    with unchanged(debian):
        async with run(debian, grace=3600) as at:
            await at.configure(EtcFileConfig(name="app/app.conf", contents="app\n", mode=0o600))
            await at.has("/etc/app/app.conf", "app\n")
            await at.node.eventually(EtcFileStatus, "app/app.conf")
            await at.configure()
            await at.until(lambda: at.node.state.find(EtcFileSpec, "app/app.conf") is None)
            # Before its spec is let go, not when nothing may be missing any more.
            assert debian.read("/etc/app/app.conf") is None


async def test_settings_not_configured_are_not_touched(debian: Machine) -> None:
    with unchanged(debian):
        async with run(debian) as at:
            await at.configure()
            await trio.sleep(0.5)
            assert debian.commands.changes() == []
            assert at.names.read() == Names("before", "(none)")


async def test_a_restart_changes_nothing_and_a_later_configuration_undoes(debian: Machine) -> None:
    given = {
        "files": (entry("/etc/hosts.allow", "create", "x"),),
        "network": Network(hostname="web", nameservers=("10.0.0.53",)),
    }
    with unchanged(debian):
        names = FakeNames()
        async with run(debian, names=names) as at:
            await at.configure(**given)
            await at.has("/etc/hostname", "web\n")
            await at.until(lambda: debian.path(RESOLVED).exists() and debian.path("/etc/hosts.allow").exists())
            await at.node.eventually(EtcFileStatus, "hostname")
            await at.until(lambda: "systemctl restart systemd-resolved.service" in debian.commands.asked)
            await at.node.settled()
        after = debian.tree()
        debian.commands.changes()
        async with run(debian, names=names) as at:
            await trio.sleep(0.3)
            assert debian.tree() == after
            await at.configure(**given)
            await trio.sleep(0.5)
            assert debian.tree() == after
            assert names.read().hostname == "web"
            assert debian.commands.changes() == []
        async with run(debian, names=names) as at:
            await at.configure()
            await at.until(lambda: debian.kept() == [])
            await at.until(lambda: names.read() == Names("before", "(none)"))


async def test_leaving_undoes_even_what_an_earlier_process_did(
    debian: Machine,
) -> None:
    with unchanged(debian):
        async with run(debian) as at:
            await at.configure(
                TrustedRootsConfig(name="corp", certificates=AUTHORITY.pem.decode()),
                files=(entry("/etc/new", "create", "x"),),
                network=Network(hostname="web"),
            )
            await at.until(lambda: len(debian.kept()) == 4)
            await at.has("/etc/hostname", "web\n")
        async with run(debian) as at:
            await trio.sleep(0.3)
            assert len(debian.kept()) == 4
            at.leaving.set()
            await at.until(lambda: debian.kept() == [])


async def test_each_file_entry_has_a_status_and_invalid_ones_do_not_block_the_others(debian: Machine) -> None:
    async with run(debian) as at:
        await at.configure(
            files=(
                entry("/etc/absent", "append", "x"),
                entry("relative", "create", "x"),
                entry("/etc/hosts/below-a-file", "create", "x"),
                entry("/etc/good", "create", "good"),
                entry("/etc/systemd", "create", "x"),
                entry(BUNDLE, "append", "no certificate"),
                entry(BUNDLE, "append", AUTHORITY.pem.decode()),
            ),
        )
        found = {}
        await at.node.eventually(MachineFileStatus, "006", lambda status: status.spec.applied)
        for index in range(7):
            status = await at.node.eventually(MachineFileStatus, f"{index:03}")
            found[index] = status.spec.error
        assert debian.read("/etc/good") == "good"
        for index, error in (
            (0, "no such file to append to"),
            (1, "not an absolute path"),
            (2, "/etc/hosts is not a directory"),
            (4, "/etc/systemd is not a regular file"),
            (5, "holds no certificate"),
        ):
            assert error in found[index], found[index]
        assert found[3] == found[6] == ""


async def test_a_file_changed_by_hand_is_restored_shortly(debian: Machine) -> None:
    debian.write("/etc/motd", "base\n")
    async with run(debian) as at:
        await at.configure(files=(entry("/etc/motd", "append", "ours\n"),), network=Network(hostname="web"))
        await at.has("/etc/motd", "base\n\nours\n")
        await at.has("/etc/hostname", "web\n")
        debian.write("/etc/motd", "a new base\n")
        debian.path("/etc/hostname").unlink()
        await at.has("/etc/motd", "a new base\n\nours\n")
        await at.has("/etc/hostname", "web\n")
        await at.configure()
        await at.has("/etc/motd", "a new base\n")
        await at.has("/etc/hostname", None)


async def test_a_change_that_no_time_shows_is_found_with_what_is_tried_again(debian: Machine) -> None:
    def change(file: Path) -> str:
        """In place, and with its length and times as they were."""
        before, content = file.stat(), file.read_text()
        with file.open("r+") as stream:
            stream.write("#")
            stream.flush()
            os.utime(stream.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
        return content

    async with run(debian) as at:
        await at.configure(files=(entry("/etc/motd", "create", "ours\n"),), network=Network(hostname="web"))
        await at.node.eventually(MachineFileStatus, "000", lambda found: found.spec.applied)
        await at.has("/etc/hostname", "web\n")
        await at.node.eventually(TrustBundle, TRUST_BUNDLE_ID)
        bundle = debian.state_dir / "trust" / "ca-bundle.crt"
        for file in (debian.path("/etc/motd"), debian.path("/etc/hostname"), bundle):
            content = change(file)
            await eventually(functools.partial(_has, file, content))


def _has(file: Path, content: str) -> bool:
    return file.read_text() == content


class Looks:
    """Counts how often each controller has looked whether something is to be tried again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = Counter[str]()
        are_as_applied = ManagedFiles.are_as_applied

        def looked(files: ManagedFiles, owner: str, path_of: Callable[[str], str]) -> bool:
            self.counts[owner] += 1
            return are_as_applied(files, owner, path_of)

        monkeypatch.setattr(ManagedFiles, "are_as_applied", looked)

    async def settled(self) -> None:
        """Wait until the turns are over that follow a new configuration, for each controller has looked often."""
        self.counts.clear()
        await eventually(lambda: len(self.counts) == 3 and min(self.counts.values()) > 3)


async def test_what_another_program_writes_in_the_middle_of_a_turn_is_put_right(
    debian: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the files are looked at, so that it is what they were like after the turn."""
    signature, written, looks = ManagedFiles.signature, Counter[str](), Looks(monkeypatch)
    files = {
        EtcFileController.name: debian.path("/etc/hostname"),
        MachineFileController.name: debian.path("/etc/motd"),
        TrustedRootsController.name: debian.state_dir / "trust" / "ca-bundle.crt",
    }
    is_disturbed = False

    def disturbed(of: ManagedFiles, owner: str) -> tuple[object, ...]:
        # In a worker thread; not where it is called to look whether something has changed.
        callers = {sys._getframe(1).f_code.co_name, sys._getframe(2).f_code.co_name}
        if is_disturbed and "_has_changed" not in callers and written[owner] < 3:
            written[owner] += 1
            # Of its own: three threads are here at once.
            other = files[owner].with_name(f"other-{files[owner].name}")
            other.write_text("foreign\n")
            os.utime(other, (1, 1))
            other.replace(files[owner])
        return signature(of, owner)

    monkeypatch.setattr(ManagedFiles, "signature", disturbed)
    async with run(debian) as at:
        await at.configure(files=(entry("/etc/motd", "create", "ours\n"),), network=Network(hostname="web"))
        await looks.settled()
        is_disturbed, bundle = True, files[TrustedRootsController.name].read_text()
        await at.configure(files=(entry("/etc/motd", "create", "ours now\n"),), network=Network(hostname="now"))
        # In more turns than follow from that.
        await at.until(lambda: len(written) == 3 and min(written.values()) == 3)
        await at.has("/etc/motd", "ours now\n")
        await at.has("/etc/hostname", "now\n")
        await eventually(lambda: _has(files[TrustedRootsController.name], bundle))


async def test_a_link_that_leads_elsewhere_since_is_followed(debian: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch)
    debian.write("/run/motd", "before\n")
    debian.path("/etc/motd").symlink_to("../run/motd")
    async with run(debian) as at:
        await at.configure(files=(entry("/etc/motd", "overwrite", "ours\n"),))
        await at.has("/run/motd", "ours\n")
        await looks.settled()
        debian.path("/etc/motd").unlink()
        debian.write("/etc/motd", "foreign\n")
        await at.has("/etc/motd", "ours\n")
        # What it led to is given back at once, and then there is nothing more to do.
        await at.has("/run/motd", "before\n")
        await looks.settled()
        turns = changes(monkeypatch, MachineFileController)
        await looks.settled()
        assert not turns
        await at.configure()
        await at.has("/etc/motd", "foreign\n")
        await at.until(lambda: debian.kept() == [])
        assert debian.read("/run/motd") == "before\n"


async def test_a_file_that_becomes_a_link_is_followed_and_the_link_stays(
    debian: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    debian.write("/etc/motd", "before\n")
    debian.write("/run/motd", "theirs\n")
    async with run(debian) as at:
        await at.configure(files=(entry("/etc/motd", "overwrite", "ours\n"),))
        await at.has("/etc/motd", "ours\n")
        await looks.settled()
        debian.path("/etc/motd").unlink()
        debian.path("/etc/motd").symlink_to("../run/motd")
        await at.has("/run/motd", "ours\n")
        await at.until(lambda: len(debian.kept()) == 1)
        await looks.settled()
        turns = changes(monkeypatch, MachineFileController)
        await looks.settled()
        assert not turns
        assert not at.problems()
        await at.configure()
        await at.has("/run/motd", "theirs\n")
        await at.until(lambda: debian.kept() == [])
        assert str(debian.path("/etc/motd").readlink()) == "../run/motd"


@pytest.mark.parametrize("leads_to", ["theirs\n", None])
async def test_hosts_as_a_link_is_followed_to_a_file_and_to_where_none_is_yet(
    debian: Machine, leads_to: str | None
) -> None:
    debian.path("/etc/hosts").unlink(missing_ok=True)
    debian.path("/etc/hosts").symlink_to("../real/hosts")
    if leads_to is not None:
        debian.write("/real/hosts", leads_to)
    async with run(debian) as at:
        await at.configure(network=Network(extra_host_entries=(HostEntry(ip="10.0.0.9", aliases=("nine",)),)))
        await at.until(lambda: "nine" in (debian.read("/real/hosts") or ""))
        assert not at.problems()
        await at.unconfigure()
        await at.has("/real/hosts", leads_to)
    assert str(debian.path("/etc/hosts").readlink()) == "../real/hosts"


def changes(monkeypatch: pytest.MonkeyPatch, kind: type[Any], name: str = "_change") -> list[object]:
    """The calls, from now on, of what a controller does in each of its turns."""
    calls: list[object] = []
    work = getattr(kind, name)

    def noted(*arguments: object) -> object:
        calls.append(arguments)
        return work(*arguments)

    monkeypatch.setattr(kind, name, noted)
    return calls


async def test_nothing_is_tried_again_where_nothing_failed_or_changed(
    debian: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch)
    etc, machine = changes(monkeypatch, EtcFileController), changes(monkeypatch, MachineFileController)
    roots = changes(monkeypatch, TrustedRootsController, "_write_bundle")
    async with run(debian) as at:
        await at.configure(
            TrustedRootsConfig(name="corp", certificates=AUTHORITY.pem.decode()),
            files=(entry("/etc/motd", "create", "ours\n"),),
            network=Network(hostname="web"),
        )
        await at.node.eventually(TrustedRoot, "corp", lambda found: bool(found.spec.installed))
        await at.node.eventually(MachineFileStatus, "000", lambda found: found.spec.applied)
        await at.has("/etc/hostname", "web\n")
        await looks.settled()
        for each in (etc, machine, roots):
            assert each
            each.clear()
        await looks.settled()
        assert (etc, machine, roots) == ([], [], [])


async def test_without_a_configuration_nothing_is_tried_again(debian: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for files of an earlier agent that another program has changed: a turn would leave them."""
    ours, own = "/usr/local/share/ca-certificates/nodespan-corp.crt", "ours\n"
    async with run(debian) as at:
        await at.configure(
            TrustedRootsConfig(name="corp", certificates=AUTHORITY.pem.decode()),
            files=(entry("/etc/motd", "create", own),),
            network=Network(hostname="web"),
        )
        await at.node.eventually(TrustedRoot, "corp", lambda found: bool(found.spec.installed))
        await at.node.eventually(MachineFileStatus, "000", lambda found: found.spec.applied)
        await at.has("/etc/hostname", "web\n")
    assert (debian.read("/etc/motd"), debian.read(ours)) == (own, AUTHORITY.pem.decode())
    debian.write("/etc/motd", "theirs\n")
    debian.write(ours, "theirs\n")
    debian.write("/etc/hostname", "theirs\n")
    found: dict[Any, list[bool]] = {EtcFileController: [], MachineFileController: [], TrustedRootsController: []}
    for controller, answers in found.items():

        def noted(
            self: object, look: Callable[[object], bool] = controller._needs_a_turn, answers: list[bool] = answers
        ) -> bool:
            answers.append(look(self))
            return answers[-1]

        monkeypatch.setattr(controller, "_needs_a_turn", noted)
    async with run(debian) as at:
        await at.node.eventually(TrustBundle, TRUST_BUNDLE_ID)
        await at.node.settled()
        for answers in found.values():
            answers.clear()
        await eventually(lambda: min(map(len, found.values())) > 2)
        assert not any(itertools.chain(*found.values()))


async def test_a_domain_too_long_for_the_kernel_is_reported_and_not_set(debian: Machine) -> None:
    with unchanged(debian):
        async with run(debian) as at:
            await at.configure(network=Network(hostname=f"web.{'a' * 60}.example"))
            problem = await at.node.eventually(NetworkProblem, "HostnameSpecs/hostname")
            assert (
                "more than the 64 bytes that the kernel takes: the host name is set without it" in problem.spec.message
            )
            assert at.names.read() == Names("web", "(none)")
            await at.configure()
            await at.node.gone(NetworkProblem, "HostnameSpecs/hostname")
            await at.until(lambda: at.names.read() == Names("before", "(none)"))
            await at.until(lambda: debian.kept() == [])


async def test_a_hostname_set_by_another_program_is_kept(debian: Machine) -> None:
    async with run(debian) as at:
        await at.configure(network=Network(hostname="web"))
        await at.until(lambda: at.names.read().hostname == "web")
        at.names.write(Names("theirs", "(none)"))
        await at.unconfigure()
        await at.node.gone(HostnameSpec, HOSTNAME_ID)
        assert at.names.read().hostname == "theirs"


async def test_a_service_that_cannot_be_notified_is_a_problem_until_it_can(debian: Machine) -> None:
    failing = "systemctl restart systemd-timesyncd"
    debian.commands.failing.add(failing)
    async with run(debian) as at:
        await at.configure(time=TimeSettings(servers=("ntp.example",)))
        problem_id = "EtcFileSpecs/systemd/timesyncd.conf.d/50-nodespan.conf"
        problem = await at.node.eventually(NetworkProblem, problem_id)
        assert "it is written, but: systemctl restart" in problem.spec.message
        debian.commands.failing.discard(failing)
        await at.node.gone(NetworkProblem, problem_id)


@pytest.mark.parametrize(
    ("target", "content", "message"),
    [
        ("../run/NetworkManager/resolv.conf", "", "leads to /run/NetworkManager/resolv.conf, which another program"),
        ("../run/systemd/resolve/stub-resolv.conf", "", "but systemd-resolved does not run"),
        (
            "",
            "# Generated by NetworkManager\nnameserver 1.2.3.4\n",
            "is written by NetworkManager, and is left as it is",
        ),
    ],
)
async def test_a_foreign_resolv_conf_is_reported_and_left_alone(
    debian: Machine, target: str, content: str, message: str
) -> None:
    debian.commands.states |= {"systemd-resolved.service": RESTS, "systemd-timesyncd.service": RESTS}
    debian.path("/etc/resolv.conf").unlink()
    if target:
        debian.path("/etc/resolv.conf").symlink_to(target)
    else:
        debian.write("/etc/resolv.conf", content)
    with unchanged(debian):
        async with run(debian) as at:
            await at.configure(network=Network(nameservers=("10.0.0.53",)))
            problem = await at.node.eventually(NetworkProblem, "ResolverSpecs/resolvers")
            assert message in problem.spec.message
            await at.node.eventually(ResolverStatus, "resolvers")


async def test_an_ordinary_resolv_conf_is_written(debian: Machine) -> None:
    debian.commands.states |= {"systemd-resolved.service": RESTS, "systemd-timesyncd.service": RESTS}
    debian.path("/etc/resolv.conf").unlink()
    debian.write("/etc/resolv.conf", "nameserver 192.0.2.1\n")
    with unchanged(debian):
        async with run(debian) as at:
            await at.configure(network=Network(nameservers=("10.0.0.53", "rubbish"), search_domains=("a.example",)))
            await at.until(
                lambda: "nameserver 10.0.0.53\n\nsearch a.example\n" in (debian.read("/etc/resolv.conf") or "")
            )
            problem = await at.node.eventually(NetworkProblem, "MachineConfigs/machine.network.nameservers")
            assert "rubbish" in problem.spec.message
            await at.configure(time=TimeSettings(servers=("a",)))
            await at.node.eventually(NetworkProblem, "TimeServerSpecs/timeservers")
            await at.node.eventually(TimeServerStatus, "timeservers")
            await at.configure()
            await at.until(lambda: debian.kept() == [])


async def test_trusted_roots_reach_our_bundle_and_the_systems_at_once(debian: Machine) -> None:
    async with run(debian) as at:
        empty = await at.node.eventually(TrustBundle, TRUST_BUNDLE_ID)
        await at.configure(
            TrustedRootsConfig(name="corp", certificates=AUTHORITY.pem.decode()),
            TrustedRootsConfig(name="bad", certificates="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"),
        )
        bundle = await at.node.eventually(
            TrustBundle, TRUST_BUNDLE_ID, lambda found: found.spec.digest != empty.spec.digest
        )
        assert bundle.spec.added == AUTHORITY.pem.decode()
        await at.until(lambda: Path(bundle.spec.path).read_bytes() == SYSTEM.pem + AUTHORITY.pem)
        good = await at.node.eventually(TrustedRoot, "corp", lambda found: bool(found.spec.installed))
        assert good.spec.subjects == ("CN=corp",)
        assert good.spec.installed == "/usr/local/share/ca-certificates"
        bad = await at.node.eventually(TrustedRoot, "bad")
        assert bad.spec.error == "certificate 1 of 1 is damaged: copy it again, with every line of it"
        # A package brings others.
        other = Authority("other")
        debian.write("/etc/ssl/certs/ca-certificates.crt", other.pem.decode())
        await at.until(lambda: Path(bundle.spec.path).read_bytes() == other.pem + AUTHORITY.pem)
        await at.configure()
        await at.node.gone(TrustedRoot, "corp")
        await at.until(lambda: Path(bundle.spec.path).read_bytes() == other.pem)


async def test_certificates_are_read_off_the_event_loop(debian: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[threading.Thread] = set()

    def noted(text: str) -> Iterator[trust_rules.TrustedCertificate]:
        threads.add(threading.current_thread())
        return parse(text)

    parse = trust_rules.parse_certificates
    monkeypatch.setattr(trust_rules, "parse_certificates", noted)
    async with run(debian) as at:
        await at.configure(TrustedRootsConfig(name="corp", certificates=AUTHORITY.pem.decode()))
        await at.node.eventually(TrustedRoot, "corp")
    assert threads
    assert threading.current_thread() not in threads


async def test_a_failed_trust_tool_is_run_again(debian: Machine) -> None:
    debian.commands.failing.add("update-ca-certificates")
    async with run(debian) as at:
        await at.configure(files=(entry(BUNDLE, "append", AUTHORITY.pem.decode()),))
        root = await at.node.eventually(TrustedRoot, "machine-files-0", lambda found: bool(found.spec.error))
        assert "we trust it, but not the system: update-ca-certificates" in root.spec.error
        debian.commands.failing.clear()
        await at.node.eventually(TrustedRoot, "machine-files-0", lambda found: not found.spec.error)


async def test_a_system_without_a_tool_has_its_bundle_extended(debian: Machine) -> None:
    debian.path("/usr/sbin/update-ca-certificates").unlink()
    with unchanged(debian):
        async with run(debian) as at:
            await at.configure(files=(entry(BUNDLE, "append", AUTHORITY.pem.decode()),))
            await at.has("/etc/ssl/certs/ca-certificates.crt", f"{SYSTEM.pem.decode()}\n{AUTHORITY.pem.decode()}")
            await at.node.eventually(MachineFileStatus, "000", lambda found: found.spec.applied)
            await at.configure()
            await at.until(lambda: debian.kept() == [])


async def test_an_agent_that_does_not_manage_the_host_changes_nothing_and_says_why(debian: Machine) -> None:
    guest = Host(root=debian.host.root, refusal="the agent is a guest")
    with unchanged(debian):
        async with run(debian, host=guest) as at:
            await at.configure(
                TrustedRootsConfig(name="corp", certificates=AUTHORITY.pem.decode()),
                files=(entry("/etc/new", "create", "x"),),
                network=Network(hostname="web"),
            )
            for id in ("HostnameSpecs/hostname", "EtcFileSpecs/hostname"):
                assert (await at.node.eventually(NetworkProblem, id)).spec.message == "the agent is a guest"
            status = await at.node.eventually(MachineFileStatus, "000")
            assert status.spec.error == "the agent is a guest"
            # For our own connections it is trusted all the same.
            await at.node.eventually(TrustBundle, TRUST_BUNDLE_ID, lambda found: bool(found.spec.added))
            await at.unconfigure()
            await at.node.gone(HostnameSpec, HOSTNAME_ID)


async def test_the_environment_has_everything_and_is_sensitive(debian: Machine) -> None:
    async with run(debian) as at:
        await at.configure(env=FrozenMapping({"https_proxy": "http://p:1"}))
        found = await at.node.eventually(
            Environment, ENVIRONMENT_ID, lambda resource: len(resource.spec.variables) == 2
        )
        assert found.spec.variables == ("HOME=/root", "https_proxy=http://p:1")
        assert Environment.is_sensitive
        await at.configure(env=FrozenMapping({"https_proxy": "http://q:1"}))
        await at.node.eventually(
            Environment, ENVIRONMENT_ID, lambda resource: "https_proxy=http://q:1" in resource.spec.variables
        )
        await at.configure(env=FrozenMapping({"no-name": "x"}))
        problem = await at.node.eventually(NetworkProblem, "MachineConfigs/machine.env")
        assert problem.spec.message.endswith("or a value of several lines): no-name")
        await at.configure()
        await at.node.gone(NetworkProblem, "MachineConfigs/machine.env")


async def test_static_hosts_are_added_and_removed(debian: Machine) -> None:
    async with run(debian) as at:
        await at.configure(network=Network(extra_host_entries=(HostEntry(ip="10.0.0.1", aliases=("One",)),)))
        assert (await at.node.eventually(StaticHost, "one")).spec.addresses == ("10.0.0.1",)
        await at.configure()
        await at.node.gone(StaticHost, "one")

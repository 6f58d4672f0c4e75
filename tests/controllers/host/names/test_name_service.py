"""How programs get to know names: the plan as tables, and what systemd-resolved is told of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from nodespan.controllers.common.journal import Journal
from nodespan.controllers.common.reverse_zones import reverse_zones
from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.names.name_service import LINK, RECORD, NameServiceController
from nodespan.controllers.host.names.name_service_rules import (
    Registration,
    Situation,
    as_resolved_shows,
    plan,
    registration_from_plain,
    registration_to_plain,
    shown_values,
)
from nodespan.resources.cluster import LOCAL, NameServiceStatus
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    Machine,
    MachineConfig,
    MachineConfigSpec,
    MainDocument,
    NodespanConfig,
)
from nodespan.resources.config.main import Features, HostDns
from nodespan.resources.config.nodespan import NameMode, NameSettings
from nodespan.resources.kubespan import KubeSpanIdentity, KubeSpanIdentitySpec
from nodespan.resources.network import (
    DNS_RUNNING,
    HOST_DNS_CONFIG_ID,
    DNSResolveCache,
    DNSResolveCacheSpec,
    HostDNSConfig,
    HostDNSConfigSpec,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
)
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.host.machine import ACTIVE, RESTS
from tests.support.process import eventually

SERVER = "127.0.0.153:53"
HOST_DNS = HostDNSConfigSpec(
    enabled=True, listen_addresses=(SERVER, "[fd00::1]:53"), resolve_member_names=True, mesh_subnet="fd00::/64"
)
SUBNET = "fd12:3456:789a:bc02::/64"
ZONE = "2.0.c.b.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa"
READY = Situation(host_dns=HOST_DNS, listeners={f"udp-{SERVER}"}, subnet=SUBNET, has_link=True, link=LINK)


def config(mode: NameMode, domain: str = "mesh.internal", *, by_resolver: bool = False) -> MachineConfigSpec:
    features = Features(host_dns=HostDns(enabled=True, resolve_member_names=by_resolver))
    names = NameSettings(mode=mode, domain=domain)
    return MachineConfigSpec(
        main=MainDocument(machine=Machine(features=features)), nodespan=NodespanConfig(names=names)
    )


def test_the_plan_says_what_is_missing_and_registers_only_a_server_that_runs() -> None:
    resolved = config(NameMode.RESOLVED)
    found = plan(resolved, READY)
    assert found.registration == Registration(("127.0.0.153",), ("mesh.internal", f"~{ZONE}"))
    assert found.status is not None
    assert (found.status.ready, found.status.link, found.status.servers) == (True, LINK, (SERVER,))
    for situation, problem in (
        (attrs.evolve(READY, has_link=False), "there is no link kubespan"),
        (attrs.evolve(READY, host_dns=HostDNSConfigSpec()), "write hostDNS: {enabled: true, resolveMemberNames: true}"),
        (attrs.evolve(READY, host_dns=attrs.evolve(HOST_DNS, resolve_member_names=False)), "resolveMemberNames"),
    ):
        found = plan(resolved, situation)
        assert problem in found.problem
        assert found.registration is None
        assert found.status is not None
        assert not found.status.ready
    found = plan(resolved, attrs.evolve(READY, listeners=()))
    assert (found.registration, found.problem) == (None, "")


def test_the_plan_of_the_other_modes_registers_nothing() -> None:
    assert plan(config(NameMode.OFF), READY).status is None
    found = plan(config(NameMode.OFF, by_resolver=True), READY)
    assert found.status is not None
    assert found.status.message == "only the node's own DNS server knows them"
    found = plan(config(NameMode.STUB), READY)
    assert found.status is not None
    assert (found.status.ready, found.registration) == (True, None)
    assert found.status.message.startswith(f"forward mesh.internal to {SERVER}")
    assert "nameservers are in a ResolverConfig" in found.status.message
    others = plan(config(NameMode.STUB), attrs.evolve(READY, asks_others=True))
    assert others.status is not None
    assert others.status.message == f"forward mesh.internal to {SERVER}, or make it the machine's name server"
    assert plan(config(NameMode.STUB), Situation()).problem
    for has_hosts in (False, True):
        found = plan(config(NameMode.HOSTS, ""), Situation(has_hosts=has_hosts))
        assert found.status is not None
        assert (found.status.ready, found.problem) == (has_hosts, "")


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        ("127.0.0.153:53", "127.0.0.153"),
        ("127.0.0.153:5353", "127.0.0.153:5353"),
        ("[::1]:53", "::1"),
        ("[::1]:5353", "[::1]:5353"),
    ],
)
def test_servers_are_written_as_systemd_resolved_shows_them(server: str, shown: str) -> None:
    assert as_resolved_shows(server) == shown


@pytest.mark.parametrize(
    ("subnet", "zones"),
    [
        (SUBNET, (ZONE,)),
        ("fd00::/8", ("d.f.ip6.arpa",)),
        ("fd00::/63", ()),
        ("10.0.0.0/8", ()),
        ("", ()),
    ],
)
def test_the_reverse_zone_is_that_of_the_mesh(subnet: str, zones: tuple[str, ...]) -> None:
    assert reverse_zones(subnet) == zones


@pytest.mark.parametrize(
    ("output", "values"),
    [
        ("Link 4 (kubespan): 127.0.0.153 fd00::1\n", ("127.0.0.153", "fd00::1")),
        ("Link 4 (kubespan):\n", ()),
        ("Link 4 (kubespan): \n", ()),
        ("", ()),
        ("something else", ()),
    ],
)
def test_what_systemd_resolved_shows_is_read(output: str, values: tuple[str, ...]) -> None:
    assert shown_values(output) == values


@pytest.mark.parametrize("plain", [None, 1, {}, {"servers": 1, "domains": []}, {"servers": []}])
def test_a_record_that_makes_no_sense_is_one_of_nothing(plain: object) -> None:
    assert registration_from_plain(plain).is_empty


@attrs.define
class FakeResolved:
    """systemd-resolved and its program, as far as the agent uses them. With `link` as None the link is not there."""

    directory: Path
    link: Registration | None = attrs.field(factory=Registration)
    is_running: bool = True
    # The commands that fail, by their second word.
    failing: set[str] = attrs.field(factory=set)
    changes: list[str] = attrs.field(factory=list)
    # Whether another program takes away whatever is registered.
    is_fought_over: bool = False

    async def run(self, *command: str) -> str:
        """What it says. Raises CommandFailedError."""
        if command[:2] == ("systemctl", "show"):
            return ACTIVE if self.is_running else RESTS
        _, what, *rest = command
        if what in self.failing:
            raise CommandFailedError(f"{' '.join(command)}: exit 1: it is to fail")
        if self.link is None:
            raise CommandFailedError(f"{' '.join(command)}: exit 1: Failed to resolve interface: No such device")
        if len(rest) == 1 and what in ("dns", "domain"):
            values = self.link.servers if what == "dns" else self.link.domains
            return f"Link 7 ({rest[0]}): {' '.join(values)}\n"
        self.changes.append(" ".join(command[1:]))
        if what == "revert":
            self.tell(Registration())
        elif what == "dns":
            self.tell(Registration() if self.is_fought_over else attrs.evolve(self.link, servers=tuple(rest[1:])))
        elif what == "domain":
            self.tell(attrs.evolve(self.link, domains=tuple(rest[1:])))
        return ""

    def tell(self, registration: Registration) -> None:
        """What a program tells it, which it keeps in a file of its own."""
        self.link = registration
        file = self.directory / "root/run/systemd/resolve/netif/7"
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(str(registration))
        new.rename(file)


REGISTERED = Registration(("127.0.0.153",), ("mesh.internal", f"~{ZONE}"))


@attrs.frozen
class Lab:
    node: Node
    resolved: FakeResolved

    async def configure(self, mode: NameMode) -> None:
        await self.node.put(MachineConfig, MACHINE_CONFIG_ID, config(mode))

    async def ready(self, message: str = "") -> None:
        await self._shown(message, is_ready=True)

    async def waits(self, message: str) -> None:
        await self._shown(message, is_ready=False)

    async def _shown(self, message: str, *, is_ready: bool) -> None:
        await self.node.eventually(
            NameServiceStatus, LOCAL, lambda found: found.spec.ready is is_ready and message in found.spec.message
        )

    def problems(self) -> list[str]:
        return [problem.spec.message for problem in self.node.state.list(NetworkProblem)]


def fake(tmp_path: Path) -> FakeResolved:
    root = tmp_path / "root"
    for path in ("etc", "run/systemd/system", "usr/bin"):
        (root / path).mkdir(parents=True)
    (root / "etc/nsswitch.conf").write_text("passwd: files\nhosts: files resolve dns\n")
    (root / "usr/bin/resolvectl").touch(mode=0o755)
    return FakeResolved(tmp_path)


@asynccontextmanager
async def lab(resolved: FakeResolved, mode: NameMode = NameMode.RESOLVED) -> AsyncIterator[Lab]:
    host = Host(root=resolved.directory / "root", commands=resolved)
    controller = NameServiceController(host, resolved.directory, look_interval=0.01, retry_interval=0.05)
    async with running(controller) as node:
        await node.put(HostDNSConfig, HOST_DNS_CONFIG_ID, HOST_DNS)
        await node.put(DNSResolveCache, f"udp-{SERVER}", DNSResolveCacheSpec(status=DNS_RUNNING))
        await node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec(subnet=SUBNET))
        await node.put(LinkStatus, LINK, LinkStatusSpec(index=7))
        at = Lab(node, resolved)
        await at.configure(mode)
        yield at


async def test_the_domain_is_registered_and_taken_back_when_it_is_no_longer_configured(tmp_path: Path) -> None:
    async with lab(fake(tmp_path)) as at:
        await at.ready()
        assert at.resolved.link == REGISTERED
        # Nothing is asked of the server before what is meant for it is known.
        assert [line.split()[0] for line in at.resolved.changes] == [
            *("default-route", "domain", "dnssec", "dnsovertls", "dns")
        ]
        await at.configure(NameMode.STUB)
        await at.ready("forward mesh.internal")
        assert at.resolved.link == Registration()
        assert Journal(tmp_path / RECORD).all() == {}
        assert at.problems() == []


async def test_it_is_taken_back_when_the_agent_ends_or_its_server_stops(tmp_path: Path) -> None:
    resolved = fake(tmp_path)
    async with lab(resolved) as at:
        await at.ready()
        await at.node.destroy(DNSResolveCache, f"udp-{SERVER}")
        await at.waits("about to start")
        assert resolved.link == Registration()
        await at.node.put(DNSResolveCache, f"udp-{SERVER}", DNSResolveCacheSpec(status=DNS_RUNNING))
        await at.ready()
        assert resolved.link == REGISTERED
    assert resolved.link == Registration()


@pytest.mark.parametrize("mode", [NameMode.RESOLVED, NameMode.OFF])
async def test_what_a_killed_agent_left_is_its_own(tmp_path: Path, mode: NameMode) -> None:
    resolved = fake(tmp_path)
    # It was killed between two commands: what it recorded is more than what is there.
    Journal(tmp_path / RECORD).change({LINK: registration_to_plain(REGISTERED)})
    resolved.tell(Registration((), ("mesh.internal",)))
    async with lab(resolved, mode) as at:
        if mode is NameMode.RESOLVED:
            await at.ready()
            assert resolved.link == REGISTERED
        else:
            await at.node.settled()
            assert resolved.link == Registration()
        assert at.problems() == []


async def test_what_the_link_has_from_another_program_stays(tmp_path: Path) -> None:
    resolved = fake(tmp_path)
    others = Registration(("192.0.2.53",), ("corp.example",))
    resolved.tell(others)
    async with lab(resolved) as at:
        await at.waits("192.0.2.53, corp.example for kubespan from another program")
        assert len(at.problems()) == 1
        # It is registered once that is gone.
        resolved.tell(Registration())
        await at.ready()
        assert at.problems() == []
        # Nor is it taken away in the end.
        resolved.tell(others)
        await at.waits("from another program")
    assert resolved.link == others
    assert resolved.changes.count("revert kubespan") == 0


async def test_a_registration_that_another_program_takes_away_is_made_again(tmp_path: Path) -> None:
    async with lab(fake(tmp_path)) as at:
        await at.ready()
        at.resolved.tell(Registration())
        await at.node.put(LinkStatus, LINK, LinkStatusSpec(index=7, mtu=1420))
        await eventually(lambda: at.resolved.link == REGISTERED)


async def test_a_program_that_keeps_taking_it_away_is_a_problem_until_it_stops(tmp_path: Path) -> None:
    resolved = fake(tmp_path)
    resolved.is_fought_over = True
    async with lab(resolved) as at:
        await at.waits("another program keeps changing")
        resolved.is_fought_over = False
        await at.ready()


async def test_failures_are_problems_and_tried_again(tmp_path: Path) -> None:
    resolved = fake(tmp_path)
    resolved.is_running = False
    async with lab(resolved) as at:
        await at.waits("systemd-resolved does not run: start it, or use mode: hosts")
        resolved.failing = {"dns"}
        resolved.is_running = True
        await at.waits("it is to fail")
        resolved.failing = set()
        await at.ready()
        assert at.problems() == []
        # The link goes: what it had goes with it.
        resolved.link = None
        await at.node.destroy(LinkStatus, LINK)
        await at.waits("there is no link kubespan")
        assert Journal(tmp_path / RECORD).all() == {}


async def test_a_machine_whose_programs_do_not_ask_systemd_resolved_is_a_problem(tmp_path: Path) -> None:
    resolved = fake(tmp_path)
    (tmp_path / "root/etc/nsswitch.conf").write_text("hosts: files dns\n")
    async with lab(resolved) as at:
        await at.waits("programs do not ask it")
        assert resolved.link == REGISTERED
        (tmp_path / "root/etc/resolv.conf").write_text("nameserver 127.0.0.53\n")
        await at.ready()

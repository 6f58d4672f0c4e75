"""From affiliates to names, and to the lines of /etc/hosts; in real time, for files are read in threads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from nodespan.controllers.host.etc_file import EtcFileController
from nodespan.controllers.host.names import registry
from nodespan.controllers.host.names.member_name import MemberNameController
from nodespan.controllers.host.names.member_naming import Claim, Names, names_of
from nodespan.controllers.host.network_etc_file import NetworkEtcFileController
from nodespan.resources.cluster import LOCAL, Affiliate, Identity, IdentitySpec, KubeSpanAffiliate, MemberName
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    Machine,
    MachineConfig,
    MachineConfigSpec,
    MainDocument,
    NodespanConfig,
)
from nodespan.resources.config.nodespan import NameMode, NameSettings
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
    KubeSpanStaticPeer,
)
from nodespan.resources.network import (
    CURRENT_ADDRESSES_ID,
    RESOLVERS_ID,
    TIME_SERVERS_ID,
    NetworkProblem,
    NodeAddress,
    NodeAddressSpec,
    ResolverStatus,
    ResolverStatusSpec,
    StaticHost,
    StaticHostSpec,
    TimeServerStatus,
    TimeServerStatusSpec,
)
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.cluster.samples import affiliate
from tests.controllers.host.machine import Machine as HostMachine
from tests.controllers.host.machine import machine
from tests.support.process import eventually

DOMAIN = NameSettings(mode=NameMode.STUB, domain="mesh.internal")
OWN_HOSTS = "127.0.0.1 localhost\n127.0.1.1 a\n"


def configured(names: NameSettings) -> MachineConfigSpec:
    return MachineConfigSpec(main=MainDocument(machine=Machine()), nodespan=NodespanConfig(names=names))


@attrs.frozen
class Lab:
    """A node with its machine."""

    node: Node
    machine: HostMachine

    async def configure(self, names: NameSettings) -> None:
        await self.node.put(MachineConfig, MACHINE_CONFIG_ID, configured(names))

    async def member(self, node_id: str, hostname: str, *addresses: str) -> None:
        spec = attrs.evolve(affiliate(node_id, *addresses), hostname=hostname, nodename=hostname)
        await self.node.put(Affiliate, node_id, spec)

    def names(self) -> dict[str, tuple[str, ...]]:
        return {name.id: name.spec.addresses for name in self.node.state.list(MemberName)}

    def hosts(self) -> str:
        return self.machine.read("/etc/hosts") or ""

    def problems(self) -> dict[str, str]:
        return {problem.id: problem.spec.message for problem in self.node.state.list(NetworkProblem)}


@asynccontextmanager
async def lab(tmp_path: Path, names: NameSettings = DOMAIN, *, hosts: str = OWN_HOSTS) -> AsyncIterator[Lab]:
    at = machine(tmp_path)
    at.write("/etc/hosts", hosts)
    controllers = (
        MemberNameController(at.host, look_interval=0.01),
        NetworkEtcFileController(at.host),
        EtcFileController(at.managed_files(), leaving=trio.Event(), poll_interval=0.01, grace=0.0),
    )
    async with running(*controllers) as node:
        made = Lab(node, at)
        await node.put(Identity, LOCAL, IdentitySpec(node_id="id-a"))
        await made.configure(names)
        yield made


async def test_names_follow_members_as_they_come_change_and_go(tmp_path: Path) -> None:
    async with lab(tmp_path) as at:
        await at.member("id-b", "b", "10.0.0.2")
        await at.node.eventually(MemberName, "b.mesh.internal")
        await at.node.settled()
        assert at.names() == {"b": ("10.0.0.2",), "b.mesh.internal": ("10.0.0.2",)}
        await at.member("id-b", "c", "10.0.0.3")
        await at.node.eventually(MemberName, "c.mesh.internal")
        await at.node.settled()
        assert at.names() == {"c": ("10.0.0.3",), "c.mesh.internal": ("10.0.0.3",)}
        await at.configure(NameSettings(mode=NameMode.STUB))
        await at.node.gone(MemberName, "c.mesh.internal")
        await at.node.settled()
        assert at.names() == {"c": ("10.0.0.3",)}
        await at.node.destroy(Affiliate, "id-b")
        await at.node.gone(MemberName, "c")
        assert at.names() == {}


async def test_no_name_is_made_unless_configured(tmp_path: Path) -> None:
    async with lab(tmp_path, NameSettings()) as at:
        await at.member("id-b", "b", "10.0.0.2")
        await at.member("id-c", "wpad", "10.0.0.3")
        await at.node.settled()
        assert at.names() == {}
        assert at.problems() == {}
        await at.configure(DOMAIN)
        await at.node.eventually(MemberName, "b")
        await at.configure(NameSettings())
        await at.node.gone(MemberName, "b")
        await at.node.settled()
        assert at.problems() == {}


async def test_nodes_of_one_name_are_told_apart_until_one_leaves(tmp_path: Path) -> None:
    async with lab(tmp_path) as at:
        await at.member("id-c", "db", "10.0.0.3")
        await at.node.eventually(MemberName, "db")
        await at.member("id-b", "db", "10.0.0.2")
        await at.node.eventually(MemberName, "db", lambda found: found.spec.node_id == "id-b")
        await at.node.settled()
        (other,) = (name for name in at.names() if name.startswith("db-") and "." not in name)
        assert at.names()[other] == ("10.0.0.3",)
        assert "2 nodes are called d" in at.problems()["MemberNames/db"]
        # Somebody who calls itself by that name has it: the first one gets another.
        await at.member("id-d", other, "10.0.0.4")
        await at.node.eventually(MemberName, other, lambda found: found.spec.addresses == ("10.0.0.4",))
        await at.node.settled()
        assert sum(addresses == ("10.0.0.3",) for addresses in at.names().values()) == 2
        await at.node.destroy(Affiliate, "id-d")
        await at.node.eventually(MemberName, other, lambda found: found.spec.addresses == ("10.0.0.3",))
        await at.node.destroy(Affiliate, "id-b")
        await at.node.eventually(MemberName, "db", lambda found: found.spec.node_id == "id-c")
        await at.node.settled()
        assert at.names().keys() == {"db", "db.mesh.internal"}
        assert at.problems() == {}


async def test_an_address_that_two_nodes_have_leads_back_to_neither(tmp_path: Path) -> None:
    def leads_back(at: Lab, name: str) -> tuple[str, ...]:
        return at.node.state.get(MemberName, name).spec.reverse_addresses

    async with lab(tmp_path) as at:
        await at.member("id-b", "b", "10.0.0.2", "192.0.2.9")
        await at.node.eventually(MemberName, "b.mesh.internal")
        assert leads_back(at, "b.mesh.internal") == ("10.0.0.2", "192.0.2.9")
        assert leads_back(at, "b") == ()
        await at.member("id-c", "c", "192.0.2.9")
        await at.node.eventually(MemberName, "c.mesh.internal")
        await at.node.settled()
        assert leads_back(at, "b.mesh.internal") == ("10.0.0.2",)
        assert leads_back(at, "c.mesh.internal") == ()
        await at.node.destroy(Affiliate, "id-b")
        await at.node.gone(MemberName, "b")
        await at.node.settled()
        assert leads_back(at, "c.mesh.internal") == ("192.0.2.9",)


async def test_a_member_takes_no_name_and_no_address_of_this_machine(tmp_path: Path) -> None:
    async with lab(tmp_path, hosts=OWN_HOSTS + "192.0.2.7 b\n") as at:
        await at.node.put(NodeAddress, CURRENT_ADDRESSES_ID, NodeAddressSpec(addresses=("10.0.0.1/24",)))
        await at.node.put(StaticHost, "c", StaticHostSpec(addresses=("192.0.2.8",)))
        for name in "abc":
            await at.member(f"id-{name}{name}", name, "10.0.0.1", "10.0.0.9")
        await at.member("id-w", "localhost", "10.0.0.9")
        await at.node.eventually(MemberName, "c.mesh.internal")
        await at.node.settled()
        assert at.names() == {f"{name}.mesh.internal": ("10.0.0.9",) for name in "abc"}
        assert at.problems().keys() == {"Affiliates/id-w", *(f"MemberNames/{name}" for name in "abc")}
        # What is taken changes.
        at.machine.write("/etc/hosts", OWN_HOSTS)
        await at.node.eventually(MemberName, "b")
        await at.node.destroy(StaticHost, "c")
        await at.node.eventually(MemberName, "c")
        at.machine.write("/etc/hosts", OWN_HOSTS + "192.0.2.7 b.mesh.internal\n")
        await at.node.gone(MemberName, "b.mesh.internal")


async def test_the_hosts_file_holds_the_names_between_marks_and_is_as_before_in_the_end(tmp_path: Path) -> None:
    async with lab(tmp_path, NameSettings(mode=NameMode.HOSTS, domain="mesh.internal")) as at:
        await at.member("id-a", "a", "10.0.0.1")
        await at.member("id-b", "b", "10.0.0.2", "fd00::2")
        await at.member("id-c", "com", "10.0.0.3")
        expected = (
            OWN_HOSTS
            + "# BEGIN nodespan: changes to these lines are overwritten\n"
            + "10.0.0.1 a.mesh.internal\n"
            + "10.0.0.2 b.mesh.internal b\n"
            + "fd00::2  b.mesh.internal b\n"
            + "10.0.0.3 com.mesh.internal\n"
            + "# END nodespan\n"
        )
        await eventually(lambda: at.hosts() == expected)
        await at.node.destroy(Affiliate, "id-b")
        await eventually(lambda: "10.0.0.2" not in at.hosts())
        # Lines of others come and go beside ours.
        at.machine.write("/etc/hosts", at.hosts() + "192.0.2.7 printer\n")
        await at.member("id-d", "d", "10.0.0.4")
        await eventually(lambda: "10.0.0.4 d.mesh.internal d\n" in at.hosts())
        await at.configure(NameSettings())
        await eventually(lambda: at.hosts() == OWN_HOSTS + "192.0.2.7 printer\n")


async def test_what_an_earlier_process_left_goes(tmp_path: Path) -> None:
    async with lab(tmp_path, NameSettings(mode=NameMode.HOSTS)) as at:
        await at.member("id-b", "b", "10.0.0.2")
        await eventually(lambda: "10.0.0.2" in at.hosts())
        state = at.node.state
    await state.destroy(Affiliate, "id-b")
    async with running(MemberNameController(at.machine.host), state=state) as node:
        await node.gone(MemberName, "b")


@pytest.mark.parametrize("count", [50])
async def test_a_join_writes_its_own_names_only(tmp_path: Path, count: int) -> None:
    async with lab(tmp_path) as at:
        for number in range(count):
            await at.member(f"id-{number}", f"n{number}", f"10.0.1.{number}")
        await at.node.eventually(MemberName, f"n{count - 1}.mesh.internal")
        await at.node.settled()
        counters = at.node.engine.runners["cluster.MemberNameController"].access.counters
        before = counters.writes
        await at.member("id-x", "x", "10.0.2.1")
        await at.node.eventually(MemberName, "x.mesh.internal")
        await at.node.settled()
        assert counters.writes - before == 2


@pytest.mark.parametrize(("mode", "is_followed"), [(NameMode.HOSTS, True), (NameMode.STUB, False)])
async def test_joins_do_not_ask_systemd_and_are_followed_by_files_only_where_they_hold_names(
    tmp_path: Path, mode: NameMode, is_followed: bool
) -> None:
    async with lab(tmp_path) as at:
        at.machine.run_systemd()
        await at.node.put(ResolverStatus, RESOLVERS_ID, ResolverStatusSpec(dns_servers=("192.0.2.53",)))
        await at.node.put(TimeServerStatus, TIME_SERVERS_ID, TimeServerStatusSpec(time_servers=("192.0.2.5",)))
        await at.configure(NameSettings(mode=mode))
        await at.member("id-b", "b", "10.0.0.2")
        await at.node.eventually(MemberName, "b")
        await at.node.settled()
        edges = at.node.engine.graph.edges
        readers = {edge.controller for edge in edges if edge.type == MemberName.name and not edge.is_output}
        assert ("network.EtcFileController" in readers) is is_followed
        before = len(at.machine.commands.looks)
        assert before
        for number in range(20):
            await at.member(f"id-{number}", f"n{number}", f"10.0.1.{number}")
        await at.node.eventually(MemberName, "n19")
        await at.node.settled()
        assert len(at.machine.commands.looks) == before
        # The services may be others for other servers.
        await at.node.put(TimeServerStatus, TIME_SERVERS_ID, TimeServerStatusSpec(time_servers=("192.0.2.6",)))
        await eventually(lambda: len(at.machine.commands.looks) > before)


async def test_a_join_with_an_address_that_many_have_makes_no_names_of_theirs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def note(label: str, *arguments: Any, **named: Any) -> Names:
        made.append(label)
        return names_of(label, *arguments, **named)

    monkeypatch.setattr(registry, "names_of", note)
    async with lab(tmp_path) as at:
        for number in range(20):
            await at.member(f"id-{number}", f"n{number}", f"10.0.1.{number}", "192.168.0.1")
        await at.node.eventually(MemberName, "n19")
        await at.node.settled()
        made.clear()
        await at.member("id-x", "x", "10.0.2.1", "192.168.0.1")
        await at.node.eventually(MemberName, "x")
        await at.node.settled()
        await at.node.destroy(Affiliate, "id-x")
        await at.node.gone(MemberName, "x")
        assert set(made) == {"x"}
        # Of two one is another's whenever the second comes or goes.
        for number in range(2, 20):
            await at.node.destroy(Affiliate, f"id-{number}")
        await at.node.gone(MemberName, "n19")
        await at.node.settled()
        await at.node.destroy(Affiliate, "id-1")
        reverse = ("10.0.1.0", "192.168.0.1")
        await at.node.eventually(MemberName, "n0.mesh.internal", lambda found: found.spec.reverse_addresses == reverse)


async def test_of_many_nodes_of_one_name_a_join_makes_its_own_names_and_those_of_the_holder_it_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def note(label: str, claim: Claim, *arguments: Any) -> Names:
        made.append(claim.node_id)
        return names_of(label, claim, *arguments)

    monkeypatch.setattr(registry, "names_of", note)
    async with lab(tmp_path) as at:
        for number in range(100):
            await at.member(f"id-{number:02}", "db", f"10.0.1.{number}")
        await eventually(lambda: len(at.names()) == 200)
        await at.node.settled()
        counters = at.node.engine.runners["cluster.MemberNameController"].access.counters
        made.clear()
        before = counters.writes
        await at.member("id-x", "db", "10.0.2.1")
        await eventually(lambda: len(at.names()) == 202)
        await at.node.settled()
        # Two names, and the problem, which says how many there are.
        assert (made, counters.writes - before) == (["id-x"], 3)
        made.clear()
        await at.member("id-!", "db", "10.0.2.2")
        await at.node.eventually(MemberName, "db", lambda found: found.spec.node_id == "id-!")
        await at.node.settled()
        assert sorted(made) == ["id-!", "id-00"]
        made.clear()
        await at.node.destroy(Affiliate, "id-!")
        await at.node.eventually(MemberName, "db", lambda found: found.spec.node_id == "id-00")
        await at.node.settled()
        assert made == ["id-00"]
        assert at.problems()["MemberNames/db"].startswith("101 nodes are called db")


def peers(*named: tuple[str, str, str], enabled: bool = True) -> KubeSpanConfigSpec:
    static = tuple(KubeSpanStaticPeer(public_key=key, label=label, address=address) for key, label, address in named)
    return KubeSpanConfigSpec(enabled=enabled, static_peers=static)


async def test_static_peers_have_the_names_that_the_configuration_gives_them(tmp_path: Path) -> None:
    async with lab(tmp_path, NameSettings(mode=NameMode.STUB)) as at:
        await at.node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec(public_key="own"))
        await at.member("id-b", "b", "10.0.0.2")
        await at.node.eventually(MemberName, "b")
        named = (("k1", "db", "fd00::1"), ("k2", "", "fd00::2"), ("own", "me", "fd00::3"), ("k4", "no name", "fd00::4"))
        await at.node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, peers(*named))
        await at.node.eventually(MemberName, "db")
        await at.node.settled()
        assert at.names() == {"b": ("10.0.0.2",), "db": ("fd00::1",)}
        assert at.node.state.get(MemberName, "db").spec.reverse_addresses == ("fd00::1",)
        # What is called so by the configuration needs no rule of host names.
        assert at.problems() == {}
        # A discovered node of that key is the same node, whatever it calls itself.
        discovered = attrs.evolve(affiliate("id-c"), kubespan=KubeSpanAffiliate(public_key="k1", address="fd00::1"))
        await at.node.put(Affiliate, "id-c", attrs.evolve(discovered, hostname="c", nodename="c"))
        await at.node.eventually(MemberName, "c")
        await at.node.settled()
        assert at.names() == {"b": ("10.0.0.2",), "c": ("fd00::1",), "db": ("fd00::1",)}
        # Everybody knows the key, so the address leads back to the name of the configuration alone.
        assert at.node.state.get(MemberName, "db").spec.reverse_addresses == ("fd00::1",)
        assert at.node.state.get(MemberName, "c").spec.reverse_addresses == ()
        longer = attrs.evolve(discovered, hostname="longer", nodename="longer", addresses=("10.0.0.8", "fd00::1"))
        await at.node.put(Affiliate, "id-x", longer)
        await at.node.eventually(MemberName, "longer", lambda found: found.spec.reverse_addresses == ("10.0.0.8",))
        await at.node.settled()
        assert at.node.state.get(MemberName, "db").spec.reverse_addresses == ("fd00::1",)
        # Without a static peer of that name the two that announce the address do not have it either, but one does.
        await at.node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, peers(*named[1:]))
        await at.node.gone(MemberName, "db")
        await at.node.settled()
        assert at.node.state.get(MemberName, "c").spec.reverse_addresses == ()
        await at.node.destroy(Affiliate, "id-x")
        await at.node.eventually(MemberName, "c", lambda found: found.spec.reverse_addresses == ("fd00::1",))
        await at.node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, peers(*named))
        await at.node.eventually(MemberName, "c", lambda found: found.spec.reverse_addresses == ())
        await at.node.eventually(MemberName, "db", lambda found: found.spec.reverse_addresses == ("fd00::1",))
        await at.node.put(Affiliate, "id-c", attrs.evolve(discovered, hostname="db", nodename="db"))
        await at.node.gone(MemberName, "c")
        await at.node.settled()
        assert (at.names(), at.problems()) == ({"b": ("10.0.0.2",), "db": ("fd00::1",)}, {})
        # Nobody else gets the name by calling itself so, not even with that key.
        taken = attrs.evolve(discovered, hostname="db", nodename="db", addresses=("10.0.0.66",))
        await at.node.put(Affiliate, "id-!", taken)
        await at.member("!", "db", "10.0.0.67")
        await eventually(lambda: ("10.0.0.67",) in at.names().values())
        await at.node.settled()
        assert at.names()["db"] == ("fd00::1",)
        assert ("10.0.0.66",) not in at.names().values()
        assert at.problems()["MemberNames/db"].startswith('2 nodes are called db: "k1" has the name')
        for id in ("!", "id-!", "id-c"):
            await at.node.destroy(Affiliate, id)
        await at.node.settled()
        assert at.names() == {"b": ("10.0.0.2",), "db": ("fd00::1",)}
        # What the configuration does not name any more goes, and a discovered node has its name by itself.
        await at.node.put(Affiliate, "id-c", attrs.evolve(discovered, hostname="db", nodename="db"))
        await at.node.settled()
        assert at.node.state.get(MemberName, "db").spec.node_id == "k1"
        await at.node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, peers(*named[1:]))
        await at.node.eventually(MemberName, "db", lambda found: found.spec.node_id == "id-c")
        await at.node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, peers(*named))
        await at.node.eventually(MemberName, "db", lambda found: found.spec.node_id == "k1")
        await at.node.destroy(Affiliate, "id-c")
        await at.node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, peers(*named, enabled=False))
        await at.node.gone(MemberName, "db")
        await at.node.settled()
        assert at.names() == {"b": ("10.0.0.2",)}


async def test_names_of_an_earlier_process_stay_only_where_they_are_made_again(tmp_path: Path) -> None:
    async with lab(tmp_path) as at:
        await at.member("id-b", "b", "10.0.0.2")
        await at.member("id-c", "b", "10.0.0.3")
        await eventually(lambda: len(at.names()) == 4)
        await at.node.settled()
        (told_apart,) = (name for name in at.names() if name.startswith("b-") and "." not in name)
        # A static host of that name is told to those who are told apart by it.
        await at.node.put(StaticHost, told_apart, StaticHostSpec(addresses=("192.0.2.9",)))
        await at.node.gone(MemberName, told_apart)
        await at.node.destroy(StaticHost, told_apart)
        await at.node.eventually(MemberName, told_apart)
        await at.node.settled()
        state = at.node.state
    await state.destroy(Affiliate, "id-c")
    await state.destroy(MachineConfig, MACHINE_CONFIG_ID)
    async with running(MemberNameController(at.machine.host), state=state) as node:
        await node.settled()
        # As long as there is no configuration nothing is known to be wrong.
        assert len(at.names()) == 4
        settings = NameSettings(mode=NameMode.STUB, domain="new.internal")
        await node.put(MachineConfig, MACHINE_CONFIG_ID, configured(settings))
        await eventually(lambda: at.names().keys() == {"b", "b.new.internal"})

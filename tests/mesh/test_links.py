"""Links of the kinds that any kernel has: made, set up, healed, removed; and those of others left alone."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from nodespan.controllers.common import damping
from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.merge.controllers import LinkMergeController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.resources.network import (
    STP,
    VXLAN,
    BridgeMaster,
    BridgeSlave,
    LinkSpec,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
    Veth,
)
from nodespan.runtime.resource import Resource
from nodespan.runtime.testing.kit import Node, running
from tests.mesh.link_scenarios import (
    BASE,
    SPECS,
    a_link_is_created_changed_repaired_and_removed,
    a_port_joins_its_bridge_and_is_released,
    links,
    node,
    unwant,
    want,
)
from tests.support import probe
from tests.support.deadlines import PATIENCE
from tests.support.monitor import watching
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth")]

PORTS = ("p0", "p1")
LOWEST = "02:00:00:00:00:01"


async def problem(runtime: Node, name: str) -> str:
    return (await runtime.eventually(NetworkProblem, f"LinkSpecs/{name}")).spec.message


def up(inside: Namespace) -> set[str]:
    return {name for name, link in links(inside).items() if "UP" in link["flags"]}


def kind_of(link: dict[str, Any]) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", ""))


@pytest.mark.parametrize(
    "kind",
    ["veth", *(pytest.param(kind, marks=pytest.mark.needs_link(kind)) for kind in ("bridge", "macvlan", "vxlan"))],
)
async def test_a_link_is_created_changed_repaired_and_removed(kind: str) -> None:
    await a_link_is_created_changed_repaired_and_removed(kind)


@pytest.mark.needs_link("bridge")
async def test_a_port_joins_its_bridge_and_is_released() -> None:
    await a_port_joins_its_bridge_and_is_released()


async def test_a_foreign_link_is_configured_and_restored_afterwards() -> None:
    async with node() as (inside, runtime):
        before = links(inside)["p0"]
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False, mtu=1300))
        await eventually(lambda: links(inside)["p0"]["mtu"] == 1300 and "UP" in links(inside)["p0"]["flags"])
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False))
        await eventually(lambda: links(inside)["p0"]["mtu"] == before["mtu"])
        await unwant(runtime, "p0")
        await runtime.gone(LinkSpec, "p0")
        # The kernel gives a link a queue when it first comes up, and never takes it away.
        assert links(inside)["p0"] == before | {"qdisc": "noqueue"}


async def test_restoring_a_link_keeps_changes_made_by_others() -> None:
    async with node() as (inside, runtime):
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False, multicast=False))
        await eventually(lambda: "MULTICAST" not in links(inside)["p0"]["flags"])
        inside.run("ip", "link", "set", "p0", "mtu", "1350")
        await unwant(runtime, "p0")
        await runtime.gone(LinkSpec, "p0")
        after = links(inside)["p0"]
        assert after["mtu"] == 1350
        assert "MULTICAST" in after["flags"]


async def test_a_link_desired_under_another_name_stays_up_and_is_restored_afterwards() -> None:
    async with node() as (inside, runtime):
        before = links(inside)["p0"]
        inside.run("ip", "link", "set", "p0", "alias", "uplink")
        await want(runtime, attrs.evolve(BASE, name="uplink", logical=False, mtu=1300))
        await eventually(lambda: "UP" in links(inside)["p0"]["flags"] and links(inside)["p0"]["mtu"] == 1300)
        await runtime.settled()
        async with watching(inside) as seen:
            await want(runtime, attrs.evolve(BASE, name="p0", logical=False, mtu=1300))
            await runtime.settled()
            await unwant(runtime, "uplink")
            await runtime.gone(LinkSpec, "uplink")
        assert seen() == ""
        await unwant(runtime, "p0")
        await runtime.gone(LinkSpec, "p0")
        assert links(inside)["p0"] == before | {"qdisc": "noqueue", "ifalias": "uplink"}


@pytest.mark.needs_link("bridge")
async def test_changes_of_a_link_that_is_down_are_reported_at_once() -> None:
    bridge = attrs.evolve(BASE, up=False, kind="bridge", bridge_master=BridgeMaster())
    spanning = attrs.evolve(bridge, bridge_master=BridgeMaster(stp=STP(enabled=True)))

    def is_spanning(link: Resource[LinkStatusSpec]) -> bool:
        shown = link.spec.bridge_master
        return shown is not None and shown.stp.enabled

    with namespace() as inside:
        netns = str(inside.path)
        controllers = (LinkMergeController(), LinkSpecController(netns=netns), LinkStatusController(netns=netns))
        async with running(*controllers) as runtime:
            await want(runtime, bridge)
            await runtime.eventually(LinkStatus, "x0")
            await runtime.settled()
            # The kernel keeps it quiet.
            await want(runtime, spanning)
            await runtime.eventually(LinkStatus, "x0", is_spanning)


async def test_a_link_is_found_by_an_alternative_name() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "property", "add", "dev", "p0", "altname", "uplink")
        await want(runtime, attrs.evolve(BASE, name="uplink", logical=False, mtu=1300))
        await eventually(lambda: links(inside)["p0"]["mtu"] == 1300)


@pytest.mark.needs_link("bridge")
async def test_a_foreign_link_with_the_desired_name_is_reported_and_left_alone() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "add", "x0", "type", "bridge")
        before = links(inside)["x0"]
        await want(runtime, SPECS["veth"])
        assert "there is a bridge link x0 already" in await problem(runtime, "x0")
        await unwant(runtime)
        await runtime.gone(LinkSpec, "x0")
        assert links(inside)["x0"] == before


@pytest.mark.needs_link("bridge")
async def test_an_owned_link_can_change_its_kind() -> None:
    async with node() as (inside, runtime):
        await want(runtime, SPECS["veth"])
        await eventually(lambda: "x1" in links(inside))
        await want(runtime, SPECS["bridge"])
        await eventually(lambda: kind_of(links(inside).get("x0", {})) == "bridge")
        assert "x1" not in links(inside)


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="there is no /dev/net/tun")
async def test_a_foreign_tun_link_is_not_mistaken_for_wireguard() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "tuntap", "add", "x0", "mode", "tun")
        await want(runtime, attrs.evolve(BASE, kind="wireguard"))
        assert "there is a tun link x0 that is not a WireGuard device" in await problem(runtime, "x0")
        await unwant(runtime)
        await runtime.gone(LinkSpec, "x0")
        assert "x0" in links(inside)


async def test_link_kinds_the_kernel_lacks_are_reported() -> None:
    reason = probe.no_link("dummy")
    async with node() as (inside, runtime):
        await want(runtime, attrs.evolve(BASE, name="b0", kind="geneve"))
        assert "links of kind geneve cannot be made" in await problem(runtime, "b0")
        if reason is not None:
            await want(runtime, SPECS["dummy"])
            assert await problem(runtime, "x0") == "this kernel makes no dummy links"
        await want(runtime, attrs.evolve(BASE, name="y0", kind="vlan", parent_name="later0"))
        assert await problem(runtime, "y0") == "there is no link later0"
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False))
        await eventually(lambda: "UP" in links(inside)["p0"]["flags"])


@pytest.mark.needs_link("bridge")
async def test_a_bridge_takes_the_address_of_its_first_port_at_each_start_and_keeps_it() -> None:
    async with node() as (inside, runtime):
        first = links(inside)["p0"]["address"]
        ports = [
            attrs.evolve(BASE, name=name, logical=False, bridge_slave=BridgeSlave(master_name="x0")) for name in PORTS
        ]
        for spec in (SPECS["bridge"], *ports):
            await want(runtime, spec)
        for _ in range(2):
            await eventually(lambda: [links(inside)[name].get("master") for name in PORTS] == ["x0", "x0"])
            assert links(inside)["x0"]["address"] == first
            inside.run("ip", "link", "del", "x0")
        await eventually(lambda: links(inside).get("x0", {}).get("address") == first)
        # Another port has a lower address, and the first one goes.
        await want(
            runtime,
            attrs.evolve(
                BASE,
                name="a0",
                kind="veth",
                veth=Veth(peer_name="a1"),
                hardware_addr=LOWEST,
                bridge_slave=BridgeSlave(master_name="x0"),
            ),
        )
        await eventually(lambda: links(inside).get("a0", {}).get("master") == "x0")
        await want(runtime, attrs.evolve(ports[0], bridge_slave=None))
        await eventually(lambda: "master" not in links(inside)["p0"])
        assert links(inside)["x0"]["address"] == first


@pytest.mark.needs_link("bridge")
async def test_a_bridge_created_before_its_ports_comes_up_with_their_address() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "set", "p0", "address", "02:00:00:00:ab:cd")
        await want(runtime, attrs.evolve(SPECS["bridge"], bridge_master=BridgeMaster()))
        await eventually(lambda: "UP" in links(inside).get("x0", {}).get("flags", ()))
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False, bridge_slave=BridgeSlave(master_name="x0")))
        await eventually(lambda: links(inside)["p0"].get("master") == "x0")
        await eventually(lambda: "UP" in links(inside)["x0"]["flags"])
        assert links(inside)["x0"]["address"] == links(inside)["p0"]["address"]
        # The link-local address is made of it.
        await eventually(lambda: "fe80::ff:fe00:abcd/64" in inside.run("ip", "-6", "address", "show", "dev", "x0"))


async def test_a_conflict_over_a_link_is_damped_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damping, "CALM", 1.0)
    async with node() as (inside, runtime):
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False, mtu=1400))
        await eventually(lambda: links(inside)["p0"]["mtu"] == 1400)
        turns = 0
        while not runtime.state.list(NetworkProblem):
            if links(inside)["p0"]["mtu"] == 1400:
                turns += 1
                inside.run("ip", "link", "set", "p0", "mtu", "1300")
            await trio.sleep(0.01)
        assert damping.FREE <= turns <= damping.FREE + 2
        assert await problem(runtime, "p0") == (
            "mtu 1300 instead of 1400: another program keeps reverting it; it is restored less and less often"
        )
        await eventually(lambda: links(inside)["p0"]["mtu"] == 1400)
        await runtime.gone(NetworkProblem, "LinkSpecs/p0", within=PATIENCE)


async def test_a_rejected_setting_does_not_block_the_rest_of_a_link() -> None:
    async with node() as (inside, runtime):
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False, mtu=70000, hardware_addr="02:00:00:00:00:07"))
        assert await problem(runtime, "p0") == "mtu greater than device maximum"
        assert "UP" in links(inside)["p0"]["flags"]
        assert links(inside)["p0"]["address"] == "02:00:00:00:00:07"


async def test_links_that_are_made_together_do_not_stop_each_other() -> None:
    async with node() as (inside, runtime):
        for number, peer, mtu in ((0, "y0", 1300), (1, "p1", 0), (2, "y2", 70000), (3, "y3", 0), (4, "y4", 0)):
            veth = Veth(peer_name=peer)
            await want(runtime, attrs.evolve(BASE, name=f"x{number}", kind="veth", veth=veth, mtu=mtu))
        # Its peer is there already: it is not made.
        assert await problem(runtime, "x1")
        # It is made without what is refused.
        assert await problem(runtime, "x2")
        await eventually(lambda: {"x0", "x2", "x3", "x4"} <= up(inside))
        assert links(inside)["x0"]["mtu"] == 1300
        assert "x1" not in links(inside)
        inside.run("ip", "link", "del", "p0")
        await eventually(lambda: "x1" in up(inside))
        for number in range(5):
            await unwant(runtime, f"x{number}")
        await eventually(lambda: links(inside).keys() == {"lo"})


async def test_both_ends_of_a_pair_go_although_one_was_there_before_it_was_desired(tmp_path: Path) -> None:
    with namespace() as inside:
        prior = PriorState(tmp_path / "before.jsonl")
        async with running(LinkMergeController(), LinkSpecController(netns=str(inside.path), prior=prior)) as runtime:
            await want(runtime, attrs.evolve(BASE, name="a0", kind="veth", veth=Veth(peer_name="b0")))
            await eventually(lambda: {"a0", "b0"} <= links(inside).keys())
            await runtime.settled()
            await want(runtime, attrs.evolve(BASE, name="b0", kind="veth", veth=Veth(peer_name="a0"), mtu=1400))
            await eventually(lambda: links(inside)["b0"]["mtu"] == 1400)
            await runtime.settled()
            # Together: the second is in the agent's list when the first has taken it along.
            await unwant(runtime, "a0")
            await unwant(runtime, "b0")
            await eventually(lambda: "a0" not in links(inside))
            await runtime.gone(LinkSpec, "b0", within=PATIENCE)
            assert links(inside).keys() == {"lo"}


@pytest.mark.needs_link("macvlan")
@pytest.mark.needs_link("bridge")
async def test_a_macvlan_over_a_port_of_a_bridge_is_refused_by_name() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "-batch", "-", stdin="link add b0 type bridge\nlink set p0 master b0\n")
        await want(runtime, SPECS["macvlan"])
        message = await problem(runtime, "x0")
        assert "p0 is a member of a bond or bridge" in message
        inside.run("ip", "link", "set", "p0", "nomaster")
        await runtime.gone(NetworkProblem, "LinkSpecs/x0")
        assert "x0" in links(inside)


@pytest.mark.needs_link("vxlan")
async def test_a_second_vxlan_of_one_number_is_refused_in_the_words_of_the_kernel() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "add", "v0", "type", "vxlan", "id", "5", "dstport", "4789")
        second = attrs.evolve(SPECS["vxlan"], parent_name="", vxlan=VXLAN(id=5))
        await want(runtime, second)
        assert "VXLAN device with the specified VNI already exists" in await problem(runtime, "x0")
        inside.run("ip", "link", "del", "v0")
        await runtime.gone(NetworkProblem, "LinkSpecs/x0")
        assert links(inside)["x0"]["linkinfo"]["info_data"]["id"] == 5

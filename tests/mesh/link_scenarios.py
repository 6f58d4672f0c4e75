"""What must hold of links of any kind; the mesh tier tries the kinds that any kernel has, the vm tier all of them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import attrs

from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.merge.controllers import LinkMergeController
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    IPVLAN,
    STP,
    VLAN,
    VXLAN,
    BridgeMaster,
    BridgeSlave,
    ConfigLayer,
    IPVLANFlags,
    IPVLANMode,
    LinkSpec,
    LinkSpecSpec,
    LinkType,
    MacVLAN,
    MacvlanMode,
    NetworkProblem,
    RoutingTable,
    Veth,
    VRFMaster,
    VRFSlave,
    layered_id,
)
from nodespan.runtime.testing.kit import Node, running
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

BASE = LinkSpecSpec(name="x0", logical=True, up=True, type=LinkType.ETHER, layer=ConfigLayer.CONFIGURATION)
SPECS = {
    "dummy": attrs.evolve(BASE, kind="dummy", mtu=1300, hardware_addr="02:00:00:00:00:07"),
    "veth": attrs.evolve(BASE, kind="veth", veth=Veth(peer_name="x1"), mtu=1300),
    "bridge": attrs.evolve(BASE, kind="bridge", bridge_master=BridgeMaster(stp=STP(enabled=True))),
    "vlan": attrs.evolve(BASE, kind="vlan", parent_name="p0", vlan=VLAN(vlan_id=100)),
    "vrf": attrs.evolve(BASE, kind="vrf", vrf_master=VRFMaster(table=RoutingTable.of(1000))),
    "macvlan": attrs.evolve(
        BASE, kind="macvlan", parent_name="p0", macvlan=MacVLAN(), mtu=1300, hardware_addr="02:00:00:00:00:08"
    ),
    "ipvlan": attrs.evolve(BASE, kind="ipvlan", parent_name="p0", ipvlan=IPVLAN(mode=IPVLANMode.L3)),
    "vxlan": attrs.evolve(
        BASE,
        kind="vxlan",
        parent_name="p0",
        vxlan=VXLAN(id=5, local="::ffff:192.0.2.1", learning=True),
        mtu=1300,
        hardware_addr="02:00:00:00:00:09",
    ),
}
# The same links as they would have to be made anew, or just set up otherwise.
CHANGED: dict[str, dict[str, Any]] = {
    "dummy": {"mtu": 1400},
    "veth": {"veth": Veth(peer_name="x2")},
    "bridge": {"bridge_master": BridgeMaster()},
    "vlan": {"vlan": VLAN(vlan_id=200)},
    "vrf": {"vrf_master": VRFMaster(table=RoutingTable.of(2000))},
    "macvlan": {"macvlan": MacVLAN(mode=MacvlanMode.PRIVATE)},
    "ipvlan": {"ipvlan": IPVLAN(flags=IPVLANFlags.PRIVATE)},
    "vxlan": {"vxlan": VXLAN(id=6, group="ff05::100", port=8472)},
}


@contextlib.asynccontextmanager
async def node() -> AsyncIterator[tuple[Namespace, Node]]:
    """A namespace with a veth pair `p0`, `p1` that somebody else made, and the controllers of links."""
    with namespace() as inside:
        inside.ip("link add p0 type veth peer name p1", "link set p1 up")
        async with running(LinkMergeController(), LinkSpecController(netns=str(inside.path))) as runtime:
            yield inside, runtime


async def want(runtime: Node, spec: LinkSpecSpec) -> None:
    resource = LinkSpec.new(layered_id(spec.layer, spec.name), spec, namespace=CONFIG_NAMESPACE)
    await runtime.state.modify(resource, lambda known: known.with_spec(spec))


async def unwant(runtime: Node, name: str = "x0") -> None:
    await runtime.state.destroy(LinkSpec.within(CONFIG_NAMESPACE), layered_id(BASE.layer, name))


def links(inside: Namespace) -> dict[str, dict[str, Any]]:
    return {link["ifname"]: link for link in inside.reported("link", "show")}


async def a_link_is_created_changed_repaired_and_removed(kind: str) -> None:
    spec = SPECS[kind]
    async with node() as (inside, runtime):
        await want(runtime, spec)
        if kind == "vlan":
            # Nothing comes up on a link that is down; this is tried again.
            problem = await runtime.eventually(NetworkProblem, "LinkSpecs/x0")
            assert problem.spec.message == "x0 does not take its state: the link below it is down"
            inside.run("ip", "link", "set", spec.parent_name, "up")
        # The first link of a kind may have to wait for the kernel to load a module.
        await eventually(lambda: is_up(inside))
        made = links(inside)["x0"]
        assert made["linkinfo"]["info_kind"] == kind
        if spec.mtu:
            assert made["mtu"] == 1300
        if spec.hardware_addr:
            assert made["address"] == spec.hardware_addr
        inside.run("ip", "link", "del", "x0")
        await eventually(lambda: is_up(inside))
        await want(runtime, attrs.evolve(spec, **CHANGED[kind]))
        await eventually(lambda: as_changed(kind, links(inside)))
        await runtime.settled()
        assert not runtime.state.list(NetworkProblem)
        await unwant(runtime)
        await eventually(lambda: links(inside).keys() == {"lo", "p0", "p1"})
        await runtime.gone(LinkSpec, "x0")


def is_up(inside: Namespace) -> bool:
    return "UP" in links(inside).get("x0", {}).get("flags", ())


def as_changed(kind: str, found: dict[str, dict[str, Any]]) -> bool:
    link = found.get("x0")
    if link is None or "UP" not in link["flags"]:
        return False
    data = link["linkinfo"].get("info_data", {})
    match kind:
        case "dummy":
            return bool(link["mtu"] == 1400)
        case "veth":
            return bool(link["link"] == "x2" and "x1" not in found)
        case "bridge":
            return bool(data["stp_state"] == 0)
        case "vlan":
            return bool(data["id"] == 200)
        case "macvlan":
            return bool(data["mode"] == "private" and link["link"] == "p0")
        case "ipvlan":
            return bool(data["mode"] == "l2" and data.get("flags", ["private"]) == ["private"])
        case "vxlan":
            shown = (data["id"], data.get("group6", data.get("group")), data["port"], data["link"])
            return bool(shown == (6, "ff05::100", 8472, "p0") and not data.get("learning", False))
        case _:
            return bool(data["table"] == 2000)


async def a_port_joins_its_bridge_and_is_released() -> None:
    async with node() as (inside, runtime):
        port = attrs.evolve(BASE, name="p0", logical=False, bridge_slave=BridgeSlave(master_name="x0"))
        await want(runtime, port)
        await want(runtime, SPECS["bridge"])
        await eventually(lambda: links(inside)["p0"].get("master") == "x0")
        await want(runtime, attrs.evolve(port, bridge_slave=None))
        await eventually(lambda: "master" not in links(inside)["p0"])


async def a_link_joins_its_vrf() -> None:
    async with node() as (inside, runtime):
        await want(runtime, SPECS["vrf"])
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False, vrf_slave=VRFSlave(master_name="x0")))
        await eventually(lambda: links(inside)["p0"].get("master") == "x0")

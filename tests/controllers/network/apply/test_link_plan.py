"""The next step for a link, decided on what the kernel has."""

from collections.abc import Hashable
from typing import Any

import attrs
import pytest

from nodespan.controllers.network.apply.interests import LinkAtIndex, NotedLinks
from nodespan.controllers.network.apply.link_plan import (
    Create,
    Refuse,
    Remove,
    Wait,
    adjustment,
    complaint,
    existence,
    in_order,
    in_words,
)
from nodespan.kernel.changes.link_changes import LinkChange
from nodespan.kernel.link_lookup import LinkLookup, LinkTable
from nodespan.kernel.links import KernelLink
from nodespan.resources.network import (
    IPVLAN,
    STP,
    VLAN,
    VXLAN,
    BridgeMaster,
    BridgeSlave,
    IPVLANMode,
    LinkFlags,
    LinkSpecSpec,
    LinkStatusSpec,
    MacVLAN,
    MacvlanMode,
    RoutingTable,
    Veth,
    VRFMaster,
    VRFSlave,
)
from nodespan.resources.network.enums import VLANProtocol

SPEC = LinkSpecSpec(name="x0", logical=True, up=True, kind="dummy")


def link(name: str, index: int = 7, **fields: Any) -> KernelLink:
    return KernelLink(name=name, status=LinkStatusSpec(index=index, **fields))


def lookup(*links: KernelLink) -> LinkLookup:
    return LinkLookup({each.status.index: each for each in links})


PARENT = link("p0", 3)
ON_PARENT = attrs.evolve(SPEC, parent_name="p0")
MACVLAN = attrs.evolve(ON_PARENT, kind="macvlan", macvlan=MacVLAN())
IPVLANS = attrs.evolve(ON_PARENT, kind="ipvlan", ipvlan=IPVLAN())
VXLANS = attrs.evolve(ON_PARENT, kind="vxlan", vxlan=VXLAN(id=5, local="::ffff:10.0.0.1"))
UP = LinkFlags.UP


@pytest.mark.parametrize(
    ("spec", "links", "step"),
    [
        (SPEC, (), Create(SPEC, 0)),
        (SPEC, (link("x0", kind="dummy"),), None),
        (attrs.evolve(SPEC, logical=False), (), Wait("there is no link x0")),
        (attrs.evolve(SPEC, logical=False), (link("x0", kind="bridge"),), None),
        (attrs.evolve(SPEC, parent_name="p0"), (), Wait("there is no link p0")),
        (attrs.evolve(SPEC, parent_name="p0"), (PARENT,), Create(attrs.evolve(SPEC, parent_name="p0"), 3)),
        # wireguard-go makes links of kind tun.
        (attrs.evolve(SPEC, kind="wireguard"), (link("x0", kind="tun"),), None),
        (attrs.evolve(SPEC, kind="vlan", vlan=VLAN(vlan_id=5)), (link("x0", kind="vlan", vlan=VLAN(vlan_id=5)),), None),
        (
            attrs.evolve(SPEC, kind="vlan", vlan=VLAN(vlan_id=5)),
            (link("x0", kind="vlan", vlan=VLAN(vlan_id=6)),),
            Remove(7),
        ),
        (
            attrs.evolve(SPEC, kind="vrf", vrf_master=VRFMaster(table=RoutingTable.of(5))),
            (link("x0", kind="vrf", vrf_master=VRFMaster(table=RoutingTable.of(6))),),
            Remove(7),
        ),
        (MACVLAN, (PARENT,), Create(MACVLAN, 3)),
        (MACVLAN, (), Wait("there is no link p0")),
        # Another VLAN there is not in the way.
        (MACVLAN, (PARENT, link("v0", 9, kind="vlan", link_index=3, vlan=VLAN(vlan_id=5))), Create(MACVLAN, 3)),
        (MACVLAN, (link("x0", kind="macvlan", link_index=3, macvlan=MacVLAN()), PARENT), None),
        (MACVLAN, (link("x0", kind="macvlan", link_index=4, macvlan=MacVLAN()), PARENT), Remove(7)),
        (
            MACVLAN,
            (link("x0", kind="macvlan", link_index=3, macvlan=MacVLAN(mode=MacvlanMode.VEPA)), PARENT),
            Remove(7),
        ),
        (IPVLANS, (link("x0", kind="ipvlan", link_index=3, ipvlan=IPVLAN()), PARENT), None),
        (IPVLANS, (link("x0", kind="ipvlan", link_index=3, ipvlan=IPVLAN(mode=IPVLANMode.L3)), PARENT), Remove(7)),
        # As the kernel reports what was asked for.
        (
            VXLANS,
            (link("x0", kind="vxlan", link_index=3, vxlan=VXLAN(id=5, local="10.0.0.1", port=4789)), PARENT),
            None,
        ),
        (VXLANS, (link("x0", kind="vxlan", link_index=3, vxlan=VXLAN(id=5, local="10.0.0.1", port=8472)),), Remove(7)),
        (VXLANS, (link("x0", kind="vxlan", link_index=3, vxlan=VXLAN(id=6, local="10.0.0.1", port=4789)),), Remove(7)),
        (VXLANS, (link("x0", kind="vxlan", vxlan=VXLAN(id=5, local="10.0.0.1", port=4789)), PARENT), Remove(7)),
        (
            attrs.evolve(SPEC, kind="veth", veth=Veth(peer_name="p0")),
            (link("x0", kind="veth", link_index=3), PARENT),
            None,
        ),
        (
            attrs.evolve(SPEC, kind="veth", veth=Veth(peer_name="other")),
            (link("x0", kind="veth", link_index=3), PARENT),
            Remove(7),
        ),
    ],
)
def test_a_link_is_made_or_replaced(spec: LinkSpecSpec, links: tuple[KernelLink, ...], step: object) -> None:
    assert existence(spec, lookup(*links), {}) == step


def test_a_link_of_another_kind_is_refused_unless_the_agent_made_it() -> None:
    there = lookup(link("x0", kind="bridge"))
    assert isinstance(existence(SPEC, there, {}), Refuse)
    assert existence(SPEC, there, {"x0": "bridge"}) == Remove(7)
    physical = existence(SPEC, lookup(link("x0")), {"x0": ""})
    assert isinstance(physical, Refuse)
    assert "a physical link x0" in physical.reason


def test_a_kind_that_cannot_be_made_is_refused() -> None:
    assert isinstance(existence(attrs.evolve(SPEC, kind="geneve"), lookup(), {}), Refuse)
    numbered = existence(attrs.evolve(SPEC, name="br%d"), lookup(), {})
    assert isinstance(numbered, Refuse)
    assert "contains %" in numbered.reason


@pytest.mark.parametrize(
    ("spec", "status", "change"),
    [
        ({}, {"flags": UP}, None),
        ({}, {}, {"up": True}),
        ({"up": False}, {"flags": UP}, {"up": False}),
        ({"mtu": 1400}, {"flags": UP, "mtu": 1500}, {"mtu": 1400}),
        ({"mtu": 0}, {"flags": UP, "mtu": 1500}, None),
        ({"hardware_addr": "02:AA:00:00:00:01"}, {"flags": UP, "hardware_addr": "02:aa:00:00:00:01"}, None),
        (
            {"hardware_addr": "02:AA:00:00:00:01"},
            {"flags": UP, "hardware_addr": "02:aa:00:00:00:02"},
            {"hardware_addr": "02:aa:00:00:00:01"},
        ),
        ({"multicast": False}, {"flags": UP | LinkFlags.MULTICAST}, {"multicast": False}),
        ({"multicast": None}, {"flags": UP | LinkFlags.MULTICAST}, None),
        ({"bridge_master": BridgeMaster(stp=STP(enabled=True))}, {"flags": UP}, {"stp": True, "vlan_filtering": False}),
        (
            {"bridge_master": BridgeMaster(stp=STP(enabled=True))},
            {"flags": UP, "bridge_master": BridgeMaster()},
            {"stp": True},
        ),
        ({"bridge_slave": BridgeSlave(master_name="later0")}, {"flags": UP}, None),
        ({"bridge_slave": BridgeSlave(master_name="br0")}, {"flags": UP}, {"master": 5}),
        ({"bridge_slave": BridgeSlave(master_name="br0")}, {"flags": UP, "master_index": 5}, None),
        ({"vrf_slave": VRFSlave(master_name="br0")}, {"flags": UP}, {"master": 5}),
        # A bond takes links that are down.
        ({"master_name": "bond0"}, {"flags": UP}, {"up": False}),
        ({"master_name": "bond0"}, {}, {"master": 6}),
        # Somebody else's bridge is not left because a spec says nothing of it.
        ({}, {"flags": UP, "master_index": 5}, None),
    ],
)
def test_only_what_differs_and_is_configured_is_changed(
    spec: dict[str, Any], status: dict[str, Any], change: dict[str, Any] | None
) -> None:
    there = link("x0", **status)
    others = (link("br0", 5, kind="bridge"), link("bond0", 6, kind="bond"))
    wanted = None if change is None else LinkChange(index=7, **change)
    assert adjustment(attrs.evolve(SPEC, **spec), there, lookup(there, *others), {}) == wanted


VLAN_SPEC = attrs.evolve(SPEC, kind="vlan", parent_name="p0", vlan=VLAN(vlan_id=5), mtu=9000)


def vlan(**fields: Any) -> KernelLink:
    return link("x0", kind="vlan", vlan=VLAN(vlan_id=5), link_index=3, mtu=1500, **fields)


def test_a_vlan_on_another_link_than_its_parent_is_replaced() -> None:
    assert existence(VLAN_SPEC, lookup(vlan(), PARENT), {}) is None
    assert existence(VLAN_SPEC, lookup(vlan(), link("p0", 4), link("p1", 3)), {}) == Remove(7)
    # Its parent is gone, and somebody else's link has the index.
    assert existence(VLAN_SPEC, lookup(vlan(), link("p1", 3)), {}) is None


def test_a_vlan_that_its_parent_has_under_another_name_is_refused_by_that_name() -> None:
    tag = VLAN(vlan_id=5)
    spec = attrs.evolve(SPEC, name="uplink.5", kind="vlan", parent_name="uplink", vlan=tag)
    parent = link("p0", 3, alias="uplink")
    twin = link("p0.5", kind="vlan", link_index=3, vlan=tag)
    decided = existence(spec, lookup(parent, twin), {})
    assert isinstance(decided, Refuse)
    assert "p0 has VLAN 5 already, and its name is p0.5" in decided.reason
    for other in (attrs.evolve(tag, vlan_id=6), attrs.evolve(tag, vlan_protocol=VLANProtocol.IEEE8021AD)):
        unlike = link("p0.5", kind="vlan", link_index=3, vlan=other)
        assert isinstance(existence(spec, lookup(parent, unlike), {}), Create)
    table = LinkTable({3: parent, 7: twin})
    noted: set[Hashable] = set()
    existence(spec, LinkLookup(NotedLinks(table, noted)), {})
    # So that it is made when the other one goes.
    assert LinkAtIndex(7) in noted
    table.set(7, None)
    assert existence(spec, LinkLookup(table.copy()), {}) == Create(spec, 3)


def test_a_vlans_mtu_above_that_of_its_parent_is_left_out_and_named_until_the_parent_has_room() -> None:
    small, there = link("p0", 3, mtu=1500), vlan()
    assert adjustment(VLAN_SPEC, there, lookup(there, small), ()) == LinkChange(index=7, up=True)
    said = complaint(VLAN_SPEC, there, lookup(there, small))
    assert "the MTU 9000 of x0 is above the MTU 1500 of p0" in said
    assert "stays at 1500" in said
    large = link("p0", 3, mtu=9000)
    assert complaint(VLAN_SPEC, there, lookup(there, large)) == ""
    assert adjustment(VLAN_SPEC, there, lookup(there, large), ()) == LinkChange(index=7, up=True, mtu=9000)


OWN = "02:00:00:00:00:01"


@pytest.mark.parametrize(
    ("status", "change"),
    [
        # It is given its own address before it joins, and has that of the bond afterwards.
        ({"flags": UP, "hardware_addr": "02:00:00:00:00:09"}, {"up": False, "hardware_addr": OWN}),
        ({"hardware_addr": "02:00:00:00:00:09"}, {"hardware_addr": OWN}),
        ({"hardware_addr": OWN}, {"master": 6}),
        ({"flags": UP, "hardware_addr": "02:00:00:00:00:09", "master_index": 6}, None),
        # It moves to this bond from another.
        ({"flags": UP, "hardware_addr": "02:00:00:00:00:09", "master_index": 8}, {"up": False}),
    ],
)
def test_the_address_of_a_member_is_its_bonds(status: dict[str, Any], change: dict[str, Any] | None) -> None:
    there = link("x0", **status)
    bonds = (link("bond0", 6, kind="bond"), link("bond1", 8, kind="bond"))
    spec = attrs.evolve(SPEC, master_name="bond0", hardware_addr=OWN)
    wanted = None if change is None else LinkChange(index=7, **change)
    assert adjustment(spec, there, lookup(there, *bonds), ()) == wanted


def test_a_conflict_over_a_link_is_described_in_words() -> None:
    there = link("x0", flags=UP, mtu=1300, master_index=5)
    known = lookup(there, link("br0", 5, kind="bridge"))
    assert in_words(LinkChange(index=7, mtu=1400, up=False), there, known) == (
        "up up instead of down, mtu 1300 instead of 1400"
    )
    assert in_words(LinkChange(index=7, master=0), there, known) == "master br0 instead of none"


def test_a_change_can_be_taken_apart() -> None:
    change = LinkChange(index=7, mtu=1400, up=False, bond=(("miimon", 100),))
    assert set(change.apart()) == {
        LinkChange(index=7, mtu=1400),
        LinkChange(index=7, up=False),
        LinkChange(index=7, bond=(("miimon", 100),)),
    }
    assert not LinkChange(index=7)


def test_a_link_that_the_agent_put_into_a_master_is_released() -> None:
    there = link("x0", flags=UP, master_index=5)
    known = lookup(there, link("br0", 5, kind="bridge"))
    assert adjustment(SPEC, there, known, {"br0"}) == LinkChange(index=7, master=0)
    assert adjustment(SPEC, there, known, {"br1"}) is None


def test_what_is_made_on_a_link_comes_after_it_however_deep() -> None:
    specs = [
        attrs.evolve(SPEC, name="a.1.2", parent_name="a.1", bridge_slave=BridgeSlave(master_name="z")),
        attrs.evolve(SPEC, name="a.1", parent_name="bond0"),
        attrs.evolve(SPEC, name="e0", master_name="bond0"),
        attrs.evolve(SPEC, name="bond0"),
        attrs.evolve(SPEC, name="z"),
        # Nonsense has an order, too.
        attrs.evolve(SPEC, name="p", parent_name="q"),
        attrs.evolve(SPEC, name="q", parent_name="p"),
    ]
    names = [spec.name for spec in in_order(specs)]
    assert names.index("bond0") < names.index("a.1") < names.index("a.1.2")
    assert names.index("z") < names.index("a.1.2")
    assert names.index("bond0") < names.index("e0")


def test_masters_come_before_members_and_members_in_their_order() -> None:
    specs = [
        attrs.evolve(SPEC, name="a9", master_name="bond0", slave_index=0),
        attrs.evolve(SPEC, name="a1", master_name="bond0", slave_index=1),
        attrs.evolve(SPEC, name="bond0"),
        attrs.evolve(SPEC, name="port", bridge_slave=BridgeSlave(master_name="br0")),
        attrs.evolve(SPEC, name="br0"),
        attrs.evolve(SPEC, name="alone"),
    ]
    assert [spec.name for spec in in_order(specs)] == ["alone", "bond0", "br0", "a9", "a1", "port"]

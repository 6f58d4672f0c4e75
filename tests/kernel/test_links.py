"""What messages about links mean."""

from typing import Any

import attrs
import pytest

from nodespan.kernel.links import (
    BEARERS,
    LINK_NAMES,
    LINK_SETTINGS,
    LINKS_WITHOUT_QUEUES,
    WHOLE_LINKS,
    KernelLink,
    Links,
    read_link,
    with_names,
)
from nodespan.kernel.mirror import Effect
from nodespan.kernel.shared_mirror import Aspect
from nodespan.resources.network import BondMaster, BridgeMaster, LinkStatusSpec, Veth
from nodespan.resources.network.enums import (
    ADLACPActive,
    BondMode,
    IPVLANMode,
    LACPRate,
    LinkFlags,
    LinkType,
    MacvlanMode,
    OperationalState,
    RoutingTable,
    VLANProtocol,
    XmitHashPolicy,
)
from nodespan.resources.network.link import IPVLAN, STP, VLAN, VXLAN, BridgeVLAN, MacVLAN, VRFMaster
from tests.kernel.messages import link, nest, queue


def test_all_fields_of_a_link_are_parsed() -> None:
    message = link(
        ("IFLA_IFNAME", "enp1s0"),
        ("IFLA_IFALIAS", "net0"),
        ("IFLA_PROP_LIST", nest(("IFLA_ALT_IFNAME", "enx0050568e8fe4"), ("IFLA_ALT_IFNAME", "uplink"))),
        ("IFLA_ADDRESS", "00:50:56:8E:8F:E4"),
        ("IFLA_BROADCAST", "ff:ff:ff:ff:ff:ff"),
        ("IFLA_OPERSTATE", "UP"),
        ("IFLA_CARRIER", 1),
        ("IFLA_QDISC", "pfifo_fast"),
        ("IFLA_MASTER", 9),
        ("IFLA_LINKINFO", nest(("IFLA_INFO_SLAVE_KIND", "bond"))),
        flags=0x11843,
    )
    assert read_link(message) == KernelLink(
        name="enp1s0",
        status=LinkStatusSpec(
            alias="net0",
            alt_names=("enx0050568e8fe4", "uplink"),
            index=7,
            type=LinkType.ETHER,
            flags=LinkFlags(0x11843),
            hardware_addr="00:50:56:8e:8f:e4",
            broadcast_addr="ff:ff:ff:ff:ff:ff",
            mtu=1500,
            queue_disc="pfifo_fast",
            master_index=9,
            operational_state=OperationalState.UP,
            slave_kind="bond",
            link_state=True,
        ),
    )


@pytest.mark.parametrize(
    ("flags", "carrier", "state"), [(LinkFlags.UP, 1, True), (LinkFlags.UP, 0, False), (LinkFlags(0), 1, False)]
)
def test_a_link_that_is_down_has_no_link_state(flags: LinkFlags, carrier: int, state: bool) -> None:
    message = link(("IFLA_IFNAME", "eth0"), ("IFLA_CARRIER", carrier), flags=int(flags))
    assert read_link(message).status.link_state is state


@pytest.mark.parametrize(
    ("kind", "options", "field", "value"),
    [
        (
            "vlan",
            [("IFLA_VLAN_ID", 100), ("IFLA_VLAN_PROTOCOL", 0x8100)],
            "vlan",
            VLAN(vlan_id=100, vlan_protocol=VLANProtocol.IEEE8021Q),
        ),
        (
            "vlan",
            [("IFLA_VLAN_ID", 4094), ("IFLA_VLAN_PROTOCOL", 0x88A8)],
            "vlan",
            VLAN(vlan_id=4094, vlan_protocol=VLANProtocol.IEEE8021AD),
        ),
        (
            "bridge",
            [("IFLA_BR_STP_STATE", 1), ("IFLA_BR_VLAN_FILTERING", 1)],
            "bridge_master",
            BridgeMaster(stp=STP(enabled=True), vlan=BridgeVLAN(filtering_enabled=True)),
        ),
        ("bridge", [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_VLAN_FILTERING", 0)], "bridge_master", BridgeMaster()),
        ("vrf", [("IFLA_VRF_TABLE", 1007)], "vrf_master", VRFMaster(table=RoutingTable.of(1007))),
        (
            "bond",
            [
                ("IFLA_BOND_MODE", 4),
                ("IFLA_BOND_MIIMON", 100),
                ("IFLA_BOND_USE_CARRIER", 1),
                ("IFLA_BOND_XMIT_HASH_POLICY", 1),
                ("IFLA_BOND_AD_LACP_RATE", 1),
                ("IFLA_BOND_AD_ACTOR_SYS_PRIO", 65535),
                ("IFLA_BOND_PEER_NOTIF_DELAY", 200),
                ("IFLA_BOND_AD_LACP_ACTIVE", 1),
                ("IFLA_BOND_MISSED_MAX", 2),
                ("IFLA_BOND_PRIMARY", 3),
                ("IFLA_BOND_ARP_IP_TARGET", ["192.0.2.1", "192.0.2.2"]),
            ],
            "bond_master",
            BondMaster(
                mode=BondMode.IEEE8023AD,
                miimon=100,
                use_carrier=True,
                xmit_hash_policy=XmitHashPolicy.LAYER34,
                lacp_rate=LACPRate.FAST,
                ad_actor_sys_prio=65535,
                peer_notify_delay=200,
                ad_lacp_active=ADLACPActive.ON,
                missed_max=2,
                primary_index=3,
                arp_ip_targets=("192.0.2.1", "192.0.2.2"),
            ),
        ),
        ("veth", [], "veth", Veth()),
        ("macvlan", [("IFLA_MACVLAN_MODE", 8)], "macvlan", MacVLAN(mode=MacvlanMode.PASSTHRU)),
        # A mode that is newer than the table.
        ("macvlan", [("IFLA_MACVLAN_MODE", 32)], "macvlan", MacVLAN(mode=MacvlanMode("32"))),
        ("ipvlan", [("IFLA_IPVLAN_MODE", 2)], "ipvlan", IPVLAN(mode=IPVLANMode.L3S)),
        (
            "vxlan",
            [
                ("IFLA_VXLAN_ID", 5),
                ("IFLA_VXLAN_LOCAL", "192.0.2.1"),
                ("IFLA_VXLAN_PORT", 4789),
                ("IFLA_VXLAN_LEARNING", 1),
            ],
            "vxlan",
            VXLAN(id=5, local="192.0.2.1", port=4789, learning=True),
        ),
        (
            "vxlan",
            [("IFLA_VXLAN_ID", 5), ("IFLA_VXLAN_GROUP6", "ff05::1"), ("IFLA_VXLAN_LINK", 3)],
            "vxlan",
            VXLAN(id=5, group="ff05::1"),
        ),
        ("vxlan", [("IFLA_VXLAN_ID", 5), ("IFLA_VXLAN_LINK", 3)], "link_index", 3),
    ],
)
def test_the_options_of_a_kind_are_read(kind: str, options: list[tuple[str, Any]], field: str, value: object) -> None:
    info = [("IFLA_INFO_KIND", kind), *([("IFLA_INFO_DATA", nest(*options))] if options else [])]
    status = read_link(link(("IFLA_IFNAME", "x"), ("IFLA_LINKINFO", nest(*info)))).status
    assert status.kind == kind
    assert getattr(status, field) == value


def test_the_primary_of_a_bond_is_shown_by_name() -> None:
    options = nest(("IFLA_BOND_MODE", 1), ("IFLA_BOND_PRIMARY", 3))
    bond = link(
        ("IFLA_IFNAME", "bond0"), ("IFLA_LINKINFO", nest(("IFLA_INFO_KIND", "bond"), ("IFLA_INFO_DATA", options)))
    )
    status = with_names(read_link(bond), "eth{}".format)
    # A kernel that does not know of `lacp_active` is active.
    assert status.bond_master == BondMaster(
        mode=BondMode.ACTIVE_BACKUP, primary_index=3, primary="eth3", ad_lacp_active=ADLACPActive.ON
    )


def veth(index: int, name: str, peer: int = 0, *attributes: tuple[str, Any]) -> Any:
    parent = [("IFLA_LINK", peer)] if peer else []
    return link(
        ("IFLA_IFNAME", name),
        *parent,
        *attributes,
        ("IFLA_LINKINFO", nest(("IFLA_INFO_KIND", "veth"))),
        index=index,
    )


@pytest.mark.parametrize(
    ("message", "peer"),
    [
        (veth(7, "a", 8), "b"),
        (veth(7, "a", 99), ""),
        (veth(7, "a"), ""),
        (veth(7, "a", 8, ("IFLA_LINK_NETNSID", 0)), ""),
    ],
    ids=["beside it", "unknown", "not yet there", "in another namespace"],
)
def test_a_veth_shows_the_name_of_its_other_end(message: Any, peer: str) -> None:
    status = with_names(read_link(message), lambda index: {8: "b"}.get(index, ""))
    assert status.veth == Veth(peer_name=peer)


ETH0 = read_link(link(("IFLA_IFNAME", "eth0")))
HALF = read_link(veth(7, "a"))


@pytest.mark.parametrize(
    ("items", "message", "effect"),
    [
        ({}, link(("IFLA_IFNAME", "eth0")), Effect(changes={7: ETH0}, announced=frozenset({7}))),
        ({7: ETH0}, link(("IFLA_IFNAME", "eth0")), Effect(changes={7: ETH0}, announced=frozenset({7}))),
        ({7: ETH0}, link(("IFLA_IFNAME", "eth0"), gone=True), Effect(changes={7: None})),
        ({7: ETH0}, link(family=7), Effect(reread=frozenset({7}))),
        ({7: ETH0}, link(family=7, gone=True), Effect(reread=frozenset({7}))),
        ({7: ETH0}, link(("IFLA_IFNAME", "eth0"), partial=True), Effect(reread=frozenset({7}))),
        ({7: ETH0}, queue(7), Effect(reread=frozenset({7}))),
        ({7: ETH0}, queue(8), Effect()),
        (
            {7: HALF},
            veth(8, "b", 7),
            Effect(changes={7: read_link(veth(7, "a", 8)), 8: read_link(veth(8, "b", 7))}, announced=frozenset({8})),
        ),
        (
            {7: HALF},
            veth(8, "b", 7, ("IFLA_LINK_NETNSID", 0)),
            Effect(changes={8: read_link(veth(8, "b", 7, ("IFLA_LINK_NETNSID", 0)))}, announced=frozenset({8})),
        ),
        (
            {7: ETH0},
            veth(8, "b", 7),
            Effect(changes={8: read_link(veth(8, "b", 7))}, announced=frozenset({8})),
        ),
        (
            {7: read_link(veth(7, "a", 8))},
            veth(8, "b", 7),
            Effect(changes={8: read_link(veth(8, "b", 7))}, announced=frozenset({8})),
        ),
    ],
    ids=[
        "new",
        "announced without a visible change",
        "gone",
        "about the port",
        "port left its bridge",
        "wireless part only",
        "queue changed",
        "queue of an unknown link",
        "second half of a pair",
        "its other end is in another namespace",
        "its other end is no veth yet",
        "both halves known",
    ],
)
def test_link_messages_fold(items: dict[int, KernelLink], message: Any, effect: Effect[int, KernelLink]) -> None:
    assert Links().fold(items, message) == effect


CABLE = KernelLink(name="eth0", status=LinkStatusSpec(index=7, mtu=1500, queue_disc="noqueue"))
QUEUED = attrs.evolve(CABLE, status=attrs.evolve(CABLE.status, queue_disc="fq"))
SMALL = attrs.evolve(CABLE, status=attrs.evolve(CABLE.status, mtu=1400))
RENAMED = attrs.evolve(CABLE, name="wan0")
RUNNING = attrs.evolve(CABLE, status=attrs.evolve(CABLE.status, flags=LinkFlags.RUNNING, link_state=True))
RAISED = attrs.evolve(CABLE, status=attrs.evolve(CABLE.status, flags=LinkFlags.UP))
MEMBER = attrs.evolve(CABLE, status=attrs.evolve(CABLE.status, master_index=9))
NICKNAMED = attrs.evolve(CABLE, status=attrs.evolve(CABLE.status, alt_names=("uplink",)))
READDRESSED = attrs.evolve(CABLE, status=attrs.evolve(CABLE.status, hardware_addr="02:00:00:00:00:01"))
EVERY = (CABLE, QUEUED, SMALL, RENAMED, RUNNING, RAISED, MEMBER, NICKNAMED, READDRESSED)


@pytest.mark.parametrize(
    ("aspect", "matters"),
    [
        (WHOLE_LINKS, [QUEUED, SMALL, RENAMED, RUNNING, RAISED, MEMBER, NICKNAMED, READDRESSED]),
        (LINKS_WITHOUT_QUEUES, [SMALL, RENAMED, RUNNING, RAISED, MEMBER, NICKNAMED, READDRESSED]),
        (LINK_SETTINGS, [SMALL, RENAMED, RAISED, MEMBER, NICKNAMED, READDRESSED]),
        (BEARERS, [SMALL, RENAMED, RAISED, MEMBER, NICKNAMED]),
        (LINK_NAMES, [RENAMED]),
    ],
)
def test_a_subscriber_is_woken_by_its_own_fields_only(aspect: Aspect[KernelLink], matters: list[KernelLink]) -> None:
    assert [link for link in EVERY if not aspect.same(CABLE, link)] == matters

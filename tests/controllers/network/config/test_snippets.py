"""The examples of the reference, as specs."""

import datetime
from collections.abc import Mapping
from typing import Any

import pytest

from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.network import ClientIdentifier
from nodespan.resources.network import (
    STP,
    VLAN,
    VXLAN,
    AddressSpec,
    AddressSpecSpec,
    BondMaster,
    BridgeMaster,
    BridgeSlave,
    BridgeVLAN,
    ClientIdentifierSpec,
    ConfigLayer,
    DeviceConfigSpec,
    DHCP4OperatorSpec,
    DHCP6OperatorSpec,
    Family,
    LinkAliasSpec,
    LinkSpec,
    LinkSpecSpec,
    LinkStatusSpec,
    LinkType,
    MacVLAN,
    MacvlanMode,
    Operator,
    OperatorSpec,
    OperatorSpecSpec,
    RouteSpec,
    RouteSpecSpec,
    RouteType,
    RoutingRuleSpec,
    RoutingRuleSpecSpec,
    RoutingTable,
    Scope,
    Veth,
    VIPEquinixMetalSpec,
    VIPHCloudSpec,
    VIPOperatorSpec,
    VRFMaster,
    VRFSlave,
    WireguardPeer,
    WireguardSpec,
)
from nodespan.resources.network.enums import ADLACPActive, BondMode, LACPRate
from tests.controllers.network.config.house import configure, devices, house, nic, problems, snippet, unmerged

pytestmark = pytest.mark.virtual_clock

CONFIGURATION = ConfigLayer.CONFIGURATION
KEYS = [f"AAs{'A' * 38}EA=", f"AQ{'A' * 41}=", f"Ag{'A' * 41}="]


def link(name: str, **fields: Any) -> LinkSpecSpec:
    given: dict[str, Any] = {"up": True, "layer": CONFIGURATION}
    return LinkSpecSpec(name=name, **(given | fields))


def made(name: str, kind: str, **fields: Any) -> LinkSpecSpec:
    return link(name, logical=True, kind=kind, **({"type": LinkType.ETHER} | fields))


def address(name: str, text: str, **fields: Any) -> AddressSpecSpec:
    family = Family.INET6 if ":" in text else Family.INET4
    return AddressSpecSpec(address=text, link_name=name, family=family, layer=CONFIGURATION, **fields)


def route(name: str, **fields: Any) -> RouteSpecSpec:
    given: dict[str, Any] = {"priority": 1024, "layer": CONFIGURATION}
    return RouteSpecSpec(out_link_name=name, **(given | fields))


def dhcp4(name: str, metric: int = 1024) -> OperatorSpecSpec:
    options = DHCP4OperatorSpec(route_metric=metric)
    return OperatorSpecSpec(operator=Operator.DHCP4, link_name=name, dhcp4=options, layer=CONFIGURATION)


def dhcp6(name: str, options: DHCP6OperatorSpec) -> OperatorSpecSpec:
    return OperatorSpecSpec(operator=Operator.DHCP6, link_name=name, dhcp6=options, layer=CONFIGURATION)


def vip(name: str, ip: str) -> OperatorSpecSpec:
    return OperatorSpecSpec(operator=Operator.VIP, link_name=name, vip=VIPOperatorSpec(ip=ip), layer=CONFIGURATION)


DEFAULTS: dict[str, Any] = {
    "resend_igmp": 1,
    "lp_interval": 1,
    "packets_per_slave": 1,
    "num_peer_notif": 1,
    "tlb_logical_lb": 1,
    "use_carrier": True,
    "ad_lacp_active": ADLACPActive.ON,
}

Expected = Mapping[Any, Mapping[str, Any]]
CASES: list[tuple[str, Mapping[str, LinkStatusSpec], Expected]] = [
    ("proxies", {"eth0": nic(2)}, {}),
    (
        "selectors",
        {
            "ens3": nic(3, "00:00:00:00:00:01", bus_path="virtio0"),
            "ens4": nic(4, "00:50:56:8e:8f:e4", bus_path="usb-1"),
            "ens5": nic(5, "00:50:57:9c:2c:2d", bus_path="0000:00:05.0"),
        },
        {
            LinkSpec: {
                "configuration/ens3": link("ens3"),
                "configuration/bond0": made(
                    "bond0", "bond", bond_master=BondMaster(mode=BondMode.ROUND_ROBIN, missed_max=2, **DEFAULTS)
                ),
                "configuration/ens4": link("ens4", master_name="bond0"),
                "configuration/ens5": link("ens5", master_name="bond0", slave_index=1),
            },
            AddressSpec: {
                "configuration/ens3/192.168.88.21/24": address("ens3", "192.168.88.21/24"),
                "configuration/bond0/10.20.0.5/24": address("bond0", "10.20.0.5/24"),
                "configuration/ens5/10.3.4.5/24": address("ens5", "10.3.4.5/24"),
            },
        },
    ),
    (
        "virtual_ip",
        {"eth0": nic(2, bus_path="usb-1"), "eth1": nic(3)},
        {
            LinkSpec: {
                "configuration/eth0": link("eth0"),
                "configuration/eth0.100": made("eth0.100", "vlan", parent_name="eth0", vlan=VLAN(vlan_id=100)),
                "configuration/eth1": link("eth1"),
            },
            OperatorSpec: {
                "configuration/dhcp4/eth0": dhcp4("eth0"),
                "configuration/dhcp4/eth0.100": dhcp4("eth0.100"),
                "configuration/dhcp4/eth1": dhcp4("eth1"),
                "configuration/vip/eth0/192.168.0.15": vip("eth0", "192.168.0.15"),
                "configuration/vip/eth0.100/192.168.1.15": vip("eth0.100", "192.168.1.15"),
                "configuration/vip/eth1/192.168.2.15": vip("eth1", "192.168.2.15"),
            },
        },
    ),
    (
        "wireguard",
        {},
        {
            LinkSpec: {
                "configuration/wg0": made(
                    "wg0",
                    "wireguard",
                    type=LinkType.NOHDR,
                    mtu=1500,
                    wireguard=WireguardSpec(
                        private_key=KEYS[0],
                        listen_port=51820,
                        peers=(
                            WireguardPeer(
                                public_key=KEYS[1],
                                endpoint="209.202.254.14:8172",
                                persistent_keepalive_interval=datetime.timedelta(seconds=5),
                                allowed_ips=("192.168.88.0/24",),
                            ),
                        ),
                    ),
                )
            },
            AddressSpec: {"configuration/wg0/192.168.2.1/24": address("wg0", "192.168.2.1/24")},
        },
    ),
    (
        "addressing",
        {},
        {
            LinkSpec: {
                "configuration/enp1s0": link("enp1s0", mtu=9000),
                "configuration/enp2s0": link("enp2s0"),
            },
            AddressSpec: {
                "configuration/enp1s0/10.0.0.5/24": address("enp1s0", "10.0.0.5/24"),
                "configuration/enp1s0/fd00::5/64": address("enp1s0", "fd00::5/64"),
                "configuration/enp1s0/10.0.0.9/32": address("enp1s0", "10.0.0.9/32"),
            },
            RouteSpec: {
                "configuration/inet4/10.0.0.1//2048": route("enp1s0", gateway="10.0.0.1", priority=2048),
                "configuration/inet4//10.8.0.0/16/1024": route(
                    "enp1s0", dst="10.8.0.0/16", src="10.0.0.5", scope=Scope.LINK
                ),
            },
            OperatorSpec: {
                "configuration/dhcp4/enp2s0": dhcp4("enp2s0", 2048),
                "configuration/dhcp6/enp2s0": dhcp6("enp2s0", DHCP6OperatorSpec(route_metric=2048)),
            },
        },
    ),
    (
        "documents",
        {"enp9s0": nic(9, "00:1a:2b:00:00:09", alias="net0"), "enp1s0": nic(2), "enp2s0": nic(3)},
        {
            LinkSpec: {
                "configuration/bond0": made(
                    "bond0",
                    "bond",
                    bond_master=BondMaster(
                        mode=BondMode.IEEE8023AD,
                        lacp_rate=LACPRate.FAST,
                        miimon=100,
                        updelay=200,
                        downdelay=200,
                        ad_actor_sys_prio=65535,
                        **DEFAULTS,
                    ),
                ),
                "configuration/enp1s0": link("enp1s0", master_name="bond0"),
                "configuration/enp2s0": link("enp2s0", master_name="bond0", slave_index=1),
                # DHCP brings a link up that nothing else names, and the alias stands for the link.
                "configuration/enp9s0": link("enp9s0"),
                "configuration/net0.34": made("net0.34", "vlan", parent_name="enp9s0", vlan=VLAN(vlan_id=34)),
            },
            AddressSpec: {
                "configuration/bond0/10.15.0.3/16": address("bond0", "10.15.0.3/16"),
                "configuration/net0.34/192.168.1.100/24": address("net0.34", "192.168.1.100/24"),
            },
            RouteSpec: {
                "configuration/inet4/10.15.0.1/10.0.0.0/8/1024": route("bond0", dst="10.0.0.0/8", gateway="10.15.0.1"),
                "configuration/inet4/10.15.0.1//1024": route("bond0", gateway="10.15.0.1"),
            },
            OperatorSpec: {
                "configuration/dhcp4/enp9s0": dhcp4("enp9s0"),
                "configuration/vip/net0.34/192.168.1.15": vip("net0.34", "192.168.1.15"),
            },
        },
    ),
    (
        "links_over_others",
        {},
        {
            LinkSpec: {
                "configuration/eth0.macvlan": made("eth0.macvlan", "macvlan", parent_name="eth0", macvlan=MacVLAN()),
                "configuration/mv1": made(
                    "mv1",
                    "macvlan",
                    up=False,
                    mtu=1400,
                    parent_name="eth0",
                    hardware_addr="2e:3c:4d:5e:6f:70",
                    macvlan=MacVLAN(mode=MacvlanMode.VEPA),
                ),
                "configuration/vxlan900": made(
                    "vxlan900", "vxlan", parent_name="vtep0", vxlan=VXLAN(id=100, local="10.255.0.1", port=4789)
                ),
                "configuration/vxlan901": made(
                    "vxlan901",
                    "vxlan",
                    parent_name="vtep0",
                    vxlan=VXLAN(id=101, group="239.1.1.1", port=4789, learning=True),
                ),
            },
            AddressSpec: {
                "configuration/mv1/192.0.2.7/24": address("mv1", "192.0.2.7/24"),
                "configuration/vxlan901/198.51.100.1/24": address("vxlan901", "198.51.100.1/24"),
            },
        },
    ),
    (
        "more_documents",
        {},
        {
            LinkSpec: {
                "configuration/enp1s0": link("enp1s0", up=False, mtu=9000, multicast=False),
                "configuration/dummy0": made("dummy0", "dummy", hardware_addr="02:00:5e:10:00:01"),
                "configuration/br0": made(
                    "br0",
                    "bridge",
                    bridge_master=BridgeMaster(stp=STP(enabled=True), vlan=BridgeVLAN(filtering_enabled=True)),
                ),
                "configuration/enp2s0": link("enp2s0", bridge_slave=BridgeSlave(master_name="br0")),
                "configuration/vrf-blue": made("vrf-blue", "vrf", vrf_master=VRFMaster(table=RoutingTable.of(123))),
                "configuration/enp3s0": link("enp3s0", vrf_slave=VRFSlave(master_name="vrf-blue")),
                "configuration/veth-a": made("veth-a", "veth", veth=Veth(peer_name="veth-b")),
                "configuration/veth-b": made("veth-b", "veth", mtu=1400, veth=Veth(peer_name="veth-a")),
                "configuration/wg1": made(
                    "wg1",
                    "wireguard",
                    type=LinkType.NOHDR,
                    wireguard=WireguardSpec(
                        private_key=KEYS[0],
                        firewall_mark=81,
                        peers=(
                            WireguardPeer(
                                public_key=KEYS[1],
                                preshared_key=KEYS[2],
                                endpoint="[2001:db8::1]:51820",
                                allowed_ips=("10.9.0.0/24",),
                            ),
                        ),
                    ),
                ),
            },
            AddressSpec: {
                "configuration/enp1s0/fd00::5/64": address("enp1s0", "fd00::5/64", priority=512),
                "configuration/veth-a/192.0.2.1/30": address("veth-a", "192.0.2.1/30"),
                "configuration/veth-b/192.0.2.2/30": address("veth-b", "192.0.2.2/30"),
            },
            RouteSpec: {
                "configuration/100/enp1s0/inet6/fe80::1//100": route(
                    "enp1s0",
                    family=Family.INET6,
                    gateway="fe80::1",
                    priority=100,
                    mtu=1400,
                    table=RoutingTable.of(100),
                ),
                "configuration/inet4//10.255.0.0/16/1024": route("", dst="10.255.0.0/16", type=RouteType.BLACKHOLE),
                "configuration/lo/inet6//fd00:1::/32/50": route(
                    "lo", family=Family.INET6, dst="fd00:1::/32", priority=50, type=RouteType.BLACKHOLE
                ),
            },
            RoutingRuleSpec: {
                "configuration/inet4/01000": RoutingRuleSpecSpec(
                    src="10.0.0.0/8", table=RoutingTable.of(100), priority=1000, layer=CONFIGURATION
                ),
                "configuration/inet4/01001": RoutingRuleSpecSpec(
                    priority=1001, fw_mark=32, fw_mask=96, layer=CONFIGURATION
                ),
                "configuration/inet6/01001": RoutingRuleSpecSpec(
                    family=Family.INET6, priority=1001, fw_mark=32, fw_mask=96, layer=CONFIGURATION
                ),
            },
            OperatorSpec: {
                "configuration/vip/enp1s0/192.0.2.9": OperatorSpecSpec(
                    operator=Operator.VIP,
                    link_name="enp1s0",
                    vip=VIPOperatorSpec(ip="192.0.2.9", gratuitous_arp=False, hcloud=VIPHCloudSpec(api_token="secret")),
                    layer=CONFIGURATION,
                ),
                "configuration/dhcp6/enp1s0": dhcp6(
                    "enp1s0",
                    DHCP6OperatorSpec(
                        route_metric=300,
                        skip_hostname_request=True,
                        client_identifier=ClientIdentifierSpec(
                            client_identifier=ClientIdentifier.DUID, duid_raw="00010203"
                        ),
                    ),
                ),
            },
        },
    ),
]
TYPES = (LinkSpec, AddressSpec, RouteSpec, RoutingRuleSpec, OperatorSpec)


@pytest.mark.parametrize(("name", "links", "expected"), CASES, ids=[case[0] for case in CASES])
async def test_a_snippet_becomes_specs_and_leaves_none(
    name: str, links: Mapping[str, LinkStatusSpec], expected: Expected
) -> None:
    async with house(links) as node:
        await configure(node, snippet(name))
        for type in TYPES:
            assert unmerged(node, type) == expected.get(type, {}), type.name
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.settled()
        assert not any(unmerged(node, type) for type in TYPES)
        assert not node.state.list(DeviceConfigSpec)
        assert not problems(node)


async def test_devices_have_ids_by_link_and_place() -> None:
    async with house({"eth0": nic(2, bus_path="usb-1"), "eth1": nic(3)}) as node:
        await configure(node, snippet("virtual_ip"))
        assert [resource.id for resource in node.state.list(DeviceConfigSpec)] == ["eth0/000", "eth1/001"]


async def test_an_alias_is_for_the_link_that_the_expression_matches() -> None:
    async with house({"enp9s0": nic(9, "00:1a:2b:00:00:09"), "enp1s0": nic(2)}) as node:
        await configure(node, snippet("documents"))
        assert {each.id: each.spec.alias for each in node.state.list(LinkAliasSpec)} == {"enp9s0": "net0"}


async def test_a_virtual_ip_that_a_cloud_routes_has_its_settings_and_is_not_announced() -> None:
    machine = devices("""
        {interface: eth0, vip: {ip: 192.0.2.7, equinixMetal: {apiToken: first}}}
        {interface: eth1, vip: {ip: 192.0.2.8, hcloud: {apiToken: second}}}
    """)
    async with house({}) as node:
        await configure(node, machine)
        found = {id: spec.vip for id, spec in unmerged(node, OperatorSpec).items()}
        assert found == {
            "configuration/vip/eth0/192.0.2.7": VIPOperatorSpec(
                ip="192.0.2.7", gratuitous_arp=False, equinix_metal=VIPEquinixMetalSpec(api_token="first")
            ),
            "configuration/vip/eth1/192.0.2.8": VIPOperatorSpec(
                ip="192.0.2.8", gratuitous_arp=False, hcloud=VIPHCloudSpec(api_token="second")
            ),
        }
        assert "first" not in repr(found)
        assert not problems(node)

"""The links that devices and documents of the configuration request.

Several parts may be about one link: a bond names its members, which may have entries of their own; documents refine
the devices of the main document.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs

from nodespan.controllers.common.disagreement import Disagreement, disagreements
from nodespan.controllers.common.link_settings.keepalive import keepalive_seconds
from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.controllers.network.config import bond_options
from nodespan.controllers.network.merge.rules import merge_links
from nodespan.resources.config.bond import Bond
from nodespan.resources.config.device import Bridge, Device, DeviceWireguard
from nodespan.resources.config.links import (
    BondConfig,
    BridgeConfig,
    CommonLink,
    DummyLinkConfig,
    LinkConfig,
    LinkSettings,
    MacVLANConfig,
    VethConfig,
    VLANConfig,
    VRFConfig,
    VXLANConfig,
    WireguardConfig,
)
from nodespan.resources.config.network import DHCPv4Config, DHCPv6Config
from nodespan.resources.network import (
    STP,
    VLAN,
    VXLAN,
    BridgeMaster,
    BridgeSlave,
    BridgeVLAN,
    ConfigLayer,
    LinkSpecSpec,
    LinkType,
    MacVLAN,
    MacvlanMode,
    RoutingTable,
    Veth,
    VRFMaster,
    VRFSlave,
    WireguardPeer,
    WireguardSpec,
)
from nodespan.resources.network.enums import VLANProtocol

# From a name or alias to the real name of the link.
Resolve = Callable[[str], str]
LINK_DOCUMENTS = (
    BondConfig,
    BridgeConfig,
    DHCPv4Config,
    DHCPv6Config,
    DummyLinkConfig,
    LinkConfig,
    MacVLANConfig,
    VLANConfig,
    VRFConfig,
    VXLANConfig,
    VethConfig,
    WireguardConfig,
)


@attrs.frozen
class LinkPart:
    """What one part requests of a link. `decides_up`: this part alone decides whether the link is up."""

    spec: LinkSpecSpec
    decides_up: bool = False


def combine_parts(parts: Sequence[LinkPart]) -> LinkSpecSpec:
    """One spec from all requests for a link, later parts refining earlier ones."""
    merged = merge_links([part.spec for part in parts])
    deciding = [part.spec.up for part in parts if part.decides_up]
    return attrs.evolve(merged, up=deciding[-1]) if deciding else merged


def link_disagreements(one: LinkPart, other: LinkPart) -> tuple[Disagreement, ...]:
    """In what two parts contradict each other about a link: in what both set, for they add to each other."""
    # Where it stands among the members of a bond decides nothing, and Ethernet is what most kinds are.
    leave_out = {"name", "layer", "up", "slave_index", "type", "logical"}
    differing = disagreements(one.spec, other.spec, leave_out=leave_out, only_where_set=True)
    if one.decides_up and other.decides_up and one.spec.up != other.spec.up:
        differing += (Disagreement("up", str(one.spec.up).lower(), str(other.spec.up).lower()),)
    mine, theirs = one.spec.master, other.spec.master
    # Masters of different kinds stand in different fields.
    differing = tuple(each for each in differing if not each.field.startswith(("master_name", "bridge_sl", "vrf_sl")))
    if mine and theirs and mine != theirs:
        differing += (Disagreement("the master", mine, theirs),)
    return differing


def _spec(name: str, **fields: Any) -> LinkSpecSpec:
    return LinkSpecSpec(name=name, layer=ConfigLayer.CONFIGURATION, **({"up": True} | fields))


def parts_of(part: object, resolve: Resolve) -> Iterator[LinkPart]:
    """The links of a device or a document."""
    match part:
        case Device():
            yield from _device(part, resolve)
        case DHCPv4Config() | DHCPv6Config():
            yield LinkPart(_spec(resolve(part.name)))
        case CommonLink():
            yield from _document(part, resolve)


# Devices of the main document.


def _device(device: Device, resolve: Resolve) -> Iterator[LinkPart]:
    kind = _device_kind(device)
    name = device.interface if kind else resolve(device.interface)
    port = BridgeSlave(master_name=device.bridge_port.master) if device.bridge_port else None
    yield LinkPart(_spec(name, mtu=device.mtu, bridge_slave=port, **kind))
    if device.bond:
        yield from _bond_members(name, map(resolve, device.bond.interfaces))
    elif device.bridge:
        yield from _bridge_ports(name, map(resolve, device.bridge.interfaces))
    for vlan in device.vlans:
        yield LinkPart(
            _spec(
                vlan_link_name(device.interface, vlan.vlan_id),
                mtu=vlan.mtu,
                **_vlan(name, VLAN(vlan_id=vlan.vlan_id)),
            )
        )


def _device_kind(device: Device) -> dict[str, Any]:
    """The fields that describe a link to create; none for a link that exists without the agent."""
    if device.bond:
        return _bond(device.bond)
    if device.bridge:
        return _bridge(device.bridge)
    if device.wireguard:
        return _wireguard(device.wireguard)
    return _logical("dummy") if device.dummy else {}


def _logical(kind: str, **fields: Any) -> dict[str, Any]:
    return {"logical": True, "kind": kind, "type": LinkType.ETHER} | fields


def _vlan(parent: str, vlan: VLAN) -> dict[str, Any]:
    return _logical("vlan", parent_name=parent, vlan=vlan)


def _bond(bond: Bond) -> dict[str, Any]:
    return _logical("bond", bond_master=bond_options.of_device(bond))


def _bridge(bridge: Bridge) -> dict[str, Any]:
    return _logical(
        "bridge",
        bridge_master=BridgeMaster(
            stp=STP(enabled=bool(bridge.stp and bridge.stp.enabled)),
            vlan=BridgeVLAN(filtering_enabled=bool(bridge.vlan and bridge.vlan.vlan_filtering)),
        ),
    )


def _wireguard(device: DeviceWireguard | WireguardConfig) -> dict[str, Any]:
    peers = tuple(
        WireguardPeer(
            public_key=peer.public_key,
            # The main document has no such key.
            preshared_key=getattr(peer, "preshared_key", ""),
            endpoint=peer.endpoint,
            persistent_keepalive_interval=datetime.timedelta(
                seconds=keepalive_seconds(peer.persistent_keepalive_interval)
            ),
            allowed_ips=peer.allowed_ips,
        )
        for peer in device.peers
    )
    spec = WireguardSpec(
        private_key=device.private_key,
        listen_port=device.listen_port,
        firewall_mark=device.firewall_mark,
        peers=peers,
    )
    return {"logical": True, "kind": "wireguard", "type": LinkType.NOHDR, "wireguard": spec}


def _bond_members(bond: str, members: Iterable[str]) -> Iterator[LinkPart]:
    for index, member in enumerate(members):
        yield LinkPart(_spec(member, master_name=bond, slave_index=index))


def _bridge_ports(bridge: str, ports: Iterable[str]) -> Iterator[LinkPart]:
    for port in ports:
        yield LinkPart(_spec(port, bridge_slave=BridgeSlave(master_name=bridge)))


# Documents.


def _document(document: CommonLink, resolve: Resolve) -> Iterator[LinkPart]:
    match document:
        case BondConfig():
            options = bond_options.of_document(document)
            kind = _logical("bond", bond_master=options, hardware_addr=_mac(document.hardware_addr))
            yield _common(document, document.name, kind)
            yield from _bond_members(document.name, map(resolve, document.links))
        case BridgeConfig():
            bridge = BridgeMaster(
                stp=STP(enabled=bool(document.stp and document.stp.enabled)),
                vlan=BridgeVLAN(filtering_enabled=bool(document.vlan and document.vlan.filtering)),
            )
            kind = _logical("bridge", bridge_master=bridge, hardware_addr=_mac(document.hardware_addr))
            yield _common(document, document.name, kind)
            yield from _bridge_ports(document.name, map(resolve, document.links))
        case DummyLinkConfig():
            yield _common(document, document.name, _logical("dummy", hardware_addr=_mac(document.hardware_addr)))
        case VLANConfig():
            vlan = VLAN(vlan_id=document.vlan_id, vlan_protocol=VLANProtocol(document.vlan_mode.value))
            yield _common(document, document.name, _vlan(resolve(document.parent), vlan))
        case MacVLANConfig():
            kind = _logical(
                "macvlan",
                parent_name=resolve(document.parent),
                macvlan=MacVLAN(mode=MacvlanMode(document.mode.value)),
                hardware_addr=_mac(document.hardware_addr),
            )
            yield _common(document, document.name, kind)
        case VXLANConfig():
            vxlan = VXLAN(
                id=document.id,
                local=document.local,
                group=document.group,
                port=document.port or 0,
                learning=document.learning is not False,
            )
            kind = _logical(
                "vxlan",
                parent_name=resolve(document.parent),
                vxlan=vxlan.as_reported,
                hardware_addr=_mac(document.hardware_addr),
            )
            yield _common(document, document.name, kind)
        case WireguardConfig():
            yield _common(document, document.name, _wireguard(document))
        case VethConfig():
            yield _common(document, document.name, _logical("veth", veth=Veth(peer_name=document.peer.name)))
            yield _common(document.peer, document.peer.name, _logical("veth", veth=Veth(peer_name=document.name)))
        case VRFConfig():
            domain = VRFMaster(table=RoutingTable(document.table))
            kind = _logical("vrf", vrf_master=domain, hardware_addr=_mac(document.hardware_addr))
            yield _common(document, document.name, kind)
            for member in map(resolve, document.links):
                yield LinkPart(_spec(member, vrf_slave=VRFSlave(master_name=document.name)))
        case _:
            yield _common(document, resolve(document.name), {})


def _mac(text: str) -> str:
    """A hardware address in the notation of link statuses."""
    return text.replace("-", ":").lower()


def _common(link: LinkSettings, name: str, kind: dict[str, Any]) -> LinkPart:
    spec = _spec(name, mtu=link.mtu, multicast=link.multicast, **kind)
    return LinkPart(attrs.evolve(spec, up=link.up), decides_up=True)

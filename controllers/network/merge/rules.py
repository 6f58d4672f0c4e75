"""How the specs of several layers become one.

The layers are given in order, lowest first, equal ones by id. Addresses, routes and rules: the last replaces the rest.
Links: each layer adds to those below it, field by field.
"""

from collections.abc import Sequence
from typing import TypeVar

import attrs

from nodespan.resources.network import (
    MANAGED_ADDRESS_FLAGS,
    AddressSpecSpec,
    LinkSpecSpec,
    LinkType,
    WireguardPeer,
    WireguardSpec,
)

S = TypeVar("S")

_MANAGED = int(MANAGED_ADDRESS_FLAGS)
# The fields that a higher layer overrides where it sets them; structures are replaced as a whole.
_LINK_FIELDS = (
    *("mtu", "kind", "parent_name", "hardware_addr", "bridge_slave", "vrf_slave", "vlan", "bond_master"),
    *("bridge_master", "vrf_master", "veth", "macvlan", "vxlan", "ipvlan"),
)


def last_wins(specs: Sequence[S]) -> S:
    """The highest layer's; of equal layers, the last."""
    return specs[-1]


def merge_addresses(specs: Sequence[AddressSpecSpec]) -> AddressSpecSpec:
    """The highest layer's, without flags that only the kernel sets."""
    spec = specs[-1]
    if not int(spec.flags) & ~_MANAGED:
        return spec
    return attrs.evolve(spec, flags=spec.flags & MANAGED_ADDRESS_FLAGS)


def merge_links(specs: Sequence[LinkSpecSpec]) -> LinkSpecSpec:
    """Each layer on top of the lower ones. So a higher layer cannot switch off what a lower one switches on."""
    merged, *higher = specs
    for spec in higher:
        merged = _above(merged, spec)
    return merged


def _above(lower: LinkSpecSpec, higher: LinkSpecSpec) -> LinkSpecSpec:
    changes = {name: value for name in _LINK_FIELDS if (value := getattr(higher, name))}
    if higher.type != LinkType.NETROM:
        changes["type"] = higher.type
    if higher.master_name:
        changes |= {"master_name": higher.master_name, "slave_index": higher.slave_index}
    if higher.wireguard is not None:
        changes["wireguard"] = _wireguard(lower.wireguard, higher.wireguard)
    if higher.multicast is not None:
        changes["multicast"] = higher.multicast
    return attrs.evolve(
        lower, logical=lower.logical or higher.logical, up=lower.up or higher.up, layer=higher.layer, **changes
    )


def _wireguard(lower: WireguardSpec | None, higher: WireguardSpec) -> WireguardSpec:
    if lower is None:
        return higher
    peers: dict[str, WireguardPeer] = {}
    for peer in (*lower.peers, *higher.peers):
        peers.setdefault(peer.public_key, peer)
    return WireguardSpec(
        private_key=higher.private_key or lower.private_key,
        listen_port=higher.listen_port or lower.listen_port,
        firewall_mark=higher.firewall_mark or lower.firewall_mark,
        peers=tuple(peers.values()),
        loose_reverse_path=higher.loose_reverse_path or lower.loose_reverse_path,
    )

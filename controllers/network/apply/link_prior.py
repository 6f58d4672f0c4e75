"""What links of the agent's names were before it took them over: bonds, bridges, WireGuard devices that others made.

Such a link is never removed. It is described as the spec that would make it what it was, so that it is given back by
the same steps by which any link is made. See `controllers.common.prior_state` for the record.
"""

import datetime
from collections.abc import Mapping
from typing import Any

import attrs

from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink
from nodespan.kernel.wireguard.device import DeviceChange, DeviceState, canonical_peer, device_difference
from nodespan.resources.network import (
    BondMaster,
    BridgeMaster,
    BridgeSlave,
    LinkFlags,
    LinkSpecSpec,
    VRFSlave,
    WireguardPeer,
    WireguardSpec,
)
from nodespan.runtime.codec.plain import spec_from_plain, spec_to_plain

# A device that is sent this key has none.
_NO_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@attrs.frozen(kw_only=True)
class PriorLink:
    """A link before the agent. Index 0: there was none, and the agent makes and removes it.

    `members` are the links that it was the master of, `reverse_path` is the kernel's setting for it, "" if the agent
    leaves that alone.
    """

    index: int = 0
    spec: LinkSpecSpec | None = attrs.field(default=None, repr=False)
    members: tuple[str, ...] = ()
    reverse_path: str = ""


def to_plain(prior: PriorLink) -> dict[str, Any]:
    """For the record."""
    return {
        "index": prior.index,
        "spec": None if prior.spec is None else spec_to_plain(prior.spec),
        "members": list(prior.members),
        "reverse_path": prior.reverse_path,
    }


def from_plain(plain: Mapping[str, Any]) -> PriorLink:
    """The opposite. Raises ValueError, TypeError or KeyError."""
    spec = plain["spec"]
    return PriorLink(
        index=plain["index"],
        spec=None if spec is None else spec_from_plain(LinkSpecSpec, spec),
        members=tuple(plain["members"]),
        reverse_path=plain["reverse_path"],
    )


def as_it_is(link: KernelLink, lookup: LinkLookup, settings: WireguardSpec | None) -> LinkSpecSpec:
    """The spec of a link that is as it is now; `settings` are those of a WireGuard device."""
    status = link.status
    master = lookup.at(status.master_index)
    slave: dict[str, Any] = {}
    if master is not None:
        match master.status.kind:
            case "bond":
                slave = {"master_name": master.name}
            case "bridge":
                slave = {"bridge_slave": BridgeSlave(master_name=master.name)}
            case "vrf":
                slave = {"vrf_slave": VRFSlave(master_name=master.name)}
    return LinkSpecSpec(
        name=link.name,
        logical=True,
        up=LinkFlags.UP in status.flags,
        mtu=status.mtu,
        kind="wireguard" if settings is not None else status.kind,
        type=status.type,
        hardware_addr=status.hardware_addr,
        vlan=status.vlan,
        bond_master=_named(status.bond_master, lookup),
        bridge_master=status.bridge_master if isinstance(status.bridge_master, BridgeMaster) else None,
        vrf_master=status.vrf_master,
        macvlan=status.macvlan,
        vxlan=status.vxlan,
        ipvlan=status.ipvlan,
        wireguard=settings,
        multicast=LinkFlags.MULTICAST in status.flags,
        **slave,
    )


def _named(bond: BondMaster | None, lookup: LinkLookup) -> BondMaster | None:
    if bond is None or not bond.primary_index:
        return bond
    primary = lookup.at(bond.primary_index)
    return bond if primary is None else attrs.evolve(bond, primary=primary.name)


def settings_of(device: DeviceState, private_key: str) -> WireguardSpec:
    """The settings of a device that make it be as it is, peers included."""
    return WireguardSpec(
        private_key=private_key,
        listen_port=device.listen_port,
        firewall_mark=device.firewall_mark,
        peers=tuple(
            WireguardPeer(
                public_key=peer.config.public_key,
                preshared_key=peer.config.preshared_key,
                endpoint=peer.config.endpoint,
                persistent_keepalive_interval=datetime.timedelta(seconds=peer.config.persistent_keepalive),
                allowed_ips=peer.config.allowed_ips,
            )
            for peer in device.peers.values()
        ),
    )


def return_of(settings: WireguardSpec, device: DeviceState) -> DeviceChange:
    """What to send to a device so that it has its old key, port, mark and peers, and no others."""
    change = device_difference(settings, device)
    if not settings.private_key and device.public_key:
        change = attrs.evolve(change, private_key=_NO_KEY)
    peers = {peer.public_key: canonical_peer(peer, peer.endpoint) for peer in settings.peers}
    return attrs.evolve(
        change,
        peers=tuple(
            peer for key, peer in peers.items() if (seen := device.peers.get(key)) is None or seen.config != peer
        ),
        removed=tuple(key for key in device.peers if key not in peers),
    )

"""The WireGuard part of a link's status. It has no secrets."""

import datetime

from nodespan.kernel.wireguard.device import DeviceState, PeerState, WireguardBackend
from nodespan.kernel.wireguard.genl import KernelWireguard
from nodespan.kernel.wireguard.uapi import UserspaceWireguard
from nodespan.resources.network.link import WireguardPeerStatus, WireguardStatus

KERNEL_KIND = "wireguard"
USERSPACE_KIND = "tun"


def backend_for(kind: str, netns: str | None) -> WireguardBackend:
    """The back end for a link of this kind. Raises ValueError for a kind without WireGuard devices."""
    match kind:
        case "wireguard":
            return KernelWireguard(netns)
        case "tun":
            return UserspaceWireguard(netns)
        case _:
            raise ValueError(f"a link of kind {kind!r} is not a WireGuard device")


def read_device(name: str, netns: str | None) -> DeviceState | None:
    """The device of a link, of either back end; None if there is none. Blocks. Raises OSError: EPERM."""
    return UserspaceWireguard(netns).read(name) or KernelWireguard(netns).read(name)


def read_wireguard(name: str, kind: str, netns: str | None) -> WireguardStatus | None:
    """The status of a link of this kind; None if it has no device or reading is not permitted. Blocks."""
    if kind not in (KERNEL_KIND, USERSPACE_KIND):
        return None
    try:
        device = backend_for(kind, netns).read(name)
    except OSError:
        return None
    return None if device is None else status_of(device)


def status_of(device: DeviceState) -> WireguardStatus:
    """The device without secrets."""
    return WireguardStatus(
        public_key=device.public_key,
        listen_port=device.listen_port,
        firewall_mark=device.firewall_mark,
        peers=tuple(map(_peer_status, device.peers.values())),
    )


def _peer_status(peer: PeerState) -> WireguardPeerStatus:
    config = peer.config
    return WireguardPeerStatus(
        public_key=config.public_key,
        endpoint=config.endpoint,
        persistent_keepalive_interval=datetime.timedelta(seconds=config.persistent_keepalive),
        allowed_ips=config.allowed_ips,
    )

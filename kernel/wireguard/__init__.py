"""WireGuard devices of the kernel and of wireguard-go: one interface, two back ends."""

from nodespan.kernel.wireguard.device import (
    DeviceChange,
    DeviceState,
    PeerConfig,
    PeerState,
    WireguardBackend,
    wireguard_peer_equal,
)
from nodespan.kernel.wireguard.status import backend_for, read_device, read_wireguard

__all__ = [
    "DeviceChange",
    "DeviceState",
    "PeerConfig",
    "PeerState",
    "WireguardBackend",
    "backend_for",
    "read_device",
    "read_wireguard",
    "wireguard_peer_equal",
]

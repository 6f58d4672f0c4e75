"""WireGuard devices of the kernel, read over generic netlink. Needs CAP_NET_ADMIN.

The kernel's answer carries the private key and the peers' pre-shared keys; neither is decoded, let alone kept.
"""

import datetime
from collections.abc import Iterable
from typing import Any, Protocol

import attrs
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import wireguard

from controllers.network.kernel.netns import in_netns
from resources.network.link import WireguardPeerStatus, WireguardStatus

_WireGuard: Any = wireguard.WireGuard


class Part(Protocol):
    """A message or a nest of attributes, as pyroute2 hands them out; decoded when asked."""

    def get_attr(self, name: str) -> Any: ...


def read_wireguard(name: str, netns: str | None) -> WireguardStatus | None:
    """The device behind a link of kind `wireguard`; None if it is gone or may not be read. Blocks."""
    # A link of this kind exists only where the kernel has WireGuard, which is why there is nothing to probe.
    try:
        with in_netns(netns), _WireGuard() as kernel:
            return read_device(kernel.info(name))
    except NetlinkError:
        return None


def read_device(messages: Iterable[Part]) -> WireguardStatus:
    """The device that the messages of one answer describe: a long list of peers comes in several."""
    status = WireguardStatus()
    peers: dict[str, WireguardPeerStatus] = {}
    for message in messages:
        key = message.get_attr("WGDEVICE_A_PUBLIC_KEY")
        if key is not None:
            status = WireguardStatus(
                public_key=key.decode(),
                listen_port=message.get_attr("WGDEVICE_A_LISTEN_PORT") or 0,
                firewall_mark=message.get_attr("WGDEVICE_A_FWMARK") or 0,
            )
        for part in message.get_attr("WGDEVICE_A_PEERS") or ():
            peer = _read_peer(part)
            earlier = peers.get(peer.public_key)
            if earlier is not None:
                # The rest of a list of prefixes that did not fit.
                peer = attrs.evolve(earlier, allowed_ips=earlier.allowed_ips + peer.allowed_ips)
            peers[peer.public_key] = peer
    return attrs.evolve(status, peers=tuple(peers[key] for key in sorted(peers)))


def _read_peer(part: Part) -> WireguardPeerStatus:
    endpoint = part.get_attr("WGPEER_A_ENDPOINT")
    return WireguardPeerStatus(
        public_key=part.get_attr("WGPEER_A_PUBLIC_KEY").decode(),
        endpoint="" if endpoint is None else _endpoint(endpoint["addr"], endpoint["port"]),
        persistent_keepalive_interval=datetime.timedelta(
            seconds=part.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0
        ),
        allowed_ips=tuple(allowed["addr"] for allowed in part.get_attr("WGPEER_A_ALLOWEDIPS") or ()),
    )


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

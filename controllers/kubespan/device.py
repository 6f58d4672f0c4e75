"""The WireGuard device of the mesh, as `kubespan.PeerStatusController` reads it."""

import os
import socket
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import trio

from nodespan.controllers.kubespan.data_path import FIREWALL_MARK, LINK_NAME
from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.kernel.netns import in_netns
from nodespan.kernel.rtnetlink import integer, open_rtnl_socket
from nodespan.kernel.wireguard import DeviceState, read_device
from nodespan.kernel.wireguard.device import parse_endpoint

if TYPE_CHECKING:
    from nodespan.kernel.packets.echo import Echo

# The size of the packet of a probe, inside of the tunnel.
_PROBE_SIZE = 64
_OIF = 4  # RTA_OIF, the link that a route leads to


def observed_peers(device: DeviceState | None) -> dict[str, ObservedPeer]:
    """The peers of a device, by public key."""
    if device is None:
        return {}
    return {
        key: ObservedPeer(
            endpoint=peer.config.endpoint,
            last_handshake=None if peer.last_handshake_time is None else peer.last_handshake_time.timestamp(),
            received=peer.receive_bytes,
            sent=peer.transmit_bytes,
        )
        for key, peer in device.peers.items()
    }


class WireguardDevice:
    """The link `kubespan` of one network namespace, None for the agent's own.

    Needs CAP_NET_ADMIN and CAP_NET_RAW from the first use on; without them every call raises PermissionError.
    """

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns

    @cached_property
    def _echo(self) -> "Echo":
        # Only an agent with peers has any to ask.
        from nodespan.kernel.packets.echo import Echo

        return Echo(self._netns)

    @cached_property
    def _counters(self) -> int:
        # An open file keeps showing the links of the namespace that it was opened in.
        with in_netns(self._netns):
            return os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close what was opened; it is opened again on use."""
        if "_echo" in vars(self):
            self._echo.close()
            del self._echo
        if "_counters" in vars(self):
            os.close(self._counters)
            del self._counters

    async def read(self) -> Mapping[str, ObservedPeer]:
        """The peers, by public key; empty while there is no device. Raises OSError."""
        return observed_peers(await trio.to_thread.run_sync(read_device, LINK_NAME, self._netns))

    def traffic(self) -> int:
        """How many packets the link has carried, both ways."""
        return packets_of(LINK_NAME, self._read_counters())

    def _read_counters(self) -> str:
        parts = []
        at = 0
        while part := os.pread(self._counters, 1 << 16, at):
            parts.append(part)
            at += len(part)
        # The names of other links in it need not be text.
        return b"".join(parts).decode(errors="surrogateescape")

    def probe(self, addresses: Iterable[str]) -> None:
        """Send an echo request to each of these addresses of the mesh; does not wait.

        It makes WireGuard start a handshake with a peer that it has no session with. One that cannot be sent counts as
        not answered.
        """
        for address in addresses:
            try:
                self._echo.send(address, 0, _PROBE_SIZE)
            except OSError:  # no route, no peer, no room: the next look tries again
                continue

    def answered(self) -> frozenset[str]:
        """The addresses that have answered a probe since this was asked last; of a flood, those at its beginning."""
        if "_echo" not in vars(self):
            return frozenset()
        return frozenset(answer.address for answer in self._echo.received())

    async def is_tunnelled(self, endpoint: str) -> bool:
        """Whether the tunnel's own packets to this endpoint would be routed into the tunnel."""
        return await trio.to_thread.run_sync(_leads_to_link, endpoint, self._netns)

    async def has_route(self, endpoint: str) -> bool:
        """Whether there is a route for the tunnel's own packets to this endpoint."""
        return await trio.to_thread.run_sync(_has_route, endpoint, self._netns)


def packets_of(link: str, text: str) -> int:
    """The packets received and sent, by the text of /proc/net/dev; 0 for a link that is not there."""
    # Names of other links may hold what else ends a line.
    for line in text.split("\n"):
        name, _, counters = line.partition(":")
        if name.strip() == link:
            columns = counters.split()
            return int(columns[1]) + int(columns[9])
    return 0


def _leads_to_link(endpoint: str, netns: str | None) -> bool:
    host, _ = parse_endpoint(endpoint)
    with open_rtnl_socket(netns) as kernel:
        try:
            route = kernel.route_to(host, mark=FIREWALL_MARK)
            # By the index: the name of the link that the route leads to need not be text.
            with in_netns(netns):
                index = socket.if_nametoindex(LINK_NAME)
        except OSError:
            return False  # no route at all, which WireGuard notices itself, or no link
        return route is not None and integer(route.attributes, _OIF) == index


def _has_route(endpoint: str, netns: str | None) -> bool:
    host, _ = parse_endpoint(endpoint)
    with open_rtnl_socket(netns) as kernel:
        try:
            return kernel.route_to(host, mark=FIREWALL_MARK) is not None
        except OSError:
            return False

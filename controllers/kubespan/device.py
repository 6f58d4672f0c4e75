"""The WireGuard device of the mesh, as `kubespan.PeerStatusController` reads it."""

import itertools
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import trio

from nodespan.controllers.kubespan.data_path import FIREWALL_MARK, LINK_NAME
from nodespan.controllers.kubespan.peer_state import ObservedPeer, are_keepalives
from nodespan.kernel.net_counts import NetCounts, Traffic
from nodespan.kernel.netns import in_netns
from nodespan.kernel.rtnetlink import integer, open_rtnl_socket
from nodespan.kernel.wireguard.device import DeviceState, PeerState, parse_endpoint
from nodespan.kernel.wireguard.genl import KernelWireguard
from nodespan.kernel.wireguard.uapi import UserspaceWireguard
from nodespan.runtime.looks import QuietLook

if TYPE_CHECKING:
    from nodespan.kernel.packets.echo import Echo

# The size of the packet of a probe, inside of the tunnel.
_PROBE_SIZE = 64
_OIF = 4  # RTA_OIF, the link that a route leads to


class ObservedPeers:
    """Makes the peers of one reading after the other; what the device shows unchanged is the same object again."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[PeerState, ObservedPeer]] = {}

    def of(self, device: DeviceState | None) -> dict[str, ObservedPeer]:
        """The peers of a device, by public key."""
        peers = {} if device is None else device.peers
        known = self._known
        # Of this reading, whatever another thread reads at the same time.
        found = {
            key: known[key] if key in known and known[key][0] is peer else (peer, _observed(peer))
            for key, peer in peers.items()
        }
        self._known = found
        return {key: observed for key, (_, observed) in found.items()}


def _observed(peer: PeerState) -> ObservedPeer:
    return ObservedPeer(
        endpoint=peer.config.endpoint,
        last_handshake=None if peer.last_handshake_time is None else peer.last_handshake_time.timestamp(),
        received=peer.receive_bytes,
        sent=peer.transmit_bytes,
    )


class WireguardDevice:
    """The link `kubespan` of one network namespace, None for the agent's own.

    Needs CAP_NET_ADMIN and CAP_NET_RAW from the first use on; without them every call raises PermissionError.
    """

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns
        self._counts = NetCounts(netns)
        self._peers = ObservedPeers()
        # Whether it is a process that receives for it, and not the kernel.
        self._is_userspace = False
        self._guesses = itertools.count()

    @cached_property
    def _echo(self) -> "Echo":
        # Only an agent with peers has any to ask.
        from nodespan.kernel.packets.echo import Echo

        return Echo(self._netns)

    def close(self) -> None:
        """Close what was opened; it is opened again on use."""
        if "_echo" in vars(self):
            self._echo.close()
            del self._echo
        self._counts.close()

    async def read(self) -> Mapping[str, ObservedPeer]:
        """The peers, by public key; empty while there is no device. Raises OSError."""
        device, self._is_userspace = await trio.to_thread.run_sync(_read, self._netns)
        return self._peers.of(device)

    def look(self, shows_the_same: Callable[[Mapping[str, ObservedPeer]], bool], found: Callable[[], None]) -> None:
        """Read the peers and compare them in a thread; `found` is called in the loop unless that returns true.

        Also if they cannot be read. Does not wait.
        """

        def differs() -> bool:
            device, _ = _read(self._netns)
            return not shows_the_same(self._peers.of(device))

        QuietLook(differs, lambda _: found()).begin()

    def traffic(self) -> Traffic:
        """What the link has carried, each way."""
        return self._counts.traffic(LINK_NAME)

    def was_quiet(self, before: Traffic, now: Traffic) -> bool:
        """Whether its users have sent and received nothing in between.

        The kernel's WireGuard counts keepalives as packets of the link, a process behind the link does not.
        """
        return before == now or (not self._is_userspace and are_keepalives(before, now))

    def datagrams(self) -> int:
        """A count that grows with what peers send, as far as `traffic` does not have it.

        The kernel's WireGuard counts whatever it has taken from a peer as a packet of its link. With a process behind
        the link these are its users' packets alone, and no handshakes: there it is the datagrams of all programs.
        """
        if not self._is_userspace:
            return 0
        try:
            return self._counts.datagrams()
        except OSError:
            # What is hidden by a sandbox may have grown at any time.
            return next(self._guesses)

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


def _read(netns: str | None) -> tuple[DeviceState | None, bool]:
    """The device, and whether it is one of a process. Blocks. Raises OSError."""
    device = UserspaceWireguard(netns).read(LINK_NAME)
    return (KernelWireguard(netns).read(LINK_NAME), False) if device is None else (device, True)


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

"""Probes peers: ICMPv6 echo requests through the tunnel, whose answers are not read.

A request makes WireGuard start a handshake with a peer that it has no session with, and the answer of a living peer
shows in the counters of the device.
"""

import socket
import struct
from collections.abc import Iterable

from nodespan.kernel.netns import in_netns

# RFC 4443: type, code, checksum (the kernel fills it in), identifier, sequence.
_ECHO_REQUEST = struct.pack("!BBHHH", 128, 0, 0, 0x6E73, 0)
# linux/icmpv6.h: a filter that passes nothing to this socket.
_ICMPV6_FILTER = 1
_NOTHING = b"\xff" * 32


class Probe:
    """A raw socket of one network namespace. Needs CAP_NET_RAW; raises PermissionError without it."""

    def __init__(self, netns: str | None) -> None:
        with in_netns(netns):
            self._socket = socket.socket(
                socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6
            )
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, _NOTHING)

    def send(self, addresses: Iterable[str]) -> None:
        """Send one request to each address; does not wait. One that cannot be sent counts as not answered."""
        for address in addresses:
            try:
                self._socket.sendto(_ECHO_REQUEST, (address, 0))
            except OSError:  # no route, no peer, no room: the next look tries again
                continue

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

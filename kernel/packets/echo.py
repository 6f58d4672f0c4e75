"""ICMPv6 echo requests through the tunnel, and their answers: a raw socket that sees those of its own requests only."""

import os
import select
import socket
import struct
from collections.abc import Iterator

import attrs
import trio

from nodespan.kernel.netns import in_netns
from nodespan.kernel.socket_filter import DROP, JUMP_IF_EQUAL, LOAD_HALF, TAKE, attach

# RFC 4443: type, code, checksum (the kernel fills it in), identifier, sequence.
_HEADER = struct.Struct("!BBHHH")
_REQUEST, _REPLY = 128, 129
_NONCE = 16
# The headers of IPv6 and ICMPv6: a packet of a size has this much less to carry.
OVERHEAD = 40 + _HEADER.size
# linux/icmpv6.h: a bit for each type, set for those that do not pass.
_ICMPV6_FILTER = 1
# linux/in6.h: packets go as they are or not at all, whatever the route's MTU says.
_IPV6_MTU_DISCOVER, _PMTUDISC_PROBE, _IPV6_DONTFRAG = 23, 3, 62
_LARGEST = 9216
# Room for the answers of a burst of requests, as far as the system allows.
_RECEIVE_BUFFER = 1 << 20
# So many packets are read before others have a turn: a peer may send answers without end.
_MOST_AT_ONCE = 1000


@attrs.frozen
class Answer:
    """An answer to one of the requests: whose it was, and when it came, on the loop's clock."""

    address: str
    sequence: int
    at: float


class Echo:
    """A socket of one network namespace, None for the caller's own.

    Needs CAP_NET_RAW; raises PermissionError without it.
    """

    def __init__(self, netns: str | None = None) -> None:
        with in_netns(netns):
            self._socket = socket.socket(
                socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6
            )
        # A peer can only answer what it was sent: others do not know the nonce.
        self._identifier = int.from_bytes(os.urandom(2)) or 1
        self._nonce = os.urandom(_NONCE)
        try:
            self._set_up()
        except BaseException:
            self._socket.close()
            raise

    def _set_up(self) -> None:
        passes = bytearray(b"\xff" * 32)
        word, bit = divmod(_REPLY, 32)
        struct.pack_into("=I", passes, 4 * word, 0xFFFFFFFF & ~(1 << bit))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, bytes(passes))
        self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_DONTFRAG, 1)
        _only(self._socket, self._identifier)

    def send(self, address: str, sequence: int, size: int) -> None:
        """Send one request in a packet of this size, at least 64 bytes; does not wait.

        Raises OSError where it cannot be sent: no route, no peer, or larger than the link takes.
        """
        header = _HEADER.pack(_REQUEST, 0, 0, self._identifier, sequence & 0xFFFF)
        padding = bytes(max(0, size - OVERHEAD - _NONCE))
        self._socket.sendto(header + self._nonce + padding, (address, 0))

    def received(self) -> Iterator[Answer]:
        """What has come by now, of a flood its beginning; does not wait."""
        for address, sequence in self._read():
            yield Answer(address, sequence, trio.current_time())

    def _read(self) -> Iterator[tuple[str, int]]:
        for _ in range(_MOST_AT_ONCE):
            try:
                data, (address, *_) = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            if len(data) < _HEADER.size + _NONCE or data[_HEADER.size : _HEADER.size + _NONCE] != self._nonce:
                continue
            type, _, _, _, sequence = _HEADER.unpack_from(data)
            if type == _REPLY:
                yield address.partition("%")[0], sequence

    def answered_within(self, timeout: float, address: str) -> list[int]:
        """The sequence numbers of what this address has answered; blocks for at most so many seconds for the first."""
        select.select([self._socket], [], [], timeout)
        return [sequence for answered, sequence in self._read() if answered == address]

    async def wait(self) -> None:
        """Wait until something has come."""
        await trio.lowlevel.wait_readable(self._socket)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _only(raw: socket.socket, identifier: int) -> None:
    """Let only answers with this identifier pass: others on this machine ping, too."""
    attach(raw, ((LOAD_HALF, 0, 0, 4), (JUMP_IF_EQUAL, 0, 1, identifier), TAKE, DROP))

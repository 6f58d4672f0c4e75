"""Many UDP sockets that one task reads: a task for each would cost more memory than all else of an idle client.

The sockets are in an epoll of their own, whose file is readable when any of them is.
"""

import errno
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

import trio

from nodespan.discovery.relay.wire import LARGEST_PACKET

# So many datagrams of one socket are read in a row, and so many sockets, before others have their turn.
_MOST_IN_A_ROW = 32
_MOST_SOCKETS = 8
# What the kernel keeps of a socket that is not read, in bytes.
_RECEIVE_BUFFER = 512 << 10
_LATER = (errno.EAGAIN, errno.EWOULDBLOCK)

# A sender as the socket names it: host, port, and for IPv6 two numbers more.
Where = tuple[Any, ...]


class Owner(Protocol):
    """Whose a socket is."""

    def received(self, packets: list[Any]) -> None:
        """Datagrams have come, each a pair with its sender unless the socket is connected.

        One longer than any of WireGuard is cut off.
        """
        ...


Owned = TypeVar("Owned", bound=Owner)


def open_socket(port: int, *, both_families: bool) -> socket.socket:
    """A socket at a port of all addresses. Raises OSError if another program has it."""
    family = socket.AF_INET6 if both_families else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if both_families:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        opened.bind(("::" if both_families else "0.0.0.0", port))  # noqa: S104  # clients may be anywhere
    except BaseException:
        opened.close()
        raise
    return opened


def has_both_families() -> bool:
    """Whether a socket of this machine can serve IPv6 and IPv4."""
    try:
        open_socket(0, both_families=True).close()
    except OSError:
        return False
    return True


class Datagrams(Generic[Owned]):
    """The sockets, each with its owner. Use it in a `with`, and `run` it in a task.

    `pause` is awaited between a few sockets. `connected`: each socket has one sender only.
    """

    def __init__(self, pause: Callable[[], Awaitable[None]] | None = None, *, connected: bool = False) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, tuple[socket.socket, Owned]] = {}
        self._pause = pause
        self._connected = connected
        # Datagrams that could not be read, by reason.
        self.failures: dict[str, int] = {}

    def __enter__(self) -> "Datagrams[Owned]":
        return self

    def __exit__(self, *_: object) -> None:
        for opened, _owner in self._sockets.values():
            opened.close()
        self._sockets.clear()
        self._epoll.close()

    def add(self, opened: socket.socket, owner: Owned) -> None:
        """Read a socket from now on. Raises OSError if the kernel watches no more; the socket is closed then."""
        try:
            self._epoll.register(opened.fileno(), select.EPOLLIN)
        except OSError:
            opened.close()
            raise
        self._sockets[opened.fileno()] = (opened, owner)

    def close(self, opened: socket.socket) -> None:
        """Close a socket."""
        if self._sockets.pop(opened.fileno(), None) is not None:
            self._epoll.unregister(opened.fileno())
        opened.close()

    async def run(self) -> None:
        """Read the sockets until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for number, _ in self._epoll.poll(0, _MOST_SOCKETS):
                found = self._sockets.get(number)
                if found is not None:
                    self._read(*found)
            if self._pause is not None:
                await self._pause()

    def _read(self, opened: socket.socket, owner: Owned) -> None:
        packets: list[Any] = []
        receive: Callable[[int], Any] = opened.recv if self._connected else opened.recvfrom
        add = packets.append
        try:
            for _ in range(_MOST_IN_A_ROW):
                add(receive(LARGEST_PACKET + 1))
        except OSError as error:
            # A datagram that was sent before could not be delivered, which is the sender's loss; else there are none.
            if error.errno not in _LATER:
                name = errno.errorcode.get(error.errno or 0, "unknown")
                self.failures[name] = self.failures.get(name, 0) + 1
        if packets:
            owner.received(packets)

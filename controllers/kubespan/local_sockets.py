"""What stands between WireGuard and a relay: a local UDP address for each address that is reached over it.

WireGuard sends to, and hears from, a port of the loopback address; what it sends there goes down the stream of the
relay, and what comes up goes to WireGuard's own port from there. Each of these sockets is connected to WireGuard's
port, so that it takes packets from nowhere else.

There are at most `MOST` of them. An address that WireGuard never answered gives way to new ones first: anybody can send
to this node's address at the relay, so there is a rate for new ones too. One that nothing came from or went to for
`IDLE` is given up.
"""

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from nodespan.controllers.kubespan.relayed import LOCAL_HOST
from nodespan.runtime.token_bucket import TokenBucket

if TYPE_CHECKING:
    from nodespan.discovery.relay.client import RelayClient
    from nodespan.discovery.relay.datagrams import Datagrams

MOST = 512
# WireGuard gives up a session after 180 s, and a handshake after 90 s more.
IDLE = 300.0
# One that was answered is not given up for a new one while it is used.
_QUIET = 60.0
# A probe, a keepalive or a part of a handshake: what may be sent another way for once.
_LARGEST_PROBE = 148
_RECEIVE_BUFFER = 1 << 20
# So many new addresses a second, and at once, that nobody here has asked for: each is a resource.
_NEW_A_SECOND = 50.0
_NEW_AT_ONCE = 256.0

# Sends a packet another way; returns whether that was done.
Divert = Callable[[bytes], bool]


@attrs.define(eq=False)
class LocalSocket:
    """The local address of one address that is reached over a relay."""

    opened: socket.socket
    local: str
    address: bytes
    endpoint: str
    client: "RelayClient"
    used: float
    now: Callable[[], float]
    is_answered: bool = False
    # Whether this node reaches a peer there: else something came from there, if the relay is to be believed.
    is_requested: bool = False
    divert: Divert | None = None
    lost: int = 0

    def received(self, packets: list[bytes]) -> None:
        """WireGuard has sent something."""
        self.used = self.now()
        self.is_answered = True
        if self.divert is not None:
            for place, packet in enumerate(packets):
                if len(packet) <= _LARGEST_PROBE and self.divert(packet):
                    self.divert = None
                    del packets[place]
                    break
        if packets:
            self.client.send(self.address, packets)

    def to_wireguard(self, packets: Sequence[bytes]) -> None:
        """The relay has sent something."""
        self.used = self.now()
        send = self.opened.send
        for packet in packets:
            try:
                send(packet)
            except OSError:
                # Nobody listens, as there is no device just now, or its queue is full: datagrams may get lost.
                self.lost += 1


def _open(port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        opened.bind((LOCAL_HOST, 0))
        opened.connect((LOCAL_HOST, port))
    except BaseException:
        opened.close()
        raise
    return opened


class LocalSockets:
    """All of them. `on_change` is called with the local address of one that was opened or given up.

    `on_failure` is called with the error of one that the machine does not let be opened, as without a file for it.
    """

    def __init__(
        self,
        datagrams: "Datagrams[LocalSocket]",
        port: int,
        now: Callable[[], float],
        on_change: Callable[[str], None],
        on_failure: Callable[[OSError], None],
        most: int = MOST,
    ) -> None:
        self._datagrams = datagrams
        self._port = port
        self._now = now
        self._on_change = on_change
        self._on_failure = on_failure
        self._most = most
        self._new = TokenBucket(_NEW_A_SECOND, _NEW_AT_ONCE, now())
        self._by_address: dict[tuple[RelayClient, bytes], LocalSocket] = {}
        self.by_local: dict[str, LocalSocket] = {}
        # Packets from addresses for which there was no room, or that were too many at once.
        self.refused = 0

    def receive(self, client: "RelayClient", address: bytes, packets: Sequence[bytes]) -> None:
        """Packets have come over a relay."""
        found = self._by_address.get((client, address))
        if found is None and self._new.take(self._now()) is not None:
            found = self.open(client, address)
        if found is None:
            self.refused += len(packets)
        else:
            found.to_wireguard(packets)

    def request(self, client: "RelayClient", address: bytes) -> None:
        """Have a socket for an address at which this node reaches a peer."""
        found = self.open(client, address)
        if found is not None and not found.is_requested:
            found.is_requested = True
            self._on_change(found.local)

    def open(self, client: "RelayClient", address: bytes) -> LocalSocket | None:
        """The socket of an address; None if there are too many, or it cannot be opened."""
        from nodespan.discovery.relay.wire import decode_address
        from nodespan.resources.addresses import join_endpoint, parse_address

        found = self._by_address.get((client, address))
        if found is not None:
            return found
        if len(self.by_local) >= self._most and not self._make_room():
            return None
        try:
            opened = _open(self._port)
        except OSError as error:
            self._on_failure(error)
            return None
        host, port = decode_address(address)
        made = LocalSocket(
            opened=opened,
            local=f"{LOCAL_HOST}:{opened.getsockname()[1]}",
            address=address,
            endpoint=join_endpoint(parse_address(host).packed, port),
            client=client,
            used=self._now(),
            now=self._now,
        )
        try:
            self._datagrams.add(opened, made)
        except OSError as error:
            self._on_failure(error)
            return None
        self._by_address[client, address] = self.by_local[made.local] = made
        self._on_change(made.local)
        return made

    def find(self, endpoint: str, relay: str) -> LocalSocket | None:
        """The socket of an endpoint that is reached over a relay: it may have one for each."""
        return next(
            (
                each
                for each in self.by_local.values()
                if each.endpoint == endpoint and each.client.options.target.address == relay
            ),
            None,
        )

    def reclaim(self) -> None:
        """Give up what was not used for long."""
        oldest = self._now() - IDLE
        for each in [each for each in self.by_local.values() if each.used < oldest]:
            self._close(each)

    def close_all(self, client: "RelayClient") -> None:
        """A relay is not used any more."""
        for each in [each for each in self.by_local.values() if each.client is client]:
            self._close(each)

    def _make_room(self) -> bool:
        oldest = min(self.by_local.values(), key=lambda each: (each.is_answered, each.used))
        if oldest.is_answered and self._now() - oldest.used < _QUIET:
            return False
        self._close(oldest)
        return True

    def _close(self, socket: LocalSocket) -> None:
        del self._by_address[socket.client, socket.address], self.by_local[socket.local]
        self._datagrams.close(socket.opened)
        self._on_change(socket.local)

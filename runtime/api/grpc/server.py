"""The server: accepts connections and serves each on its own, until it is cancelled."""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

from nodespan.runtime.api.grpc.connection import Connection
from nodespan.runtime.api.grpc.method import Peer
from nodespan.runtime.api.grpc.peek import Elsewhere, peek
from nodespan.runtime.api.grpc.probing import probe_when_idle
from nodespan.runtime.api.grpc.sources import Seat, Sources
from nodespan.runtime.api.grpc.stream import Service
from nodespan.runtime.api.grpc.wire import TLSWire, Wire

# How often connections are looked at in the time that the shortest of their deadlines has.
_LOOKS = 5

TLSContext = Callable[[], ssl.SSLContext]


class Server:
    """A gRPC server for one service. Make it, then `serve`. With `elsewhere` others may serve its connections."""

    def __init__(self, service: Service, elsewhere: Elsewhere | None = None) -> None:
        self._service = service
        self._elsewhere = elsewhere
        self._connections: set[Connection] = set()
        self._expiring: set[Connection] = set()
        # Where the connections are served, while new ones are taken.
        self._conversations: trio.Nursery | None = None
        # What cuts short the beginnings of connections: handshakes, and the wait for a first call.
        self._beginnings: set[trio.CancelScope] = set()
        self._is_stopping = False
        self.sources = Sources(service.limits)

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        tls: TLSContext | None = None,
        grace: float = 5.0,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled: over TLS with the settings that `tls` returns for each connection, or in plain text.

        When cancelled, no more connections and calls are taken, streams end with OK, and other calls have `grace`
        seconds to finish. The listeners are closed. A client that misbehaves loses its connection, and no other does.
        """
        accepting = trio.CancelScope()
        life = trio.CancelScope(shield=True)

        async def converse(transport: trio.SocketStream) -> None:
            await self._converse(transport, tls)

        async def live(task_status: trio.TaskStatus[None]) -> None:
            with life:
                async with trio.open_nursery() as conversations:
                    self._conversations = conversations
                    task_status.started()
                    with accepting:
                        await trio.serve_listeners(converse, list(listeners), handler_nursery=conversations)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire)
            try:
                await nursery.start(live)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._conversations = None
                accepting.cancel()
                life.deadline = trio.current_time() + grace
                self._is_stopping = True
                for beginning in self._beginnings:
                    beginning.cancel()
                for connection in tuple(self._connections):
                    connection.stop()

    async def _expire(self) -> None:
        """One task looks at all that may expire: a deadline for each would be moved with each call."""
        limits = self._service.limits
        while True:
            await trio.sleep(min(limits.handshake, limits.idle_timeout) / _LOOKS)
            now = trio.current_time()
            for connection in tuple(self._expiring):
                connection.expire(now)
            self.sources.drop_idle()

    def adopt(self, transport: trio.SocketStream, peer: Peer, received: bytes) -> None:
        """Serve a connection that another process has accepted and greeted, and what was received on it since.

        It ends as those do that this server has accepted; it is closed if the server does not serve, or stops.
        """
        if self._conversations is None:
            transport.socket.close()
        else:
            self._conversations.start_soon(self._converse, transport, None, (peer, received))

    async def _converse(
        self, transport: trio.SocketStream, tls: TLSContext | None, adopted: tuple[Peer, bytes] | None = None
    ) -> None:
        log = self._service.log
        try:
            peer = _peer_of(transport) if adopted is None else adopted[0]
            seat = self.sources.admit(peer.address)
            if seat is None:
                log.debug("connection refused: too many connections", peer=str(peer))
                return
            try:
                with seat.scope:
                    probe_when_idle(transport, self._service.limits.idle_probe, self._service.limits.dead_after)
                    if adopted is None:
                        await self._serve_one(transport, peer, tls, seat)
                    else:
                        await self._carry(Wire(transport), peer, seat, adopted[1])
            finally:
                self.sources.leave(seat)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError) as error:
            # Not a gRPC client, or one that left at once.
            log.debug("a connection failed before it began", error=str(error.__cause__ or error))
        except Exception:
            log.exception("a connection failed")
        finally:
            await trio.aclose_forcefully(transport)

    async def _serve_one(self, transport: trio.SocketStream, peer: Peer, tls: TLSContext | None, seat: Seat) -> None:
        wire = Wire(transport)
        if tls is not None:
            wire = secure = TLSWire(transport, tls(), seat.spend)
            with self._beginning() as beginning, trio.fail_after(self._service.limits.handshake):
                await secure.handshake()
            if beginning.cancelled_caught:
                return
            peer = attrs.evolve(peer, certificate=secure.certificate)
        received = None
        if self._elsewhere is not None:
            received, first = b"", None  # also if the server stops: then nobody reads on
            with self._beginning():
                received, first = await peek(wire, self._service.limits)
            place = None if first is None else self._elsewhere.place_of(*first)
            if place is not None:
                if tls is None:
                    self.sources.became_busy(seat)
                else:
                    self.sources.carry(seat)  # only the process with the keys can
                await self._elsewhere.hand_over(place, transport, wire, peer, received)
                return
        await self._carry(wire, peer, seat, received)

    @contextmanager
    def _beginning(self) -> Iterator[trio.CancelScope]:
        """Do this until the server stops."""
        with trio.CancelScope() as scope:
            if self._is_stopping:
                scope.cancel()
            self._beginnings.add(scope)
            try:
                yield scope
            finally:
                self._beginnings.discard(scope)

    async def _carry(self, wire: Wire, peer: Peer, seat: Seat, received: bytes | None) -> None:
        connection = Connection(wire, peer, self._service, self.sources, seat, self._expiring, received)
        self._connections.add(connection)
        if self._is_stopping:
            connection.stop()
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            connection.close()


def _peer_of(transport: trio.SocketStream) -> Peer:
    if transport.socket.family == socket.AF_UNIX:
        return Peer()
    host, port = transport.socket.getpeername()[:2]
    return Peer(address=_plain(host), port=port, local=_plain(transport.socket.getsockname()[0]))


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address

"""The server: accepts connections and serves them, until it is cancelled.

One task reads for all of them (see `polled`). One over TLS has a task of its own while it shakes hands, and one that
another process may have to serve until that is known.
"""

import errno
import functools
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

from nodespan.runtime.api.grpc.connection import Shared
from nodespan.runtime.api.grpc.method import Peer
from nodespan.runtime.api.grpc.peek import Elsewhere, peek
from nodespan.runtime.api.grpc.polled import Polled, Reader
from nodespan.runtime.api.grpc.probing import probe_when_idle
from nodespan.runtime.api.grpc.rare_lines import RareLine
from nodespan.runtime.api.grpc.sources import Seat, Sources
from nodespan.runtime.api.grpc.stream import Service
from nodespan.runtime.api.grpc.wire import Buffers, TLSWire, Wire

# How often connections are looked at in the time that the shortest of their deadlines has.
_LOOKS = 5
# Why no connection can be accepted for a while, and how many seconds to wait then.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_UNTIL_ROOM = 0.1

TLSContext = Callable[[], "ssl.SSLContext"]


class Server:
    """A gRPC server for one service. Make it, then `serve`. With `elsewhere` others may serve its connections."""

    def __init__(self, service: Service, elsewhere: Elsewhere | None = None) -> None:
        self._service = service
        self._elsewhere = elsewhere
        self._buffers = Buffers()
        # Where the connections are served, while new ones are taken.
        self._conversations: trio.Nursery | None = None
        self._reader: Reader
        # What cuts short the beginnings of connections: handshakes, and the wait for a first call.
        self._beginnings: set[trio.CancelScope] = set()
        self._is_stopping = False
        # Of all listeners: whoever fills the table of files must not fill the log.
        self._no_room = RareLine(service.log.warning, "connections have to wait")
        self.sources = Sources(service.limits)
        self._shared = Shared(service, self.sources)

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

        async def live(task_status: trio.TaskStatus[None]) -> None:
            with life:
                async with trio.open_nursery() as conversations:
                    self._conversations = conversations
                    self._reader = reader = Reader(conversations, self._shared)
                    conversations.start_soon(reader.run)
                    task_status.started()
                    with accepting:
                        async with trio.open_nursery() as accepts:
                            for listener in listeners:
                                accepts.start_soon(self._accept, listener, tls, conversations)
                    reader.stop()

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
                for connection in tuple(self._shared.connections):
                    connection.stop()

    async def _expire(self) -> None:
        """One task looks at all that may expire: a deadline for each would be moved with each call."""
        limits = self._service.limits
        while True:
            await trio.sleep(min(limits.handshake, limits.idle_timeout, limits.request_time) / _LOOKS)
            now = trio.current_time()
            for connection in tuple(self._shared.slow):
                connection.end_slow_requests(now)
            for connection in tuple(self._shared.expiring):
                connection.expire(now)
            self.sources.drop_idle()

    async def _accept(self, listener: trio.SocketListener, tls: TLSContext | None, conversations: trio.Nursery) -> None:
        async with listener:
            while True:
                try:
                    transport = await listener.accept()
                except OSError as error:
                    if error.errno not in _NO_ROOM:
                        raise
                    self._no_room.due(error=str(error))
                    await trio.sleep(_UNTIL_ROOM)
                    continue
                if tls is None and self._elsewhere is None:
                    self._serve_polled(transport)
                else:
                    conversations.start_soon(self._converse, transport, tls)

    def adopt(self, transport: trio.SocketStream, peer: Peer, received: bytes) -> None:
        """Serve a connection that another process has accepted and greeted, and what was received on it since.

        It ends as those do that this server has accepted; it is closed if the server does not serve, or stops.
        """
        if self._conversations is None:
            transport.socket.close()
        else:
            self._serve_polled(transport, (peer, received))

    def _serve_polled(self, transport: trio.SocketStream, adopted: tuple[Peer, bytes] | None = None) -> None:
        """Serve a connection in plain text, which fails alone."""
        log = self._service.log
        seat = None
        is_served = False
        try:
            peer, received = (_peer_of(transport), None) if adopted is None else adopted
            seat = self._admit(peer)
            if seat is not None and not seat.is_closed:
                probe_when_idle(transport, self._service.limits.idle_probe, self._service.limits.dead_after)
                self._begin(Wire(transport), peer, seat, received)
                is_served = True
        except OSError as error:
            log.debug("a connection failed before it began", error=str(error))
        except Exception:
            log.exception("a connection failed")
        finally:
            if not is_served:
                if seat is not None:
                    self.sources.leave(seat)
                transport.socket.close()

    def _admit(self, peer: Peer) -> Seat | None:
        """A seat for it, None if there is no place."""
        seat = self.sources.admit(peer.address)
        if seat is None:
            self._service.log.debug("connection refused: too many connections", peer=str(peer))
        return seat

    def _begin(self, wire: Wire, peer: Peer, seat: Seat, received: bytes | None) -> None:
        """Have the reader serve a connection, which gives up its seat by itself from now on."""
        connection = Polled(self._reader, wire, peer, seat, received)
        connection.open()
        if self._is_stopping:
            connection.stop()

    async def _converse(self, transport: trio.SocketStream, tls: TLSContext | None) -> None:
        """Serve a connection that begins with more than one can do at once."""
        log = self._service.log
        seat = None
        is_served = False
        try:
            with self._reader.expecting():
                peer = _peer_of(transport)
                seat = self._admit(peer)
                if seat is None:
                    return
                ready = None
                with seat.scope:
                    probe_when_idle(transport, self._service.limits.idle_probe, self._service.limits.dead_after)
                    ready = await self._prepare(transport, peer, tls, seat)
                if ready is not None and not seat.is_closed and not self._reader.is_over:
                    wire, peer, received = ready
                    self._begin(wire, peer, seat, received)
                    is_served = True
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError) as error:
            # Not a gRPC client, or one that left at once.
            log.debug("a connection failed before it began", error=str(error.__cause__ or error))
        except Exception:
            log.exception("a connection failed")
        finally:
            if not is_served:
                if seat is not None:
                    self.sources.leave(seat)
                await trio.aclose_forcefully(transport)

    async def _prepare(
        self, transport: trio.SocketStream, peer: Peer, tls: TLSContext | None, seat: Seat
    ) -> tuple[Wire, Peer, bytes | None] | None:
        """Shake hands, and see who serves it: what to `_begin` with, None if there is nothing left to serve."""
        wire = Wire(transport)
        if tls is not None:
            wire = secure = TLSWire(transport, tls(), seat.spend, self._buffers)
            with self._beginning() as beginning, trio.fail_after(self._service.limits.handshake):
                await secure.handshake()
            if beginning.cancelled_caught:
                return None
            if secure.certificate is not None:
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
                return None
        return wire, peer, received

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


def _peer_of(transport: trio.SocketStream) -> Peer:
    if transport.socket.family == socket.AF_UNIX:
        return Peer()
    host, port = transport.socket.getpeername()[:2]
    return Peer(address=_plain(host), port=port, local=_plain(transport.socket.getsockname()[0]))


@functools.lru_cache(maxsize=1024)
def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address

"""Where queries come in: UDP and TCP at one address, from those only who may ask there.

At an address of the loopback these are programs of this machine, at the one in the mesh the hosts of the mesh. The
packets that go out live for one hop: no machine further away ever gets an answer, whatever source address it wrote.
"""

import errno
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable

import attrs
import trio

from nodespan.controllers.dns.answering import Answering, Scope
from nodespan.controllers.dns.metrics import Counts, Outcome
from nodespan.controllers.dns.queries import Query
from nodespan.controllers.dns.rebinding import IPNetwork

MOST_CONNECTIONS = 128
MOST_OF_ONE_CLIENT = 32
# Questions of one connection that wait for others' answers.
MOST_OF_ONE_CONNECTION = 32
# Seconds: for a query to come, and for an answer to be taken.
IDLE, TO_WRITE = 10.0, 5.0
# Packets that are answered before other tasks have their turn.
_BATCH = 32
_LONGEST_DATAGRAM = 4096
# What a host of the mesh may ask in a second, and at once.
RATE, BURST = 200.0, 400.0
_MOST_METERED = 4096
_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


# The socket module has no names for these options.
_FREE_BIND = {socket.AF_INET: (socket.IPPROTO_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}


class ListenError(Exception):
    """It cannot be listened at an address; the text says why, and what to do."""


@attrs.frozen(eq=False)
class Place:
    """An address to listen at, and who may ask there."""

    address: str
    port: int
    sources: tuple[IPNetwork, ...]
    is_mesh: bool

    @classmethod
    def parse(cls, text: str, mesh: IPNetwork | None) -> "Place":
        """The place of `address:port`; an address beyond the loopback is that in the mesh."""
        host, _, port = text.rpartition(":")
        address = ipaddress.ip_address(host.strip("[]"))
        if address.is_loopback:
            return cls(str(address), int(port), _LOOPBACK, is_mesh=False)
        return cls(str(address), int(port), () if mesh is None else (mesh,), is_mesh=True)


@attrs.define(eq=False)
class Meter:
    """How much each host asks; the one that asked last the longest ago is forgotten when there are too many."""

    _allowance: OrderedDict[str, tuple[float, float]] = attrs.field(factory=OrderedDict)

    def admits(self, source: str, now: float) -> bool:
        """Whether one more query of this host is answered."""
        before, left = self._allowance.pop(source, (now, BURST))
        left = min(left + (now - before) * RATE, BURST)
        admitted = left >= 1
        self._allowance[source] = now, left - 1 if admitted else left
        if len(self._allowance) > _MOST_METERED:
            self._allowance.popitem(last=False)
        return admitted


@attrs.frozen(eq=False)
class Sockets:
    """Both sockets of a place, bound."""

    datagrams: socket.socket
    streams: socket.socket

    def close(self) -> None:
        """Close both."""
        self.datagrams.close()
        self.streams.close()


def bind(place: Place) -> Sockets:
    """Bind both sockets of a place. Raises ListenError."""
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    opened: list[socket.socket] = []
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            opened.append(socket.socket(family, kind))
        datagrams, streams = opened
        # After a restart, connections of before must not be in the way; another listener still is.
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each in (datagrams, streams):
            each.setblocking(False)  # noqa: FBT003
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
            else:
                each.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            if place.is_mesh:
                # The link of the mesh may come later, and may go and come again.
                each.setsockopt(*_FREE_BIND[family], 1)
            each.bind((place.address, place.port))
        streams.listen(MOST_CONNECTIONS)
    except OSError as error:
        for each in opened:
            each.close()
        raise ListenError(_reason(place, error)) from error
    return Sockets(datagrams, streams)


def _reason(place: Place, error: OSError) -> str:
    where = f"{place.address} port {place.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where} is in use by another program: name a free address of the loopback in hostDNS.listen"
        case errno.EADDRNOTAVAIL:
            return f"{where}: this machine does not have the address yet"
        case errno.EAFNOSUPPORT:
            return f"{where}: this machine has no {'IPv6' if ':' in place.address else 'IPv4'}"
        case errno.EACCES | errno.EPERM:
            return f"{where}: the agent may not listen there, it lacks CAP_NET_BIND_SERVICE"
    return f"{where}: {error.strerror}"


class Listener:
    """Answers at one place, until cancelled."""

    def __init__(self, place: Place, sockets: Sockets, answering: Answering, counts: Counts) -> None:
        self._place = place
        self._sockets = sockets
        self._answering = answering
        self._counts = counts
        self._scope: Scope = answering.mesh if place.is_mesh else answering.machine
        self._meter = Meter()
        self._connections: dict[str, int] = {}
        self._known_sources: dict[str, bool] = {}

    async def run(self) -> None:
        """Answer queries over both."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_datagrams, nursery)
                nursery.start_soon(self._serve_streams, nursery)
        finally:
            self._sockets.close()

    def _may_ask(self, source: str) -> bool:
        """Whether this host may ask here, now."""
        known = self._known_sources.get(source)
        if known is None:
            address = ipaddress.ip_address(source.partition("%")[0])
            known = any(address in network for network in self._place.sources)
            if len(self._known_sources) >= _MOST_METERED:
                self._known_sources.clear()
            self._known_sources[source] = known
        if known and self._place.is_mesh:
            return self._meter.admits(source, trio.current_time())
        return known

    async def _serve_datagrams(self, nursery: trio.Nursery) -> None:
        opened, answering, scope = self._sockets.datagrams, self._answering, self._scope
        while True:
            await trio.lowlevel.wait_readable(opened)
            for _ in range(_BATCH):
                try:
                    data, source = opened.recvfrom(_LONGEST_DATAGRAM)
                except BlockingIOError:
                    break
                # Nothing can be sent to port 0.
                if not self._may_ask(source[0]) or source[1] == 0:
                    self._counts.queries[Outcome.DROPPED] += 1
                    continue
                answer = answering.at_once(data, scope)
                if isinstance(answer, Query):
                    nursery.start_soon(self._look_up, answer, source)
                elif answer:
                    self._send(answer, source)

    async def _look_up(self, query: Query, source: tuple[str, int]) -> None:
        self._send(await self._answering.look_up(query, self._scope, source[0]), source)

    def _send(self, answer: bytes, source: tuple[str, int]) -> None:
        try:
            self._sockets.datagrams.sendto(answer, source)
        except OSError:
            # No room, or nobody there any more: as with any datagram, the client asks again.
            self._counts.queries[Outcome.DROPPED] += 1

    async def _serve_streams(self, nursery: trio.Nursery) -> None:
        listening = trio.socket.from_stdlib_socket(self._sockets.streams)
        listener = trio.SocketListener(listening)
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED):
                    raise
                await trio.sleep(0.1)
                continue
            source = stream.socket.getpeername()[0] if _is_connected(stream) else ""
            here = self._connections.get(source, 0)
            refuses = sum(self._connections.values()) >= MOST_CONNECTIONS or here >= MOST_OF_ONE_CLIENT
            if not source or refuses or not self._may_ask(source):
                self._counts.queries[Outcome.DROPPED] += 1
                await trio.aclose_forcefully(stream)
                continue
            self._connections[source] = here + 1
            nursery.start_soon(self._serve_stream, stream, source)

    async def _serve_stream(self, stream: trio.SocketStream, source: str) -> None:
        try:
            async with stream:
                await self._answer_all(stream, source)
        except* (trio.BrokenResourceError, OSError):
            # The client went away.
            self._counts.queries[Outcome.DROPPED] += 1
        finally:
            self._connections[source] -= 1
            if not self._connections[source]:
                del self._connections[source]

    async def _answer_all(self, stream: trio.SocketStream, source: str) -> None:
        """Answer each question as soon as its answer is known, so that a slow one holds up nothing but itself."""
        answers = _Answers(stream)
        async with trio.open_nursery() as nursery:
            buffer = bytearray()
            while (data := await _message(stream, buffer, answers)) is not None:
                if self._place.is_mesh and not self._may_ask(source):
                    break
                answer = self._answering.at_once(data, self._scope, over_stream=True)
                if isinstance(answer, Query):
                    await answers.limit.acquire()
                    nursery.start_soon(self._look_up_for, answer, source, answers, nursery.cancel_scope)
                elif not answer:
                    break
                elif not await answers.send(answer):
                    # Nothing may follow what was sent in part.
                    nursery.cancel_scope.cancel()

    async def _look_up_for(self, query: Query, source: str, answers: "_Answers", connection: trio.CancelScope) -> None:
        try:
            answer = await self._answering.look_up(query, self._scope, source, over_stream=True)
            if not await answers.send(answer):
                connection.cancel()
        finally:
            answers.limit.release()


class _Answers:
    """The answers on a connection, and the bound of how many are waited for at a time: beyond it nothing is read."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.limit = trio.Semaphore(MOST_OF_ONE_CONNECTION)
        self._stream = stream
        self._sending = trio.Lock()

    @property
    def are_waited_for(self) -> bool:
        """Whether a question has no answer yet."""
        return self.limit.value < MOST_OF_ONE_CONNECTION

    async def send(self, answer: bytes) -> bool:
        """Send an answer after those before it; returns whether the client takes them."""
        with trio.move_on_after(TO_WRITE) as writing:
            async with self._sending:
                await self._stream.send_all(len(answer).to_bytes(2) + answer)
        return not writing.cancelled_caught


async def _message(stream: trio.SocketStream, buffer: bytearray, answers: _Answers) -> bytes | None:
    """The next message, None if there comes none for long, and no answer to an earlier one is due."""
    while True:
        with trio.move_on_after(IDLE):
            if not await _fill(stream, buffer, 2):
                return None
            size = int.from_bytes(buffer[:2])
            if not await _fill(stream, buffer, 2 + size):
                return None
            data = bytes(buffer[2 : 2 + size])
            del buffer[: 2 + size]
            return data
        if not answers.are_waited_for:
            return None


def _is_connected(stream: trio.SocketStream) -> bool:
    try:
        stream.socket.getpeername()
    except OSError:
        return False
    return True


async def _fill(stream: trio.SocketStream, buffer: bytearray, size: int) -> bool:
    """Read until there are so many bytes; returns whether they came."""
    while len(buffer) < size:
        part = await stream.receive_some(_LONGEST_DATAGRAM)
        if not part:
            return False
        buffer += part
    return True


Bind = Callable[[Place], Sockets]

"""One HTTP/2 connection: who reads, a task per call in progress that waits, and a writer while the socket is full.

What is read feeds the protocol machine, which calls back with what it found. A task with more to send than the peer
reads waits: for the peer's window, and for the writer. Everything a peer makes the server do counts as work; above a
rate it is not read for a while, which slows it down.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import h2.errors
import h2.exceptions
import trio

from nodespan.runtime.api.grpc.ledger import Sized
from nodespan.runtime.api.grpc.limits import PingPolicy
from nodespan.runtime.api.grpc.method import Call, Peer
from nodespan.runtime.api.grpc.output import MAX_WAITING, ServerOutput
from nodespan.runtime.api.grpc.server_machine import Headers, ServerMachine
from nodespan.runtime.api.grpc.sources import Seat, Sources, Waiting
from nodespan.runtime.api.grpc.status import Code, RPCError, Status, parse_timeout
from nodespan.runtime.api.grpc.stream import Service, Stream
from nodespan.runtime.api.grpc.wire import Wire
from nodespan.runtime.token_bucket import TokenBucket

# How many requests a client may reset at once, in seconds of what it may on average.
_BURST_OF_RESETS = 25
# How long, in seconds, a peer may take to read the last frames.
_GOODBYE = 1.0
# So many frames are handled before others have their turn.
_MOST_FRAMES = 256
# So many calls may be answered without a task after each read: others have their turn before the rest.
_MOST_AT_ONCE = 16
# A frame of a call both ways with fewer bytes is work as any other: messages that are worth sending are larger.
_LEAST_DATA = 32
# What a request costs, in frames.
_REQUEST_WORK = 20


@attrs.frozen(eq=False)
class Shared:
    """What all connections of a server share.

    Among the `expiring` ones are those whose peer has not said hello, or has no request in progress: `expire` is to be
    called for them. The `slow` ones have, or had, requests that did not come in one piece: `end_slow_requests` is.
    """

    service: Service
    sources: Sources
    connections: "set[Connection]" = attrs.field(factory=set)
    expiring: "set[Connection]" = attrs.field(factory=set)
    slow: "set[Connection]" = attrs.field(factory=set)


class Connection(ABC):
    """Serves one peer. Who reads, and where its tasks run, is left open: see `polled.Polled`.

    `received`: the peer was greeted already, and has said this since.
    """

    __slots__ = (
        "_at_once",
        "_buffered",
        "_due",
        "_duplex",
        "_has_said_goodbye",
        "_incomplete",
        "_is_stopping",
        "_machine",
        "_pings",
        "_received",
        "_resets",
        "_seat",
        "_shared",
        "_streams",
        "_unanswered",
        "_wire",
        "output",
        "peer",
        "service",
    )

    def __init__(
        self,
        shared: Shared,
        wire: Wire,
        peer: Peer,
        seat: Seat,
        received: bytes | None = None,
    ) -> None:
        limits = shared.service.limits
        self._shared = shared
        self.service = shared.service
        self._wire = wire
        self.peer = peer
        self._seat = seat
        self._streams: dict[int, Stream] = {}
        # Those of them whose messages go both ways.
        self._duplex: dict[int, Stream] = {}
        self._buffered = 0
        # The incomplete requests, oldest first, with their deadlines.
        self._incomplete: dict[int, float] = {}
        self._at_once = 0
        self._pings = PingPolicy(limits.min_ping_interval)
        # How often it may give requests up: full until it does.
        self._resets: TokenBucket | None = None
        # How many bytes were read since all that was to be sent had been.
        self._unanswered = 0
        # When the peer must have said hello; None once it has.
        self._due: float | None = trio.current_time() + limits.handshake
        self._is_stopping = False
        self._has_said_goodbye = False
        self._machine = ServerMachine(
            self, limits.max_concurrent_streams, limits.max_header_list, has_greeted=received is not None
        )
        shared.expiring.add(self)
        # What was received before this connection was made.
        self._received = received or b""
        self.output = ServerOutput(self._machine, wire, self._start_writer)

    @abstractmethod
    def _start(self, work: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start a task of the connection, which ends with it."""

    @abstractmethod
    def _stop_reading(self) -> None:
        """Read no more, and say goodbye."""

    @abstractmethod
    def _lost(self) -> None:
        """The peer is gone."""

    def expire(self, now: float) -> None:
        """End it if the peer has not said hello in time, or has asked for nothing for too long."""
        due = self._due
        if due is None and self._seat.idle_since is not None:
            due = self._seat.idle_since + self.service.limits.idle_timeout
        if due is not None and due <= now:
            self._stop_reading()

    def close(self) -> None:
        """Release what the connection holds. Call it when it is over."""
        self._shared.expiring.discard(self)
        self._shared.slow.discard(self)
        for stream in tuple(self._streams.values()):
            self._completed(stream.id)
            self._release(stream)
            stream.call = None
        self._streams.clear()
        self._duplex.clear()
        # No cycle is left to the collector: what it comes by late takes memory until then.
        self._machine.detach()
        self.output.detach()

    def stop(self) -> None:
        """Accept no new calls, end the streams, let the other calls finish, then close."""
        self._is_stopping = True
        for stream in tuple(self._streams.values()):
            if stream.call is not None and stream.call.method.is_stream:
                stream.end(Status(Code.OK))
        self._stop_reading_if_done()

    def forget(self, stream: Stream) -> None:
        if self._streams.pop(stream.id, None):
            self._duplex.pop(stream.id, None)
            self._buffered -= len(stream.body)
            self._release(stream)
            self._completed(stream.id)
            self._machine.retire(stream.id)
            if not self._streams:
                self._shared.sources.became_idle(self._seat)
                self._shared.expiring.add(self)
        self._stop_reading_if_done()

    def _release(self, stream: Stream) -> None:
        self._seat.held.shrink(len(stream.body))
        if stream.inbox is not None:
            stream.inbox.release()

    def _stop_reading_if_done(self) -> None:
        if self._is_stopping and not self._streams:
            self._stop_reading()

    # The transport.

    def _take(self, data: bytes) -> tuple[bool, float]:
        """Handle the first frames of what was read; whether there are more, and for how long to rest before those.

        Raises ProtocolError.
        """
        self._at_once = _MOST_AT_ONCE
        self._unanswered += len(data)
        is_more, rest = self._take_more(data)
        return is_more, max(rest, self._wire.pause())

    def _take_more(self, data: bytes = b"") -> tuple[bool, float]:
        try:
            is_more = self._machine.receive_data(data, _MOST_FRAMES)
        except h2.exceptions.ProtocolError:
            self._has_said_goodbye = True  # the machine's output holds the reason
            raise
        self.output.wake()
        if self._incomplete:
            self._shared.slow.add(self)
        return is_more, self._seat.spend(self._machine.take_work())

    async def _catch_up(self, is_more: bool, rest: float) -> None:
        """Handle what is left of it, with all rests. Raises ProtocolError."""
        while True:
            if rest or is_more:
                await trio.sleep(rest)  # at least a turn of the others
            if self._duplex:
                for stream in tuple(self._duplex.values()):
                    assert stream.inbox is not None
                    await stream.inbox.rest()
            if not is_more:
                break
            is_more, rest = self._take_more()
        # Frames of the peer cause answers: do not read faster than it reads those.
        if self._unanswered > MAX_WAITING:
            self._unanswered = 0
            await self.output.drain()

    async def _read(self) -> None:
        """Read once, and handle that. Raises ProtocolError, and BrokenResourceError if the peer has left."""
        data, self._received = self._received or await self._wire.read(), b""
        if not data:
            raise trio.BrokenResourceError("the peer has left")
        await self._catch_up(*self._take(data))

    def _start_writer(self) -> None:
        self._start(self._write)

    async def _write(self) -> None:
        try:
            await self.output.write()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._lost()

    async def _say_goodbye(self) -> None:
        with trio.move_on_after(_GOODBYE):
            if not self._has_said_goodbye:
                self._machine.close_connection()
            await self.output.drain()
            # Closing at once could make the kernel discard the last frames.
            await self._wire.linger()

    # What the peer does: see `server_machine.Handler`.

    def begin(self, id: int, headers: Headers, *, has_ended: bool) -> None:
        """A request begins."""
        self._machine.work += _REQUEST_WORK
        self._shared.sources.became_busy(self._seat)
        if self._due is None:
            self._shared.expiring.discard(self)
        fields = dict(reversed(headers))  # the first of each name counts
        stream = self._streams[id] = Stream(id, self)
        if "application/grpc" not in fields.get("content-type", ""):
            self._start(stream.answer_page, fields.get(":method", ""), fields.get(":path", "/"), headers)
            return
        method = self.service.methods.get(fields.get(":path", ""))
        is_duplex = method is not None and method.is_duplex
        if not has_ended and not self._may_begin(stream):
            return
        try:
            stream.call = self._open(stream, fields, headers)
        except RPCError as error:
            stream.finish(error.status)
            return
        if is_duplex:
            # While its handler takes messages one by one, it is waited for as a request is.
            stream.open_inbox(self._seat.held)
            # What is sent both ways goes stale: it should wait where its sender can drop it.
            self._wire.keep_little(MAX_WAITING)
            self._duplex[id] = stream
            self._start(stream.run, stream.call)

    def feed(self, id: int, data: bytes) -> None:
        """A part of a request has come."""
        if stream := self._streams.get(id):
            self._feed(stream, data)

    def complete(self, id: int) -> None:
        """A request is complete."""
        if stream := self._streams.get(id):
            stream.is_complete = True
            self._completed(id)
            if stream.inbox is not None:
                stream.inbox.end()
            elif stream.call is not None:
                if self._at_once:
                    self._at_once -= 1
                    if stream.answer_at_once(stream.call):
                        return
                self._start(stream.run, stream.call)

    def was_reset(self, id: int) -> None:
        """The peer has given a request up."""
        if stream := self._streams.get(id):
            stream.end(Status(Code.CANCELLED, "the client gave up"))
            self.forget(stream)
        now = trio.current_time()
        if self._resets is None:
            most = self.service.limits.max_resets
            self._resets = TokenBucket(most, most * _BURST_OF_RESETS, now)
        if self._resets.take(now) is None:
            self._reject(b"too_many_resets")

    def window_opened(self, id: int) -> None:
        """The peer takes more of a stream, or of all."""
        self.output.window_opened(id)

    def settings_changed(self, *, windows: bool) -> None:
        """The peer has sent settings."""
        self._due = None
        if self._streams:
            self._shared.expiring.discard(self)
        if windows:
            self.output.windows_changed()

    def pinged(self) -> None:
        """The peer has sent a ping."""
        if self._pings.is_too_many(trio.current_time(), self.output.count):
            self._reject(b"too_many_pings")

    def _reject(self, reason: bytes) -> None:
        if not self._has_said_goodbye:
            self._has_said_goodbye = True
            self._machine.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, reason)
            self._stop_reading()

    def hold(self, data: Sized, give_up: Callable[[], None]) -> Waiting:
        waiting = self._shared.sources.hold(self._seat, data, give_up)
        if waiting is None:
            raise RPCError(Code.RESOURCE_EXHAUSTED, "too much waits to be read")
        return waiting

    # Incomplete requests.

    def _may_begin(self, stream: Stream) -> bool:
        """Count an incomplete request; refuse it, unprocessed, if there are too many."""
        limits, source = self.service.limits, self._seat.source
        if len(self._incomplete) >= limits.incomplete.connection or source.incomplete >= limits.incomplete.source:
            self._shared.sources.turned_away["incomplete"] += 1
            stream.refuse()
            return False
        self._incomplete[stream.id] = trio.current_time() + limits.request_time
        source.incomplete += 1
        return True

    def _completed(self, id: int) -> None:
        if self._incomplete.pop(id, None) is not None:
            self._seat.source.incomplete -= 1

    def passes_on(self, id: int, window: int) -> None:
        """The messages of a call are passed on from now on, and the peer may have so much of them under way."""
        self._completed(id)
        if window:
            self._machine.widen(id, window)
            self._wire.read_much()
            self.output.wake()

    def end_slow_requests(self, now: float) -> None:
        """End the requests that have not come in time."""
        for id, due in tuple(self._incomplete.items()):
            if due > now:
                break
            self._shared.sources.turned_away["slow"] += 1
            seconds = self.service.limits.request_time
            text = f"the request has not ended within {seconds:g} s"
            stream, status = self._streams[id], Status(Code.DEADLINE_EXCEEDED, text)
            if stream.inbox is None:
                stream.finish(status)
            else:
                # Its handler runs already, and finishes it.
                self._completed(id)
                stream.end(status)
        if not self._incomplete:
            self._incomplete = {}  # one that had requests keeps their room
            self._shared.slow.discard(self)

    def _open(self, stream: Stream, fields: Mapping[str, str], headers: Headers) -> Call:
        if self._is_stopping:
            raise RPCError(Code.UNAVAILABLE, "the server is stopping")
        path = fields.get(":path", "")
        method = self.service.methods.get(path)
        if method is None:
            raise RPCError(Code.UNIMPLEMENTED, f"unknown method {path}")
        deadline = float("inf")
        if (timeout := fields.get("grpc-timeout")) is not None:
            try:
                deadline = trio.current_time() + parse_timeout(timeout)
            except ValueError as error:
                raise RPCError(Code.INTERNAL, str(error)) from error
        return Call(method, self.peer, headers, deadline, stream, self._seat.held)

    def _feed(self, stream: Stream, data: bytes) -> None:
        if stream.call is None:
            return  # request bodies of pages are ignored
        if stream.inbox is not None:
            if stream.inbox.is_passing_on and len(data) >= _LEAST_DATA:
                # It is slowed down by its own rules (`Inbox.rest`).
                self._machine.forgive_data(len(data))
            stream.inbox.feed(data)
            return
        if not self._seat.held.grow(len(data)):
            stream.finish(Status(Code.RESOURCE_EXHAUSTED, "too many large requests at once"))
            return
        try:
            self._buffered += len(data)
            stream.body.feed(data)
            if self._buffered > self.service.limits.max_buffered:
                raise RPCError(Code.RESOURCE_EXHAUSTED, "too many large requests at once on this connection")
        except RPCError as error:
            stream.finish(error.status)

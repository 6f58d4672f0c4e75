"""One HTTP/2 connection to a server: a reader, a writer, and one task that sees whether the server is still there.

    begun → ready (the server's settings are here) → [draining: GOAWAY] → over

Calls are opened on a ready connection. One that drains takes no more calls, and is over when those on it have ended; of
these the ones that the server says it has not begun are repeated elsewhere by the channel. When the connection breaks,
all its calls fail with the reason.
"""

import contextlib
import math
import re
from collections.abc import Callable

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

from nodespan.runtime.api.grpc.client.dial import tls_reason
from nodespan.runtime.api.grpc.client.endpoint import Endpoint
from nodespan.runtime.api.grpc.client.errors import CallError, Metadata, Stage, of_http_status, of_reset, unreachable
from nodespan.runtime.api.grpc.client.options import ChannelOptions
from nodespan.runtime.api.grpc.client.stream import Account, ClientStream, as_failure
from nodespan.runtime.api.grpc.machine import Machine
from nodespan.runtime.api.grpc.output import MAX_WAITING, ClientOutput
from nodespan.runtime.api.grpc.probing import keep_little, probe_when_idle
from nodespan.runtime.api.grpc.status import Code, RPCError
from nodespan.runtime.text.escaping import bounded
from nodespan.runtime.ticks import due_from
from nodespan.runtime.token_bucket import TokenBucket

_CHUNK = 64 * 1024
# Of all streams together; what is unread of each has a window of its own.
_CONNECTION_WINDOW = 4 << 20
_DEFAULT_WINDOW = 65_535
# What a server may make a client do: so many frames a second, so many at once.
_WORK_PER_SECOND = 50_000
_WORK_AT_ONCE = 500_000
_HTTP_1 = re.compile(rb"HTTP/1\.[01] (\d{3})")
# By this a server says that it is pinged more often than it likes.
_TOO_MANY_PINGS = b"too_many_pings"
# How long, in seconds, the reader may take to find why nothing can be written.
_LAST_WORDS = 1.0
_LONGEST_QUOTE = 100


class Connection:
    """A connection on a transport: `run` it once, in a task of its own."""

    def __init__(
        self,
        transport: trio.abc.Stream,
        endpoint: Endpoint,
        options: ChannelOptions,
        *,
        keepalive: float,
        on_end: Callable[["Connection"], None],
    ) -> None:
        self.endpoint = endpoint
        self.keepalive = keepalive
        # Why nothing more goes here, once it is over.
        self.failure: CallError | None = None
        # Whether the server has ever answered a call: what shows that it is more than a port.
        self.has_answered = False
        self.has_been_used = False
        self.is_pinged_too_often = False
        # Called once, when it is over, before its calls fail.
        self._on_end = on_end
        self._transport = transport
        self._options = options
        self._streams: dict[int, ClientStream] = {}
        self._is_ready = False
        self._is_draining = False
        self._changed = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._unread = 0
        # What the connection's window was not opened for: too much lies unread.
        self._withheld = 0
        self._heard = trio.current_time()
        self._work = TokenBucket(_WORK_PER_SECOND, _WORK_AT_ONCE, self._heard)
        codes = h2.settings.SettingCodes
        self._machine = Machine(
            {
                codes.ENABLE_PUSH: 0,
                codes.INITIAL_WINDOW_SIZE: options.window,
                codes.MAX_HEADER_LIST_SIZE: options.max_header_list,
            },
            options.max_header_list,
        )
        self._output = ClientOutput(self._machine)

    @property
    def is_open(self) -> bool:
        """Whether it takes calls."""
        return self._is_ready and not self._is_draining and self.failure is None

    @property
    def is_drained(self) -> bool:
        """Whether it has ended, or ends, without having broken."""
        return self._is_draining

    @property
    def has_room(self) -> bool:
        """Whether the server takes another call now."""
        return len(self._streams) < self._machine.remote_settings.max_concurrent_streams

    async def wait_until_ready(self) -> None:
        """Wait for the server's first words. Raises CallError if it says something else, or is gone."""
        # One that said something and is over already counts as one that could not be made.
        while self.failure is not None or not self._is_ready:
            if self.failure is not None:
                raise self.failure.again()
            await self._changed.park()

    async def wait_for_room(self) -> None:
        """Wait until another call may be taken, or the connection takes none any more. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.is_open and not self.has_room:
            await self._changed.park()

    def open(self, path: str, metadata: Metadata, account: Account | None = None) -> ClientStream:
        """Begin a call, for which there is room."""
        id = self._machine.get_next_available_stream_id()
        head = (
            (":method", "POST"),
            (":scheme", "https" if self.endpoint.secure else "http"),
            (":path", path),
            (":authority", self.endpoint.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", self._options.user_agent),
            *metadata,
        )
        self._machine.send_headers(id, head)
        self.has_been_used = True
        options = self._options
        stream = self._streams[id] = ClientStream(
            id,
            self.endpoint,
            self._output,
            max_message=options.max_message,
            window=options.window,
            on_taken=self._taken,
            account=account,
        )
        self._output.add(0)
        if len(self._streams) == 1:
            self._heard = trio.current_time()
            self._changed.unpark_all()
        if id >= self._machine.HIGHEST_ALLOWED_STREAM_ID - 2:
            self.drain()
        return stream

    def close_stream(self, stream: ClientStream) -> None:
        """Nobody is interested in the call any more."""
        if self._streams.pop(stream.id, None) is None:
            return
        stream.release()
        if not stream.is_closed and self.failure is None:
            with contextlib.suppress(h2.exceptions.ProtocolError):  # it was reset by the server
                self._machine.reset_stream(stream.id, h2.errors.ErrorCodes.CANCEL)
            self._output.wake()
        self._machine.retire(stream.id)
        self._changed.unpark_all()
        self._stop_if_drained()

    def drain(self) -> None:
        """Take no more calls, and end when those under way have ended."""
        self._is_draining = True
        self._changed.unpark_all()
        self._stop_if_drained()

    async def run(self) -> None:
        """Carry calls until the connection is drained or broken."""
        machine = self._machine
        machine.initiate_connection()
        machine.increment_flow_control_window(_CONNECTION_WINDOW - _DEFAULT_WINDOW)
        if isinstance(self._transport, trio.SocketStream):
            self._probe(self._transport)
        elif isinstance(self._transport, trio.SSLStream):
            self._probe(self._transport.transport_stream)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch_over)
                    await self._read()
        finally:
            self._break(unreachable(Stage.TCP, "the connection was closed", self.endpoint))
            await trio.aclose_forcefully(self._transport)

    def _probe(self, transport: trio.SocketStream) -> None:
        options = self._options
        idle = min(self.keepalive, options.probe_after)
        patience = options.keepalive_timeout if options.probe_timeout is None else options.probe_timeout
        probe_when_idle(transport, idle, idle + patience)
        if options.unsent is not None:
            keep_little(transport, options.unsent)

    def _break(self, failure: CallError) -> None:
        """Nothing goes any more: all calls fail, the connection ends."""
        if self.failure is None:
            self.failure = failure
            self._on_end(self)
        for stream in tuple(self._streams.values()):
            lost = self.failure.again()
            # Whatever was sent may have been carried out.
            lost.is_unsent = False
            stream.fail(lost)
        self._changed.unpark_all()
        self._scope.cancel()

    def _stop_if_drained(self) -> None:
        if self._is_draining and not self._streams:
            self._break(unreachable(Stage.TCP, "the server has ended the connection", self.endpoint))

    # The transport.

    async def _read(self) -> None:
        unanswered = 0
        while True:
            try:
                data = await self._transport.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._break(self._lost(error))
                return
            if not data:
                self._break(self._lost(None))
                return
            now = self._heard = trio.current_time()
            if not self._is_ready and (found := _HTTP_1.match(data)):
                self._break(_refused_http(found[1].decode(), self.endpoint))
                return
            unanswered += len(data)
            parts, data = self._machine.take_parts(bytes(data))
            for id, part in parts:
                self._feed(id, part, len(part))
            try:
                events = self._machine.receive_data(data)
            except h2.exceptions.ProtocolError as error:
                text = f"it does not keep to the rules of HTTP/2: {bounded(str(error))}"
                self._break(unreachable(Stage.HTTP, text, self.endpoint))
                return
            for event in events:
                self._handle(event)
            self._output.wake()
            rest = self._work.spend(self._machine.take_work(), now)
            if rest:
                await trio.sleep(rest)
            # What a server sends makes us answer: not faster than it reads.
            if unanswered > MAX_WAITING:
                unanswered = 0
                await self._output.drain()

    async def _write(self) -> None:
        try:
            await self._output.write_to(self._transport)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # What the server said last tells more, if it is still there to be read.
            await trio.sleep(_LAST_WORDS)
            self._break(self._lost(error))

    def _lost(self, error: Exception | None) -> CallError:
        cause = error.__cause__ if error is not None else None
        failure = unreachable(*self._loss(cause), self.endpoint)
        failure.__cause__ = cause
        return failure

    def _loss(self, cause: BaseException | None) -> tuple[Stage, str]:
        if self.endpoint.secure and not self._is_ready:
            # With TLS 1.3 a server refuses a client's certificate after the handshake.
            return Stage.TLS, tls_reason(self.endpoint.server_name or self.endpoint.host, cause)
        if isinstance(cause, OSError) and cause.strerror:
            return Stage.TCP, f"the connection was lost: {cause.strerror}"
        if not self._is_ready:
            return Stage.HTTP, "it closed the connection without a word of HTTP/2"
        return Stage.TCP, "the server has closed the connection"

    async def _watch_over(self) -> None:
        """Ping a server that has said nothing for long, and give it up if it does not answer."""
        if math.isinf(self.keepalive):
            return
        options = self._options
        while True:
            while not (self._streams or options.keepalive_without_calls):
                await self._changed.park()
            due = due_from(self._heard, self.keepalive)
            if trio.current_time() < due:
                await trio.sleep_until(due)
                continue
            asked = trio.current_time()
            self._machine.ping(b"nodespan")
            self._output.wake()
            await trio.sleep_until(due_from(asked, options.keepalive_timeout))
            if self._heard < asked:
                text = f"no answer to a ping within {options.keepalive_timeout:g} s"
                self._break(unreachable(Stage.TCP, text, self.endpoint))
                return

    # What the server does.

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.has_answered = True
                if stream := self._streams.get(event.stream_id):
                    stream.begin(event.headers, has_ended=event.stream_ended is not None)
            case h2.events.DataReceived():
                self._feed(event.stream_id, event.data, event.flow_controlled_length)
            case h2.events.TrailersReceived():
                if stream := self._streams.get(event.stream_id):
                    stream.end_with(event.headers)
            case h2.events.StreamEnded():
                if stream := self._streams.get(event.stream_id):
                    stream.finish()
            case h2.events.StreamReset():
                if stream := self._streams.get(event.stream_id):
                    stream.fail(of_reset(event.error_code, self.endpoint))
            case h2.events.WindowUpdated():
                self._output.window_opened(event.stream_id)
            case h2.events.RemoteSettingsChanged():
                self._is_ready = True
                self._changed.unpark_all()
                if h2.settings.SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
                    self._output.windows_changed()
            case h2.events.ConnectionTerminated():
                self._go_away(event)

    def _feed(self, id: int, data: bytes, size: int) -> None:
        stream = self._streams.get(id)
        if stream is None or stream.is_over:
            self._machine.open_connection_window(size)
            return
        self._unread += len(data)
        if self._unread > self._options.max_buffered:
            self._withheld += size
        else:
            self._machine.open_connection_window(size)
        try:
            stream.feed(data, size)
        except RPCError as error:
            stream.fail(as_failure(error, self.endpoint))

    def _taken(self, size: int) -> None:
        self._unread -= size
        if self._withheld and self._unread <= self._options.max_buffered // 2:
            self._machine.open_connection_window(self._withheld)
            self._withheld = 0
            self._output.wake()

    def _go_away(self, event: h2.events.ConnectionTerminated) -> None:
        last = event.last_stream_id or 0
        data = event.additional_data or b""
        reason = bounded(data.decode("utf-8", "replace"), _LONGEST_QUOTE)
        if event.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM and data == _TOO_MANY_PINGS:
            self.is_pinged_too_often = True
        words = f"the server has ended the connection{f': {reason}' if reason else ''}"
        for stream in tuple(self._streams.values()):
            if stream.id > last:
                stream.fail(CallError(Code.UNAVAILABLE, words, is_unsent=True, endpoint=self.endpoint))
        self.drain()


def _refused_http(status: str, endpoint: Endpoint) -> CallError:
    error = of_http_status(status, endpoint)
    return unreachable(Stage.HTTP, str(error), endpoint)

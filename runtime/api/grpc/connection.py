"""One HTTP/2 connection: a reader, a writer, and one task for each call that is under way.

The reader feeds the protocol machine and acts on its events. A task that has more to send than the peer reads waits:
for the peer's window, and for the writer to keep up.
"""

from collections.abc import Mapping

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

from nodespan.runtime.api.grpc.limits import PingPolicy
from nodespan.runtime.api.grpc.method import Call, Peer
from nodespan.runtime.api.grpc.output import MAX_WAITING, Output
from nodespan.runtime.api.grpc.status import Code, RPCError, Status, parse_timeout
from nodespan.runtime.api.grpc.stream import Headers, Service, Stream
from nodespan.runtime.token_bucket import TokenBucket

_CHUNK = 64 * 1024
# Requests that a client may reset: so many a second, so many at once.
_RESETS_PER_SECOND = 200
_RESETS_AT_ONCE = 5000
# How long, in seconds, a peer may take to read the last words.
_GOODBYE = 1.0
_CONFIG = h2.config.H2Configuration(
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
)


class _Machine(h2.connection.H2Connection):
    # Only tells late frames of a stream that has ended from those of one that never was.
    MAX_CLOSED_STREAMS = 2 * 1024


class Connection:
    """Serves one peer: make it, then `run` it once."""

    def __init__(self, transport: trio.abc.Stream, peer: Peer, service: Service) -> None:
        limits = service.limits
        self._transport = transport
        self._peer = peer
        self._service = service
        self._streams: dict[int, Stream] = {}
        self._buffered = 0
        self._pings = PingPolicy(limits.min_ping_interval)
        self._resets = TokenBucket(_RESETS_PER_SECOND, _RESETS_AT_ONCE, trio.current_time())
        self._reading = trio.CancelScope()
        self._greeting = trio.CancelScope(deadline=trio.current_time() + limits.handshake)
        self._is_stopping = False
        self._has_said_goodbye = False
        self._nursery: trio.Nursery
        self._machine = _Machine(_CONFIG)
        self._output = Output(self._machine)
        codes = h2.settings.SettingCodes
        self._machine.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.ENABLE_PUSH: 0,
                codes.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                codes.MAX_HEADER_LIST_SIZE: limits.max_header_list,
            },
        )
        self._machine.decoder.max_header_list_size = limits.max_header_list

    async def run(self) -> None:
        """Serve until the peer leaves or breaks the rules, or until `stop` was called and the calls have ended."""
        self._machine.initiate_connection()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write)
            try:
                with self._reading, self._greeting:
                    await self._read()
                await self._say_goodbye()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer is gone, and with it whoever could be told
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Take no new calls, end the streams, let the other calls finish, then close."""
        self._is_stopping = True
        for stream in tuple(self._streams.values()):
            if stream.call is not None and stream.call.method.is_stream:
                stream.end(Status(Code.OK))
        self._stop_reading_if_done()

    def _forget(self, stream: Stream) -> None:
        if self._streams.pop(stream.id, None):
            self._buffered -= len(stream.body)
        self._stop_reading_if_done()

    def _stop_reading_if_done(self) -> None:
        if self._is_stopping and not self._streams:
            self._reading.cancel()

    # The transport.

    async def _read(self) -> None:
        unanswered = 0
        while data := await self._transport.receive_some(_CHUNK):
            try:
                events = self._machine.receive_data(data)
            except h2.exceptions.ProtocolError:
                self._has_said_goodbye = True  # the machine has put the reason into its output
                return
            for event in events:
                self._handle(event)
            self._output.wake()
            # What a peer sends makes us answer: not faster than it reads.
            unanswered += len(data)
            if unanswered > MAX_WAITING:
                unanswered = 0
                await self._output.drain()
        raise trio.BrokenResourceError("the peer has left")

    async def _write(self) -> None:
        try:
            await self._output.write_to(self._transport)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._nursery.cancel_scope.cancel()

    async def _say_goodbye(self) -> None:
        with trio.move_on_after(_GOODBYE):
            if not self._has_said_goodbye:
                self._machine.close_connection()
            await self._output.drain()
            # Closing at once could make the kernel throw away the last words.
            lower = self._transport.transport_stream if isinstance(self._transport, trio.SSLStream) else self._transport
            if isinstance(lower, trio.abc.HalfCloseableStream):
                await lower.send_eof()
            while await lower.receive_some(_CHUNK):
                pass

    # What the peer does.

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self._begin(event.stream_id, tuple((_text(name), _text(value)) for name, value in event.headers))
            case h2.events.DataReceived():
                if event.flow_controlled_length:
                    self._machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.data and (stream := self._streams.get(event.stream_id)):
                    self._feed(stream, event.data)
            case h2.events.StreamEnded():
                if stream := self._streams.get(event.stream_id):
                    stream.is_complete = True
                    if stream.call is not None:
                        self._nursery.start_soon(stream.run, stream.call)
            case h2.events.StreamReset():
                if stream := self._streams.get(event.stream_id):
                    stream.end(Status(Code.CANCELLED, "the client gave up"))
                    self._forget(stream)
                if self._resets.take(trio.current_time()) is None:
                    self._reject(b"too_many_resets")
            case h2.events.WindowUpdated():
                self._output.window_opened.unpark_all()
            case h2.events.RemoteSettingsChanged():
                self._greeting.deadline = float("inf")
                self._output.window_opened.unpark_all()
            case h2.events.PingReceived():
                if self._pings.is_too_many(trio.current_time(), self._output.count):
                    self._reject(b"too_many_pings")

    def _reject(self, reason: bytes) -> None:
        if not self._has_said_goodbye:
            self._has_said_goodbye = True
            self._machine.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, additional_data=reason)
            self._reading.cancel()

    def _begin(self, id: int, headers: Headers) -> None:
        fields = dict(reversed(headers))  # the first of a name counts
        stream = self._streams[id] = Stream(id, self._output, self._service, self._forget)
        if "application/grpc" not in fields.get("content-type", ""):
            self._nursery.start_soon(stream.answer_page, fields.get(":method", ""), fields.get(":path", "/"))
            return
        try:
            stream.call = self._open(stream, fields, headers)
            stream.scope.deadline = stream.call.deadline
        except RPCError as error:
            stream.finish(error.status)

    def _open(self, stream: Stream, fields: Mapping[str, str], headers: Headers) -> Call:
        if self._is_stopping:
            raise RPCError(Code.UNAVAILABLE, "the server is stopping")
        path = fields.get(":path", "")
        method = self._service.methods.get(path)
        if method is None:
            raise RPCError(Code.UNIMPLEMENTED, f"unknown method {path}")
        deadline = float("inf")
        if (timeout := fields.get("grpc-timeout")) is not None:
            try:
                deadline = trio.current_time() + parse_timeout(timeout)
            except ValueError as error:
                raise RPCError(Code.INTERNAL, str(error)) from error
        return Call(method, self._peer, headers, deadline, stream)

    def _feed(self, stream: Stream, data: bytes) -> None:
        if stream.call is None:
            return  # nobody reads what is posted to pages
        try:
            self._buffered += len(data)
            stream.body.feed(data)
            if self._buffered > self._service.limits.max_buffered:
                raise RPCError(Code.RESOURCE_EXHAUSTED, "too many large requests at once on this connection")
        except RPCError as error:
            stream.finish(error.status)


def _text(field: str | bytes) -> str:
    return field if isinstance(field, str) else field.decode("latin-1")

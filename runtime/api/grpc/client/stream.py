"""One call on a connection: what is received of it, and how it ended.

The connection feeds it events; the call's tasks take messages and wait for news. What was received lies here until it
is taken: the window that the server may fill opens again only then, so that a slow reader slows the server down.
"""

from collections.abc import Callable
from typing import Protocol

import h2.exceptions
import trio

from nodespan.runtime.api.grpc.client.endpoint import Endpoint
from nodespan.runtime.api.grpc.client.errors import CallError, Metadata, Stage, of_http_status
from nodespan.runtime.api.grpc.framing import MessageReader
from nodespan.runtime.api.grpc.output import ClientOutput
from nodespan.runtime.api.grpc.status import Code, RPCError, decode_text, parse_code
from nodespan.runtime.text.escaping import bounded

_LONGEST_QUOTE = 100


class Account(Protocol):
    """Where the bytes that lie unread are accounted for, on behalf of whoever they are for."""

    def grow(self, size: int) -> bool:
        """Account for so many bytes; False, and nothing changes, if that is too many."""
        ...

    def shrink(self, size: int) -> None:
        """They are not here any more."""
        ...


RawHeaders = list[tuple[bytes, bytes]]


class ClientStream:
    """A stream that was opened with the head of a request."""

    __slots__ = (
        "_account",
        "_accounted",
        "_deliver",
        "_has_finished",
        "_has_sent_all",
        "_news",
        "_on_taken",
        "_output",
        "_owed",
        "_reader",
        "_sending",
        "_window",
        "endpoint",
        "failure",
        "headers",
        "id",
        "is_over",
        "trailers",
    )

    def __init__(
        self,
        id: int,
        endpoint: Endpoint,
        output: ClientOutput,
        *,
        max_message: int,
        window: int,
        on_taken: Callable[[int], None],
        account: Account | None = None,
    ) -> None:
        self.id = id
        self.endpoint = endpoint
        # Of the response; None until they are here.
        self.headers: Metadata | None = None
        self.trailers: Metadata = ()
        # The server has said all, or nothing more can come; with a failure, unless it has ended well.
        self.is_over = False
        self.failure: CallError | None = None
        self._output = output
        self._reader = MessageReader(max_message)
        self._window = window
        # Bytes for which the window was not opened again.
        self._owed = 0
        self._on_taken = on_taken
        self._account = account
        self._accounted = 0
        self._news = trio.lowlevel.ParkingLot()
        self._sending: trio.CancelScope | None = None
        self._has_sent_all = False
        self._has_finished = False
        self._deliver: Callable[[bytes], None] | None = None

    @property
    def unread(self) -> int:
        """The bytes that lie here."""
        return len(self._reader)

    @property
    def is_closed(self) -> bool:
        """Whether both sides have said all."""
        return self._has_finished and self._has_sent_all

    # What the connection reports.

    def begin(self, fields: RawHeaders, *, has_ended: bool) -> None:
        """The head of the response is here."""
        headers = _decoded(fields)
        first = dict(reversed(headers))
        status = first.get(":status", "")
        self.headers = tuple((name, value) for name, value in headers if not name.startswith(":"))
        if status != "200":
            self.fail(of_http_status(status or "none", self.endpoint))
        elif not first.get("content-type", "").startswith("application/grpc"):
            kind = first.get("content-type", "nothing")
            text = f"it answers with {bounded(kind, _LONGEST_QUOTE)}, not like gRPC"
            self.fail(CallError(Code.UNKNOWN, text, Stage.HTTP, endpoint=self.endpoint))
        elif has_ended:
            self.trailers = self.headers
        self._news.unpark_all()

    def end_with(self, fields: RawHeaders) -> None:
        """The trailers are here."""
        self.trailers = _decoded(fields)

    def feed(self, data: bytes, size: int) -> None:
        """A part of the body is here, of so many bytes for flow control. Raises RPCError."""
        self._owed += size
        if self._account is not None:
            if not self._account.grow(len(data)):
                self._on_taken(len(data))
                raise RPCError(Code.RESOURCE_EXHAUSTED, "too much waits for whoever the answer is for")
            self._accounted += len(data)
        self._reader.feed(data)
        if self._deliver is not None:
            self._pass_on(self._deliver)
        elif not self._reader.has_message:
            self._open_window(self._owed)
        else:
            self._news.unpark_all()

    def finish(self) -> None:
        """The server has said all."""
        self._has_finished = True
        if self.is_over:
            return
        fields = dict(reversed(self.trailers))
        status = fields.get("grpc-status")
        if status is None:
            self.fail(CallError(Code.UNKNOWN, "the server ended the call without a status", endpoint=self.endpoint))
            return
        code, text = parse_code(status), decode_text(fields.get("grpc-message", ""))
        if code is not Code.OK:
            self.fail(CallError(code, text, trailers=self.trailers, endpoint=self.endpoint))
        elif not self._reader.is_between:
            text = "the server ended the call in the middle of a message"
            self.fail(CallError(Code.INTERNAL, text, endpoint=self.endpoint))
        else:
            self._end()

    def fail(self, failure: CallError) -> None:
        """Nothing more comes, and this is why. Complete messages can still be taken."""
        if not self.is_over:
            self.failure = failure
            self._end()

    def _end(self) -> None:
        self.is_over = True
        if self._sending is not None:
            self._sending.cancel()
        self._news.unpark_all()

    def release(self) -> None:
        """Nobody takes what lies here."""
        self._on_taken(self.unread)
        self._settle(self._accounted)

    def _settle(self, size: int) -> None:
        if self._account is not None:
            self._accounted -= size
            self._account.shrink(size)

    def _pass_on(self, deliver: Callable[[bytes], None]) -> None:
        before = self.unread
        try:
            while (message := self._reader.take()) is not None:
                deliver(message)
        finally:
            self._on_taken(before - self.unread)
            self._settle(before - self.unread)
        if self._owed >= self._window // 2:
            self._open_window(self._owed)

    # What the call does.

    def pass_to(self, deliver: Callable[[bytes], None]) -> None:
        """From now on give each message to a function as it comes, which may raise RPCError; `receive` has the end."""
        self._deliver = deliver
        try:
            self._pass_on(deliver)
        except RPCError as error:
            # As for a message that comes later: the call has failed, not the one who set this up.
            self.fail(as_failure(error, self.endpoint))

    def offer(self, data: bytes) -> bool:
        """`send`, if nobody has to wait for that; False: nothing was sent."""
        if self.is_over or self._has_sent_all or self._sending is not None:
            return False
        return self._output.offer(self.id, data)

    async def receive(self) -> bytes | None:
        """The next message; None after the last. Raises CallError, after the messages before it."""
        await trio.lowlevel.checkpoint()
        while True:
            before = self.unread
            message = self._reader.take()
            if message is not None:
                self._on_taken(before - self.unread)
                self._settle(before - self.unread)
                free = self._owed - self._reader.complete
                if not self._reader.has_message or free >= self._window // 2:
                    self._open_window(max(0, free))
                return message
            if self.is_over:
                self._raise_failure()
                return None
            await self._news.park()

    async def wait_for_headers(self) -> Metadata:
        """The head of the response. Raises CallError if the call ends without one."""
        await trio.lowlevel.checkpoint()
        while self.headers is None:
            if self.is_over:
                self._raise_failure()
            await self._news.park()
        return self.headers

    async def send(self, data: bytes, *, end: bool) -> None:
        """Send a part of the request's body: waits for the server's window and for the writer. Raises CallError."""
        await trio.lowlevel.checkpoint()
        if self.is_over or self._has_sent_all:
            self._cannot_send()
        output = self._output
        try:
            with trio.CancelScope() as self._sending:
                rest = memoryview(data)
                while rest:
                    rest = rest[await output.send_data(self.id, rest, end=end) :]
                self._has_sent_all = end
        except h2.exceptions.ProtocolError:
            self._cannot_send()
        finally:
            self._sending = None
            output.pass_on()
        if rest:
            self._cannot_send()

    async def end(self) -> None:
        """Say that the request is complete."""
        await trio.lowlevel.checkpoint()
        if not self._has_sent_all and not self.is_over:
            self._has_sent_all = True
            try:
                self._output.machine.end_stream(self.id)
            except h2.exceptions.ProtocolError:
                return  # the connection has just ended, as the next one to receive sees
            self._output.add(0)

    def _cannot_send(self) -> None:
        self._raise_failure()
        raise CallError(Code.CANCELLED, "the call takes no more requests", endpoint=self.endpoint)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure.again()

    def _open_window(self, size: int) -> None:
        self._owed -= size
        if size:
            self._output.machine.open_stream_window(self.id, size)
            self._output.wake()


def as_failure(error: RPCError, endpoint: Endpoint) -> CallError:
    """The error of a call whose answer breaks a rule."""
    return CallError(error.code, str(error), endpoint=endpoint)


def _decoded(fields: RawHeaders) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)

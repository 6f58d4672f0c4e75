"""One request on a connection, and the response to it."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Protocol

import attrs
import h2.errors
import h2.exceptions
import trio
from google.protobuf.message import DecodeError, Message

from nodespan.runtime.api.grpc.framing import OneMessage, frame
from nodespan.runtime.api.grpc.header_block import header_block
from nodespan.runtime.api.grpc.inbox import Inbox
from nodespan.runtime.api.grpc.ledger import Ledger, Sized
from nodespan.runtime.api.grpc.limits import Limits
from nodespan.runtime.api.grpc.method import Call, Method, Peer
from nodespan.runtime.api.grpc.output import ServerOutput
from nodespan.runtime.api.grpc.server_machine import Headers
from nodespan.runtime.api.grpc.sources import Waiting
from nodespan.runtime.api.grpc.status import Code, RPCError, Status
from nodespan.runtime.api.pages import Page, Respond, answer
from nodespan.runtime.process.logger import Logger

_NO_PAGES = b"only gRPC is spoken here\n"
# So many bytes of a page are as much work as a frame.
_PAGE_UNIT = 1024
_RESPONSE = header_block(((":status", "200"), ("content-type", "application/grpc")))
_OK = Status(Code.OK)
_OK_TRAILERS = header_block(_OK.trailers())


class Finished(Protocol):
    """Called with how each call ended, and its duration in seconds."""

    def __call__(self, call: Call, status: Status, seconds: float, /) -> None: ...


async def admit_all(_call: Call) -> None:
    """Admit every call."""


def admit_none_at_once(_call: Call) -> bool:
    """Have every call admitted by a task."""
    return False


async def admit_all_pages(_peer: Peer, _headers: Headers) -> None:
    """Admit every request for a page."""


def ignore(_call: Call, _status: Status, _seconds: float) -> None:
    """Ignore how calls end."""


@attrs.frozen(kw_only=True)
class Service:
    """What all connections of a server share.

    `admit` is awaited before a call's handler, within its deadline; it may wait, or raise RPCError. `admit_at_once` is
    asked first where the handler is `AtOnce`: whether the call is admitted now. If not, it has changed nothing, and
    `admit` is awaited; by default that is so for each. `respond` answers HTTP/2 requests that are not gRPC calls, after
    `admit_page`, which is like `admit`.
    """

    methods: Mapping[str, Method]
    log: Logger
    limits: Limits = attrs.Factory(Limits)
    admit: Callable[[Call], Awaitable[None]] = admit_all
    admit_at_once: Callable[[Call], bool] = admit_none_at_once
    finished: Finished = ignore
    respond: Respond | None = None
    admit_page: Callable[[Peer, Headers], Awaitable[None]] = admit_all_pages


class Owner(Protocol):
    """The connection of a request."""

    @property
    def peer(self) -> Peer: ...
    @property
    def output(self) -> ServerOutput: ...
    @property
    def service(self) -> Service: ...

    def hold(self, data: Sized, give_up: Callable[[], None]) -> Waiting:
        """Account for what waits to be sent. Raises RPCError if it is too much."""
        ...

    def forget(self, stream: "Stream") -> None:
        """The request is over."""
        ...

    def passes_on(self, id: int, window: int) -> None:
        """The messages of a call are passed on from now on, and the peer may have so much of them under way."""
        ...


class Stream:
    """A request. Feed its data to `body`; then `run` it, unless it was answered at once, or `answer_page`."""

    __slots__ = (
        "_answer",
        "_forced",
        "_has_begun",
        "_has_part",
        "_head",
        "_is_answered",
        "_owner",
        "_scope",
        "body",
        "call",
        "id",
        "inbox",
        "is_complete",
    )

    def __init__(self, id: int, owner: Owner) -> None:
        self.id = id
        self._owner = owner
        self.body = OneMessage(owner.service.limits.max_message)
        # Of its task, if it has one.
        self._scope: trio.CancelScope | None = None
        # None for a request for a page.
        self.call: Call | None = None
        # Of a call whose messages go both ways: takes what would else go to the body.
        self.inbox: Inbox | None = None
        # Whether the request is complete.
        self.is_complete = False
        self._forced: Status | None = None
        # What a handler has answered at once, and only a task can send.
        self._answer: bytes | None = None
        self._head = _RESPONSE
        self._has_begun = False
        self._has_part = False
        self._is_answered = False

    def end(self, status: Status) -> None:
        """Cancel the call; it ends with this status."""
        self._forced = status
        self._own_scope().cancel()

    def _own_scope(self) -> trio.CancelScope:
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=inf if self.call is None else self.call.deadline)
        return self._scope

    def open_inbox(self, held: Ledger) -> None:
        """The call's messages go both ways: it can be run before its request is complete."""
        self.inbox = Inbox(self._owner.service.limits.max_message, self, held)

    def passed_on(self, window: int) -> None:
        """The messages of its inbox are passed on from now on, and the peer gets this window for them."""
        self._owner.passes_on(self.id, window)

    def answer_at_once(self, call: Call) -> bool:
        """Answer a complete request without a task, if its handler and the peer allow that; else have it `run`."""
        handler, service = call.method.at_once, self._owner.service
        if handler is None or self._owner.output.is_writing:
            return False
        started = trio.current_time()
        if call.deadline <= started:
            return False
        status = _OK
        if not service.admit_at_once(call):
            return False
        call.admitted = True
        try:
            call.request = request = _decode(call.method, self.body.take())
            if not (handler.applies is None or handler.applies(request)):
                return False
            if not self._is_sent(call, handler.answer(request, call)):
                return False
        except Exception as error:
            status = self._status_of(error, call)
        service.finished(call, status, trio.current_time() - started)
        self.finish(status)
        return True

    def _is_sent(self, call: Call, response: Message | bytes) -> bool:
        """Whether all of a response could be sent now; otherwise it is kept."""
        framed = response if isinstance(response, bytes) else frame(response.SerializeToString())
        if self._owner.output.answer(self.id, _RESPONSE, framed, _OK_TRAILERS):
            self._is_answered = True
            call.sent += 1
            return True
        self._answer = framed
        return False

    def _status_of(self, error: Exception, call: Call) -> Status:
        """How a call ends whose handler has raised this."""
        if isinstance(error, RPCError):
            return error.status
        self._owner.service.log.exception("a call failed", method=call.method.path, peer=str(call.peer))
        return Status(Code.INTERNAL, "internal error")

    async def run(self, call: Call) -> None:
        """Answer the call, whose request is complete unless it has an inbox."""
        started = trio.current_time()
        status = Status(Code.CANCELLED, "the connection was lost")
        scope = self._own_scope()
        try:
            with scope:
                status = await self._perform(call)
            if scope.cancelled_caught:
                status = self._forced or Status(Code.DEADLINE_EXCEEDED, "the deadline has passed")
        finally:
            self._owner.service.finished(call, status, trio.current_time() - started)
        self.finish(status)

    async def _perform(self, call: Call) -> Status:
        try:
            if self._answer is None:
                if not call.admitted:
                    await self._owner.service.admit(call)
                    call.admitted = True
                if self.inbox is not None:
                    response = await call.method.handler(self.inbox, call)
                else:
                    call.request = _decode(call.method, self.body.take())
                    response = await call.method.handler(call.request, call)
                if response is not None:
                    self._is_sent(call, response)
            if self._answer is not None:
                await call.send_framed(self._answer)
        except Exception as error:
            return self._status_of(error, call)
        return _OK

    async def answer_page(self, method: str, target: str, headers: Headers) -> None:
        """Answer a request that is not a call."""
        respond = self._owner.service.respond
        with self._own_scope(), suppress(RPCError):
            try:
                await self._owner.service.admit_page(self._owner.peer, headers)
            except RPCError as error:
                page = Page(status=429, body=f"{error}\n".encode())
            else:
                page = await answer(respond, method, target) if respond else Page(status=415, body=_NO_PAGES)
            self._owner.output.machine.work += len(page.body) // _PAGE_UNIT
            self._head = header_block(((":status", str(page.status)), *page.fields()))
            self._has_part = True  # until all of it is sent
            await self.send(page.body if method != "HEAD" else b"")
            self._has_part = False
        self._end_with(b"" if self._has_begun else self._head)

    async def send(self, data: bytes) -> None:
        """Send a part of the body: waits for the peer's window and for the writer.

        Raises RPCError if the peer is gone, has too much to read already, or does not read for too long.
        """
        await trio.lowlevel.checkpoint()
        output, limits = self._owner.output, self._owner.service.limits
        if output.offer(self.id, data, b"" if self._has_begun else self._head):
            self._has_begun = True
            self._has_part = False
            return
        too_much = Status(Code.RESOURCE_EXHAUSTED, "too much waits to be read, here and elsewhere")
        waiting = self._owner.hold(data, lambda: self.end(too_much))
        patience = trio.CancelScope()
        try:
            with patience:
                if not self._has_begun:
                    output.machine.send_headers(self.id, self._head)
                    self._has_begun = True
                    output.add(0)
                rest = memoryview(data)
                while rest:
                    patience.deadline = trio.current_time() + limits.max_stall
                    size = await output.send_data(self.id, rest)
                    rest = rest[size:]
                    self._has_part = bool(rest)
        except h2.exceptions.ProtocolError as error:
            raise RPCError(Code.CANCELLED, "the client is gone") from error
        finally:
            waiting.release()
            output.pass_on()
        if patience.cancelled_caught:
            raise RPCError(Code.ABORTED, f"the client has not read for {limits.max_stall:g} s")

    def offer(self, data: bytes) -> bool:
        """`send`, if it needs not wait; False: nothing was sent."""
        return self._has_begun and not self._has_part and self._owner.output.offer(self.id, data)

    def refuse(self) -> None:
        """Reset the stream as not processed: the client may retry."""
        with suppress(h2.exceptions.ProtocolError):
            self._owner.output.machine.reset_stream(self.id, h2.errors.ErrorCodes.REFUSED_STREAM)
        self._owner.forget(self)
        self._owner.output.wake()

    def finish(self, status: Status) -> None:
        """Send how the call ended, unless the client has cancelled it."""
        trailers = _OK_TRAILERS if status is _OK else header_block(status.trailers())
        self._end_with(trailers if self._has_begun else self._head + trailers)

    def _end_with(self, last: bytes) -> None:
        machine = self._owner.output.machine
        try:
            if self._is_answered:
                pass
            elif self._has_part:
                # Trailers after half a message would be taken for damage.
                machine.reset_stream(self.id, h2.errors.ErrorCodes.CANCEL)
            else:
                if last:
                    machine.send_headers(self.id, last, end_stream=True)
                else:
                    machine.end_stream(self.id)
                if not self.is_complete:
                    machine.reset_stream(self.id, h2.errors.ErrorCodes.NO_ERROR)
        except h2.exceptions.ProtocolError:
            pass  # the client has reset the stream, or the connection is being closed
        self.call = None  # it refers to the stream: no cycle is left to the collector
        self._owner.forget(self)
        self._owner.output.add(0)


def _decode(method: Method, data: bytes) -> Message:
    assert method.request is not None
    try:
        return method.request.FromString(data)
    except DecodeError as error:
        raise RPCError(Code.INTERNAL, f"the request is no {method.request.DESCRIPTOR.full_name}") from error

"""Methods of a server, and calls as their handlers see them."""

from collections.abc import Awaitable, Callable, Coroutine
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NoReturn, Protocol, TypeVar

import attrs
from google.protobuf.message import Message

from nodespan.runtime.api.grpc.framing import frame
from nodespan.runtime.api.grpc.inbox import Inbox
from nodespan.runtime.api.grpc.ledger import Ledger
from nodespan.runtime.api.grpc.status import Status

Request = TypeVar("Request", bound=Message)


@attrs.frozen(kw_only=True)
class Peer:
    """The other end of a connection. IPv4 peers of a dual-stack listener count as IPv4.

    No address on a unix socket. `certificate` is the DER form of what the peer authenticated with, if it did.
    """

    address: IPv4Address | IPv6Address | None = None
    port: int = 0
    # The address of this machine that the peer has connected to, if that is known.
    local: IPv4Address | IPv6Address | None = None
    certificate: bytes | None = None
    # It is in each line of the log about a call.
    _text: str = attrs.field(init=False, eq=False, repr=False)

    @_text.default
    def _made_text(self) -> str:
        if self.address is None:
            return "local"
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"

    def __str__(self) -> str:
        return self._text


class Outlet(Protocol):
    """Sends the responses of a call."""

    async def send(self, data: bytes) -> None:
        """Send a part of the response's body."""
        ...

    def offer(self, data: bytes) -> bool:
        """Send it now, if nobody has to wait for that; False: nothing was sent."""
        ...

    def end(self, status: Status) -> None:
        """Cancel the call; it ends with this status."""
        ...


class Call:
    """One call in progress."""

    __slots__ = ("_outlet", "admitted", "deadline", "held", "metadata", "method", "peer", "request", "sent")

    def __init__(
        self,
        method: "Method",
        peer: Peer,
        metadata: tuple[tuple[str, str], ...],
        deadline: float,
        outlet: Outlet,
        held: Ledger | None = None,
    ) -> None:
        self.method = method
        self.peer = peer
        # The header fields of the request, names in lower case.
        self.metadata = metadata
        # In the time of trio's clock; infinite if the client gave none.
        self.deadline = deadline
        self.request: Message | None = None
        # Whether the call reached its handler.
        self.admitted = False
        # Messages sent so far.
        self.sent = 0
        # Accounts for the bytes that are kept in memory for this client; None where none does.
        self.held = held
        self._outlet = outlet

    def header(self, name: str) -> str | None:
        """The first header field of this (lower-case) name."""
        return next((value for key, value in self.metadata if key == name), None)

    async def send(self, message: Message) -> None:
        """Send a message of a stream. Waits, cancellably, while the client does not read; always a checkpoint.

        Raises RPCError if the client is gone.
        """
        await self.send_framed(frame(message.SerializeToString()))

    async def send_framed(self, data: bytes, messages: int = 1) -> None:
        """`send` for messages that are framed already: calls that get the same bytes share them."""
        await self._outlet.send(data)
        self.sent += messages

    def offer(self, data: bytes, messages: int = 1) -> bool:
        """`send_framed` without waiting: False, and nothing is sent, if that cannot be done now.

        Not before the first message was sent, and not beside a `send` of another task.
        """
        if not self._outlet.offer(data):
            return False
        self.sent += messages
        return True

    def end(self, status: Status) -> None:
        """Cancel the handler, and end the call with this status."""
        self._outlet.end(status)


def _never() -> NoReturn:
    raise RuntimeError("a handler that is to answer at once goes on after it was given up")


class AtOnce:
    """A handler of unary calls that does not wait, so that a call needs no task: it is answered as it is read.

    It is a coroutine, as others are, and may be called as one. But for a request that it `applies` to (by default for
    each) it must neither wait nor pass a checkpoint, and take little time. One that waits has its call refused; and for
    a thread it must not wait even by mistake: that cannot be undone, and would wake the task that reads for all.
    """

    __slots__ = ("_handler", "applies")

    def __init__(
        self,
        handler: Callable[[Any, Call], Coroutine[Any, Any, Message | bytes]],
        applies: Callable[[Any], bool] | None = None,
    ) -> None:
        self._handler = handler
        self.applies = applies

    def __call__(self, request: Any, call: Call) -> Coroutine[Any, Any, Message | bytes]:
        return self._handler(request, call)

    def answer(self, request: Any, call: Call) -> Message | bytes:
        """The response. Raises what the handler raises, and RuntimeError if it waits."""
        running = self._handler(request, call)
        try:
            trap = running.send(None)
        except StopIteration as returned:
            response: Message | bytes = returned.value
            return response
        # What it waits for would wake this task later: take it out of there, as trio does when it cancels.
        if (abort := getattr(trap, "abort_func", None)) is not None:
            abort(_never)
        running.close()
        raise RuntimeError(f"the handler of {call.method.path} waits, although it is to answer at once")


@attrs.frozen
class Method:
    """One method: make it with `unary`, `server_stream` or `duplex`. The path is `/package.Service/Name`.

    Without a type of request it is one whose messages go both ways (`is_duplex`).
    """

    path: str
    request: type[Message] | None
    handler: Callable[[Any, Call], Awaitable[Message | bytes | None]]
    is_stream: bool

    @property
    def at_once(self) -> AtOnce | None:
        """The handler, if it may answer without a task."""
        return self.handler if isinstance(self.handler, AtOnce) else None

    @property
    def is_duplex(self) -> bool:
        """Whether both ends send any number of messages."""
        return self.request is None

    @property
    def service(self) -> str:
        """`package.Service`."""
        return self.path.split("/")[1]

    @property
    def name(self) -> str:
        """The name alone."""
        return self.path.split("/")[2]


def unary(
    path: str, request: type[Request], handler: Callable[[Request, Call], Awaitable[Message | bytes]] | AtOnce
) -> Method:
    """A method whose handler turns a request into the one response, or raises RPCError.

    A response as bytes is framed already, so that calls can share it. The handler is cancelled when the client cancels
    the call or the deadline passes. Exceptions other than RPCError are logged; the client gets INTERNAL, and no more.
    A handler that never waits should be `AtOnce`, which costs less.
    """
    return Method(path, request, handler, is_stream=False)


def server_stream(path: str, request: type[Request], handler: Callable[[Request, Call], Awaitable[None]]) -> Method:
    """A method whose handler sends any number of messages by `call.send`; returning ends the stream.

    Errors are as with `unary`. When the server stops, the handler is cancelled and the stream ends with OK.
    """
    return Method(path, request, handler, is_stream=True)


def duplex(path: str, handler: Callable[[Inbox, Call], Awaitable[None]]) -> Method:
    """A method whose both ends send any number of messages, at any time, of any form.

    The handler begins with the call, and takes messages from its inbox; the rest is as with `server_stream`.
    """
    return Method(path, None, handler, is_stream=True)


def methods(*members: Method) -> dict[str, Method]:
    """Methods by path, as a service has them."""
    return {method.path: method for method in members}

"""A call as its caller sees it, from the first attempt to the last word."""

import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, Protocol, TypeVar

import trio
from google.protobuf.message import DecodeError, Message

from nodespan.runtime.api.grpc.client.connection import Connection
from nodespan.runtime.api.grpc.client.endpoint import Endpoint
from nodespan.runtime.api.grpc.client.errors import CallError, Metadata, Stage
from nodespan.runtime.api.grpc.client.stream import Account, ClientStream
from nodespan.runtime.api.grpc.framing import frame
from nodespan.runtime.api.grpc.status import Code, format_timeout

Answer = TypeVar("Answer")
Step = TypeVar("Step")
Request = Message | bytes
# How often a call is begun that no server has begun with.
_MOST_ATTEMPTS = 5


class Connections(Protocol):
    """Where a call gets a connection from."""

    @property
    def failure(self) -> CallError | None:
        """Why there is no connection, while there is none."""
        ...

    async def ready(self, *, wait: bool) -> Connection:
        """A connection with room for a call that is opened at once. Raises CallError."""
        ...


class Call(Generic[Answer]):
    """A call under way: an async iterator of its answers. One task may send while another one receives.

    What blocks raises CallError when the call fails or its deadline passes, and can be cancelled.
    """

    def __init__(
        self,
        connections: Connections,
        path: str,
        decode: Callable[[bytes], Answer],
        *,
        timeout: float | None,
        metadata: Metadata,
        wait: bool,
        request: bytes | None,
        account: Account | None = None,
    ) -> None:
        self._connections = connections
        self._path = path
        self._decode = decode
        self._timeout = math.inf if timeout is None else timeout
        self._deadline = trio.current_time() + self._timeout
        self._metadata = metadata
        self._wait = wait
        # The only request, where it is known from the start: such a call can be begun again.
        self._request = request
        self._account = account
        self._attempts = 0
        self._opened: tuple[Connection, ClientStream] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Who answers."""
        return self._stream.endpoint

    @property
    def trailers(self) -> Metadata:
        """What the server has said at the end."""
        return self._stream.trailers

    @property
    def _stream(self) -> ClientStream:
        assert self._opened is not None, "the call has not begun"
        return self._opened[1]

    async def begin(self) -> None:
        """Find a connection and open the call on it."""
        with self._limited():
            await self._begin()

    async def _begin(self) -> None:
        self._attempts += 1
        self.close()
        connection = await self._connections.ready(wait=self._wait)
        metadata = self._metadata
        if not math.isinf(self._deadline):
            metadata = (("grpc-timeout", format_timeout(self._deadline - trio.current_time())), *metadata)
        stream = connection.open(self._path, metadata, self._account)
        self._opened = connection, stream
        if self._request is not None:
            with contextlib.suppress(CallError):  # the one who receives is told
                await stream.send(frame(self._request), end=True)

    def close(self) -> None:
        """Give the call up, if it has not ended."""
        if self._opened is not None:
            connection, stream = self._opened
            connection.close_stream(stream)

    async def send(self, request: Request) -> None:
        """Send a request. Waits while the server does not read; always a checkpoint."""
        with self._limited():
            await self._stream.send(frame(encoded(request)), end=False)

    def offer(self, request: Request) -> bool:
        """`send` without waiting: False, and nothing is sent, if that cannot be done now."""
        return self._stream.offer(frame(encoded(request)))

    def pass_to(self, deliver: Callable[[bytes], None]) -> None:
        """From now on give each answer, as bytes, to a function as it comes; `receive` then waits for the end.

        The function may raise RPCError, which ends the call. It saves a task for each answer.
        """
        self._stream.pass_to(deliver)

    async def end(self) -> None:
        """Say that there are no more requests. Always a checkpoint."""
        await self._stream.end()

    async def receive(self) -> Answer | None:
        """The next answer; None when the server has ended the call, and all is well. Always a checkpoint."""
        data = await self._patiently(lambda stream: stream.receive())
        if data is None:
            return None
        try:
            return self._decode(data)
        except (DecodeError, UnicodeDecodeError) as error:
            text = f"the answer is not what {self._path} answers: {error}"
            raise CallError(Code.INTERNAL, text, endpoint=self.endpoint) from error

    async def headers(self) -> Metadata:
        """The head of the response, once it is here. Always a checkpoint."""
        return await self._patiently(lambda stream: stream.wait_for_headers())

    def __aiter__(self) -> "Call[Answer]":
        return self

    async def __anext__(self) -> Answer:
        answer = await self.receive()
        if answer is None:
            raise StopAsyncIteration
        return answer

    async def _patiently(self, step: Callable[[ClientStream], Awaitable[Step]]) -> Step:
        """Take a step of the call, on another connection if the server on this one has not begun with the call."""
        taken: list[Step] = []
        with self._limited():
            while not taken:
                try:
                    taken.append(await step(self._stream))
                except CallError as error:
                    if not error.is_unsent or self._request is None or self._attempts == _MOST_ATTEMPTS:
                        raise
                    await self._begin()
        return taken[0]

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        with trio.CancelScope(deadline=self._deadline) as scope:
            yield
        if scope.cancelled_caught:
            text, endpoint = f"no answer within {self._timeout:g} s", None
            if self._opened is not None:
                endpoint = self.endpoint
            elif (failure := self._connections.failure) is not None:
                text = f"no connection within {self._timeout:g} s: {failure}"
            is_unsent = self._opened is None
            raise CallError(Code.DEADLINE_EXCEEDED, text, Stage.DEADLINE, is_unsent=is_unsent, endpoint=endpoint)


def encoded(request: Request) -> bytes:
    """A request as bytes."""
    return request if isinstance(request, bytes) else request.SerializeToString()

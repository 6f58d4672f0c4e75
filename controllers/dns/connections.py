"""Connections to other servers, which are used again for some seconds, each by one question at a time."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio

# A connection that nobody used for so many seconds is closed.
IDLE = 10.0
_MOST_CONNECTIONS = 16


class ExchangeError(Exception):
    """There is no answer that can be used; the text says why."""


class Connection(Protocol):
    """A connection to a server, for one question at a time."""

    async def exchange(self, question: bytes) -> bytes:
        """The answer to a question. Raises ExchangeError, OSError or BrokenResourceError."""
        ...

    async def aclose(self) -> None:
        """Close it at once."""
        ...


Connect = Callable[[], Awaitable[Connection]]
# Whether a message is the answer to a question.
IsAnswer = Callable[[bytes, bytes], bool]


@attrs.define(eq=False)
class _Idle:
    connection: Connection
    until: float


class Pool:
    """Connections to one server. One that carried anything but the answer is not used again: more may be behind it."""

    def __init__(self, connect: Connect, is_answer: IsAnswer) -> None:
        self._connect = connect
        self._is_answer = is_answer
        self._idle: list[_Idle] = []
        self._limit = trio.CapacityLimiter(_MOST_CONNECTIONS)
        self._closed = False

    async def exchange(self, question: bytes) -> bytes:
        """The answer to a question. A connection that the server has closed meanwhile is replaced once."""
        async with self._limit:
            now = trio.current_time()
            while self._idle:
                idle = self._idle.pop()
                if idle.until <= now:
                    await idle.connection.aclose()
                    continue
                try:
                    return await self._use(idle.connection, question)
                except (ExchangeError, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                    break
            return await self._use(await self._connect(), question)

    async def _use(self, connection: Connection, question: bytes) -> bytes:
        try:
            answer = await connection.exchange(question)
            if not self._is_answer(answer, question):
                raise ExchangeError("it answers something that was not asked")
        except BaseException:
            with trio.CancelScope(shield=True):
                await connection.aclose()
            raise
        if self._closed:
            with trio.CancelScope(shield=True):
                await connection.aclose()
        else:
            self._idle.append(_Idle(connection, trio.current_time() + IDLE))
        return answer

    async def sweep(self) -> None:
        """Close what nobody used for long."""
        now = trio.current_time()
        old = [idle for idle in self._idle if idle.until <= now]
        self._idle = [idle for idle in self._idle if idle.until > now]
        for idle in old:
            await idle.connection.aclose()

    async def aclose(self) -> None:
        """Close all that nobody uses, and from now on the others when they have their answer."""
        self._closed = True
        idle, self._idle = self._idle, []
        with trio.CancelScope(shield=True):
            for each in idle:
                await each.connection.aclose()


@attrs.frozen(eq=False)
class StreamConnection:
    """A connection on which messages follow their lengths."""

    stream: trio.abc.Stream

    async def exchange(self, question: bytes) -> bytes:
        """See `Connection`."""
        await self.stream.send_all(len(question).to_bytes(2) + question)
        size = int.from_bytes(await self._exactly(2))
        return await self._exactly(size)

    async def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = await self.stream.receive_some(size - len(data))
            if not part:
                raise ExchangeError("the server closed the connection")
            data += part
        return bytes(data)

    async def aclose(self) -> None:
        """See `Connection`."""
        await trio.aclose_forcefully(self.stream)

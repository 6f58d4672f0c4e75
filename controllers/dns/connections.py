"""Connections to a server, each for many questions at a time, which are used again for some seconds.

Theory of operation. A connection takes questions as they come and gives answers in the order in which the server has
them (RFC 7766, RFC 9113); whose an answer is, its framing knows by a number. Only those who wait read: one of them
reads for all, and hands that on when it leaves. So a connection needs no task of its own, and a question that is given
up costs the others nothing.

A server may also answer one question after the other, and then a slow one holds up those behind it. Until a server was
seen to answer a later question first, each gets a connection to itself while there may be more of them; from then on
they share. HTTP/2 shares from the beginning.

By a proxy, or over a long way, a connection may take longer to open than a question waits. One that many will share is
opened by a task of its own, and is there for later questions when those that asked for it have been given up.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol

import attrs
import trio

from nodespan.controllers.common.connection_errors import connection_fault
from nodespan.controllers.dns.queries import matches

# A connection that nobody used for so many seconds is closed.
IDLE = 10.0
MOST_CONNECTIONS = 16
# Seconds for the opening of a connection that goes on by itself.
OPENING = 15.0
# On one connection, those included that were given up and may still be answered.
MOST_QUESTIONS = 100
_CHUNK = 16 * 1024
# Who gives up sooner has not waited long enough to say of a connection that nothing comes on it.
_SILENCE = 0.5
_SHORTEST_ANSWER = 12


class ExchangeError(Exception):
    """There is no answer that can be used; the text says why."""


class UntakenError(ExchangeError):
    """The server has not looked at the question, which may be asked again."""


class BrokenConnectionError(ExchangeError):
    """The connection is of no use any more."""


class Framing(Protocol):
    """How questions and answers lie on a connection, without input and output. After an error it is of no use."""

    @property
    def room(self) -> int:
        """How many more questions the connection takes at the moment."""
        ...

    @property
    def given_up(self) -> int:
        """How many answers may still come that nobody waits for."""
        ...

    def begin(self, question: bytes) -> int:
        """Have a question sent; returns the number by which its answer is known. Raises ExchangeError."""
        ...

    def give_up(self, number: int) -> None:
        """Nobody waits for this answer any longer."""
        ...

    def take(self, data: bytes) -> Iterable[tuple[int, bytes | ExchangeError]]:
        """What came; returns the answers that are complete, by their numbers. Raises ExchangeError."""
        ...

    def to_send(self) -> bytes:
        """What is to be sent now."""
        ...


@attrs.define(eq=False)
class StreamFraming:
    """Messages follow their lengths; the id of a message says which question it answers."""

    # By the id on the wire that which the question has here.
    _ids: dict[int, bytes] = attrs.field(factory=dict)
    _given_up: set[int] = attrs.field(factory=set)
    _incoming: bytearray = attrs.field(factory=bytearray)
    _outgoing: bytearray = attrs.field(factory=bytearray)

    @property
    def room(self) -> int:
        """See `Framing`."""
        return MOST_QUESTIONS - len(self._ids) - len(self._given_up)

    @property
    def given_up(self) -> int:
        """See `Framing`."""
        return len(self._given_up)

    def begin(self, question: bytes) -> int:
        """See `Framing`."""
        number = secrets.randbits(16)
        while number in self._ids or number in self._given_up:
            number = secrets.randbits(16)
        self._ids[number] = question[:2]
        self._outgoing += len(question).to_bytes(2) + number.to_bytes(2) + question[2:]
        return number

    def give_up(self, number: int) -> None:
        """See `Framing`."""
        if self._ids.pop(number, None) is not None:
            self._given_up.add(number)

    def take(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """See `Framing`."""
        incoming = self._incoming
        incoming += data
        while len(incoming) >= 2 and len(incoming) >= 2 + (size := int.from_bytes(incoming[:2])):
            answer = bytes(incoming[2 : 2 + size])
            del incoming[: 2 + size]
            number = int.from_bytes(answer[:2])
            if number in self._given_up:
                self._given_up.remove(number)
                continue
            if size < _SHORTEST_ANSWER or number not in self._ids:
                raise ExchangeError("it answers something that was not asked")
            yield number, self._ids.pop(number) + answer[2:]

    def to_send(self) -> bytes:
        """See `Framing`."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data


@attrs.define(eq=False)
class _Waiting:
    question: bytes
    # How many answers had come before it was asked.
    after: int
    since: float = attrs.field(factory=trio.current_time)
    woken: trio.Event = attrs.field(factory=trio.Event)
    outcome: bytes | ExchangeError | None = None


class Connection:
    """A connection for many questions at a time. `number` tells it from those that were opened before."""

    def __init__(self, stream: trio.abc.Stream, framing: Framing, number: int = 0) -> None:
        self.number = number
        # Why it is of no use any more.
        self.fault = ""
        # What was last seen of the server: whether it answers a later question first, None for nothing yet.
        self.answers_in_any_order: bool | None = None
        self.used_at = trio.current_time()
        self.asked = 0
        self._answered = 0
        # Whether a question was given up while nothing came at all: the way there may be gone.
        self._is_silent = False
        self._stream = stream
        self._framing = framing
        # Those without an outcome, in the order in which they were asked.
        self._waiting: dict[int, _Waiting] = {}
        self._is_reading = False
        self._is_sending = False

    @property
    def takes_questions(self) -> bool:
        """Whether it takes another question."""
        return not self.fault and not self._is_silent and self._framing.room > 0

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._waiting)

    @property
    def given_up(self) -> int:
        """How many questions were given up and not answered yet."""
        return self._framing.given_up

    @property
    def load(self) -> int:
        """How many questions may be in the way of another one."""
        return len(self._waiting) + self._framing.given_up

    async def exchange(self, question: bytes) -> bytes:
        """The answer to a question. Raises ExchangeError: BrokenConnectionError if others do not get theirs either."""
        try:
            number = self._framing.begin(question)
        except ExchangeError as error:
            self._break(str(error))
            raise BrokenConnectionError(self.fault) from error
        self.asked += 1
        waiting = self._waiting[number] = _Waiting(question, self._answered)
        try:
            await self._flush()
            while waiting.outcome is None and not self.fault:
                if self._is_reading:
                    waiting.woken = trio.Event()
                    await waiting.woken.wait()
                else:
                    await self._read()
        finally:
            # With an outcome it left when that came: since then its number may be that of another question.
            if waiting.outcome is None:
                del self._waiting[number]
                self._note_given_up(number, waiting)
            self.used_at = trio.current_time()
            self._hand_on()
        if waiting.outcome is None:
            raise BrokenConnectionError(self.fault)
        if isinstance(waiting.outcome, ExchangeError):
            raise waiting.outcome
        return waiting.outcome

    async def aclose(self) -> None:
        """Close it at once; who still waits gets an error."""
        self._break("the connection was closed")
        await trio.aclose_forcefully(self._stream)

    def _note_given_up(self, number: int, waiting: _Waiting) -> None:
        if self.fault:
            return
        self._framing.give_up(number)
        if waiting.after == self._answered and trio.current_time() - waiting.since >= _SILENCE:
            self._is_silent, self.answers_in_any_order = True, False

    def _hand_on(self) -> None:
        """Have somebody else read, if nobody does."""
        if not self._is_reading and self._waiting:
            next(iter(self._waiting.values())).woken.set()

    def _break(self, fault: str) -> None:
        self.fault = self.fault or fault
        for waiting in self._waiting.values():
            waiting.woken.set()

    async def _flush(self) -> None:
        """Send what is to be sent, in the order in which it came about: by one task at a time, for all."""
        if self._is_sending or self.fault:
            return
        self._is_sending = True
        try:
            while data := self._framing.to_send():
                await self._stream.send_all(data)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._break(fault_of(error))
        except BaseException:
            # Nobody knows how much of it the server has.
            self._break("a question was sent in part")
            raise
        finally:
            self._is_sending = False

    async def _read(self) -> None:
        """Read once, for all who wait."""
        self._is_reading = True
        try:
            data = await self._stream.receive_some(_CHUNK)
            if not data:
                raise ExchangeError("the server closed the connection")
            for number, outcome in self._framing.take(bytes(data)):
                self._deliver(number, outcome)
            await self._flush()
        except ExchangeError as error:
            self._break(str(error))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._break(fault_of(error))
        finally:
            self._is_reading = False

    def _deliver(self, number: int, outcome: bytes | ExchangeError) -> None:
        waiting = self._waiting.get(number)
        if waiting is None:
            # It has left because the connection is of no use any more.
            return
        if isinstance(outcome, bytes) and not matches(outcome, waiting.question):
            # More may be behind it.
            raise ExchangeError("it answers something that was not asked")
        if next(iter(self._waiting)) != number:
            self.answers_in_any_order = True
        del self._waiting[number]
        self.used_at = trio.current_time()
        self._answered += 1
        self._is_silent = False
        waiting.outcome = outcome
        waiting.woken.set()


def fault_of(error: BaseException) -> str:
    """Why a connection failed."""
    return connection_fault(error) or type(error).__name__


# Opens a connection, and says how questions lie on it. Raises ExchangeError.
Connect = Callable[[], Awaitable[tuple[trio.abc.Stream, Framing]]]


@attrs.define(eq=False)
class _Opening:
    done: trio.Event = attrs.field(factory=trio.Event)
    error: ExchangeError | None = None


class Pool:
    """Connections to one server. With `shares` it is known to answer in any order."""

    def __init__(self, connect: Connect, *, shares: bool = False) -> None:
        self._connect = connect
        self._always_shares = shares
        self._shares = shares
        self._connections: list[Connection] = []
        self._openings: list[_Opening] = []
        self._opened = 0
        self._changed = trio.Event()
        self._closed = False
        self._nursery: trio.Nursery | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that nothing is known against."""
        return any(each.takes_questions for each in self._connections)

    def open_in(self, nursery: trio.Nursery | None) -> None:
        """Where connections that are shared are opened, None for the tasks of those who ask."""
        self._nursery = nursery

    async def exchange(self, question: bytes) -> bytes:
        """The answer to a question. Raises ExchangeError.

        Where a connection that was of use before breaks, the question is asked once more, on a newer one.
        """
        after, may_retry = 0, True
        while True:
            connection = await self._connection(after)
            is_first = not connection.asked
            try:
                return await connection.exchange(question)
            except BrokenConnectionError:
                if is_first or not may_retry:
                    raise
                after = self._opened
            except UntakenError:
                if not may_retry:
                    raise
            finally:
                await self._tidy(connection)
            may_retry = False

    async def sweep(self) -> None:
        """Close what nobody used for long."""
        now = trio.current_time()
        for connection in list(self._connections):
            if self._is_stale(connection, now):
                await self._drop(connection)

    async def aclose(self) -> None:
        """Close all that nobody waits for, and from now on the others when they have their answers."""
        self._closed = True
        for connection in list(self._connections):
            if not connection.is_waited_for:
                await self._drop(connection)

    def _is_stale(self, connection: Connection, now: float) -> bool:
        return not connection.is_waited_for and connection.used_at + IDLE <= now

    async def _connection(self, after: int) -> Connection:
        """One that takes a question, opened after as many others."""
        while True:
            await self.sweep()
            usable = [each for each in self._connections if each.takes_questions and each.number > after]
            if (chosen := next((each for each in usable if self._shares or not each.load), None)) is not None:
                return chosen
            if self._shares and self._openings:
                opening = self._openings[0]
                await opening.done.wait()
                if opening.error is not None:
                    raise ExchangeError(str(opening.error)) from opening.error
            elif len(self._connections) + len(self._openings) < MOST_CONNECTIONS:
                opening = _Opening()
                self._openings.append(opening)
                if not self._shares or self._closed or self._nursery is None:
                    return await self._open(opening)
                self._nursery.start_soon(self._open_for_all, opening)
            elif usable:
                return min(usable, key=lambda each: each.load)
            else:
                await self._changed.wait()

    async def _open_for_all(self, opening: _Opening) -> None:
        """Open a connection for those who wait for `opening`, and who come later; the first get its error."""
        opening.error = ExchangeError(f"the connection is not open within {OPENING:g} s")
        with trio.move_on_after(OPENING):
            try:
                connection = await self._open(opening)
            except ExchangeError:
                return  # it is in `opening`
            opening.error = None
            if self._closed:
                await self._drop(connection)

    async def _open(self, opening: _Opening) -> Connection:
        try:
            stream, framing = await self._connect()
        except ExchangeError as error:
            opening.error = error
            raise
        finally:
            self._openings.remove(opening)
            opening.done.set()
            self._note_change()
        self._opened += 1
        connection = Connection(stream, framing, self._opened)
        self._connections.append(connection)
        return connection

    async def _tidy(self, connection: Connection) -> None:
        """After each question: learn what was seen of the server, and close what is of no more use."""
        seen, connection.answers_in_any_order = connection.answers_in_any_order, None
        if seen is not None and not self._always_shares:
            self._shares = seen
        # What was given up may be in the way of all that follows.
        is_held_up = connection.given_up > 0 and not self._shares
        is_of_no_use = self._closed or not connection.takes_questions or is_held_up
        if connection.fault or (is_of_no_use and not connection.is_waited_for):
            await self._drop(connection)
        self._note_change()

    async def _drop(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        with trio.CancelScope(shield=True):
            await connection.aclose()

    def _note_change(self) -> None:
        """Have those look again who wait for a connection."""
        self._changed.set()
        self._changed = trio.Event()

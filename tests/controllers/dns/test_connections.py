"""Many questions on a connection, and which connection each takes; in virtual time, over streams in memory."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import attrs
import dns.message
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from nodespan.controllers.dns.connections import (
    IDLE,
    MOST_CONNECTIONS,
    MOST_QUESTIONS,
    OPENING,
    Connection,
    ExchangeError,
    Framing,
    Pool,
    StreamFraming,
)
from nodespan.controllers.dns.queries import forwarded, matches, read_query

pytestmark = pytest.mark.virtual_clock


def question(name: str, id: int = 7) -> bytes:
    return forwarded(read_query(dns.message.make_query(f"{name}.example", "A").to_wire()), id, 1232)


def name_of(message: bytes) -> str:
    return dns.message.from_wire(message).question[0].name.to_text().partition(".")[0]


def answer_to(message: bytes) -> bytes:
    return message[:2] + bytes((message[2] | 0x80,)) + message[3:]


Serve = Callable[["Far"], Awaitable[None]]


@attrs.define(eq=False)
class Far:
    """The server's end of a connection."""

    stream: trio.abc.Stream
    names: list[str] = attrs.field(factory=list)
    _buffer: bytearray = attrs.field(factory=bytearray)
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    async def next(self) -> bytes | None:
        """The next question, None when the client has closed the connection."""
        buffer = self._buffer
        while len(buffer) < 2 or len(buffer) < 2 + int.from_bytes(buffer[:2]):
            part = await self.stream.receive_some()
            if not part:
                return None
            buffer += part
        size = int.from_bytes(buffer[:2])
        message = bytes(buffer[2 : 2 + size])
        del buffer[: 2 + size]
        self.names.append(name_of(message))
        return message

    async def send(self, message: bytes) -> None:
        async with self._sending:
            await self.stream.send_all(len(message).to_bytes(2) + message)


@attrs.define(eq=False)
class Server:
    """Opens connections that are served as the test says."""

    serve: Serve
    nursery: trio.Nursery
    connections: list[Far] = attrs.field(factory=list)
    takes: float = 0.0
    fault: ExchangeError | None = None

    async def connect(self) -> tuple[trio.abc.Stream, Framing]:
        await trio.sleep(self.takes)
        if self.fault is not None:
            raise self.fault
        near, far = memory_stream_pair()
        self.connections.append(Far(far))
        self.nursery.start_soon(self._run, self.connections[-1])
        return near, StreamFraming()

    async def _run(self, far: Far) -> None:
        try:
            async with far.stream:
                await self.serve(far)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has closed the connection while it was answered


async def one_by_one(far: Far) -> None:
    """A name that begins with `slow` takes 100 s, any other one 10 ms; a later question waits for those before."""
    while (message := await far.next()) is not None:
        await trio.sleep(100.0 if name_of(message).startswith("slow") else 0.01)
        await far.send(answer_to(message))


async def in_any_order(far: Far) -> None:
    """The same, but each by itself."""

    async def answer(message: bytes) -> None:
        await trio.sleep(100.0 if name_of(message).startswith("slow") else 0.01)
        await far.send(answer_to(message))

    async with trio.open_nursery() as nursery:
        while (message := await far.next()) is not None:
            nursery.start_soon(answer, message)
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def asking(serve: Serve, *, shares: bool = False) -> AsyncIterator[tuple[Pool, Server]]:
    async with trio.open_nursery() as nursery:
        server = Server(serve, nursery)
        pool = Pool(server.connect, shares=shares)
        yield pool, server
        await pool.aclose()
        nursery.cancel_scope.cancel()


async def asked(pool: Pool, name: str, *, within: float = 2.0) -> str:
    """What the name is answered with, or why it is not; "" after so many seconds."""
    with trio.move_on_after(within):
        try:
            sent = question(name)
            found = await pool.exchange(sent)
        except ExchangeError as error:
            return str(error)
        assert matches(found, sent)
        return name_of(found)
    return ""


async def all_asked(pool: Pool, *names: str) -> list[str]:
    found = dict.fromkeys(names, "")

    async def ask(name: str) -> None:
        found[name] = await asked(pool, name)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(ask, name)
            await trio.sleep(0.001)
    return list(found.values())


async def test_where_the_server_answers_in_any_order_one_connection_does_and_each_gets_its_own_answer() -> None:
    async def backwards(far: Far) -> None:
        messages: list[bytes] = []
        while (message := await far.next()) is not None:
            messages.append(message)
            if len(messages) == 20:
                assert len({each[:2] for each in messages}) == 20
                for each in reversed(messages):
                    await far.send(answer_to(each))

    async with asking(backwards, shares=True) as (pool, server):
        names = [f"n{number}" for number in range(20)]
        assert await all_asked(pool, *names) == names
        assert len(server.connections) == 1


async def test_slow_names_hold_up_no_other_one_of_a_server_that_answers_one_by_one() -> None:
    async with asking(one_by_one) as (pool, server):
        slow = [f"slow{number}" for number in range(MOST_CONNECTIONS - 1)]
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(all_asked, pool, *slow)
            await trio.sleep(0.1)
            for number in range(5):
                assert await asked(pool, f"n{number}") == f"n{number}"
            assert trio.current_time() - started < 0.2
        # All five went over the one connection that was free, and what a slow one blocks is closed.
        assert len(server.connections) == MOST_CONNECTIONS
        assert len(pool._connections) == 1


async def test_any_number_of_slow_names_holds_up_no_other_one_of_a_server_that_answers_in_any_order() -> None:
    async with asking(in_any_order) as (pool, server), trio.open_nursery() as nursery:
        nursery.start_soon(all_asked, pool, *(f"slow{number}" for number in range(60)))
        await trio.sleep(0.2)
        started = trio.current_time()
        for number in range(5):
            assert await asked(pool, f"n{number}") == f"n{number}"
        assert trio.current_time() - started < 0.1
        assert len(server.connections) == MOST_CONNECTIONS


async def test_a_server_that_answers_one_by_one_after_all_is_asked_over_connections_of_their_own_again() -> None:
    serve: list[Serve] = [in_any_order]
    async with asking(lambda far: serve[0](far)) as (pool, server):
        pool._shares = True
        assert await all_asked(pool, "slow", "n") == ["", "n"]
        assert len(server.connections) == 1
        serve[0] = one_by_one
        await trio.sleep(IDLE)
        # The second waits behind the first; that nothing came at all is remembered.
        assert await all_asked(pool, "slow", "n") == ["", ""]
        assert await all_asked(pool, "slow", "n") == ["", "n"]


async def test_what_is_given_up_costs_the_others_nothing_and_its_late_answer_is_dropped() -> None:
    async def late(far: Far) -> None:
        first, second = await far.next(), await far.next()
        assert first is not None
        assert second is not None
        await trio.sleep(1.0)
        await far.send(answer_to(first))
        await far.send(answer_to(second))
        third = await far.next()
        assert third is not None
        await far.send(answer_to(third))
        await trio.sleep_forever()

    async with asking(late, shares=True) as (pool, server), trio.open_nursery() as nursery:
        # It is the one that reads.
        nursery.start_soon(partial(asked, pool, "given-up", within=0.5))
        await trio.sleep(0.1)
        assert await asked(pool, "second") == "second"
        assert await asked(pool, "third") == "third"
        assert [far.names for far in server.connections] == [["given-up", "second", "third"]]


async def test_a_connection_on_which_nothing_comes_is_not_used_for_the_next_question() -> None:
    async def dead(far: Far) -> None:
        await far.next()
        await trio.sleep_forever()

    serve: list[Serve] = [dead]
    async with asking(lambda far: serve[0](far), shares=True) as (pool, server):
        assert await asked(pool, "first") == ""
        serve[0] = in_any_order
        assert await asked(pool, "second") == "second"
        assert len(server.connections) == 2


async def test_an_answer_to_nothing_that_was_asked_ends_the_connection_and_the_others_are_asked_again() -> None:
    async def odd(far: Far) -> None:
        if len(server.connections) > 1:
            await in_any_order(far)
        messages = [await far.next() for _ in range(3)]
        if messages[0] is not None:
            await far.send(answer_to(bytes((messages[0][0] ^ 0xFF,)) + messages[0][1:]))
        await trio.sleep_forever()

    async with asking(odd, shares=True) as (pool, server):
        found = await all_asked(pool, "a", "b", "c")
        # The first had the connection to itself when it was new, and is not asked over another one.
        assert found == ["it answers something that was not asked", "b", "c"]
        assert len(server.connections) == 2


async def test_an_answer_that_comes_twice_is_not_taken_for_the_next_question() -> None:
    async def twice(far: Far) -> None:
        while (message := await far.next()) is not None:
            await far.send(answer_to(message))
            await far.send(answer_to(message))

    async with asking(twice) as (pool, server):
        for name in ("a", "b", "c"):
            assert await asked(pool, name) == name
        assert len(server.connections) == 3


async def test_a_connection_that_the_server_has_closed_meanwhile_is_replaced_once() -> None:
    async def once(far: Far) -> None:
        message = await far.next()
        if message is not None and not name_of(message).startswith("refused"):
            await far.send(answer_to(message))

    async with asking(once) as (pool, server):
        for name in ("a", "b", "c"):
            assert await asked(pool, name) == name
            await trio.sleep(1.0)
        assert len(server.connections) == 3
        # The one before is closed, and so is the new one.
        assert await asked(pool, "refused") == "the server closed the connection"
        assert len(server.connections) == 4


async def test_questions_that_come_while_a_connection_is_opened_wait_for_it_and_fail_with_it() -> None:
    async with asking(in_any_order, shares=True) as (pool, server):
        server.takes = 0.5
        names = [f"n{number}" for number in range(10)]
        assert await all_asked(pool, *names) == names
        assert len(server.connections) == 1
        await trio.sleep(IDLE)
        server.fault = ExchangeError("Connection refused")
        started = trio.current_time()
        assert await all_asked(pool, *names) == ["Connection refused"] * 10
        assert trio.current_time() - started < 0.6


async def test_who_waits_for_a_connection_that_another_gives_up_opening_opens_it() -> None:
    async with asking(in_any_order, shares=True) as (pool, server), trio.open_nursery() as nursery:
        server.takes = 1.0
        nursery.start_soon(partial(asked, pool, "given-up", within=0.5))
        await trio.sleep(0.1)
        assert await asked(pool, "a") == "a"
        assert [far.names for far in server.connections] == [["a"]]


async def test_a_connection_that_takes_longer_to_open_than_a_question_waits_is_there_for_later_ones() -> None:
    async with asking(in_any_order, shares=True) as (pool, server), trio.open_nursery() as nursery:
        pool.open_in(nursery)
        server.takes = 3.0
        assert await all_asked(pool, "first", "second") == ["", ""]
        assert await asked(pool, "third") == "third"
        assert [far.names for far in server.connections] == [["third"]]


async def test_an_opening_that_goes_on_by_itself_fails_for_all_who_wait_and_ends_in_time() -> None:
    async with asking(in_any_order, shares=True) as (pool, server), trio.open_nursery() as nursery:
        pool.open_in(nursery)
        server.takes, server.fault = 0.5, ExchangeError("Connection refused")
        assert await all_asked(pool, "a", "b") == 2 * ["Connection refused"]
        server.takes, server.fault = 100.0, None
        assert await asked(pool, "c", within=60.0) == f"the connection is not open within {OPENING:g} s"
        server.takes = 1.0
        assert await asked(pool, "d") == "d"
        assert len(server.connections) == 1
        # One that is not needed any more when it is open is closed.
        await pool.aclose()
        await trio.sleep(IDLE)
        closed = Pool(server.connect, shares=True)
        closed.open_in(nursery)
        assert await asked(closed, "e", within=0.5) == ""
        await closed.aclose()
        await trio.sleep(1.0)
        assert closed._connections == []


async def test_who_waits_for_an_opening_of_a_pool_that_is_closed_gets_an_answer_all_the_same() -> None:
    async with asking(in_any_order, shares=True) as (pool, server), trio.open_nursery() as nursery:
        pool.open_in(nursery)
        server.takes = 1.0
        found: list[str] = []

        async def ask() -> None:
            found.append(await asked(pool, "a", within=10.0))

        nursery.start_soon(ask)
        await trio.sleep(0.5)
        await pool.aclose()
        await trio.sleep(5.0)
        assert (found, pool._connections, len(server.connections)) == (["a"], [], 2)


async def test_who_waits_for_an_opening_whose_task_is_cancelled_gets_an_error() -> None:
    async with asking(in_any_order, shares=True) as (pool, server), trio.open_nursery() as nursery:
        server.takes = 1.0
        found: list[str] = []

        async def ask() -> None:
            found.append(await asked(pool, "a"))

        async with trio.open_nursery() as opener:
            pool.open_in(opener)
            nursery.start_soon(ask)
            await trio.sleep(0.5)
            opener.cancel_scope.cancel()
        pool.open_in(None)
        await trio.sleep(0.1)
        assert found == [f"the connection is not open within {OPENING:g} s"]
        assert await asked(pool, "b") == "b"


async def test_a_connection_takes_so_many_questions_and_no_more_and_idle_ones_are_closed() -> None:
    async with asking(in_any_order, shares=True) as (pool, server):
        names = [f"n{number}" for number in range(MOST_QUESTIONS + 5)]
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(asked, pool, name)
        assert sorted(len(far.names) for far in server.connections) == [5, MOST_QUESTIONS]
        await trio.sleep(IDLE)
        await pool.sweep()
        assert pool._connections == []


async def test_connections_have_a_bound_and_who_finds_none_free_shares_the_one_with_the_fewest_questions() -> None:
    async with asking(one_by_one) as (pool, server), trio.open_nursery() as nursery:
        for number in range(3 * MOST_CONNECTIONS):
            nursery.start_soon(asked, pool, f"slow{number}")
        await trio.sleep(1.0)
        assert len(server.connections) == MOST_CONNECTIONS
        assert {connection.load for connection in pool._connections} == {3}
        nursery.cancel_scope.cancel()


async def test_a_question_that_cannot_be_sent_whole_ends_the_connection() -> None:
    class Full(trio.abc.SendStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.sleep_forever()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    async def connect() -> tuple[trio.abc.Stream, Framing]:
        near, _ = memory_stream_pair()
        return trio.StapledStream(Full(), near.receive_stream), StreamFraming()

    pool = Pool(connect, shares=True)
    assert await asked(pool, "a") == ""
    assert pool._connections == []


async def test_what_comes_of_a_connection_after_it_broke_concerns_nobody() -> None:
    class Filling(trio.abc.SendStream):
        """Takes two questions, and has no room for a third."""

        taken = 0

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            self.taken += 1
            if self.taken > 2:
                await trio.sleep_forever()
            await near.send_stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await trio.sleep_forever()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    near, stream = memory_stream_pair()
    far = Far(stream)
    connection = Connection(trio.StapledStream(Filling(), near.receive_stream), StreamFraming())
    outcomes: dict[str, str] = {}

    async def ask(name: str) -> None:
        with trio.move_on_after(100.0 if name != "third" else 1.0):
            try:
                outcomes[name] = name_of(await connection.exchange(question(name)))
            except ExchangeError as error:
                outcomes[name] = str(error)

    async with trio.open_nursery() as nursery:
        for name in ("reads", "second", "third"):
            nursery.start_soon(ask, name)
            await trio.sleep(0.1)
        messages = [await far.next(), await far.next()]
        await trio.sleep(2.0)
        # The one that reads has not been told yet.
        assert outcomes == {"second": "a question was sent in part"}
        assert messages[1] is not None
        await far.send(answer_to(messages[1]))
    assert outcomes["reads"] == "a question was sent in part"


async def test_a_pool_that_is_closed_ends_its_connections_when_they_have_their_answers() -> None:
    async with asking(in_any_order) as (pool, server), trio.open_nursery() as nursery:
        found: list[str] = []

        async def ask() -> None:
            found.append(await asked(pool, "a"))

        nursery.start_soon(ask)
        await trio.sleep(0.005)
        await pool.aclose()
        await trio.sleep(0.1)
        assert (found, pool._connections, len(server.connections)) == (["a"], [], 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 3))
def test_whatever_a_server_sends_is_an_answer_to_what_was_asked_or_an_error(parts: list[bytes], count: int) -> None:
    framing = StreamFraming()
    numbers = {framing.begin(question(f"n{number}")) for number in range(count)}
    with contextlib.suppress(ExchangeError):
        for part in parts:
            for number, found in framing.take(part):
                assert number in numbers
                numbers.remove(number)
                assert found[:2] == (7).to_bytes(2)


async def test_a_number_that_is_given_again_before_its_owner_ran_is_that_of_the_new_question_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = iter((1,))
    monkeypatch.setattr(secrets, "randbits", lambda _bits: next(numbers, 5))
    near, stream = memory_stream_pair()
    far = Far(stream)
    found: list[str] = []
    next_ones: list[str] = []

    class Asking(StreamFraming):
        """Has the next question begin in the tick in which the owner of an answer is woken."""

        def take(self, data: bytes) -> Iterator[tuple[int, bytes]]:
            yield from super().take(data)
            if next_ones:
                nursery.start_soon(ask, next_ones.pop())

    connection = Connection(near, Asking())

    async def ask(name: str) -> None:
        found.append(name_of(await connection.exchange(question(name))))

    async def answer_next() -> None:
        message = await far.next()
        assert message is not None
        await far.send(answer_to(message))

    async with trio.open_nursery() as nursery:
        # It reads for all the others.
        nursery.start_soon(ask, "reads")
        await far.next()
        # Which of the two tasks runs first is up to chance.
        for _ in range(20):
            next_ones.append("second")
            nursery.start_soon(ask, "first")
            await answer_next()
            await answer_next()
            await trio.sleep(1.0)
            assert sorted(found) == ["first", "second"]
            found.clear()
        nursery.cancel_scope.cancel()


async def test_clients_that_hang_up_at_once_say_nothing_of_the_connection() -> None:
    async with asking(in_any_order, shares=True) as (pool, server):
        for _ in range(3):
            await asked(pool, "slow", within=0.001)
            assert await asked(pool, "n") == "n"
        assert len(server.connections) == 1

"""Connections: one task reads for all of them, and none has another's trouble."""

import errno
import gc
import os
import select
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import attrs
import h2.events
import pytest
import structlog.testing
import trio
import trio.testing
from google.protobuf.wrappers_pb2 import BytesValue

from nodespan.runtime.api.grpc import (
    Call,
    Code,
    Inbox,
    Limits,
    Service,
    Status,
    duplex,
    frame,
    methods,
    polled,
    server_stream,
)
from nodespan.runtime.api.grpc.connection import Connection, Shared
from nodespan.runtime.api.grpc.polled import Polled, Reader
from nodespan.runtime.api.grpc.stream import Stream
from tests.runtime.api.grpc.frames import FRAMES
from tests.runtime.api.grpc.greeter import PATH, Greeter, RawClient, Secured, raw, serving
from tests.runtime.api.grpc.test_at_once import QuickGreeter
from tests.support.process import eventually


class Tasks(trio.abc.Instrument):
    """The names of the tasks that were started, and of those that have ended, of this project."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.ended: list[str] = []

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith("nodespan."):
            self.names.append(task.name.rpartition(".")[2])

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith("nodespan."):
            self.ended.append(task.name.rpartition(".")[2])


@asynccontextmanager
async def counted_tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    trio.lowlevel.add_instrument(tasks)
    try:
        yield tasks
    finally:
        trio.lowlevel.remove_instrument(tasks)


async def _echo(client: RawClient, value: bytes = b"abc") -> None:
    body = frame(BytesValue(value=value).SerializeToString())
    id = client.request(f"{PATH}/Echo", body)
    await client.flush()
    received = await client.until(h2.events.DataReceived)
    assert (received.stream_id, received.data) == (id, body)
    await client.until(h2.events.StreamEnded)


async def _gone(greeter: Greeter, connections: int = 0) -> None:
    await eventually(lambda: greeter.sources.connections == connections)


async def test_a_connection_and_its_calls_need_no_task() -> None:
    async with serving(greeter=QuickGreeter()) as greeter, counted_tasks() as tasks:
        for _ in range(3):
            async with raw(greeter) as client:
                await _echo(client)
            await _gone(greeter)
        assert tasks.names == []


async def test_more_than_one_turns_work_is_done_by_a_task_that_ends_with_it() -> None:
    async with serving(greeter=QuickGreeter()) as greeter, raw(greeter) as client:
        await _echo(client)
        async with counted_tasks() as tasks:
            for number in range(300):
                client.machine.ping(number.to_bytes(8, "big"))
            await client.flush()
            for number in range(300):
                assert (await client.until(h2.events.PingAckReceived)).ping_data == number.to_bytes(8, "big")
            assert tasks.names == ["_read_on"]
            # It is read as before after that.
            await trio.testing.wait_all_tasks_blocked()
            await _echo(client)
            assert tasks.names == ["_read_on"]


async def test_all_of_many_connections_have_their_turn() -> None:
    async with AsyncExitStack() as stack:
        greeter = await stack.enter_async_context(serving(greeter=QuickGreeter()))
        clients = [await stack.enter_async_context(raw(greeter)) for _ in range(80)]
        body = frame(BytesValue(value=b"x").SerializeToString())
        for client in clients:
            client.request(f"{PATH}/Echo", body)
            await client.flush()
        for client in clients:
            assert (await client.until(h2.events.DataReceived)).data == body


class _Steps(trio.abc.Instrument):
    """Counts the steps of all tasks."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_others_have_their_turn_within_a_round_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a connection causes takes longer than this.
    monkeypatch.setattr(polled, "_SLICE", 0.0)
    steps, seen, read_once = _Steps(), list[int](), Polled.readable

    def readable(connection: Polled) -> None:
        seen.append(steps.count)
        read_once(connection)

    async with AsyncExitStack() as stack:
        greeter = await stack.enter_async_context(serving(greeter=QuickGreeter()))
        clients = [await stack.enter_async_context(raw(greeter)) for _ in range(5)]
        for client in clients:
            await _echo(client)
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.setattr(Polled, "readable", readable)
        trio.lowlevel.add_instrument(steps)
        try:
            for client in clients:  # without a pause, for one round
                client.request(f"{PATH}/Echo", frame(b""))
                data = client.machine.data_to_send()
                assert isinstance(client.stream, trio.SocketStream)
                assert os.write(client.stream.socket.fileno(), data) == len(data)
            for client in clients:
                await client.until(h2.events.DataReceived)
        finally:
            trio.lowlevel.remove_instrument(steps)
    assert len(set(seen[: len(clients)])) == len(clients)


@pytest.mark.parametrize("is_secured", [False, True], ids=["plain", "tls"])
async def test_others_have_their_turn_between_the_lots_of_what_was_read(
    is_secured: bool, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, seen, take_more = _Steps(), list[int](), Connection._take_more

    def taking(connection: Connection, data: bytes = b"") -> tuple[bool, float]:
        seen.append(steps.count)
        is_more, _ = take_more(connection, data)
        return is_more, 0.0  # nothing to rest for

    if is_secured:
        monkeypatch.setattr("tests.runtime.api.grpc.greeter.secured", secured)
    async with serving(greeter=QuickGreeter()) as greeter, raw(greeter) as client:
        await client.flush()
        await client.until(h2.events.SettingsAcknowledged)
        monkeypatch.setattr(Connection, "_take_more", taking)
        trio.lowlevel.add_instrument(steps)
        try:
            await client.stream.send_all(FRAMES["priority"] * 1000)
            await _echo(client)
        finally:
            trio.lowlevel.remove_instrument(steps)
    assert len(seen) >= 4
    assert len(set(seen)) == len(seen)


@attrs.define(slots=False)
class _Talker(Greeter):
    """Answers each message of a call both ways."""

    async def talk(self, inbox: Inbox, call: Call) -> None:
        answers, has_some = deque[bytes](), trio.Event()

        def take(message: bytes) -> None:
            nonlocal has_some
            answers.append(message)
            has_some.set()

        async def pace(_size: int) -> None:
            await trio.lowlevel.checkpoint()

        inbox.pass_to(take, pace)
        while True:
            await has_some.wait()
            has_some = trio.Event()
            while answers:
                await call.send_framed(frame(answers.popleft()))

    def service(self, limits: Limits) -> Service:
        return attrs.evolve(super().service(limits), methods=methods(duplex(f"{PATH}/Talk", self.talk)))


async def test_a_call_both_ways_has_a_task_that_reads_only_while_much_comes() -> None:
    async with serving(greeter=_Talker()) as greeter, counted_tasks() as tasks, raw(greeter) as client:
        id = client.request(f"{PATH}/Talk", frame(b"first"), end=False)
        await client.flush()
        assert (await client.until(h2.events.DataReceived)).data == frame(b"first")
        await trio.testing.wait_all_tasks_blocked()
        assert tasks.names.count("_read_on") == tasks.ended.count("_read_on")
        # Whoever reads, nothing is lost or comes twice.
        for number in range(30):
            client.machine.send_data(id, frame(b"%d" % number))
            await client.flush()
            assert (await client.until(h2.events.DataReceived)).data == frame(b"%d" % number)
        client.machine.end_stream(id)
        await client.flush()
    await _gone(greeter)


@attrs.define(slots=False)
class _LateGreeter(Greeter):
    """Says something when its call is over."""

    leave: trio.Event = attrs.field(factory=trio.Event)
    said: trio.Event = attrs.field(factory=trio.Event)

    async def late(self, _request: BytesValue, call: Call) -> None:
        await call.send(BytesValue())
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()
            with trio.CancelScope(shield=True):
                await self.leave.wait()
                await call.send(BytesValue(value=b"late"))
                self.said.set()

    def service(self, limits: Limits) -> Service:
        given = super().service(limits)
        late = methods(server_stream(f"{PATH}/Late", BytesValue, self.late))
        return attrs.evolve(given, methods={**given.methods, **late})


async def test_what_a_call_says_after_its_peer_has_left_reaches_nobody_else() -> None:
    async with serving(greeter=_LateGreeter()) as greeter:
        assert isinstance(greeter, _LateGreeter)
        async with raw(greeter) as first:
            first.request(f"{PATH}/Late", frame(b""))
            await first.flush()
            await first.until(h2.events.DataReceived)
        await greeter.cancelled.wait()
        await _gone(greeter)
        # They get the number of file that the first connection had.
        async with raw(greeter) as second, raw(greeter) as third:
            await _echo(second)
            await _echo(third)
            greeter.leave.set()
            await greeter.said.wait()
            # Anything else than these answers would be a violation of the protocol.
            await _echo(second)
            await _echo(third)
        assert ("Late", Status(Code.CANCELLED, "the connection was lost")) in greeter.finished


@attrs.define(slots=False)
class _BrokenGreeter(QuickGreeter):
    """Fails where a server must not."""

    is_broken: bool = True

    def done(self, call: Call, status: Status, _seconds: float) -> None:
        if self.is_broken:
            raise ValueError("a mistake of the service")
        super().done(call, status, _seconds)


@pytest.mark.parametrize("admits", [True, False], ids=["at once", "by a task"])
async def test_a_failure_ends_its_connection_and_no_other(admits: bool) -> None:
    async with serving(greeter=_BrokenGreeter(admits=admits)) as greeter, raw(greeter) as other:
        assert isinstance(greeter, _BrokenGreeter)
        await other.flush()
        async with raw(greeter) as client:
            client.request(f"{PATH}/Echo", frame(b""))
            await client.flush()
            while await client.stream.receive_some(65536):
                pass
        await _gone(greeter, 1)
        greeter.is_broken = False
        await _echo(other)


@attrs.define
class _Full:
    """Stands for the poll of a reader: while `is_full`, it takes no more, as at fs.epoll.max_user_watches."""

    real: select.epoll
    is_full: bool = False

    def register(self, file: int, events: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.real.register(file, events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> list[_Full]:
    """The polls of the readers that are made."""
    made: list[_Full] = []
    make = Reader.__init__

    def init(reader: Reader, nursery: trio.Nursery, shared: Shared) -> None:
        make(reader, nursery, shared)
        made.append(_Full(reader._poll))
        monkeypatch.setattr(reader, "_poll", made[-1])

    monkeypatch.setattr(Reader, "__init__", init)
    return made


async def _is_closed(client: RawClient) -> None:
    with suppress(trio.BrokenResourceError):
        while await client.stream.receive_some(65536):
            pass


async def test_a_connection_that_the_kernel_has_no_room_to_watch_ends_alone(polls: list[_Full]) -> None:
    async with serving(greeter=QuickGreeter()) as greeter, raw(greeter) as other:
        await _echo(other)
        polls[0].is_full = True
        for _ in range(3):
            async with raw(greeter) as client:
                await _is_closed(client)
        await _gone(greeter, 1)
        await _echo(other)
        polls[0].is_full = False
        async with raw(greeter) as client:
            await _echo(client)
        await _gone(greeter, 1)


async def test_a_connection_that_cannot_be_watched_after_a_task_read_for_it_ends_alone(polls: list[_Full]) -> None:
    async with serving(greeter=QuickGreeter()) as greeter, raw(greeter) as other, raw(greeter) as client:
        await _echo(other)
        await _echo(client)
        polls[0].is_full = True
        for number in range(300):
            client.machine.ping(number.to_bytes(8, "big"))
        await client.flush()
        await _is_closed(client)
        await _gone(greeter, 1)
        await _echo(other)
        polls[0].is_full = False
        async with raw(greeter) as later:
            await _echo(later)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """With these errors readers fail to leave connections, once each."""
    leave, numbers = Reader.leave, list[int]()

    def failing(reader: Reader, file: int) -> None:
        leave(reader, file)
        if numbers:
            raise OSError(numbers.pop(), "a failure of the poll")

    monkeypatch.setattr(Reader, "leave", failing)
    return numbers


async def test_what_fails_while_a_connection_ends_keeps_neither_socket_nor_seat(failures: list[int]) -> None:
    async with serving(greeter=QuickGreeter()) as greeter, raw(greeter) as other, raw(greeter) as client:
        await _echo(other)
        await _echo(client)
        # More than one turn's work, which a task cannot do, so that it ends; and that fails too.
        failures.extend((errno.ENOENT, errno.ENOENT))
        for number in range(300):
            client.machine.ping(number.to_bytes(8, "big"))
        await client.flush()
        await _is_closed(client)
        assert failures == []
        await _gone(greeter, 1)
        await _echo(other)


async def test_connections_that_fail_while_the_server_stops_are_closed_like_the_others(failures: list[int]) -> None:
    async with serving(greeter=QuickGreeter()) as greeter, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw(greeter)) for _ in range(3)]
        for client in clients:
            await _echo(client)
        failures.extend([errno.ENOENT] * 4)
        greeter.scope.cancel()
        for client in clients:
            await _is_closed(client)
            await client.stream.aclose()  # the server waits for that
        await _gone(greeter)
        assert failures == []


async def test_a_client_that_leaves_with_all_kinds_of_calls_leaves_nothing() -> None:
    async with serving() as greeter:
        async with raw(greeter) as client:
            client.request(f"{PATH}/Hang", frame(b""))
            client.request(f"{PATH}/Count", frame(b""))  # without end, and not read
            client.request(f"{PATH}/Echo", frame(b"")[:3], end=False)
            client.request("/large", b"", content_type="text/plain", method="GET")
            await client.flush()
            await client.until(h2.events.DataReceived)
            await eventually(lambda: len(greeter.calls) == 2)
        await _gone(greeter)
        await trio.testing.wait_all_tasks_blocked()
        assert greeter.sources.held == 0
        assert len(greeter.sources) == 0
        assert sorted(name for name, _ in greeter.finished) == ["Count", "Hang"]


def _kept() -> int:
    """How many connections and requests are in memory."""
    # By their types: to ask a proxy whether it is an instance asks what it stands for, which may be gone.
    return sum(type(each) in (Polled, Stream) for each in gc.get_objects())


async def test_a_connection_that_is_over_leaves_nothing_to_the_collector() -> None:
    async with serving(greeter=QuickGreeter()) as greeter:
        gc.collect()
        before = _kept()
        gc.disable()
        try:
            async with raw(greeter) as client:
                await _echo(client)
                client.request(f"{PATH}/Echo", b"", end=False)
                await client.flush()
                await eventually(lambda: _kept() > before)
            await _gone(greeter)
            await trio.testing.wait_all_tasks_blocked()
            greeter.calls.clear()
            assert _kept() == before
        finally:
            gc.enable()


async def test_a_lack_of_files_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    accept, failures = trio.SocketListener.accept, [errno.EMFILE, errno.ENFILE]

    async def failing(listener: trio.SocketListener) -> trio.SocketStream:
        if failures:
            await trio.lowlevel.checkpoint()
            raise OSError(failures.pop(), "no more files")
        return await accept(listener)

    monkeypatch.setattr(trio.SocketListener, "accept", failing)
    with structlog.testing.capture_logs() as lines:
        async with serving() as greeter, raw(greeter) as client:
            await _echo(client)
    assert failures == []
    # It may last for hours: the log has a line a minute.
    assert [line["times"] for line in lines if line["event"] == "connections have to wait"] == [1]

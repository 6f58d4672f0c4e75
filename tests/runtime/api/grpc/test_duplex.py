"""Calls whose both ends send messages at any time: under the reference client, under ours, and under one that lies."""

import contextlib
import math
from collections.abc import AsyncIterator, Callable

import attrs
import grpc
import h2.events
import pytest
import structlog
import trio

from nodespan.runtime.api.grpc import (
    Bounds,
    Call,
    Code,
    Inbox,
    Limits,
    RPCError,
    Server,
    Service,
    duplex,
    frame,
    methods,
)
from nodespan.runtime.api.grpc.client import CallError, Endpoint, open_channel
from tests.runtime.api.grpc.greeter import RawClient
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually

ONE_BY_ONE, PASSED_ON, LEFT = "/test.Chat/OneByOne", "/test.Chat/PassedOn", "/test.Chat/Left"


@attrs.define
class Chat:
    """Echoes messages, taken one by one or passed on."""

    port: int = 0
    running: int = 0
    paces: list[int] = attrs.field(factory=list)
    pause: float = 0.0
    server: Server | None = None
    stop: Callable[[], None] = lambda: None

    async def one_by_one(self, inbox: Inbox, call: Call) -> None:
        self.running += 1
        try:
            while (message := await inbox.receive()) is not None:
                await call.send_framed(frame(message))
        finally:
            self.running -= 1

    async def left(self, inbox: Inbox, call: Call) -> None:
        await trio.sleep_forever()

    async def passed_on(self, inbox: Inbox, call: Call) -> None:
        waiting: list[bytes] = []
        more = trio.Event()

        def deliver(message: bytes) -> None:
            if message == b"bad":
                raise RPCError(Code.INVALID_ARGUMENT, "a bad message")
            waiting.append(message)
            more.set()

        async def pace(size: int) -> None:
            self.paces.append(size)
            await trio.sleep(self.pause)

        # The client waits for the head of the response.
        await call.send_framed(frame(b"begin"))
        inbox.pass_to(deliver, pace)
        while True:
            await more.wait()
            more = trio.Event()
            while waiting:
                await call.send_framed(frame(waiting.pop(0)))


@contextlib.asynccontextmanager
async def serving(limits: Limits | None = None) -> AsyncIterator[Chat]:
    chat = Chat()
    service = Service(
        methods=methods(
            duplex(ONE_BY_ONE, chat.one_by_one), duplex(PASSED_ON, chat.passed_on), duplex(LEFT, chat.left)
        ),
        log=structlog.get_logger(),
        limits=limits or Limits(),
    )
    chat.server = Server(service)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    chat.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        chat.stop = scope.cancel

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                assert chat.server is not None
                await chat.server.serve(listeners, grace=1, task_status=task_status)

        await nursery.start(serve)
        yield chat
        nursery.cancel_scope.cancel()


async def test_both_ends_talk_under_the_reference_client() -> None:
    async with serving() as chat:

        def use() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{chat.port}") as channel:
                method = channel.stream_stream(ONE_BY_ONE)
                sent = [b"a", b"b" * 30_000, b"", b"c"]
                assert list(method(iter(sent), timeout=PATIENCE)) == sent
                method = channel.stream_stream(PASSED_ON)
                answers = method(iter([b"d", b"e"]), timeout=PATIENCE)
                assert [next(answers) for _ in range(3)] == [b"begin", b"d", b"e"]
                answers.cancel()

        await trio.to_thread.run_sync(use)
        await eventually(lambda: chat.running == 0)


async def test_answers_come_before_the_request_has_ended() -> None:
    async with serving() as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        async with channel.open(ONE_BY_ONE, bytes, timeout=PATIENCE) as call:
            for number in range(50):
                message = b"%d" % number
                await call.send(message)
                assert await call.receive() == message
            await call.end()
            assert await call.receive() is None
        assert chat.running == 0


async def test_an_error_of_what_messages_are_passed_to_ends_the_call() -> None:
    async with serving() as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        async with channel.open(PASSED_ON, bytes, timeout=PATIENCE) as call:
            assert await call.receive() == b"begin"
            await call.send(b"bad")
            with pytest.raises(CallError) as caught:
                await call.receive()
        assert caught.value.code is Code.INVALID_ARGUMENT
        assert str(caught.value) == "a bad message"


async def test_an_error_about_what_lies_there_already_ends_our_clients_call_too() -> None:
    def refuse(message: bytes) -> None:
        raise RPCError(Code.INTERNAL, f"{message!r} is refused")

    async with serving() as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        async with channel.open(ONE_BY_ONE, bytes, timeout=PATIENCE) as call:
            await call.send(b"a")
            await eventually(lambda: call._stream.unread > 0)
            call.pass_to(refuse)
            with pytest.raises(CallError, match="b'a' is refused") as caught:
                await call.receive()
        assert caught.value.code is Code.INTERNAL


async def test_what_is_not_taken_is_bounded() -> None:
    async with serving() as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        async with channel.open(LEFT, bytes, timeout=PATIENCE) as call:

            async def flood() -> None:
                while True:
                    await call.send(bytes(60_000))

            with pytest.raises(CallError) as caught:
                await flood()
        assert caught.value.code is Code.RESOURCE_EXHAUSTED


async def test_many_small_messages_that_are_not_taken_are_too_many() -> None:
    async with serving() as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        async with channel.open(LEFT, bytes, timeout=PATIENCE) as call:
            for _ in range(1001):
                await call.send(b"")
            with pytest.raises(CallError) as caught:
                await call.receive()
        assert caught.value.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", [LEFT, PASSED_ON])
async def test_what_lies_unread_is_accounted_for_until_the_call_ends(method: str) -> None:
    """Not taken, or not complete: of either the server keeps as much as of other requests."""
    limits = Limits(held=Bounds(70_000, 70_000, 70_000))
    async with serving(limits) as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        assert chat.server is not None
        sources = chat.server.sources
        async with await trio.open_tcp_stream("127.0.0.1", chat.port) as stream:
            client = RawClient(stream)
            for held in (32 << 10, 64 << 10):
                id = client.request(method, frame(bytes(50_000))[:10_000], end=False)
                client.machine.send_data(id, bytes(10_000))
                await client.flush()
                await eventually(lambda held=held: sources.held == held)  # type: ignore[misc]
            third = client.request(method, frame(bytes(50_000))[:10_000], end=False)
            await client.flush()
            # The others stay.
            assert (await client.until(h2.events.StreamEnded)).stream_id == third
            assert sources.held == 64 << 10
        await eventually(lambda: sources.held == 0)
        # There is room again.
        async with channel.open(ONE_BY_ONE, bytes, timeout=PATIENCE) as call:
            await call.send(bytes(40_000))
            assert await call.receive() == bytes(40_000)
        await eventually(lambda: sources.held == 0)


async def test_a_call_is_an_incomplete_request_until_its_messages_are_passed_on() -> None:
    limits = Limits(incomplete=Bounds(1, 1))
    async with serving(limits) as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        assert chat.server is not None
        turned_away = chat.server.sources.turned_away
        async with channel.open(PASSED_ON, bytes, timeout=PATIENCE) as passed:
            assert await passed.receive() == b"begin"
            # It leaves room for another one.
            async with channel.open(ONE_BY_ONE, bytes, timeout=PATIENCE) as one:
                await one.send(b"a")
                assert await one.receive() == b"a"
                assert turned_away["incomplete"] == 0
                with pytest.raises(CallError):
                    async with channel.open(ONE_BY_ONE, bytes, timeout=PATIENCE) as another:
                        await another.receive()
                assert turned_away["incomplete"] > 0
            await passed.send(b"b")
            assert await passed.receive() == b"b"


async def test_a_handler_that_waits_for_messages_too_long_is_ended() -> None:
    limits = Limits(request_time=0.05)
    async with serving(limits) as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        async with channel.open(ONE_BY_ONE, bytes, timeout=PATIENCE) as call:
            with pytest.raises(CallError, match="has not ended within") as caught:
                await call.receive()
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        await eventually(lambda: chat.running == 0)
        assert chat.server is not None
        assert chat.server.sources.turned_away["slow"] == 1


async def test_a_peer_is_read_no_faster_than_the_pace_allows_and_pays_for_every_frame() -> None:
    async with serving() as chat:
        stream = await trio.open_tcp_stream("127.0.0.1", chat.port)
        async with stream:
            client = RawClient(stream)
            id = client.request(PASSED_ON, b"", end=False)
            await client.flush()
            await client.until(h2.events.DataReceived)
            # Many frames of one byte each.
            for byte in frame(b"hello"):
                client.machine.send_data(id, bytes((byte,)))
                await client.flush()
            await eventually(lambda: sum(chat.paces) >= 10 * 64)
            assert chat.server is not None


@pytest.mark.parametrize(("size", "is_work"), [(1, True), (31, True), (32, False)])
async def test_small_frames_of_messages_that_are_passed_on_are_work_and_give_way(
    size: int, is_work: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Work is counted, and not spent.
    monkeypatch.setattr("nodespan.runtime.api.grpc.sources._SPENT_AT_ONCE", math.inf)
    async with serving() as chat, await trio.open_tcp_stream("127.0.0.1", chat.port) as stream:
        client = RawClient(stream)
        id = client.request(PASSED_ON, b"", end=False)
        await client.flush()
        await client.until(h2.events.DataReceived)
        assert chat.server is not None
        (seat,) = (connection._seat for connection in chat.server._shared.connections)
        before, count = seat.unspent, 600
        message = frame(bytes(size * count - 5))
        for number in range(count):
            client.machine.send_data(id, message[number * size : (number + 1) * size])
        seen = len(chat.paces)
        await client.flush()
        await eventually(lambda: sum(chat.paces[seen:]) >= count * (size + 64))
        # Others had their turn in between.
        assert len(chat.paces) - seen >= 3
        assert (seat.unspent - before >= count / 2) == is_work


async def test_a_message_that_is_too_large_is_refused_before_it_is_here() -> None:
    async with (
        serving(Limits(max_message=1000)) as chat,
        open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel,
        channel.open(ONE_BY_ONE, bytes, timeout=PATIENCE) as call,
    ):
        await call.send(bytes(1001))
        with pytest.raises(CallError) as caught:
            await call.receive()
    assert caught.value.code is Code.RESOURCE_EXHAUSTED


async def test_a_server_that_stops_ends_the_call_with_ok() -> None:
    async with (
        serving() as chat,
        open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel,
        channel.open(PASSED_ON, bytes, timeout=PATIENCE) as call,
    ):
        assert await call.receive() == b"begin"
        chat.stop()
        assert await call.receive() is None


async def test_a_call_that_is_given_up_ends_its_handler() -> None:
    async with serving() as chat, open_channel([Endpoint("127.0.0.1", chat.port, secure=False)]) as channel:
        async with channel.open(ONE_BY_ONE, bytes, timeout=PATIENCE) as call:
            await call.send(b"a")
            assert await call.receive() == b"a"
            assert chat.running == 1
        await eventually(lambda: chat.running == 0)

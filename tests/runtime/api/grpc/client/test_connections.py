"""Connections in virtual time: deadlines, pings, reconnecting, several servers, and servers that break the rules."""

from functools import partial

import h2.errors
import h2.events
import h2.settings
import pytest
import trio
import trio.testing

from nodespan.runtime.api.grpc import Code, frame
from nodespan.runtime.api.grpc.client import ChannelOptions, Stage, connection
from nodespan.runtime.api.grpc.ledger import Ledger
from nodespan.runtime.backoff import Exponential
from tests.runtime.api.grpc.client.fake_server import (
    HEAD,
    OK,
    PATH,
    FakeServer,
    Net,
    Serve,
    channel_to,
    echo,
    echoing,
    failure_of,
    silent,
)

pytestmark = pytest.mark.virtual_clock

_STEADY = ChannelOptions(backoff=Exponential(base=1, factor=2, cap=8))


async def test_one_connection_carries_all_calls() -> None:
    net = Net({"a": echoing})
    async with channel_to(net, "a") as channel:
        answers = [b""] * 50

        async def call(number: int) -> None:
            answers[number] = await echo(channel, b"%d" % number)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(call, number)
        assert answers == [b"%d" % number for number in range(50)]
        assert net.dialled == ["a"]
        assert str(channel.endpoint) == "a:1"


async def test_nothing_is_dialled_before_the_first_call_and_nothing_is_left_afterwards() -> None:
    net = Net({"a": echoing})
    async with channel_to(net, "a") as channel:
        await trio.sleep(1)
        assert net.dialled == []
        await echo(channel)
    with pytest.raises(trio.ClosedResourceError):
        await echo(channel)


async def test_errors_of_the_block_come_out_bare() -> None:
    raised: Exception | None = None
    try:
        async with channel_to(Net({"a": echoing}), "a") as channel:
            await echo(channel)
            raise LookupError("mine")
    except LookupError as error:
        raised = error
    assert str(raised) == "mine"


# Deadlines and cancellation.


async def _never_answers(server: FakeServer) -> None:
    await server.greet()
    async for _ in server.events():
        pass


async def test_a_deadline_is_kept_and_sent_to_the_server() -> None:
    net = Net({"a": _never_answers})
    async with channel_to(net, "a") as channel:
        failure = await failure_of(echo(channel, within=5))
        assert (failure.code, failure.stage) == (Code.DEADLINE_EXCEEDED, Stage.DEADLINE)
        assert str(failure) == "no answer within 5 s"
        assert trio.current_time() == pytest.approx(5, abs=1e-6)
        await trio.testing.wait_all_tasks_blocked()
        (request,) = (event for event in net.made[0].seen if isinstance(event, h2.events.RequestReceived))
        assert ("grpc-timeout", "5000000u") in [(str(name), str(value)) for name, value in request.headers or ()]
        assert net.made[0].has_seen(h2.events.StreamReset)


async def test_a_deadline_also_ends_the_wait_for_a_connection() -> None:
    async with channel_to(Net(), "a", options=_STEADY) as channel:
        failure = await failure_of(echo(channel, within=5, wait=True))
        assert (failure.code, failure.is_unsent) == (Code.DEADLINE_EXCEEDED, True)
        assert str(failure) == "no connection within 5 s: Connection refused"


async def test_a_cancelled_call_is_reset_and_leaves_the_connection_to_others() -> None:
    net = Net({"a": _never_answers})
    async with channel_to(net, "a") as channel:
        with trio.move_on_after(1):
            await echo(channel)
        await trio.testing.wait_all_tasks_blocked()
        (reset,) = (event for event in net.made[0].seen if isinstance(event, h2.events.StreamReset))
        assert reset.error_code == h2.errors.ErrorCodes.CANCEL
        assert channel.endpoint is not None


async def test_leaving_a_stream_resets_it() -> None:
    async def counting(server: FakeServer) -> None:
        await server.greet()
        async for id in server.requests():
            server.machine.send_headers(id, HEAD)
            server.machine.send_data(id, b"".join(frame(b"%d" % number) for number in range(3)))

    net = Net({"a": counting})
    async with channel_to(net, "a") as channel:
        async with channel.stream(PATH, b"", bytes) as call:
            assert [await call.receive() for _ in range(3)] == [b"0", b"1", b"2"]
        await trio.testing.wait_all_tasks_blocked()
        assert net.made[0].has_seen(h2.events.StreamReset)


# Servers that are gone without a word.


async def test_a_silent_server_is_given_up_when_it_does_not_begin() -> None:
    async with channel_to(Net({"a": silent}), "a") as channel:
        failure = await failure_of(echo(channel))
        assert (failure.code, failure.stage, failure.is_unsent) == (Code.UNAVAILABLE, Stage.HTTP, True)
        assert str(failure) == "it has not answered within 10 s"
        assert trio.current_time() == pytest.approx(10)


async def _goes_silent(server: FakeServer) -> None:
    await server.greet()
    async for event in server.events():
        if isinstance(event, h2.events.StreamEnded):
            await server.flush()
            await trio.sleep_forever()


async def test_a_half_open_connection_is_found_by_a_ping() -> None:
    options = ChannelOptions(keepalive=10, keepalive_timeout=3)
    async with channel_to(Net({"a": _goes_silent}), "a", options=options) as channel:
        failure = await failure_of(echo(channel))
        assert (failure.code, failure.stage, failure.is_unsent) == (Code.UNAVAILABLE, Stage.TCP, False)
        assert str(failure) == "no answer to a ping within 3 s"
        assert trio.current_time() == pytest.approx(13)
        assert channel.endpoint is None


async def test_a_server_that_answers_pings_is_kept_for_hours() -> None:
    options = ChannelOptions(keepalive=10, keepalive_timeout=3)
    net = Net({"a": _never_answers})
    async with channel_to(net, "a", options=options) as channel:
        failure = await failure_of(echo(channel, within=3600))
        assert failure.stage is Stage.DEADLINE
    pings = [event for event in net.made[0].seen if isinstance(event, h2.events.PingReceived)]
    assert len(pings) == pytest.approx(360, abs=2)


@pytest.mark.parametrize("without_calls", [False, True])
async def test_idle_connections_are_pinged_only_where_configured(without_calls: bool) -> None:
    options = ChannelOptions(keepalive=10, keepalive_timeout=3, keepalive_without_calls=without_calls)
    net = Net({"a": echoing})
    async with channel_to(net, "a", options=options) as channel:
        await echo(channel)
        await trio.sleep(100)
    assert net.made[0].has_seen(h2.events.PingReceived) is without_calls


async def test_a_server_that_is_pinged_too_often_is_pinged_less() -> None:
    async def touchy(server: FakeServer) -> None:
        await server.greet()
        async for event in server.events():
            if isinstance(event, h2.events.PingReceived):
                calm = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
                server.machine.close_connection(calm, additional_data=b"too_many_pings")
                await server.flush()
                return

    options = ChannelOptions(keepalive=10, keepalive_timeout=3)
    async with channel_to(Net({"a": touchy}), "a", options=options) as channel:
        for expected in (10, 20, 40):
            began = trio.current_time()
            await failure_of(echo(channel, wait=True))
            # The backoff is at most the 5 s of the options.
            assert expected <= trio.current_time() - began <= expected + 6


# Reconnecting.


async def test_calls_fail_at_once_between_two_attempts_unless_they_wait() -> None:
    net = Net()
    async with channel_to(net, "a", options=_STEADY) as channel:
        assert str(await failure_of(echo(channel))) == "Connection refused"
        for _ in range(3):
            await failure_of(echo(channel))
        assert net.dialled == ["a"]
        net.servers["a"] = echoing
        assert await echo(channel, wait=True) == b"hello"
        assert trio.current_time() == pytest.approx(1)


async def test_attempts_are_spaced_by_the_backoff_until_a_call_was_answered() -> None:
    async def accepts_only(server: FakeServer) -> None:
        await server.greet()
        await server.stream.receive_some(65536)

    net = Net({"a": accepts_only})
    async with channel_to(net, "a", options=_STEADY) as channel:
        times = []
        for _ in range(4):
            await failure_of(echo(channel, wait=True))
            times.append(trio.current_time())
        assert times == [pytest.approx(time) for time in (0, 1, 3, 7)]
        net.servers["a"] = echoing
        await echo(channel, wait=True)
        assert trio.current_time() == pytest.approx(15)
        await net.made[-1].stream.aclose()
        net.servers["a"] = accepts_only
        await trio.testing.wait_all_tasks_blocked()
        await failure_of(echo(channel))
        await failure_of(echo(channel, wait=True))
        assert trio.current_time() == pytest.approx(16)


async def test_reconnect_makes_a_new_connection_and_lets_calls_end_on_the_old_one() -> None:
    async def slow(server: FakeServer) -> None:
        await server.greet()
        async for id in server.requests():
            await trio.sleep(5)
            await server.answer(id, bytes(server.bodies[id]))

    net = Net({"a": slow})
    async with channel_to(net, "a") as channel, trio.open_nursery() as nursery:
        nursery.start_soon(echo, channel)
        await trio.sleep(1)
        channel.reconnect()
        assert await echo(channel, b"new") == b"new"
        assert net.dialled == ["a", "a"]


async def test_the_server_that_takes_the_connection_is_the_first_from_then_on() -> None:
    net = Net({"b": echoing})
    async with channel_to(net, "a", "b", "c") as channel:
        await echo(channel)
        assert net.dialled == ["a", "b"]
        await net.made[-1].stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        net.servers["a"] = net.servers["c"] = echoing
        await echo(channel)
        # The one that broke is the last.
        assert net.dialled[2:] == ["a"]


async def test_when_no_server_can_be_reached_each_is_named_with_its_reason() -> None:
    async with channel_to(Net({"b": silent}), "a", "b") as channel:
        failure = await failure_of(echo(channel))
        assert str(failure) == (
            "no server can be reached: a:1: Connection refused; b:1: it has not answered within 10 s"
        )


# GOAWAY, and what a server has not begun with.


async def test_a_server_that_goes_away_finishes_its_calls_and_new_ones_go_elsewhere() -> None:
    async def going(server: FakeServer) -> None:
        await server.greet()
        async for id in server.requests():
            server.machine._data_to_send += bytes.fromhex("00000807000000000000000001") + b"\0\0\0\0"
            await server.flush()
            net.servers["a"] = echoing
            await trio.sleep(5)
            await server.answer(id, frame(b"late"))

    net = Net({"a": going})
    async with channel_to(net, "a") as channel:
        answers: list[bytes] = []

        async def call() -> None:
            answers.append(await echo(channel))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.sleep(1)
            assert channel.endpoint is None
            assert await echo(channel, b"new") == b"new"
        assert answers == [b"late"]
        await trio.testing.wait_all_tasks_blocked()
        # The old connection is closed once its last call has ended.
        assert net.made[0].is_left


@pytest.mark.parametrize("way", ["goaway", "refused"])
async def test_a_call_that_the_server_has_not_begun_is_repeated(way: str) -> None:
    async def unwilling(server: FakeServer) -> None:
        await server.greet()
        async for id in server.requests():
            net.servers["a"] = echoing
            if way == "goaway":
                server.machine._data_to_send += bytes.fromhex("00000807000000000000000000") + b"\0\0\0\0"
            elif id == 1:
                server.machine.reset_stream(id, h2.errors.ErrorCodes.REFUSED_STREAM)
            else:
                await server.answer(id, bytes(server.bodies[id]))
            await server.flush()

    net = Net({"a": unwilling})
    async with channel_to(net, "a") as channel:
        assert await echo(channel, b"again") == b"again"
        async with channel.stream(PATH, b"and a stream", bytes) as call:
            assert [answer async for answer in call] == [b"and a stream"]


async def test_a_call_that_is_refused_for_ever_fails() -> None:
    async def unwilling(server: FakeServer) -> None:
        await server.greet()
        async for id in server.requests():
            server.machine.reset_stream(id, h2.errors.ErrorCodes.REFUSED_STREAM)
            await server.flush()

    async with channel_to(Net({"a": unwilling}), "a") as channel:
        failure = await failure_of(echo(channel))
        assert (failure.code, failure.is_unsent) == (Code.UNAVAILABLE, True)


async def test_a_call_that_may_have_been_carried_out_is_not_repeated() -> None:
    async def dying(server: FakeServer) -> None:
        await server.greet()
        async for _ in server.requests():
            return

    net = Net({"a": dying, "b": echoing})
    async with channel_to(net, "a", "b") as channel:
        failure = await failure_of(echo(channel))
        assert (failure.code, failure.is_unsent) == (Code.UNAVAILABLE, False)
        assert net.dialled == ["a"]


# What an answer may look like.


def _answering(*frames: tuple[str, object]) -> Serve:
    async def serve(server: FakeServer) -> None:
        await server.greet()
        async for id in server.requests():
            for number, (kind, content) in enumerate(frames, start=1):
                is_last = number == len(frames)
                if kind == "headers":
                    server.machine.send_headers(id, content, end_stream=is_last)  # type: ignore[arg-type]
                elif kind == "data":
                    server.machine.send_data(id, content, end_stream=is_last)  # type: ignore[arg-type]
                else:
                    server.machine.reset_stream(id, content)  # type: ignore[arg-type]
            await server.flush()

    return serve


def _error(code: int, text: str) -> tuple[str, object]:
    return ("headers", (*HEAD, ("grpc-status", str(code)), ("grpc-message", text)))


_CASES: dict[str, tuple[Serve, Code, Stage, str]] = {
    "trailers only": (
        _answering(_error(5, "no such%20thing %E2%82%AC")),
        Code.NOT_FOUND,
        Stage.SERVICE,
        "no such thing €",
    ),
    "a code of the future": (_answering(_error(99, "x")), Code.UNKNOWN, Stage.SERVICE, "x"),
    "a code that is none": (
        _answering(("headers", HEAD), ("headers", (("grpc-status", "zero"),))),
        Code.UNKNOWN,
        Stage.SERVICE,
        "",
    ),
    "a text that begins with a space": (
        _answering(_error(3, " a%ff%zz")),
        Code.INVALID_ARGUMENT,
        Stage.SERVICE,
        " a\ufffd%zz",
    ),
    "no status": (
        _answering(("headers", HEAD), ("data", frame(b"x"))),
        Code.UNKNOWN,
        Stage.SERVICE,
        "the server ended the call without a status",
    ),
    "half a message": (
        _answering(("headers", HEAD), ("data", frame(b"abcdef")[:-1]), ("headers", OK)),
        Code.INTERNAL,
        Stage.SERVICE,
        "the server ended the call in the middle of a message",
    ),
    "no message": (
        _answering(("headers", HEAD), ("headers", OK)),
        Code.INTERNAL,
        Stage.SERVICE,
        "the server ended the call without an answer",
    ),
    "two messages": (
        _answering(("headers", HEAD), ("data", frame(b"a") + frame(b"b")), ("headers", OK)),
        Code.INTERNAL,
        Stage.SERVICE,
        "the server sent more than one answer",
    ),
    "an error after the message": (
        _answering(("headers", HEAD), ("data", frame(b"a")), ("headers", (("grpc-status", "10"),))),
        Code.ABORTED,
        Stage.SERVICE,
        "",
    ),
    "compressed": (
        _answering(("headers", HEAD), ("data", b"\x01\0\0\0\x01x"), ("headers", OK)),
        Code.UNIMPLEMENTED,
        Stage.SERVICE,
        "compressed messages are not supported",
    ),
    "too large": (
        _answering(("headers", HEAD), ("data", b"\x00\xff\xff\xff\xff")),
        Code.RESOURCE_EXHAUSTED,
        Stage.SERVICE,
        f"the message has {2**32 - 1} bytes, at most {4 << 20} are taken",
    ),
    "a page": (
        _answering(("headers", ((":status", "200"), ("content-type", "text/html"))), ("data", b"<html>")),
        Code.UNKNOWN,
        Stage.HTTP,
        "it answers with text/html, not like gRPC",
    ),
    "HTTP 404": (
        _answering(("headers", ((":status", "404"),)), ("data", b"<html>")),
        Code.UNIMPLEMENTED,
        Stage.HTTP,
        "it answers with HTTP status 404, not like gRPC",
    ),
    "HTTP 503": (
        _answering(("headers", ((":status", "503"),))),
        Code.UNAVAILABLE,
        Stage.HTTP,
        "it answers with HTTP status 503, not like gRPC",
    ),
    "HTTP 418": (
        _answering(("headers", ((":status", "418"),))),
        Code.UNKNOWN,
        Stage.HTTP,
        "it answers with HTTP status 418, not like gRPC",
    ),
    "reset": (
        _answering(("headers", HEAD), ("reset", h2.errors.ErrorCodes.INTERNAL_ERROR)),
        Code.INTERNAL,
        Stage.SERVICE,
        "the server has reset the call: INTERNAL_ERROR",
    ),
    "reset by its own cancellation": (
        _answering(("reset", h2.errors.ErrorCodes.CANCEL)),
        Code.CANCELLED,
        Stage.SERVICE,
        "the server has reset the call: CANCEL",
    ),
    "calm": (
        _answering(("reset", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)),
        Code.RESOURCE_EXHAUSTED,
        Stage.SERVICE,
        "the server has reset the call: ENHANCE_YOUR_CALM",
    ),
}


@pytest.mark.parametrize("case", _CASES)
async def test_what_is_no_good_answer_is_a_status(case: str) -> None:
    serve, code, stage, text = _CASES[case]
    net = Net({"a": serve})
    async with channel_to(net, "a") as channel:
        failure = await failure_of(echo(channel, within=60))
        assert (failure.code, failure.stage, str(failure)) == (code, stage, text)
        # It is the call that failed: the connection carries the next one.
        await failure_of(echo(channel, within=60))
        assert net.dialled == ["a"]


async def test_messages_before_an_error_are_received() -> None:
    serve = _answering(("headers", HEAD), ("data", frame(b"a") + frame(b"b")), ("headers", (("grpc-status", "10"),)))
    async with channel_to(Net({"a": serve}), "a") as channel:
        received = []
        code = None
        async with channel.stream(PATH, b"", bytes) as call:
            assert ("content-type", "application/grpc") in await call.headers()
            while code is None:
                try:
                    received.append(await call.receive())
                except Exception as error:
                    code = error.code  # type: ignore[attr-defined]
            assert call.trailers == (("grpc-status", "10"),)
        assert (received, code) == ([b"a", b"b"], Code.ABORTED)


async def test_what_cannot_be_decoded_is_an_error_of_the_call() -> None:
    async with channel_to(Net({"a": echoing}), "a") as channel:
        failure = await failure_of(channel.unary(PATH, b"\xff", lambda data: data.decode()))
        assert failure.code is Code.INTERNAL
        assert str(failure).startswith(f"the answer is not what {PATH} answers: ")


# What is no HTTP/2.


def _saying(data: bytes) -> Serve:
    async def serve(server: FakeServer) -> None:
        await server.stream.send_all(data)
        await server.stream.receive_some(65536)

    return serve


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it closed the connection without a word of HTTP/2"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers with HTTP status 400, not like gRPC"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not keep to the rules of HTTP/2: "),
        (bytes(range(255, 0, -1)), "it does not keep to the rules of HTTP/2: "),
        (b"\x00\x00\x01\x04\x00\x00\x00\x00\x00\x00", "it does not keep to the rules of HTTP/2: "),
    ],
    ids=["nothing", "HTTP/1.1", "ssh", "garbage", "settings of one byte"],
)
async def test_a_server_of_another_protocol_is_recognized_by_its_first_bytes(data: bytes, text: str) -> None:
    async with channel_to(Net({"a": _saying(data)}), "a") as channel:
        failure = await failure_of(echo(channel))
        assert (failure.code, failure.stage) == (Code.UNAVAILABLE, Stage.HTTP)
        assert str(failure).startswith(text)


async def test_garbage_ends_the_calls_of_its_connection_and_the_next_one_is_made() -> None:
    async def raving(server: FakeServer) -> None:
        await server.greet()
        async for _ in server.requests():
            net.servers["a"] = echoing
            await server.stream.send_all(bytes.fromhex("ffffff") + bytes(100))

    net = Net({"a": raving})
    async with channel_to(net, "a") as channel:
        failure = await failure_of(echo(channel))
        assert (failure.code, failure.stage, failure.is_unsent) == (Code.UNAVAILABLE, Stage.HTTP, False)
        assert await echo(channel, wait=True) == b"hello"


async def test_header_bombs_end_the_connection() -> None:
    async def bombing(server: FakeServer) -> None:
        await server.greet()
        async for id in server.requests():
            server.machine.send_headers(id, (*HEAD, *((f"x-{number}", "y" * 1000) for number in range(20))))
            await server.flush()

    async with channel_to(Net({"a": bombing}), "a") as channel:
        assert (await failure_of(echo(channel))).stage is Stage.HTTP


async def test_a_flood_of_frames_that_say_nothing_slows_itself_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_WORK_PER_SECOND", 500)
    monkeypatch.setattr(connection, "_WORK_AT_ONCE", 1000)
    monkeypatch.setattr(connection, "_CHUNK", 4096)
    empty = bytes.fromhex("000000040100000000") * 1000  # acknowledgements of settings

    async def flooding(server: FakeServer) -> None:
        await server.greet()
        async for id in server.requests():
            for _ in range(6):
                await server.stream.send_all(empty)
            await server.answer(id)

    async with channel_to(Net({"a": flooding}), "a") as channel:
        await echo(channel)
        # 6,000 frames: a thousand at once, the others at their rate.
        assert trio.current_time() == pytest.approx(10, rel=0.2)


# Flow control.


async def test_calls_wait_for_room_where_a_server_takes_few_at_once() -> None:
    running: set[int] = set()
    most = 0

    async def narrow(server: FakeServer) -> None:
        nonlocal most
        server.machine.local_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 3
        server.machine.local_settings.acknowledge()
        await server.greet()

        async def reply(id: int) -> None:
            await trio.sleep(1)
            running.discard(id)
            await server.answer(id)

        async with trio.open_nursery() as nursery:
            async for event in server.events():
                if isinstance(event, h2.events.RequestReceived):
                    assert event.stream_id
                    running.add(event.stream_id)
                    most = max(most, len(running))
                elif isinstance(event, h2.events.StreamEnded):
                    assert event.stream_id
                    nursery.start_soon(reply, event.stream_id)

    async with channel_to(Net({"a": narrow}), "a") as channel:
        async with trio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(partial(echo, channel))
        assert most == 3
        assert trio.current_time() == pytest.approx(3)


async def test_a_slow_reader_slows_its_server_down_and_no_other() -> None:
    sent = 0

    async def pouring(server: FakeServer) -> None:
        nonlocal sent
        has_begun = False
        await server.greet()
        async for event in server.events():
            if isinstance(event, h2.events.StreamEnded):
                assert event.stream_id
                if event.stream_id > 1:
                    await server.answer(event.stream_id, frame(b"other"))
                    continue
                server.machine.send_headers(1, HEAD)
                has_begun = True
            part = frame(bytes(995)) * 16
            while has_begun and server.machine.local_flow_control_window(1) >= len(part):
                server.machine.send_data(1, part)
                sent += 16

    options = ChannelOptions(window=64 << 10)
    net = Net({"a": pouring})
    async with channel_to(net, "a", options=options) as channel, channel.stream(PATH, b"", bytes) as call:
        await trio.testing.wait_all_tasks_blocked()
        assert sent == 64
        assert await echo(channel) == b"other"
        for _ in range(1000):
            assert await call.receive() == bytes(995)
        await trio.testing.wait_all_tasks_blocked()
        assert 1000 < sent <= 1000 + 64 + 16


async def test_what_lies_unread_of_all_streams_is_bounded() -> None:
    async def pouring(server: FakeServer) -> None:
        await server.greet()
        async for event in server.events():
            if isinstance(event, h2.events.StreamEnded):
                assert event.stream_id
                server.machine.send_headers(event.stream_id, HEAD)
                streams.append(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                streams.remove(event.stream_id)
            for id in streams:
                while not server.machine.streams[id].closed and server.machine.local_flow_control_window(id) >= 10_000:
                    server.machine.send_data(id, frame(bytes(9_995)))

    streams: list[int] = []
    # What a connection holds at most: what it may, and what its window allowed before.
    most = (1 << 20) + (4 << 20)
    async with channel_to(Net({"a": pouring}), "a", options=ChannelOptions(max_buffered=1 << 20)) as channel:

        async def hold() -> None:
            async with channel.stream(PATH, b"", bytes) as call:
                await call.receive()
                await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(hold)
            await trio.testing.wait_all_tasks_blocked()
            assert channel._current is not None
            assert (1 << 20) < channel._current._unread <= most
            nursery.cancel_scope.cancel()
        # Those that leave make room again.
        async with channel.stream(PATH, b"", bytes) as call:
            for _ in range(1000):
                assert await call.receive() == bytes(9_995)


async def test_what_lies_unread_is_accounted_for_on_behalf_of_whoever_it_is_for() -> None:
    """A process that carries answers on to its clients holds what one of them does not read: as that client's bytes."""

    async def pouring(server: FakeServer) -> None:
        await server.greet()
        async for event in server.events():
            if isinstance(event, h2.events.StreamEnded):
                assert event.stream_id
                server.machine.send_headers(event.stream_id, HEAD)
                for _ in range(6):
                    server.machine.send_data(event.stream_id, frame(bytes(9_995)))

    greedy, other = Ledger(45_000), Ledger(1 << 20)
    async with channel_to(Net({"a": pouring}), "a") as channel:
        async with (
            channel.stream(PATH, b"", bytes, account=greedy) as first,
            channel.stream(PATH, b"", bytes, account=other) as second,
        ):
            await trio.testing.wait_all_tasks_blocked()
            assert (greedy.used, other.used) == (40_000, 60_000)
            for _ in range(4):
                assert await first.receive() == bytes(9_995)
            failure = await failure_of(first.receive())
            assert failure.code is Code.RESOURCE_EXHAUSTED
            assert greedy.used == 0
            assert await second.receive() == bytes(9_995)
            assert other.used == 50_000
            assert channel._current is not None
            assert channel._current._unread == 50_000
        # What nobody takes any more is released.
        assert (greedy.used, other.used, channel._current._unread) == (0, 0, 0)


async def test_a_server_that_does_not_read_holds_the_sender_not_the_memory() -> None:
    async def deaf(server: FakeServer) -> None:
        await server.greet()
        while data := await server.stream.receive_some(65536):
            server.machine.receive_data(data)

    async with channel_to(Net({"a": deaf}), "a") as channel, channel.open(PATH, bytes, timeout=60) as call:
        sent = 0
        with trio.move_on_after(1):
            while True:
                await call.send(bytes(10_000))
                sent += 1
        assert sent <= 7
        failure = await failure_of(call.receive())
        assert failure.stage is Stage.DEADLINE


async def test_a_server_that_says_goodbye_at_once_is_left_for_another_and_not_asked_in_a_storm() -> None:
    async def leaving(server: FakeServer) -> None:
        server.machine.initiate_connection()
        server.machine.close_connection()
        await server.flush()
        await server.stream.receive_some(65536)

    net = Net({"a": leaving, "b": echoing})
    async with channel_to(net, "a", "b", options=_STEADY) as channel:
        assert await echo(channel, b"1") == b"1"
        assert net.dialled == ["a", "b"]
    net = Net({"a": leaving})
    async with channel_to(net, "a", options=_STEADY) as channel:
        with trio.move_on_after(20):
            await channel.connect(wait=True)
        assert 2 < len(net.dialled) < 8

"""Peers that do not play by the rules: they lose their connection, and nobody else notices."""

from contextlib import suppress

import h2.errors
import h2.events
import h2.settings
import hypothesis.strategies as st
import pytest
import trio
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import HealthCheck, given, settings

from nodespan.runtime.api.grpc import Bounds, Limits, frame
from tests.runtime.api.grpc import greeter as greeter_module
from tests.runtime.api.grpc.greeter import Greeter, RawClient, Secured, connected, opened, raw, serving
from tests.support.process import eventually

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes.fromhex("000000040000000000")


@pytest.fixture(params=["plain", "tls"])
def _reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, secured: Secured) -> None:
    """In plain text, and over TLS."""
    if request.param == "tls":
        monkeypatch.setattr(greeter_module, "secured", secured)


both = pytest.mark.usefixtures("_reading")


async def _still_serves(greeter: Greeter) -> None:
    def use() -> None:
        with connected(greeter) as client:
            assert client.call("Echo", BytesValue(value=b"x")).value == b"x"

    await trio.to_thread.run_sync(use)


async def _goodbye(client: RawClient) -> tuple[int | None, bytes | None]:
    event = await client.until(h2.events.ConnectionTerminated)
    return event.error_code, event.additional_data


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        PREFACE + b"\xff" * 100,
        PREFACE + SETTINGS + b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff",
        PREFACE + SETTINGS + bytes.fromhex("000000010400000001") + b"",
        PREFACE + SETTINGS + bytes.fromhex("00000400000000000100000000"),
        PREFACE + SETTINGS + bytes.fromhex("000001090000000001ff"),
    ],
    ids=lambda garbage: garbage[-12:].hex() or "nothing",
)
async def test_garbage_ends_its_connection_only(garbage: bytes) -> None:
    async with serving() as greeter:
        async with await trio.open_tcp_stream("127.0.0.1", greeter.port) as stream:
            await stream.send_all(garbage)
            await stream.send_eof()
            while await stream.receive_some(65536):
                pass
        await _still_serves(greeter)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40))))
async def test_random_frames_end_their_connection_only(frames: list[tuple[int, int, int, bytes]]) -> None:
    async with serving() as greeter:
        async with await trio.open_tcp_stream("127.0.0.1", greeter.port) as stream:
            data = b"".join(
                len(body).to_bytes(3, "big") + bytes((kind, flags)) + id.to_bytes(4, "big") + body
                for kind, flags, id, body in frames
            )
            try:
                await stream.send_all(PREFACE + SETTINGS + data)
                await stream.send_eof()
                while await stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass  # the server did not want to hear the end of it
        async with raw(greeter) as client:
            client.request("/test.Greeter/Echo", frame(b""))
            await client.flush()
            await client.until(h2.events.TrailersReceived)


@both
async def test_a_peer_that_says_nothing_is_not_waited_for() -> None:
    async with serving(Limits(handshake=0.2)) as greeter:
        async with await opened(greeter) as stream:
            while await stream.receive_some(65536):
                pass
        await _still_serves(greeter)


@both
async def test_a_peer_that_pings_too_often_is_disconnected_with_the_reason() -> None:
    async with serving(Limits(min_ping_interval=10)) as greeter, raw(greeter) as client:
        for _ in range(4):
            client.machine.ping(b"12345678")
        await client.flush()
        assert await _goodbye(client) == (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings")


@both
async def test_a_peer_that_opens_and_resets_without_end_is_disconnected_with_the_reason() -> None:
    async with serving(Limits(max_resets=20)) as greeter, raw(greeter) as client:

        async def open_and_reset() -> None:
            # The peer is told, and listens, while it sends: the server waits a second at most for it to stop.
            with suppress(trio.BrokenResourceError, h2.exceptions.ProtocolError):
                while True:
                    for _ in range(100):
                        client.machine.reset_stream(client.request("/test.Greeter/Hang", frame(b"")))
                    await client.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_and_reset)
            events: list[h2.events.Event] = []
            while not any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
                data = await client.stream.receive_some(65536)
                assert data, "the server has closed the connection"
                events = client.machine.receive_data(data)
            nursery.cancel_scope.cancel()
        (said,) = (event for event in events if isinstance(event, h2.events.ConnectionTerminated))
        assert (said.error_code, said.additional_data) == (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_resets")
        await _still_serves(greeter)


async def test_a_peer_that_opens_too_many_streams_loses_its_connection() -> None:
    async with serving(Limits(max_concurrent_streams=10)) as greeter, raw(greeter) as client:
        client.machine.remote_settings[3] = 1000
        client.machine.remote_settings.acknowledge()
        for _ in range(11):
            client.request("/test.Greeter/Hang", frame(b""))
        await client.flush()
        error, _ = await _goodbye(client)
        assert error != 0
        await _still_serves(greeter)


async def test_incomplete_requests_may_take_only_so_much_memory() -> None:
    async with serving(Limits(max_buffered=50_000)) as greeter, raw(greeter) as client:
        await client.flush()
        for _ in range(10):
            client.request("/test.Greeter/Echo", frame(bytes(10_000))[:6000], end=False)
        await client.flush()
        for _ in range(2):
            response = await client.until(h2.events.ResponseReceived)
            assert dict[object, object](response.headers)["grpc-status"] == "8"
        await _still_serves(greeter)


async def test_a_request_that_never_ends_does_not_keep_an_unknown_method_from_being_refused() -> None:
    async with serving() as greeter, raw(greeter) as client:
        client.request("/test.Greeter/Nothing", frame(b""), end=False)
        await client.flush()
        response = await client.until(h2.events.ResponseReceived)
        assert dict[object, object](response.headers)["grpc-status"] == "12"
        reset = await client.until(h2.events.StreamReset)
        assert reset.error_code == h2.errors.ErrorCodes.NO_ERROR


@both
async def test_a_peer_that_is_gone_without_a_word_frees_its_handlers() -> None:
    async with serving() as greeter:
        async with raw(greeter) as client:
            client.request("/test.Greeter/Hang", frame(b""))
            await client.flush()
            await eventually(lambda: greeter.calls)
        await greeter.cancelled.wait()


async def test_other_requests_get_pages() -> None:
    async with serving() as greeter, raw(greeter) as client:
        fields = ((":scheme", "http"), (":authority", "x"), (":path", "/stats?x=1"))
        client.machine.send_headers(1, ((":method", "GET"), *fields), end_stream=True)
        client.request("/stats", b"posted", content_type="text/plain")
        await client.flush()
        bodies = {1: b"", 3: b""}
        while not all(bodies.values()):
            event = await client.until(h2.events.DataReceived)
            bodies[event.stream_id] += event.data
        assert bodies == {1: b"page /stats?x=1", 3: b"pages can only be read\n"}


# Requests that never end.


async def test_requests_that_do_not_end_are_bounded_for_a_connection_and_for_an_address() -> None:
    async with serving(Limits(incomplete=Bounds(3, 5))) as greeter, raw(greeter) as first, raw(greeter) as second:
        for client, refused in ((first, 2), (second, 3)):
            for _ in range(5):
                client.request("/test.Greeter/Echo", b"", end=False)
            await client.flush()
            for _ in range(refused):
                reset = await client.until(h2.events.StreamReset)
                assert reset.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        await _still_serves_elsewhere(greeter)
        assert greeter.sources.turned_away["incomplete"] == 5


async def test_requests_that_end_make_place_for_others() -> None:
    async with serving(Limits(incomplete=Bounds(1, 1))) as greeter, raw(greeter) as client:
        for _ in range(3):
            id = client.request("/test.Greeter/Echo", frame(b"")[:2], end=False)
            await client.flush()
            client.machine.send_data(id, frame(b"")[2:], end_stream=True)
            await client.flush()
            await client.until(h2.events.TrailersReceived)
        client.request("/test.Greeter/Echo", b"", end=False)
        await client.flush()
    await eventually(lambda: greeter.sources.connections == 0)
    async with serving(Limits(incomplete=Bounds(1, 1))) as greeter:
        for _ in range(3):
            async with raw(greeter) as client:
                client.request("/test.Greeter/Echo", b"", end=False)
                await client.flush()
            await eventually(lambda: greeter.sources.connections == 0)
        assert greeter.sources.turned_away["incomplete"] == 0


@both
async def test_a_request_that_takes_too_long_to_end_is_ended() -> None:
    async with serving(Limits(request_time=0.1)) as greeter, raw(greeter) as client:
        client.request("/test.Greeter/Echo", b"", end=False)
        await client.flush()
        response = await client.until(h2.events.ResponseReceived)
        assert dict[object, object](response.headers)["grpc-status"] == "4"
        await _still_serves(greeter)


# Work.


async def _until_rest(client: RawClient, data: bytes) -> int:
    """How often the data is read before the server rests."""
    for count in range(10_000):
        with trio.move_on_after(1) as patience:
            await client.stream.send_all(data)
        if patience.cancelled_caught:
            return count
    raise AssertionError("the server never rests")


@pytest.mark.parametrize(
    "small",
    [
        bytes.fromhex("00000604000000000000040000000100000604000000000000040000ffff"),
        bytes.fromhex("00000408000000000000000001"),
        bytes.fromhex("000008060000000000") + bytes(8),
        bytes.fromhex("000005020000000003") + bytes(5),
    ],
    ids=["settings", "window updates", "pings", "priorities"],
)
async def test_a_peer_that_makes_work_is_read_no_faster_than_it_may_make_it(small: bytes) -> None:
    async with serving(Limits(work=Bounds(10, 10))) as greeter, raw(greeter) as client:
        await client.flush()
        await _until_rest(client, small * 1000)
        await _still_serves_elsewhere(greeter)


async def _still_serves_elsewhere(greeter: Greeter) -> None:
    # The address has made too much work, other addresses have not.
    async with await trio.open_tcp_stream("127.0.0.1", greeter.port, local_address="127.0.0.2") as stream:
        client = RawClient(stream)
        client.request("/test.Greeter/Echo", frame(b""))
        await client.flush()
        await client.until(h2.events.TrailersReceived)


# Responses that nobody reads.


async def _with_closed_window(client: RawClient) -> None:
    client.machine.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    await client.flush()
    await client.until(h2.events.SettingsAcknowledged)


async def test_responses_that_are_the_same_are_held_once() -> None:
    async with serving(Limits(held=Bounds(2 << 20))) as greeter, raw(greeter) as client:
        await _with_closed_window(client)
        for _ in range(400):
            client.request("/large", b"", content_type="text/plain", method="GET")
        await client.flush()
        await eventually(lambda: greeter.pages == 400)
        assert greeter.sources.held == len(greeter.large)


async def test_responses_that_differ_are_held_up_to_a_limit() -> None:
    async with serving(Limits(held=Bounds(5 << 20))) as greeter, raw(greeter) as client:
        await _with_closed_window(client)
        for _ in range(20):
            client.request("/test.Greeter/Blocks", frame(b"\x08\x01"))
        await client.flush()
        for _ in range(16):
            response = await client.until(h2.events.ResponseReceived)
            assert dict[object, object](response.headers).get("grpc-status", "8") == "8"
        assert greeter.sources.held <= 5 << 20
        await _still_serves(greeter)
    await eventually(lambda: greeter.sources.held == 0)


@both
async def test_a_response_that_is_never_read_is_given_up() -> None:
    async with serving(Limits(max_stall=0.1)) as greeter, raw(greeter) as client:
        await _with_closed_window(client)
        client.request("/test.Greeter/Blocks", frame(b"\x08\x01"))
        client.request("/large", b"", content_type="text/plain", method="GET")
        await client.flush()
        kinds: set[type[h2.events.Event]] = set()
        while len(kinds) < 2:
            kinds.add(type(await client.until(h2.events.Event)))
            kinds &= {h2.events.TrailersReceived, h2.events.StreamReset}
        assert greeter.sources.held == 0


async def test_all_streams_get_their_data_when_the_window_opens_bit_by_bit() -> None:
    async with serving() as greeter, raw(greeter) as client:
        ids = [client.request("/test.Greeter/Blocks", frame(b"\x08\x01")) for _ in range(5)]
        await client.flush()
        received = dict.fromkeys(ids, 0)
        while min(received.values()) < 1 << 20:
            event = await client.until(h2.events.DataReceived)
            received[event.stream_id] += len(event.data)
            client.machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            await client.flush()
        assert len(set(received.values())) == 1


# Connections that do nothing.


@both
async def test_idle_connections_are_closed_after_a_while_and_busy_ones_are_not() -> None:
    async with serving(Limits(idle_timeout=0.2)) as greeter, raw(greeter) as idle, raw(greeter) as busy:
        busy.request("/test.Greeter/Hang", frame(b""))
        await busy.flush()
        await eventually(lambda: greeter.calls)
        await idle.flush()
        assert (await _goodbye(idle))[0] == h2.errors.ErrorCodes.NO_ERROR
        await eventually(lambda: greeter.sources.connections == 1)
        assert not greeter.cancelled.is_set()


@both
async def test_many_idle_connections_leave_room_for_others() -> None:
    limits = Limits(connections=Bounds(total=10), idle_per_source=4)
    async with serving(limits) as greeter, trio.open_nursery() as nursery:

        async def sit() -> None:
            with suppress(trio.BrokenResourceError):  # it may be closed as soon as it is there
                async with raw(greeter) as client:
                    await client.flush()
                    while await client.stream.receive_some(65536):
                        pass

        for _ in range(50):
            nursery.start_soon(sit)
        await eventually(lambda: greeter.sources.turned_away["idle_of_source"] == 46)
        assert greeter.sources.connections == 4
        await _still_serves(greeter)
        nursery.cancel_scope.cancel()

"""Peers that do not play by the rules: they lose their connection, and nobody else notices."""

from contextlib import suppress

import h2.errors
import h2.events
import hypothesis.strategies as st
import pytest
import trio
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import HealthCheck, given, settings

from nodespan.runtime.api.grpc import Limits, frame
from tests.runtime.api.grpc.greeter import Greeter, RawClient, connected, raw, serving
from tests.support.process import eventually

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes.fromhex("000000040000000000")


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


async def test_a_peer_that_says_nothing_is_not_waited_for() -> None:
    async with serving(Limits(handshake=0.2)) as greeter:
        async with await trio.open_tcp_stream("127.0.0.1", greeter.port) as stream:
            while await stream.receive_some(65536):
                pass
        await _still_serves(greeter)


async def test_a_peer_that_pings_too_often_is_told_so() -> None:
    async with serving(Limits(min_ping_interval=10)) as greeter, raw(greeter) as client:
        for _ in range(4):
            client.machine.ping(b"12345678")
        await client.flush()
        assert await _goodbye(client) == (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings")


async def test_a_peer_that_opens_and_resets_without_end_is_told_so() -> None:
    async with serving() as greeter, raw(greeter) as client:
        with suppress(trio.BrokenResourceError):
            for _ in range(80):
                for _ in range(100):
                    client.machine.reset_stream(client.request("/test.Greeter/Hang", frame(b"")))
                await client.flush()
        assert await _goodbye(client) == (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_resets")
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

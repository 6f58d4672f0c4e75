"""The server under the reference client, over plain text."""

import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import h2.events
import pytest
import structlog
import trio
from google.protobuf.wrappers_pb2 import BytesValue, Int32Value

from nodespan.runtime.api.grpc import Code, Limits, Server
from nodespan.runtime.api.grpc.server_machine import frame, greeting
from nodespan.runtime.api.grpc.status import parse_timeout
from nodespan.runtime.api.tls import ServerCertificate
from tests.runtime.api.grpc.greeter import Client, Greeter, connected, raw, serving
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually

in_thread = trio.to_thread.run_sync


async def test_a_message_comes_back() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                for size in (0, 1, 100_000, 3 << 20):
                    assert client.call("Echo", BytesValue(value=bytes(size))).value == bytes(size)

        await in_thread(use)
        assert greeter.finished == [("Echo", greeter.finished[0][1])] * 4
        assert greeter.finished[0][1].code is Code.OK


async def test_a_handler_sees_who_calls_and_how() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                client.call("Echo", metadata=(("x-real-ip", "192.0.2.7"), ("x-real-ip", "192.0.2.8")))

        await in_thread(use)
        (call,) = greeter.calls
        assert str(call.peer).startswith("127.0.0.1:")
        assert call.peer.certificate is None
        assert call.header("x-real-ip") == "192.0.2.7"
        assert call.header("absent") is None
        # The reference client rounds its 20 s up.
        timeout = parse_timeout(call.header("grpc-timeout") or "")
        assert 0 < call.deadline - trio.current_time() <= timeout <= 20.1


def _failure(client: Client, name: str, request: Any = None, **named: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        client.call(name, request, **named)
    return caught.value


async def test_errors_arrive_with_their_text() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                for code in tuple(Code)[1:]:
                    error = _failure(client, "Fail", BytesValue(value=bytes((code,))))
                    assert error.code().value[0] == code
                    assert error.details() == "100% größer\n"
                error = _failure(client, "Nothing")
                assert error.code() is grpc.StatusCode.UNIMPLEMENTED
                assert "/test.Greeter/Nothing" in error.details()

        await in_thread(use)


async def test_a_crash_is_internal_and_keeps_its_words_to_itself() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                error = _failure(client, "Fail")
                assert error.code() is grpc.StatusCode.INTERNAL
                assert error.details() == "internal error"
                assert client.call("Echo").value == b""

        await in_thread(use)


async def test_a_stream_arrives_in_order_and_ends() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                assert [message.value for message in client.stream("Count", Int32Value(value=5000))] == list(
                    range(5000)
                )

        await in_thread(use)


async def test_a_client_that_cancels_ends_the_handler() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                stream = client.stream("Count")
                assert next(stream).value == 0
                stream.cancel()
                assert client.call("Echo").value == b""

        await in_thread(use)
        await greeter.cancelled.wait()
        await eventually(
            lambda: ("Count", Code.CANCELLED) in [(name, status.code) for name, status in greeter.finished]
        )


async def test_the_deadline_ends_the_handler() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                assert _failure(client, "Hang", timeout=0.2).code() is grpc.StatusCode.DEADLINE_EXCEEDED

        await in_thread(use)
        await greeter.cancelled.wait()


async def test_the_server_itself_says_that_the_deadline_has_passed() -> None:
    async with serving() as greeter, raw(greeter) as client:
        id = client.machine.get_next_available_stream_id()
        fields = ((":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/test.Greeter/Hang"))
        client.machine.send_headers(id, (*fields, ("content-type", "application/grpc"), ("grpc-timeout", "10m")))
        client.machine.send_data(id, bytes(5), end_stream=True)
        await client.flush()
        response = dict[object, object]((await client.until(h2.events.ResponseReceived)).headers)
        assert (response["grpc-status"], response["grpc-message"]) == ("4", "the deadline has passed")


async def test_fifteen_hundred_calls_at_once_are_all_answered() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                calls = [client.start("Wait", Int32Value(value=100)) for _ in range(1500)]
                assert all(call.result() is not None for call in calls)

        await in_thread(use)
        assert len(greeter.finished) == 1500


async def test_fifty_threads_are_served() -> None:
    async with serving() as greeter:

        def use() -> None:
            failures: list[BaseException] = []

            def calls() -> None:
                try:
                    with connected(greeter) as client:
                        for number in range(20):
                            value = b"%d" % number
                            assert client.call("Echo", BytesValue(value=value)).value == value
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=calls) for _ in range(50)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failures == []

        await in_thread(use)


async def test_a_message_that_is_too_large_is_refused_and_the_connection_lives_on() -> None:
    async with serving(Limits(max_message=100_000)) as greeter:

        def use() -> None:
            with connected(greeter) as client:
                error = _failure(client, "Echo", BytesValue(value=bytes(200_000)))
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert client.call("Echo", BytesValue(value=bytes(90_000))).value == bytes(90_000)
                error = _failure(client, "Echo", metadata=(("x", "y" * 15_000),) * 4)
                assert client.call("Echo").value == b""

        await in_thread(use)


async def test_a_reader_that_is_slow_holds_up_only_its_own_stream() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                stream = client.stream("Blocks", Int32Value(value=20), response=BytesValue)
                assert len(next(stream).value) == 1 << 20
                for _ in range(20):
                    client.call("Echo")
                assert greeter.calls[0].sent < 20
                assert sum(1 for _ in stream) == 19

        await in_thread(use)


async def test_a_peer_that_never_reads_is_kept_waiting_and_forgotten_when_it_leaves() -> None:
    async with serving() as greeter:
        async with raw(greeter) as client:
            client.machine.update_settings({4: 2**31 - 1})
            client.machine.increment_flow_control_window(2**31 - 1 - 65535)
            client.request("/test.Greeter/Count", bytes(5))
            await client.flush()
            await eventually(lambda: greeter.calls and greeter.calls[0].sent > 1000)
            sent = -1
            while sent != greeter.calls[0].sent:
                sent = greeter.calls[0].sent
                await trio.sleep(0.2)
        await greeter.cancelled.wait()


async def test_a_cancelled_stream_does_not_damage_its_connection() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                for _ in range(50):
                    stream = client.stream("Blocks", Int32Value(value=5), response=BytesValue)
                    next(stream)
                    stream.cancel()
                    assert client.call("Echo", BytesValue(value=b"x")).value == b"x"

        await in_thread(use)


async def test_stopping_ends_streams_well_and_lets_calls_finish() -> None:
    async with serving() as greeter:
        outcomes: dict[str, Any] = {}

        def use() -> None:
            with connected(greeter) as client:
                stream = client.stream("Quiet", BytesValue(), response=BytesValue)
                next(stream)
                call = client.start("Wait", Int32Value(value=300))
                trio.from_thread.run(eventually, lambda: len(greeter.calls) == 2)
                trio.from_thread.run_sync(greeter.scope.cancel)
                outcomes["stream"] = (list(stream), stream.code())
                outcomes["call"] = call.result()

        await in_thread(use)
        assert outcomes == {"stream": ([], grpc.StatusCode.OK), "call": BytesValue()}


class _Here:
    """Another process that takes no connections."""

    def place_of(self, path: str, message: bytes) -> int | None:
        return None

    async def hand_over(self, *given: object) -> None:
        raise AssertionError(given)


async def test_stopping_reaches_connections_that_have_said_nothing_yet(tmp_path: Path) -> None:
    certificate = ServerCertificate(*Authority("test").issue(tmp_path, "localhost"), structlog.get_logger())
    for elsewhere, tls in ((None, None), (_Here(), None), (None, certificate.context)):
        # Longer than any test: only the stop can end it.
        server = Server(Greeter().service(Limits(handshake=1e6)), elsewhere)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(server.serve, listeners, tls=tls, grace=1e6))
            stream = await trio.open_tcp_stream(*listeners[0].socket.getsockname())
            async with stream:
                received = b"" if tls else await stream.receive_some(65536)
                await eventually(lambda server=server: server.sources.connections == 1)  # type: ignore[misc]
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True), trio.fail_after(PATIENCE):
                    while data := await stream.receive_some(65536):
                        received += data
        goodbye = frame(7, 0, 0, bytes(8))
        assert received == (b"" if tls else greeting(1000, 16 << 10) + goodbye)


async def test_stopping_does_not_wait_forever_for_a_call() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter) as client:
                call = client.start("Hang")
                trio.from_thread.run(eventually, lambda: len(greeter.calls) == 1)
                trio.from_thread.run_sync(greeter.scope.cancel)
                assert call.exception().code() is grpc.StatusCode.UNAVAILABLE

        await in_thread(use)
        assert greeter.finished[0][1].code is Code.CANCELLED


async def test_keepalive_pings_are_answered() -> None:
    async with serving() as greeter:

        def use() -> None:
            with connected(greeter, keepalive_time_ms=50, keepalive_timeout_ms=500) as client:
                assert client.call("Wait", Int32Value(value=600)) is not None

        await in_thread(use)


async def test_local_sockets_are_served_too(tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
        sock.listen()
        assert await _peer_seen_at(sock, f"unix:{path}") == "local"


async def test_ipv4_peers_of_a_dual_stack_listener_are_ipv4() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
        peer = await _peer_seen_at(sock, f"127.0.0.1:{sock.getsockname()[1]}")
        assert peer.startswith("127.0.0.1:")


async def _peer_seen_at(sock: socket.socket, target: str) -> str:
    greeter = Greeter()
    server = Server(greeter.service(Limits()))
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))

    def use() -> None:
        with grpc.insecure_channel(target) as channel:
            Client(channel).call("Echo")

    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: server.serve([listener], task_status=task_status))
        await in_thread(use)
        nursery.cancel_scope.cancel()
    return str(greeter.calls[0].peer)

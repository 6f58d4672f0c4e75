"""The client with real servers: the reference implementation's, and ours."""

import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog
import trio
from google.protobuf.wrappers_pb2 import BytesValue, Int32Value

from nodespan.runtime.api.grpc import Code, Limits, Server
from nodespan.runtime.api.grpc.client import (
    CallError,
    Channel,
    ChannelOptions,
    Endpoint,
    Stage,
    client_context,
    open_channel,
)
from nodespan.runtime.api.tls import ServerCertificate
from tests.runtime.api.grpc.client.reference import PATH, Reference, reference_server
from tests.runtime.api.grpc.greeter import PATH as GREETER
from tests.runtime.api.grpc.greeter import Greeter, serving
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    """A server in plain text."""
    with reference_server() as server:
        yield server


def _plain(port: int) -> list[Endpoint]:
    return [Endpoint("127.0.0.1", port, secure=False)]


async def test_each_kind_of_method_of_the_reference_server(reference: Reference) -> None:
    async with open_channel(_plain(reference.port)) as channel:
        large = bytes(range(256)) * 4096
        assert await channel.unary(f"{PATH}/Echo", large, bytes, timeout=PATIENCE) == large
        async with channel.stream(f"{PATH}/Blocks", b"30 100000", bytes) as call:
            assert [len(block) async for block in call] == [100_000] * 30
        async with channel.open(f"{PATH}/Total", bytes) as call:
            for size in (1, 10, 300_000):
                await call.send(bytes(size))
            await call.end()
            assert (await call.receive(), await call.receive()) == (b"300011", None)
        async with channel.open(f"{PATH}/Chat", bytes) as call:
            for word in (b"one", b"two"):
                await call.send(word)
                assert await call.receive() == word.upper()
            await call.end()
            assert await call.receive() is None


async def test_metadata_deadlines_and_errors_with_the_reference_server(reference: Reference) -> None:
    async with open_channel(_plain(reference.port)) as channel:
        async with channel.stream(
            f"{PATH}/Echo", b"x", bytes, timeout=PATIENCE, metadata=(("who", "me"), ("raw-bin", "AP8="))
        ) as call:
            headers = dict(await call.headers())
            assert await call.receive() == b"x"
            assert await call.receive() is None
            assert (headers["greeting"], headers["raw-bin"].rstrip("=")) == ("hello", "AP8")
            assert ("farewell", "bye") in call.trailers
        assert (reference.metadata["who"], reference.metadata["raw-bin"]) == ("me", b"\x00\xff")
        assert str(reference.metadata["user-agent"]) == "nodespan"
        with pytest.raises(CallError, match="100% größer\n") as failed:
            await channel.unary(f"{PATH}/Fail", "100% größer\n".encode(), bytes)
        assert (failed.value.code, failed.value.stage) == (Code.FAILED_PRECONDITION, Stage.SERVICE)
        assert ("reason", "because") in failed.value.trailers
        with pytest.raises(CallError) as failed:
            await channel.unary(f"{PATH}/Missing", b"", bytes)
        assert failed.value.code is Code.UNIMPLEMENTED
        async with channel.stream(f"{PATH}/Hang", b"", bytes, timeout=0.2) as call:
            assert await call.receive() == b"begun"
            late = None
            try:
                await call.receive()
            except CallError as error:
                late = error
            assert late is not None
            assert late.code is Code.DEADLINE_EXCEEDED
        async with channel.stream(f"{PATH}/Hang", b"", bytes) as call:
            assert await call.receive() == b"begun"
        await eventually(lambda: reference.ended == ["hang"] * 2)


async def test_a_server_sees_who_its_client_is(tmp_path: Path) -> None:
    authority, other = Authority("one"), Authority("two")
    files = authority.issue(tmp_path, "localhost")
    chain, key = (file.read_bytes() for file in authority.issue(tmp_path, "client"))
    strange = tuple(file.read_bytes() for file in other.issue(tmp_path, "stranger"))
    contexts = [
        partial(client_context, roots=authority.pem, certificate=chain, key=key),
        partial(client_context, roots=authority.pem),
        partial(client_context, roots=authority.pem, certificate=strange[0], key=strange[1]),
    ]
    with reference_server(authority=authority.pem, certificate=files) as reference:
        where = [Endpoint("127.0.0.1", reference.port, server_name="localhost")]
        outcomes = []
        for context in contexts:
            async with open_channel(where, tls=context) as channel:
                try:
                    outcomes.append((await channel.unary(f"{PATH}/Echo", b"x", bytes, timeout=PATIENCE)).decode())
                except CallError as error:
                    outcomes.append(f"{error.stage}: {'TLS handshake' in str(error)}")
    assert outcomes == ["x", "tls: True", "tls: True"]


async def _echo(channel: Channel, value: bytes, *, wait: bool = False) -> bytes:
    answer = await channel.unary(
        f"{GREETER}/Echo", BytesValue(value=value), BytesValue.FromString, timeout=PATIENCE, wait=wait
    )
    return answer.value


async def test_a_thousand_streams_on_one_connection() -> None:
    async with serving() as greeter, open_channel(_plain(greeter.port)) as channel:
        received = 0

        async def read() -> None:
            nonlocal received
            async with channel.stream(f"{GREETER}/Count", Int32Value(), Int32Value.FromString) as call:
                for number in range(2):
                    answer = await call.receive()
                    assert answer is not None
                    assert answer.value == number
                received += 1

        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(read)
        assert (received, len(greeter.calls)) == (1000, 1000)
        assert len(greeter.sources) == 1
        assert await _echo(channel, b"afterwards") == b"afterwards"


async def test_more_calls_than_the_server_takes_at_once_are_all_answered() -> None:
    async with serving(Limits(max_concurrent_streams=20)) as greeter, open_channel(_plain(greeter.port)) as channel:
        await channel.connect()
        answers: list[bytes] = []

        async def call(number: int) -> None:
            answers.append(await _echo(channel, b"%d" % number))

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(call, number)
        assert sorted(map(int, answers)) == list(range(200))


async def test_cancelling_a_call_cancels_its_handler() -> None:
    async with serving() as greeter, open_channel(_plain(greeter.port)) as channel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.unary, f"{GREETER}/Hang", b"", bytes)
            await eventually(lambda: bool(greeter.calls))
            nursery.cancel_scope.cancel()
        with trio.fail_after(PATIENCE):
            await greeter.cancelled.wait()


async def test_our_server_and_client_over_tls_and_when_the_server_stops(tmp_path: Path) -> None:
    authority = Authority("one")
    certificate = ServerCertificate(*authority.issue(tmp_path, "localhost"), structlog.get_logger())
    async with serving(tls=certificate.context) as greeter:
        where = [Endpoint("localhost", greeter.port)]
        async with open_channel(where, tls=partial(client_context, roots=authority.pem)) as channel:
            assert await _echo(channel, bytes(300_000)) == bytes(300_000)
            async with channel.stream(f"{GREETER}/Quiet", b"", bytes) as call:
                await call.receive()
                greeter.scope.cancel()
                # Streams of a server that stops end well.
                assert await call.receive() is None
            with pytest.raises(CallError) as failed:
                await _echo(channel, b"")
            assert failed.value.code is Code.UNAVAILABLE


async def test_another_server_takes_over() -> None:
    async with serving() as one, serving() as two, open_channel(_plain(one.port) + _plain(two.port)) as channel:
        await _echo(channel, b"one")
        one.scope.cancel()
        await eventually(lambda: channel.endpoint is None)
        assert await _echo(channel, b"two", wait=True) == b"two"
        assert [len(greeter.calls) for greeter in (one, two)] == [1, 1]


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    greeter = Greeter()
    server = Server(greeter.service(Limits()))
    made = trio.socket.socket(trio.socket.AF_UNIX)
    await made.bind(path)
    made.listen()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.serve, grace=1), [trio.SocketListener(made)])
        async with open_channel([Endpoint.parse(f"unix://{path}")]) as channel:
            assert await _echo(channel, b"local") == b"local"
        nursery.cancel_scope.cancel()
    async with open_channel([Endpoint.unix(str(tmp_path / "none"))]) as channel:
        with pytest.raises(CallError, match="none: No such file or directory"):
            await _echo(channel, b"")


async def test_keepalive_of_both_sides_goes_together() -> None:
    options = ChannelOptions(keepalive=0.05, keepalive_timeout=20)
    async with (
        serving(Limits(min_ping_interval=0.01)) as greeter,
        open_channel(_plain(greeter.port), options=options) as channel,
    ):
        await channel.unary(f"{GREETER}/Wait", Int32Value(value=400), bytes)
        assert channel.endpoint is not None


def test_a_context_that_cannot_be_made_says_what_of_it(tmp_path: Path) -> None:
    authority = Authority("one")
    chain, key = (file.read_bytes() for file in authority.issue(tmp_path, "a"))
    _, other = (file.read_bytes() for file in authority.issue(tmp_path, "b"))
    assert client_context(roots=authority.pem, certificate=chain, key=key).check_hostname
    assert client_context(roots=authority.pem).verify_mode is ssl.CERT_REQUIRED
    texts = []
    for given in (
        {"roots": b"none"},
        {"roots": authority.pem, "certificate": chain, "key": other},
        {"roots": authority.pem, "certificate": chain[:-10], "key": key},
        {"roots": authority.pem, "certificate": chain, "key": b""},
    ):
        with pytest.raises(ValueError) as failed:  # noqa: PT011  # the texts are compared below
            client_context(**given)
        texts.append(str(failed.value).partition(":")[0])
    assert texts == [
        "the certificate authorities cannot be read",
        "the client's certificate and key cannot be used",
        "the client's certificate cannot be read",
        "the client's certificate and key cannot be used",
    ]

"""Why a service cannot be reached: the step that fails is named."""

import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from nodespan.discovery.endpoint_url import DialAddress
from nodespan.runtime.api.grpc.client import CallError, Endpoint, Stage, client_context
from nodespan.runtime.api.grpc.client.dial import Dialer
from tests.support.certificates import Authority
from tests.support.ports import free_port


@attrs.frozen
class Cause:
    """The step that fails, and how."""

    stage: Stage
    message: str


async def find_cause(target: DialAddress, proxy: str | None, roots: bytes) -> Cause | None:
    """What keeps a connection from being made, None if nothing does."""
    dialer = Dialer(tls=lambda: client_context(roots=roots or Authority("nobody's").pem), proxy=lambda _: proxy)
    try:
        stream = await dialer.dial(Endpoint(target.host, target.port, secure=not target.insecure), 5.0)
    except CallError as error:
        return Cause(error.stage, str(error))
    await trio.aclose_forcefully(stream)
    return None


_Talk = Callable[[trio.abc.Stream], Awaitable[None]]


async def _nothing(_stream: trio.abc.Stream) -> None:
    await trio.lowlevel.checkpoint()


def _says(answer: bytes) -> _Talk:
    async def talk(stream: trio.abc.Stream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(answer)

    return talk


def _speaks_tls(context: ssl.SSLContext) -> _Talk:
    async def talk(stream: trio.abc.Stream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        try:
            await secure.do_handshake()
            await secure.receive_some(1)
        except trio.BrokenResourceError:
            return  # the other side does not like what it sees

    return talk


@asynccontextmanager
async def _server(talk: _Talk) -> AsyncIterator[int]:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await talk(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def _context(authority: Authority, directory: Path, name: str, protocols: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(directory, name))
    context.set_alpn_protocols(protocols)
    return context


async def test_an_unknown_name() -> None:
    cause = await find_cause(DialAddress("name.invalid:443"), None, b"")
    assert cause is not None
    assert cause.stage is Stage.LOOKUP
    assert cause.message.startswith("the name name.invalid cannot be looked up: ")


async def test_a_name_that_cannot_be_one() -> None:
    cause = await find_cause(DialAddress(f"{'x' * 70}.invalid:443"), None, b"")
    assert cause is not None
    assert cause.stage is Stage.LOOKUP


async def test_a_port_without_a_listener() -> None:
    port = free_port()
    assert await find_cause(DialAddress(f"127.0.0.1:{port}", insecure=True), None, b"") == Cause(
        Stage.TCP, f"no connection to 127.0.0.1:{port}: Connection refused"
    )


@pytest.mark.parametrize(
    ("name", "protocols", "is_trusted", "stage", "text"),
    [
        ("localhost", ["h2"], False, Stage.TLS, "the certificate of localhost is refused: "),
        ("other.example.org", ["h2"], True, Stage.TLS, "Hostname mismatch"),
        ("localhost", ["http/1.1"], True, Stage.HTTP, "it does not speak HTTP/2, as gRPC needs"),
        ("localhost", ["h2"], True, None, ""),
    ],
    ids=["unknown authority", "other name", "no HTTP/2", "good"],
)
async def test_what_may_be_wrong_with_tls(
    name: str, protocols: list[str], is_trusted: bool, stage: Stage | None, text: str, tmp_path: Path
) -> None:
    authority, other = Authority("one"), Authority("two")
    context = _context(authority, tmp_path, name, protocols)
    async with _server(_speaks_tls(context)) as port:
        cause = await find_cause(DialAddress(f"localhost:{port}"), None, (authority if is_trusted else other).pem)
    assert (None if cause is None else cause.stage) is stage
    assert text in (cause.message if cause else "")


@pytest.mark.parametrize(
    ("talk", "text"),
    [
        (_says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it does not speak TLS: is it http:// instead of https://?"),
        (_nothing, "the service closed the connection during the TLS handshake"),
    ],
    ids=["plain text", "closed"],
)
async def test_a_port_that_does_not_speak_tls(talk: _Talk, text: str) -> None:
    async with _server(talk) as port:
        assert await find_cause(DialAddress(f"127.0.0.1:{port}"), None, Authority("a").pem) == Cause(Stage.TLS, text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy 127.0.0.1 refuses to connect: HTTP status 403"),
        (b"HTTP/1.0 407 Authenticate\r\n\r\n", "the proxy 127.0.0.1 refuses the user and password"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy 127.0.0.1 does not answer like an HTTP proxy"),
        (b"", "the proxy 127.0.0.1 does not answer like an HTTP proxy"),
    ],
)
async def test_a_proxy_that_does_not_connect(answer: bytes, text: str) -> None:
    async with _server(_says(answer)) as port:
        proxy = f"http://user:word@127.0.0.1:{port}"
        cause = await find_cause(DialAddress("discovery.example.org:443"), proxy, b"")
    assert cause == Cause(Stage.PROXY, text)


async def test_a_proxy_that_wants_a_password() -> None:
    async with _server(_says(b"HTTP/1.1 407 Authenticate\r\n\r\n")) as port:
        cause = await find_cause(DialAddress("discovery.example.org:443"), f"http://127.0.0.1:{port}", b"")
    assert cause == Cause(Stage.PROXY, "the proxy 127.0.0.1 wants a user and password")


async def test_a_certificate_that_is_over(tmp_path: Path) -> None:
    authority = Authority("one")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(tmp_path, "localhost", ended=datetime.timedelta(hours=1)))
    context.set_alpn_protocols(["h2"])
    async with _server(_speaks_tls(context)) as port:
        cause = await find_cause(DialAddress(f"localhost:{port}"), None, authority.pem)
    assert cause == Cause(Stage.TLS, "the certificate of localhost is refused: certificate has expired")


async def test_a_proxy_that_cannot_be_reached() -> None:
    port = free_port()
    target = DialAddress("discovery.example.org:443")
    cause = await find_cause(target, f"http://127.0.0.1:{port}", b"")
    text = f"no connection to the proxy 127.0.0.1 at 127.0.0.1:{port}: Connection refused"
    assert cause == Cause(Stage.TCP, text)
    cause = await find_cause(target, "http://proxy.invalid:3128", b"")
    assert cause is not None
    assert (cause.stage, "the name of the proxy proxy.invalid" in cause.message) == (Stage.LOOKUP, True)


async def test_an_open_proxy_leads_on(tmp_path: Path) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await _speaks_tls(_context(authority, tmp_path, "discovery.example.org", ["h2"]))(stream)

    authority = Authority("a")
    async with _server(talk) as port:
        target = DialAddress("discovery.example.org:443")
        assert await find_cause(target, f"http://127.0.0.1:{port}", authority.pem) is None

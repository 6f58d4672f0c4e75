"""The way to a server: names, addresses, proxies, TLS. Whichever step fails is named."""

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from nodespan.runtime.api.grpc.client import CallError, Endpoint, EndpointError, Stage, client_context
from nodespan.runtime.api.grpc.client.dial import Dialer
from nodespan.runtime.api.grpc.client.proxies import Proxy, lead_on
from tests.support.certificates import Authority
from tests.support.ports import free_port

_Talk = Callable[[trio.abc.Stream], Awaitable[None]]


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://a.example:50000", Endpoint("a.example", 50000)),
        ("https://a.example", Endpoint("a.example", 443)),
        ("http://a.example", Endpoint("a.example", 80, secure=False)),
        ("http://[2001:db8::1]:3000/", Endpoint("2001:db8::1", 3000, secure=False)),
        ("192.0.2.1:50000", Endpoint("192.0.2.1", 50000)),
        ("192.0.2.1", Endpoint("192.0.2.1", 443)),
        ("[2001:db8::1]:7", Endpoint("2001:db8::1", 7)),
        ("unix:///run/x.sock", Endpoint.unix("/run/x.sock")),
        ("unix:/run/x.sock", Endpoint.unix("/run/x.sock")),
    ],
)
def test_endpoints_are_read(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint
    assert Endpoint.parse(f"{endpoint}", default_port=1).host == endpoint.host


@pytest.mark.parametrize(
    "text", ["", "https://", "ftp://a", "https://a:0", "https://a:70000", "https://a:b", "https://a/x", "u@a", "unix:x"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(EndpointError, match="is not an endpoint"):
        Endpoint.parse(text)


def test_a_default_port_is_for_endpoints_without_one() -> None:
    assert Endpoint.parse("192.0.2.1", default_port=50000).port == 50000
    assert Endpoint.parse("192.0.2.1:7", default_port=50000).port == 7


async def _failure(endpoint: Endpoint, dialer: Dialer | None = None, within: float = 20) -> tuple[Stage, str]:
    with pytest.raises(CallError) as failed:
        await (dialer or Dialer()).dial(endpoint, within)
    assert failed.value.is_unsent
    assert failed.value.endpoint == endpoint
    return failed.value.stage, str(failed.value)


@asynccontextmanager
async def _server(talk: _Talk) -> AsyncIterator[int]:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await talk(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), serve, 0)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_names_and_ports_that_are_none() -> None:
    stage, text = await _failure(Endpoint("name.invalid", 1, secure=False))
    assert stage is Stage.LOOKUP
    assert text.startswith("the name name.invalid cannot be looked up: ")
    assert (await _failure(Endpoint("x" * 70, 1, secure=False)))[0] is Stage.LOOKUP
    port = free_port()
    assert await _failure(Endpoint("127.0.0.1", port, secure=False)) == (
        Stage.TCP,
        f"no connection to 127.0.0.1:{port}: Connection refused",
    )


class _Names(trio.abc.HostnameResolver):
    """Knows one name, of any addresses."""

    def __init__(self, addresses: list[tuple[str, int]], wait: float = 0.0) -> None:
        self._addresses = addresses
        self._wait = wait

    async def getaddrinfo(self, *_arguments: Any, **_named: Any) -> Any:
        await trio.sleep(self._wait)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self._addresses]

    async def getnameinfo(self, *_arguments: object) -> tuple[str, str]:
        raise NotImplementedError


async def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(stream: trio.abc.Stream) -> None:
        await stream.receive_some(1)

    closed = free_port()
    async with _server(wait) as port:
        trio.socket.set_custom_hostname_resolver(_Names([("127.0.0.1", closed), ("127.0.0.1", port)]))
        stream = await Dialer().dial(Endpoint("both.example", 1, secure=False), 20)
        await stream.aclose()
    trio.socket.set_custom_hostname_resolver(_Names([("127.0.0.1", closed)] * 2))
    stage, text = await _failure(Endpoint("both.example", 1, secure=False))
    assert (stage, text.rpartition(": ")[2]) == (Stage.TCP, "Connection refused")


@pytest.mark.virtual_clock
async def test_a_connection_that_comes_about_as_the_caller_gives_up_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Made:
        def __init__(self, *_: object) -> None: ...

        async def connect(self, _: object) -> None:
            caller.cancel()

        def close(self) -> None:
            closed.append(self)

    monkeypatch.setattr(trio.socket, "socket", Made)
    with trio.CancelScope() as caller:
        await Dialer().dial(Endpoint("192.0.2.1", 1, secure=False), 20)
    assert caller.cancelled_caught
    assert len(closed) == 1


async def test_a_lookup_that_takes_long_is_named() -> None:
    trio.socket.set_custom_hostname_resolver(_Names([], wait=60))
    assert await _failure(Endpoint("slow.example", 1, secure=False), within=5) == (
        Stage.LOOKUP,
        "the lookup of the name slow.example took longer than 5 s",
    )


# TLS.


def _speaks_tls(context: ssl.SSLContext) -> _Talk:
    async def talk(stream: trio.abc.Stream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        try:
            await secure.do_handshake()
            await secure.receive_some(1)
        except trio.BrokenResourceError:
            return  # the other side does not like what it sees

    return talk


async def test_a_server_name_other_than_the_host(tmp_path: Path) -> None:
    authority = Authority("one")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(tmp_path, "real.example"))
    context.set_alpn_protocols(["h2"])
    dialer = Dialer(tls=partial(client_context, roots=authority.pem))
    async with _server(_speaks_tls(context)) as port:
        stage, text = await _failure(Endpoint("127.0.0.1", port), dialer)
        assert (stage, "the certificate of 127.0.0.1 is refused" in text) == (Stage.TLS, True)
        await (await dialer.dial(Endpoint("127.0.0.1", port, server_name="real.example"), 20)).aclose()


async def test_trust_that_cannot_be_had_is_a_failure_of_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    stage, text = await _failure(Endpoint("127.0.0.1", 1))
    assert (stage, text.startswith("no certificate authorities in ")) == (Stage.TLS, True)


# Proxies.


async def _look_up(host: str, _port: int) -> list[tuple[str, int]]:
    await trio.lowlevel.checkpoint()
    return [({"here.example": "192.0.2.7", "six.example": "2001:db8::7"}[host], 0)]


async def _said(url: str, host: str, answers: list[bytes]) -> tuple[list[bytes], str]:
    """What a client says to a proxy that answers so, and what comes of it: "" and the rest is the server's."""
    near, far = trio.testing.memory_stream_pair()
    said: list[bytes] = []
    outcome = ""

    async def proxy() -> None:
        for answer in answers:
            said.append(bytes(await far.receive_some(4096)))
            await far.send_all(answer)
        await far.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy)
        try:
            await lead_on(near, Proxy.parse(url), host, 443, _look_up)
            assert await near.receive_some(100) == b"server"
        except CallError as error:
            outcome = str(error)
        nursery.cancel_scope.cancel()
    return said, outcome


_CONNECTED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
_NAMED = b"\x05\x00\x00\x03\x02ab\x00\x00"


@pytest.mark.parametrize(
    ("url", "host", "said", "answers"),
    [
        (
            "http://proxy.example:3128",
            "a.example",
            [b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"],
            [b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nserver"],
        ),
        (
            "http://us%65r:p%3Aw@proxy.example",
            "2001:db8::1",
            [
                b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\nProxy-Authorization: Basic "
                + base64.b64encode(b"user:p:w")
                + b"\r\n\r\n"
            ],
            [b"HTTP/1.0 200 OK\r\n\r\nserver"],
        ),
        (
            "socks5h://proxy.example",
            "a.example",
            [b"\x05\x01\x00", b"\x05\x01\x00\x03\x09a.example\x01\xbb"],
            [b"\x05\x00", _CONNECTED + b"server"],
        ),
        (
            "socks5://proxy.example",
            "here.example",
            [b"\x05\x01\x00", b"\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"],
            [b"\x05\x00", _NAMED + b"server"],
        ),
        (
            "socks5://user:word@proxy.example",
            "six.example",
            [
                b"\x05\x02\x00\x02",
                b"\x01\x04user\x04word",
                b"\x05\x01\x00\x04" + bytes.fromhex("20010db8000000000000000000000007") + b"\x01\xbb",
            ],
            [b"\x05\x02", b"\x01\x00", _CONNECTED + b"server"],
        ),
    ],
)
async def test_what_is_sent_to_a_proxy(url: str, host: str, said: list[bytes], answers: list[bytes]) -> None:
    assert await _said(url, host, answers) == (said, "")


@pytest.mark.parametrize(
    ("url", "answers", "text"),
    [
        ("http://p", [b"HTTP/1.1 407 Who\r\n\r\n"], "the proxy p wants a user and password"),
        ("http://p", [b""], "the proxy p does not answer like an HTTP proxy"),
        ("socks5h://p", [b"HT"], "the proxy p does not answer like a SOCKS 5 proxy"),
        ("socks5h://p", [b"\x05"], "the proxy p has closed the connection"),
        ("socks5h://p", [b"\x05\xff"], "the proxy p wants a user and password"),
        ("socks5h://u:w@p", [b"\x05\x02", b"\x01\x01"], "the proxy p refuses the user and password"),
        ("socks5h://p", [b"\x05\x00", b"\x05\x05\x00\x01"], "the proxy p refuses to connect: connection refused"),
        ("socks5h://p", [b"\x05\x00", b"\x05\x63\x00\x01"], "the proxy p refuses to connect: error 99"),
    ],
)
async def test_what_a_proxy_may_answer_instead(url: str, answers: list[bytes], text: str) -> None:
    assert (await _said(url, "a.example", answers))[1] == text


async def test_a_proxy_on_the_way_and_one_that_cannot_be() -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        asked.append(bytes(await stream.receive_some(4096)))
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nserver")

    asked: list[bytes] = []
    target = Endpoint("a.example", 443, secure=False)
    async with _server(talk) as port:
        stream = await Dialer(proxy=lambda _: f"http://127.0.0.1:{port}").dial(target, 20)
        assert await stream.receive_some(100) == b"server"
        await stream.aclose()
    assert asked[0].startswith(b"CONNECT a.example:443 ")
    assert await _failure(target, Dialer(proxy=lambda _: "socks4://user:secret@p")) == (
        Stage.PROXY,
        "the proxy cannot be used: it is of type socks4, not one of http, socks5, socks5h",
    )
    stage, text = await _failure(target, Dialer(proxy=lambda _: "http://proxy.invalid:1"))
    assert (stage, "the name of the proxy proxy.invalid cannot" in text) == (Stage.LOOKUP, True)


@pytest.mark.virtual_clock
async def test_a_proxy_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(_way: object, _addresses: object, _whose: str) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return trio.testing.memory_stream_pair()[0]

    monkeypatch.setattr("nodespan.runtime.api.grpc.client.dial._Way.connect", connect)
    dialer = Dialer(proxy=lambda _: "http://127.0.0.1:1")
    trio.socket.set_custom_hostname_resolver(_Names([("127.0.0.1", 1)]))
    assert await _failure(Endpoint("a.example", 443, secure=False), dialer, within=5) == (
        Stage.PROXY,
        "the proxy 127.0.0.1 has not answered within 5 s",
    )

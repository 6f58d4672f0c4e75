"""Tries of probes against real sockets and pages."""

import base64
import contextlib
import datetime
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from nodespan.controllers.network.probes.attempts import try_target
from nodespan.controllers.network.probes.probe_rules import Target
from nodespan.resources.network import HTTPProbeSpec, ProbeSpecSpec, TCPProbeSpec
from tests.support.certificates import Authority

LONG, SHORT = datetime.timedelta(seconds=60), datetime.timedelta(milliseconds=50)


@contextlib.asynccontextmanager
async def listening(
    answer: bytes = b"", *, tls: ssl.SSLContext | None = None, heard: list[bytes] | None = None
) -> AsyncIterator[int]:
    """A server that sends this to whoever said something, or says nothing."""

    async def serve(plain: trio.SocketStream) -> None:
        stream = plain if tls is None else trio.SSLStream(plain, tls, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError):
            data = await stream.receive_some()
            if heard is not None:
                heard.append(bytes(data))
            if answer:
                await stream.send_all(answer)
            else:
                await trio.sleep_forever()
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def tcp(endpoint: str, timeout: datetime.timedelta = LONG) -> Target:
    return Target(spec=ProbeSpecSpec(tcp=TCPProbeSpec(endpoint=endpoint, timeout=timeout)))


def page(url: str, timeout: datetime.timedelta = LONG, *, trust: str = "", variables: tuple[str, ...] = ()) -> Target:
    spec = ProbeSpecSpec(http=HTTPProbeSpec(url=url, timeout=timeout))
    return Target(spec=spec, url=url, trust=trust, variables=variables)


def answer(status: str, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n".encode()


async def test_a_port_that_accepts_is_a_success() -> None:
    async with listening() as port:
        assert await try_target(tcp(f"127.0.0.1:{port}")) == ""
    assert await try_target(tcp(f"127.0.0.1:{port}")) == f"dial tcp 127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("200 OK", ""),
        ("204 No Content", ""),
        ("302 Found", ""),
        ("399 Odd", ""),
        ("404 Not Found", "received non-success status code: 404 Not Found"),
        ("503 ", "received non-success status code: 503 Service Unavailable"),
        ("400 \x1b[31mred", "received non-success status code: 400 \\x1b[31mred"),
    ],
)
async def test_a_page_answers_with_a_status_from_200_to_399(status: str, error: str) -> None:
    async with listening(answer(status, "Location: http://192.0.2.1/\r\n")) as port:
        found = await try_target(page(f"http://127.0.0.1:{port}/health"))
    if "\x1b" in status:
        # h11 refuses what is no text.
        assert found
        assert "\x1b" not in found
    else:
        assert found == error


async def test_the_user_of_a_url_authenticates_and_the_path_is_kept() -> None:
    heard: list[bytes] = []
    async with listening(answer("200 OK"), heard=heard) as port:
        assert await try_target(page(f"http://al%40ice:s%3Acret@127.0.0.1:{port}/a?b=c")) == ""
    (request,) = heard
    assert request.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{port}\r\n".encode() in request.lower()
    assert f"Basic {base64.b64encode(b'al@ice:s:cret').decode()}".encode() in request


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9, "keeps announcing"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000, "line too long|Receive buffer too long"),
    ],
)
async def test_what_is_no_page_is_a_failure(said: bytes, error: str) -> None:
    async with listening(said) as port:
        assert re.search(error, await try_target(page(f"http://127.0.0.1:{port}/")))


async def test_what_does_not_answer_in_time_is_a_failure() -> None:
    async with listening() as port:
        assert await try_target(page(f"http://127.0.0.1:{port}/", SHORT)) == "no answer within 0.05 s"


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_page_over_tls_needs_a_certificate_of_an_authority_that_is_trusted(
    tmp_path: Path, is_trusted: bool
) -> None:
    authority = Authority("pages")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(tmp_path, "127.0.0.1"))
    trust = tmp_path / "ca.crt"
    trust.write_bytes((authority if is_trusted else Authority("another")).pem)
    async with listening(answer("200 OK"), tls=context) as port:
        found = await try_target(page(f"https://127.0.0.1:{port}/", trust=str(trust)))
    assert found.startswith("" if is_trusted else "its certificate is refused: ")
    assert bool(found) is not is_trusted
    assert "nowhere" not in found
    assert "No such file" in await try_target(page("https://127.0.0.1:1/", trust=str(tmp_path / "nowhere")))


async def test_a_proxy_of_the_environment_is_used_and_what_is_no_proxy_is_named() -> None:
    heard: list[bytes] = []
    async with listening(b"HTTP/1.1 403 Forbidden\r\n\r\n", heard=heard) as port:
        variables = (f"http_proxy=http://127.0.0.1:{port}", "no_proxy=192.0.2.9")
        error = await try_target(page("http://192.0.2.1/x", variables=variables))
    assert heard[0].startswith(b"CONNECT 192.0.2.1:80 ")
    assert "the proxy" in error
    error = await try_target(page("http://192.0.2.1/x", variables=("http_proxy=ftp://secret@x",)))
    assert "names a proxy that cannot be used" in error
    assert "secret" not in error


async def test_a_url_may_have_letters_beyond_ascii() -> None:
    heard: list[bytes] = []
    async with listening(answer("200 OK"), heard=heard) as port:
        assert await try_target(page(f"http://127.0.0.1:{port}/grün?q=ä%20")) == ""
    assert heard[0].startswith(b"GET /gr%C3%BCn?q=%C3%A4%20 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "http://a..b/",
        "https://a..b/",
        "http://.a.com/",
        "https://.a.com/",
        f"http://{'x' * 64}.example/",
        "http://ü..b/",
        f"http://{'ü' * 64}.example/",
        "http://a\x00b/",
    ],
)
@pytest.mark.parametrize("variables", [(), ("http_proxy=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9")])
async def test_a_host_that_cannot_be_is_a_failure_of_its_probe(url: str, variables: tuple[str, ...]) -> None:
    assert await try_target(page(url, variables=variables))
    assert await try_target(tcp(f"{url.split('/')[2]}:80"))

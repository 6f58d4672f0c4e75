"""An endpoint where only HTTP is spoken, as port 2383 of Talos 1.14: the error says so, and which port to give."""

import ssl
from pathlib import Path

import pytest
import trio

from nodespan.etcd import AuthError, EtcdClient, TLSFiles, UnavailableError
from tests.etcd.fake_member import Talk, answering, saying, serving
from tests.support.certificates import Authority


async def _reason(endpoint: str, tls: TLSFiles | None = None) -> str:
    async with EtcdClient([endpoint], tls=tls) as client:
        with pytest.raises(UnavailableError) as failed:
            await client.put(b"k", b"v")
    (reason,) = failed.value.reasons.values()
    return reason


_HINT = ": is this etcd's HTTP port? Give the port for clients (http://127.0.0.1:2379)"


@pytest.mark.parametrize(
    ("talk", "status"),
    [(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 400), (answering(kind="text/plain; charset=utf-8"), 404)],
    ids=["HTTP/1.1", "HTTP/2"],
)
async def test_in_plain_text(talk: Talk, status: int) -> None:
    async with serving(talk) as endpoint:
        assert await _reason(endpoint) == f"it answers with HTTP status {status}, not like gRPC{_HINT}"


async def test_over_tls(tmp_path: Path) -> None:
    authority = Authority("etcd")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(tmp_path, "127.0.0.1"))
    context.set_alpn_protocols(["http/1.1"])

    async def talk(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        await secure.do_handshake()
        await secure.receive_some(1)

    async with serving(talk) as endpoint:
        reason = await _reason(endpoint.replace("http:", "https:"), TLSFiles(ca=tmp_path / "ca.pem"))
    assert reason.startswith("it does not speak HTTP/2, as gRPC needs: is this etcd's HTTP port? ")
    assert "https://127.0.0.1:2379" in reason


async def test_other_servers_are_not_taken_for_it() -> None:
    async with serving(saying(b"")) as endpoint:
        assert "HTTP port" not in await _reason(endpoint)


async def test_a_door_that_wants_a_password_is_named_as_one() -> None:
    async with serving(saying(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as endpoint, EtcdClient([endpoint]) as client:
        with pytest.raises((AuthError, UnavailableError), match="403"):
            await client.put(b"k", b"v")

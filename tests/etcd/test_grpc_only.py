"""An etcd whose client port speaks only gRPC, as that of Talos 1.14: the error says so, and where its gateway is."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio

from nodespan.etcd.errors import MemberFailedError
from nodespan.etcd.gateway import Gateway, TLSFiles
from nodespan.runtime.api.grpc import Server, Service
from tests.support.certificates import Authority


@asynccontextmanager
async def _grpc_server(tls: Callable[[], ssl.SSLContext] | None = None) -> AsyncIterator[int]:
    server = Server(Service(methods={}, log=structlog.get_logger()))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: server.serve(listeners, tls=tls, grace=0, task_status=task_status))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _reason(endpoint: str, tls: TLSFiles) -> str:
    async with Gateway(tls) as gateway:
        with pytest.raises(MemberFailedError) as failed:
            await gateway.ask(endpoint, "kv/range", {}, lambda answer: answer)
    return str(failed.value)


async def test_in_plain_text() -> None:
    async with _grpc_server() as port:
        assert await _reason(f"http://127.0.0.1:{port}", TLSFiles()) == (
            "it speaks only gRPC at this port: give the port of its HTTP gateway "
            "(etcd of Talos 1.14 and later: http://127.0.0.1:2383)"
        )


async def test_over_tls(tmp_path: Path) -> None:
    authority = Authority("etcd")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(tmp_path, "localhost"))
    context.set_alpn_protocols(["h2"])
    async with _grpc_server(lambda: context) as port:
        reason = await _reason(f"https://localhost:{port}", TLSFiles(ca=tmp_path / "ca.pem"))
    assert "it speaks only gRPC at this port" in reason
    assert "https://localhost:2383" in reason


async def test_that_refuses_http_1_in_the_handshake(tmp_path: Path) -> None:
    # What Go's servers do: an alert in place of the handshake.
    alert = bytes.fromhex("15030300020278")

    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65536)
            await stream.send_all(alert)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, [listener])
        assert "it speaks only gRPC at this port" in await _reason(f"https://127.0.0.1:{port}", TLSFiles())
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b""])
async def test_other_servers_are_not_taken_for_it(answer: bytes) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65536)
            if answer:
                await stream.send_all(answer)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, talk, [listener])
        assert "gRPC" not in await _reason(f"http://127.0.0.1:{port}", TLSFiles())
        nursery.cancel_scope.cancel()

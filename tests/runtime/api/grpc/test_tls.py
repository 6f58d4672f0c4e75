"""The server over TLS."""

import errno
import os
import ssl
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
import trio
from cryptography import x509
from google.protobuf.wrappers_pb2 import BytesValue, Int32Value

from nodespan.runtime.api.tls import ServerCertificate
from tests.runtime.api.grpc.greeter import Client, Greeter, serving
from tests.support.certificates import Authority


def _use(greeter: Greeter, authority: Authority, **credentials: Any) -> None:
    given = grpc.ssl_channel_credentials(authority.pem, **credentials)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"localhost:{greeter.port}", given, options) as channel:
        client = Client(channel)
        assert client.call("Echo", BytesValue(value=bytes(200_000))).value == bytes(200_000)
        assert [message.value for message in client.stream("Count", Int32Value(value=500))] == list(range(500))


async def test_calls_go_over_tls(tmp_path: Path) -> None:
    authority = Authority("test")
    certificate = ServerCertificate(*authority.issue(tmp_path, "localhost"), structlog.get_logger())
    async with serving(tls=certificate.context) as greeter:
        await trio.to_thread.run_sync(_use, greeter, authority)
        assert greeter.calls[0].peer.certificate is None


def test_a_server_knows_the_names_of_its_certificate_also_of_a_renewed_one(tmp_path: Path) -> None:
    authority = Authority("test")
    certificate = ServerCertificate(*authority.issue(tmp_path, "localhost"), structlog.get_logger())
    assert "localhost" in certificate.names()
    used = (tmp_path / "localhost.crt", tmp_path / "localhost.key")
    for renewed, path in zip(authority.issue(tmp_path, "relay.example.org"), used, strict=True):
        renewed.replace(path)
    assert "relay.example.org" in certificate.names()
    assert "localhost" not in certificate.names()


@pytest.mark.parametrize("which", [0, 1])
def test_a_certificate_or_key_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, which: int) -> None:
    files = Authority("test").issue(tmp_path, "localhost")
    files[which].unlink()
    os.mkfifo(files[which])
    with pytest.raises(OSError, match="this is a pipe"):
        ServerCertificate(*files, structlog.get_logger())


async def test_a_handler_sees_the_certificate_of_its_client(tmp_path: Path) -> None:
    authority = Authority("test")
    files = authority.issue(tmp_path, "client")
    context = ServerCertificate(*authority.issue(tmp_path, "localhost"), structlog.get_logger()).context()
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    async with serving(tls=lambda: context) as greeter:
        await trio.to_thread.run_sync(
            lambda: _use(greeter, authority, private_key=files[1].read_bytes(), certificate_chain=files[0].read_bytes())
        )
        certificate = greeter.calls[0].peer.certificate
        assert certificate is not None
        assert x509.load_der_x509_certificate(certificate).subject.rfc4514_string() == "CN=client"


async def test_old_versions_and_plain_text_are_turned_away(tmp_path: Path) -> None:
    authority = Authority("test")
    certificate = ServerCertificate(*authority.issue(tmp_path, "localhost"), structlog.get_logger())
    assert certificate.context().minimum_version is ssl.TLSVersion.TLSv1_2
    assert certificate.context().options & ssl.OP_NO_RENEGOTIATION
    async with serving(tls=certificate.context) as greeter:
        async with await trio.open_tcp_stream("127.0.0.1", greeter.port) as stream:
            await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            try:
                while await stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass  # either way the connection is closed
        await trio.to_thread.run_sync(_use, greeter, authority)


async def test_a_renewed_certificate_is_shown_from_then_on_and_a_broken_one_never(tmp_path: Path) -> None:
    old, new = Authority("old"), Authority("new")
    files = old.issue(tmp_path, "localhost")
    certificate = ServerCertificate(*files, structlog.get_logger())
    async with serving(tls=certificate.context) as greeter:
        await trio.to_thread.run_sync(_use, greeter, old)
        files[0].write_bytes(b"half of a")
        await trio.to_thread.run_sync(_use, greeter, old)
        new.issue(tmp_path, "localhost")
        # Also where the clock of the file system is coarse.
        os.utime(files[0], ns=(time.time_ns(), time.time_ns() + 10**9))
        await trio.to_thread.run_sync(_use, greeter, new)
        files[1].unlink()
        await trio.to_thread.run_sync(_use, greeter, new)


def test_a_renewed_certificate_is_loaded_again_after_a_failure_that_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Authority("test").issue(tmp_path, "localhost")
    certificate = ServerCertificate(*files, structlog.get_logger())
    old = certificate.context()
    os.utime(files[0], ns=(0, 0))

    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with structlog.testing.capture_logs() as logs, monkeypatch.context() as patched:
        patched.setattr(ssl.SSLContext, "load_cert_chain", full)
        assert [certificate.context() for _ in range(3)] == [old] * 3
    assert [entry["log_level"] for entry in logs] == ["error"]
    renewed = certificate.context()
    assert renewed is not old
    assert certificate.context() is renewed


def test_unusable_files_are_reported_at_the_start(tmp_path: Path) -> None:
    certificate, key = Authority("test").issue(tmp_path, "localhost")
    other, _ = Authority("test").issue(tmp_path, "other")
    cut = tmp_path / "cut.crt"
    cut.write_bytes(certificate.read_bytes() + b"-----BEGIN CERT")
    for files in ((tmp_path / "none", key), (other, key), (key, certificate), (cut, key)):
        with pytest.raises(OSError):  # noqa: PT011  # SSLError says what, in OpenSSL's words
            ServerCertificate(*files, structlog.get_logger())

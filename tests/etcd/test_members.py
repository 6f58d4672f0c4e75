"""Endpoints, TLS files, and calls to a server that is not a healthy etcd."""

import contextlib
import functools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from nodespan.etcd import EndpointError, EtcdClient, TLSFiles, TLSFilesError, UnavailableError, parse_endpoint
from tests.support.certificates import Authority

HEADER = {"cluster_id": "1", "member_id": "2", "revision": "3", "raft_term": "4"}


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://10.0.0.1:2379", "https://10.0.0.1:2379"),
        ("https://etcd.example", "https://etcd.example:2379"),
        ("http://[2001:db8::1]:1", "http://[2001:db8::1]:1"),
        ("10.0.0.1:2379", "http://10.0.0.1:2379"),
        ("https://10.0.0.1:2379/", "https://10.0.0.1:2379"),
    ],
)
def test_an_endpoint_has_one_canonical_form(text: str, endpoint: str) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "ftp://a:1",
        "https://a:x",
        "https://a:99999",
        "https://user@a:1",
        "https://a:1/v3",
        "http://[::1",
    ],
)
def test_an_invalid_endpoint_is_an_error(text: str) -> None:
    with pytest.raises(EndpointError, match="is not an etcd endpoint"):
        parse_endpoint(text)


def test_a_client_needs_an_endpoint() -> None:
    with pytest.raises(EndpointError, match="at least one"):
        EtcdClient([])


async def test_errors_name_unusable_files(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.crt", tmp_path / "empty.crt"
    empty.write_text("")
    cut, cut_chain = tmp_path / "cut.crt", tmp_path / "chain.crt"
    cut.write_bytes(Authority("a").pem + Authority("b").pem[:20])
    certificate, own_key = Authority("one").issue(tmp_path, "one")
    cut_chain.write_bytes(certificate.read_bytes() + b"-----BEGIN")
    _, key = Authority("two").issue(tmp_path, "two")
    for files, said in (
        (TLSFiles(ca=missing), r"missing\.crt .*no such file"),
        (TLSFiles(ca=empty), r"empty\.crt .*"),
        (TLSFiles(ca=cut), r"cut\.crt .*line \d+ is cut off"),
        (TLSFiles(certificate=cut_chain, key=own_key), r"chain\.crt .*line \d+ is cut off"),
        (TLSFiles(certificate=certificate, key=key), r"one\.crt with the key .*two\.key .*mismatch"),
        (TLSFiles(certificate=missing), "missing"),
    ):
        with pytest.raises(TLSFilesError, match=said):
            async with EtcdClient(["https://a:1"], tls=files):
                pass


@contextlib.asynccontextmanager
async def answering(*answers: bytes, hang: bool = False) -> AsyncIterator[str]:
    """A server that reads a request and answers these bytes, one per connection, the last one again and again."""
    remaining = list(answers)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                while b"}" not in await stream.receive_some():
                    pass
                await stream.send_all(remaining.pop(0) if len(remaining) > 1 else remaining[0])
                if hang:
                    await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(functools.partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def http(body: bytes, *, status: str = "200 OK", kind: str = "application/json", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + body


GOOD = http(json.dumps({"header": HEADER, "count": "1"}).encode())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            http(b"Not Found\n", status="404 Not Found", kind="text/plain"),
            "does not answer like etcd: HTTP 404",
        ),
        (http(b"not json"), "does not answer like etcd"),
        (http(b"[1]"), "does not answer like etcd"),
        (http(b"{}"), "does not answer like etcd"),
        (http(b'{"header":', length=100), "closed connection"),
        (b"", "disconnected"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "illegal status line"),
    ],
    ids=["not found", "no json", "no object", "no header", "half an answer", "no answer", "no http"],
)
async def test_a_server_that_is_not_etcd_is_skipped(answer: bytes, said: str) -> None:
    async with answering(answer) as wrong, answering(GOOD) as right:
        async with EtcdClient([wrong]) as client:
            with pytest.raises(UnavailableError, match=said):
                await client.range(b"k", within=0.15)
        async with EtcdClient([wrong, right]) as client:
            assert (await client.range(b"k")).count == 1


async def test_a_failed_request_is_repeated() -> None:
    async with answering(b"", GOOD) as endpoint, EtcdClient([endpoint]) as client:
        assert (await client.range(b"k")).count == 1


async def test_a_silent_member_does_not_delay_for_the_whole_time() -> None:
    async with answering(b"", hang=True) as silent, answering(GOOD) as right, EtcdClient([silent, right]) as client:
        with trio.fail_after(1.4):
            assert (await client.range(b"k")).count == 1
        async with EtcdClient([silent]) as alone:
            with pytest.raises(UnavailableError, match=r"no answer within 0\.1 s"):
                await alone.range(b"k", within=0.1)


@pytest.mark.parametrize(
    "notice",
    [
        b'{"error":{"grpc_code":14,"message":"transport is closing"}}\n',
        b'{"result":{"header":{}',
        b"nonsense\n",
        b'{"result":{}}\n',
    ],
)
async def test_a_watch_with_a_failed_stream_ends_with_the_reason(
    notice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodespan.etcd.watch._GIVE_UP", -1.0)
    async with (
        answering(http(notice)) as endpoint,
        EtcdClient([endpoint]) as client,
        client.watch(b"k", from_revision=1) as events,
    ):
        for _ in range(2):
            with pytest.raises(UnavailableError, match=endpoint):
                await anext(events)

"""Endpoints, TLS files, and calls to a server that is not a healthy etcd."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h2.events
import pytest
import trio
from google.protobuf.message import Message

from nodespan.etcd import (
    CompactedError,
    EndpointError,
    EtcdClient,
    TLSFiles,
    TLSFilesError,
    UnavailableError,
    parse_endpoint,
)
from nodespan.etcd.members import Members
from nodespan.etcd.methods import RANGE, STATUS, Method
from nodespan.etcd.values import Get, Header, RangeAnswer
from nodespan.etcd.wire import etcd_pb2 as wire
from nodespan.runtime.api.grpc import frame
from tests.etcd.fake_member import HEADER, ONE_KEY, Talk, answering, hanging, saying, serving
from tests.runtime.api.grpc.client.fake_server import HEAD, FakeServer
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE


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
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cut, cut_chain = tmp_path / "cut.crt", tmp_path / "chain.crt"
    cut.write_bytes(Authority("a").pem + Authority("b").pem[:20])
    certificate, own_key = Authority("one").issue(tmp_path, "one")
    cut_chain.write_bytes(certificate.read_bytes() + b"-----BEGIN")
    _, key = Authority("two").issue(tmp_path, "two")
    for files, said in (
        (TLSFiles(ca=missing), r"missing\.crt .*no such file"),
        (TLSFiles(ca=pipe), r"pipe cannot .*this is a pipe"),
        (TLSFiles(certificate=certificate, key=pipe), r"the key .*pipe cannot .*this is a pipe"),
        (TLSFiles(ca=empty), r"empty\.crt .*"),
        (TLSFiles(ca=cut), r"cut\.crt .*line \d+ is cut off"),
        (TLSFiles(certificate=cut_chain, key=own_key), r"chain\.crt .*line \d+ is cut off"),
        (TLSFiles(certificate=certificate, key=key), r"one\.crt with the key .*two\.key .*mismatch"),
        (TLSFiles(certificate=missing), "missing"),
    ):
        with pytest.raises(TLSFilesError, match=said):
            async with EtcdClient(["https://a:1"], tls=files):
                pass


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (answering(kind="text/plain"), "it answers with HTTP status 404, not like gRPC"),
        (answering(b"\xff"), "does not answer like etcd"),
        (answering(b""), "does not answer like etcd"),
        (answering(wire.RangeResponse(count=1)), "does not answer like etcd"),
        (answering(code=12, text="unknown service"), "etcd refuses: unknown service"),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it answers with HTTP status 400, not like gRPC"),
        (saying(b""), "it closed the connection without a word of HTTP/2"),
        (saying(b"SSH-2.0-OpenSSH\r\n\r\n"), "does not keep to the rules of HTTP/2"),
    ],
    ids=["not found", "no message", "empty message", "no header", "no etcd", "HTTP/1.1", "no answer", "no http"],
)
async def test_a_server_that_is_not_etcd_is_skipped(talk: Talk, said: str) -> None:
    async with serving(talk) as wrong, serving(answering()) as right:
        async with EtcdClient([wrong]) as client:
            with pytest.raises(Exception, match=said):
                await client.put(b"k", b"v")
        if "refuses" not in said:
            async with EtcdClient([wrong, right]) as client:
                assert (await client.range(b"k")).count == 1


async def test_a_failed_request_is_repeated() -> None:
    async with serving(saying(b""), answering()) as endpoint, EtcdClient([endpoint]) as client:
        assert (await client.range(b"k")).count == 1


async def test_who_wants_to_is_told_of_linearizable_reads_and_of_those_only() -> None:
    told: list[Header] = []

    begun = 0

    def begin() -> Callable[[Header], None]:
        nonlocal begun
        begun += 1
        return told.append

    async def ask(method: Method[Any], request: Message, parse: Callable[[Any], object]) -> None:
        await members.call(method, request, parse, repeat=True)

    async with (
        serving(answering()) as endpoint,
        Members([endpoint], tls=None, credentials=None, timeout=PATIENCE) as members,
    ):
        with members.reads_told(endpoint, begin):
            await ask(RANGE, Get(key=b"k", serializable=True).request(), RangeAnswer.of)
            await ask(RANGE, Get(key=b"k").request(), RangeAnswer.of)
            await ask(STATUS, wire.StatusRequest(), lambda _: None)
        await ask(RANGE, Get(key=b"k").request(), RangeAnswer.of)
    assert [(header.revision, header.raft_term) for header in told] == [(3, 4)]
    assert begun == 1


async def test_a_read_that_is_answered_after_the_block_is_not_told() -> None:
    told: list[Header] = []
    begun = trio.Event()

    def begin() -> Callable[[Header], None]:
        begun.set()
        return told.append

    async with (
        serving(answering()) as endpoint,
        Members([endpoint], tls=None, credentials=None, timeout=PATIENCE) as members,
        trio.open_nursery() as nursery,
    ):
        with members.reads_told(endpoint, begin):
            nursery.start_soon(members.ask, endpoint, RANGE, Get(key=b"k").request(), RangeAnswer.of)
            await begun.wait()
    assert not told


async def test_a_silent_member_does_not_delay_for_the_whole_time() -> None:
    async with serving(hanging) as silent, serving(answering()) as right, EtcdClient([silent, right]) as client:
        with trio.fail_after(PATIENCE / 2):
            assert (await client.range(b"k", within=PATIENCE)).count == 1
        async with EtcdClient([silent]) as alone:
            with pytest.raises(UnavailableError, match=r"no answer within 0\.1 s"):
                await alone.range(b"k", within=0.1)


async def test_after_silence_the_next_call_has_a_new_connection() -> None:
    async with serving(hanging, answering()) as endpoint, EtcdClient([endpoint], timeout=0.2) as client:
        with pytest.raises(UnavailableError):
            await client.put(b"k", b"v")
        assert (await client.range(b"k", within=PATIENCE)).count == 1


# Watches.


def _watched(*notices: Message | int | None) -> Talk:
    """Answers reads, and each watch with these notices: a number is a status, None leaves it open."""

    async def talk(stream: trio.SocketStream) -> None:
        server = FakeServer(stream)
        await server.greet()
        watches = set()
        async for event in server.events():
            if isinstance(event, h2.events.RequestReceived):
                if _is_watch(event):
                    watches.add(event.stream_id)
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id:
                await server.answer(event.stream_id, frame(ONE_KEY.SerializeToString()))
            elif isinstance(event, h2.events.DataReceived) and event.stream_id in watches:
                server.machine.send_headers(event.stream_id, HEAD)
                for notice in notices:
                    if isinstance(notice, int):
                        ending = (("grpc-status", str(notice)), ("grpc-message", "transport is closing"))
                        server.machine.send_headers(event.stream_id, ending, end_stream=True)
                    elif notice is not None:
                        server.machine.send_data(event.stream_id, frame(notice.SerializeToString()))

    return talk


@pytest.mark.parametrize(
    "notices",
    [(14,), (13,), (wire.WatchResponse(),), (wire.WatchResponse(header=HEADER, created=True), 0)],
    ids=["unavailable", "internal", "no header", "ended"],
)
async def test_a_watch_with_a_failed_stream_ends_with_the_reason(
    notices: tuple[Message | int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodespan.etcd.watch._GIVE_UP", -1.0)
    async with (
        serving(_watched(*notices)) as endpoint,
        EtcdClient([endpoint]) as client,
        client.watch(b"k", from_revision=1) as events,
    ):
        for _ in range(2):
            with pytest.raises(UnavailableError, match=endpoint):
                await anext(events)


def _is_watch(event: h2.events.RequestReceived) -> bool:
    return (":path", "/etcdserverpb.Watch/Watch") in [(str(name), str(value)) for name, value in event.headers or ()]


def _put(revision: int, key: bytes = b"k") -> wire.Event:
    return wire.Event(kv=wire.KeyValue(key=key, mod_revision=revision))


async def test_the_fragments_of_an_answer_are_one_answer() -> None:
    first, second, third = (_put(3, b"%d" % number) for number in range(3))
    talk = _watched(
        wire.WatchResponse(header=HEADER, created=True),
        wire.WatchResponse(header=HEADER, fragment=True, events=[first]),
        wire.WatchResponse(header=HEADER, fragment=True, events=[second]),
        wire.WatchResponse(header=HEADER, events=[third]),
    )
    async with (
        serving(talk) as endpoint,
        EtcdClient([endpoint]) as client,
        client.watch(b"", prefix=True, from_revision=1) as events,
    ):
        assert [(await anext(events)).key_value.key for _ in range(3)] == [b"0", b"1", b"2"]


async def test_a_watch_continues_after_the_reported_progress() -> None:
    asked: list[int] = []
    progress = wire.WatchResponse(header=wire.ResponseHeader(cluster_id=1, revision=90))

    async def first(stream: trio.SocketStream) -> None:
        await _watched(wire.WatchResponse(header=HEADER, created=True), progress, 14)(stream)

    async def second(stream: trio.SocketStream) -> None:
        server = FakeServer(stream)
        await server.greet()
        watches = set()
        read = wire.RangeResponse(header=wire.ResponseHeader(cluster_id=1, revision=95))
        async for event in server.events():
            if isinstance(event, h2.events.RequestReceived) and _is_watch(event):
                watches.add(event.stream_id)
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id:
                await server.answer(event.stream_id, frame(read.SerializeToString()))
            elif isinstance(event, h2.events.DataReceived) and event.stream_id in watches:
                request = wire.WatchRequest.FromString(bytes(event.data[5:]))
                asked.append(request.create_request.start_revision)
                gone = wire.WatchResponse(header=HEADER, canceled=True, compact_revision=91)
                server.machine.send_headers(event.stream_id, HEAD)
                server.machine.send_data(event.stream_id, frame(gone.SerializeToString()))

    async with (
        serving(first) as one,
        serving(second) as two,
        EtcdClient([one, two]) as client,
        client.watch(b"k", from_revision=2) as events,
    ):
        with pytest.raises(CompactedError) as compacted:
            await anext(events)
        assert compacted.value.revision == 91
        assert asked == [91]

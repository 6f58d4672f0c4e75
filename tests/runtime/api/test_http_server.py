"""The HTTP server: what it answers, and what clients that break its rules or limits get.

Connections are pairs of streams in memory and time is virtual, except for the one test of a real socket.
"""

import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import structlog
import trio
import trio.testing

from nodespan.runtime.api.http_server import Handshake, HttpLimits, HttpServer, serve_pages
from nodespan.runtime.api.pages import Page, Request, Send, Streamed, from_memory
from tests.support.deadlines import PATIENCE

LIMITS = HttpLimits(max_connections=3, max_head=2048, head=10, idle=75, write=30, linger=1)
LARGE = b"x" * (1 << 20)
HEAD = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"
_RESPONSE = re.compile(rb"HTTP/1\.1 (\d{3}) ([^\r]*)\r\n(.*?)\r\n\r\n", re.DOTALL)


def respond(target: str) -> Page:
    """A page that names its target; `/broken` fails."""
    match target:
        case "/broken":
            raise KeyError("a secret")
        case "/large":
            return Page(body=LARGE)
        case "/none":
            return Page(status=404, body=b"none\n", headers=(("x-reason", "none"),))
    return Page(body=f"page {target}".encode())


@attrs.frozen
class Response:
    """A response as a client sees it."""

    status: int
    fields: dict[str, str]
    body: bytes


def parse(data: bytes, *, without_bodies: bool = False) -> Iterator[Response]:
    """The responses that some bytes consist of, to the last byte."""
    while data:
        match = _RESPONSE.match(data)
        assert match, data
        assert match[2], "a status has a phrase"
        fields = dict(line.split(": ", 1) for line in match[3].decode().lower().split("\r\n"))
        size = 0 if without_bodies else int(fields["content-length"])
        yield Response(int(match[1]), fields, data[match.end() :][:size])
        data = data[match.end() + size :]


class Client:
    """A client that says anything."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream

    async def until_closed(self) -> bytes:
        """All that the server sends before it closes."""
        data = b""
        while part := await self.stream.receive_some(65536):
            data += part
        return data

    async def exchange(self, data: bytes) -> list[Response]:
        """Send, and return the responses up to the server's close."""
        await self.stream.send_all(data)
        return list(parse(await self.until_closed()))

    async def receive(self) -> Response:
        """One response that fits into memory at once."""
        await trio.testing.wait_all_tasks_blocked()
        (response,) = parse(bytes(await self.stream.receive_some(65536)))
        return response


@attrs.define
class Serving:
    """A server and the connections to it."""

    server: HttpServer
    nursery: trio.Nursery

    def connect(self, source: str = "", handshake: Handshake | None = None) -> Client:
        """A new connection."""
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(partial(self.server.converse, theirs, source=source, handshake=handshake))
        return Client(ours)


@asynccontextmanager
async def serving(limits: HttpLimits = LIMITS) -> AsyncIterator[Serving]:
    """A server in memory; every connection must have ended by itself, or by the client's close, at the end."""
    async with trio.open_nursery() as nursery:
        yield Serving(HttpServer(from_memory(respond), structlog.get_logger(), limits), nursery)


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("head", "status", "body"),
    [
        (b"GET /a?b=%20c HTTP/1.1\r\nHost: x\r\n", 200, b"page /a?b=%20c"),
        (b"GET http://host:1/a?b HTTP/1.1\r\nHost: x\r\n", 200, b"page /a?b"),
        (b"GET HTTP://host HTTP/1.1\r\nHost: x\r\n", 200, b"page /"),
        (b"GET http://[/a HTTP/1.1\r\nHost: x\r\n", 200, b"page http://[/a"),
        (b"GET /none HTTP/1.1\r\nHost: x\r\n", 404, b"none\n"),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", 405, b"pages can only be read\n"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n", 405, b"pages can only be read\n"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n", 405, b"pages can only be read\n"),
        (b"PRI * HTTP/2.0\r\nHost: x\r\n", 405, b"pages can only be read\n"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n", 200, b"page /a"),
    ],
)
async def test_a_request_is_answered_and_the_connection_closed_where_requested(
    head: bytes, status: int, body: bytes
) -> None:
    async with serving() as served:
        client = served.connect()
        (response,) = await client.exchange(head + b"Connection: close\r\n\r\n")
        assert (response.status, response.body, response.fields["connection"]) == (status, body, "close")
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d gmt", response.fields["date"])
        if status == 405:
            assert response.fields["allow"] == "get, head"


@pytest.mark.virtual_clock
async def test_head_gets_the_fields_of_a_page_without_its_body() -> None:
    async with serving() as served:
        client = served.connect()
        await client.stream.send_all(b"HEAD /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        (response,) = parse(await client.until_closed(), without_bodies=True)
        assert (response.status, response.fields["content-length"], response.fields["x-reason"]) == (404, "5", "none")


@pytest.mark.virtual_clock
async def test_a_connection_is_kept_for_further_requests_until_the_client_leaves() -> None:
    async with serving() as served:
        client = served.connect()
        for number in range(5):
            await client.stream.send_all(HEAD % b"/%d" % number)
            response = await client.receive()
            assert (response.status, response.body) == (200, b"page /%d" % number)
            assert "connection" not in response.fields
        await client.stream.send_eof()
        assert await client.until_closed() == b""


@pytest.mark.virtual_clock
async def test_a_client_of_http_1_0_gets_one_page_a_connection() -> None:
    async with serving() as served:
        (response,) = await served.connect().exchange(b"GET /a HTTP/1.0\r\n\r\n")
        assert (response.status, response.body) == (200, b"page /a")


@pytest.mark.virtual_clock
async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as served:
        requests = b"".join(HEAD % b"/%d" % number for number in range(200))
        last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        responses = await served.connect().exchange(requests + last + HEAD % b"/after")
        assert [response.body for response in responses] == [
            *(b"page /%d" % number for number in range(200)),
            b"page /last",
        ]


@pytest.mark.virtual_clock
async def test_a_failing_page_is_logged_and_its_client_gets_no_details() -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving() as served:
            client = served.connect()
            await client.stream.send_all(HEAD % b"/broken")
            response = await client.receive()
            assert (response.status, response.body) == (500, b"internal error\n")
            await client.stream.send_all(HEAD % b"/a")
            assert (await client.receive()).status == 200
            await client.stream.aclose()
    assert [(log["event"], log["target"]) for log in logs] == [("a page failed", "/broken")]


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client\r\n\r\n", 400),
        (b"\x00" * 64, 400),
        (b"\r\n\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nbad name: y\r\n\r\n", 400),
        (b"GET /" + b"a" * 4096, 431),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(1000)), 431),
    ],
)
async def test_a_request_that_breaks_the_protocol_gets_the_matching_status(sent: bytes, status: int) -> None:
    async with serving() as served:
        (response,) = await served.connect().exchange(sent)
        assert (response.status, response.fields["connection"]) == (status, "close")


@pytest.mark.virtual_clock
async def test_a_broken_request_behind_a_good_one_is_refused_after_the_answer() -> None:
    async with serving() as served:
        responses = await served.connect().exchange(HEAD % b"/a" + b"\x00\r\n\r\n")
        assert [response.status for response in responses] == [200, 400]


@pytest.mark.virtual_clock
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Content-Length: 1000000\r\n\r\n",
        b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nnot a chunk\r\n\r\n",
    ],
)
async def test_a_request_with_a_body_is_answered_and_its_connection_closed(rest: bytes) -> None:
    async with serving() as served:
        request = b"GET /a HTTP/1.1\r\nHost: x\r\n" + rest
        (response,) = await served.connect().exchange(request + HEAD % b"/smuggled")
        assert (response.status, response.body, response.fields["connection"]) == (200, b"page /a", "close")


@pytest.mark.virtual_clock
async def test_a_head_that_trickles_in_is_refused_when_its_time_is_over() -> None:
    async with serving() as served:
        client = served.connect()
        started = trio.current_time()

        async def trickle() -> None:
            for byte in HEAD % (b"/" + b"a" * 100):
                await client.stream.send_all(bytes([byte]))
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            (response,) = parse(await client.until_closed())
            assert response.status == 408
            assert trio.current_time() - started == LIMITS.head
            nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
async def test_a_client_that_sends_nothing_is_dropped_without_a_response() -> None:
    async with serving() as served:
        started = trio.current_time()
        assert await served.connect().until_closed() == b""
        assert trio.current_time() - started == LIMITS.head


@pytest.mark.virtual_clock
async def test_a_kept_connection_is_dropped_after_its_idle_time_and_a_next_head_has_the_time_of_any() -> None:
    async with serving() as served:
        idle, slow = served.connect(), served.connect()
        for client in (idle, slow):
            await client.stream.send_all(HEAD % b"/a")
            assert (await client.receive()).status == 200
        answered = trio.current_time()
        await trio.sleep(50)
        await slow.stream.send_all(b"GET /a")
        (response,) = parse(await slow.until_closed())
        assert (response.status, trio.current_time() - answered) == (408, 50 + LIMITS.head)
        assert await idle.until_closed() == b""
        assert trio.current_time() - answered == LIMITS.idle


@pytest.mark.virtual_clock
async def test_a_client_that_does_not_read_its_page_is_dropped() -> None:
    async with trio.open_nursery() as nursery:
        server = HttpServer(from_memory(respond), structlog.get_logger(), LIMITS)
        # In lockstep: what is sent waits until the other side receives it.
        ours, theirs = trio.testing.lockstep_stream_pair()
        started = trio.current_time()
        nursery.start_soon(server.converse, theirs)
        await ours.send_all(HEAD % b"/large")
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(LIMITS.write)
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks
        assert trio.current_time() - started == LIMITS.write


@pytest.mark.virtual_clock
async def test_input_that_never_ends_holds_the_close_up_for_a_moment_only() -> None:
    async with serving() as served:
        client = served.connect()
        started = trio.current_time()

        async def flood() -> None:
            try:
                while True:
                    await client.stream.send_all(b"\x00" * 1024)
                    await trio.sleep(0.1)
            except trio.BrokenResourceError:
                assert trio.current_time() - started <= 2 * LIMITS.linger

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            (response,) = parse(await client.until_closed())
            assert response.status == 400


@pytest.mark.virtual_clock
async def test_of_too_many_connections_the_one_that_waits_longest_makes_room() -> None:
    async with serving() as served:
        silent = []
        for _ in range(LIMITS.max_connections):
            silent.append(served.connect())
            await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        (response,) = await served.connect().exchange(b"GET /a HTTP/1.0\r\n\r\n")
        assert response.status == 200
        assert await silent[0].until_closed() == b""
        assert trio.current_time() - started <= LIMITS.linger
        assert await silent[1].until_closed() == b""
        assert trio.current_time() - started == LIMITS.head


@pytest.mark.virtual_clock
async def test_a_connection_counts_from_before_its_handshake() -> None:
    async with serving() as served:
        silent = []
        for _ in range(LIMITS.max_connections):
            silent.append(served.connect(handshake=trio.sleep_forever))
            await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        (response,) = await served.connect().exchange(b"GET /a HTTP/1.0\r\n\r\n")
        assert response.status == 200
        assert await silent[0].until_closed() == b""
        assert trio.current_time() == started
        assert await silent[1].until_closed() == b""
        assert trio.current_time() - started == LIMITS.handshake


@pytest.mark.virtual_clock
async def test_a_handshake_that_fails_ends_its_connection_and_gives_its_place_back() -> None:
    async def fail() -> bytes:
        raise trio.BrokenResourceError

    async with serving(attrs.evolve(LIMITS, max_connections=1)) as served:
        for _ in range(3):
            assert await served.connect(handshake=fail).until_closed() == b""
        (response,) = await served.connect().exchange(b"GET /a HTTP/1.0\r\n\r\n")
        assert response.status == 200


@pytest.mark.virtual_clock
async def test_a_source_with_many_connections_loses_its_own_first() -> None:
    async with serving(attrs.evolve(LIMITS, max_per_source=2)) as served:
        clients = []
        for source in ("other", "greedy", "greedy", "greedy"):
            clients.append(served.connect(source))
            await trio.testing.wait_all_tasks_blocked()
        other, first, second, third = clients
        assert await first.until_closed() == b""
        # All seats are taken: of the source with most connections, the longest waiting goes, not the longest of all.
        newcomer = served.connect("newcomer")
        assert await second.until_closed() == b""
        for client in (other, third, newcomer):
            (response,) = await client.exchange(b"GET /a HTTP/1.0\r\n\r\n")
            assert response.status == 200


@pytest.mark.virtual_clock
@pytest.mark.parametrize("limits", [LIMITS, attrs.evolve(LIMITS, max_connections=99, max_per_source=3)])
async def test_where_all_connections_are_being_answered_another_is_refused(limits: HttpLimits) -> None:
    async def answer(_request: Request) -> Streamed:
        return Streamed(run=counting, content_type="text/plain")

    async with trio.open_nursery() as nursery:
        served = Serving(HttpServer(answer, structlog.get_logger(), limits), nursery)
        busy = [served.connect() for _ in range(3)]
        for client in busy:
            await client.stream.send_all(HEAD % b"/a")
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        assert await served.connect().until_closed() == b""
        assert trio.current_time() == started
        await busy[0].stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        again = served.connect()
        await again.stream.send_all(HEAD % b"/a")
        assert await again.stream.receive_some(100)
        nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
async def test_a_client_that_leaves_at_any_byte_is_forgotten() -> None:
    request = HEAD % b"/large"
    for size in range(len(request) + 1):
        async with serving() as served:
            client = served.connect()
            await client.stream.send_all(request[:size])
            await trio.testing.wait_all_tasks_blocked()
            await client.stream.aclose()


async def test_pages_are_served_on_a_socket_and_a_close_does_not_lose_the_response() -> None:
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(partial(serve_pages, respond, ("127.0.0.1", 0), log=structlog.get_logger()))
        host, _, port = url.removeprefix("http://").partition(":")
        client = Client(await trio.open_tcp_stream(host, int(port)))
        # More than the server reads before it answers: closed at once, the kernel would send a reset in its place.
        request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50000
        with trio.fail_after(PATIENCE):
            await client.stream.send_all(request)
            (response,) = parse(await client.until_closed())
        assert response.status == 405
        await client.stream.aclose()
        nursery.cancel_scope.cancel()


async def test_an_address_in_use_is_an_error() -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(serve_pages, respond, log=structlog.get_logger())
        url: str = await nursery.start(serve, ("127.0.0.1", 0))
        with pytest.raises(OSError, match="in use"):
            await serve(("127.0.0.1", int(url.rpartition(":")[2])))
        nursery.cancel_scope.cancel()


async def counting(send: Send) -> None:
    """Numbers, until the client has enough."""
    for number in itertools.count():
        await send(f"{number}\n".encode())
        await trio.sleep(1)


@asynccontextmanager
async def streaming(run: Callable[[Send], Awaitable[None]]) -> AsyncIterator[tuple[Client, trio.Event]]:
    """A connection whose every response is a stream, and the event of its end."""
    ended = trio.Event()

    async def answer(request: Request) -> Streamed:
        return Streamed(run=run, content_type="text/event-stream", headers=(("x-asked", request.header("x-ask")),))

    async def converse(stream: trio.abc.Stream) -> None:
        await HttpServer(answer, structlog.get_logger(), LIMITS).converse(stream)
        ended.set()

    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(converse, theirs)
        yield Client(ours), ended


@pytest.mark.virtual_clock
async def test_a_stream_is_sent_as_it_comes_and_ends_when_the_client_leaves() -> None:
    async with streaming(counting) as (client, ended):
        await client.stream.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\nX-Ask: me\r\n\r\n")
        await trio.sleep(2.5)
        data = bytes(await client.stream.receive_some(65536))
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"content-type: text/event-stream" in head
        assert b"x-asked: me" in head
        assert b"connection: close" in head
        assert body == b"2\r\n0\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n"
        await client.stream.aclose()
        await ended.wait()


@pytest.mark.virtual_clock
async def test_a_stream_that_ends_is_whole_and_one_that_fails_is_not() -> None:
    async def once(send: Send) -> None:
        await send(b"all")

    async def broken(send: Send) -> None:
        await send(b"some")
        raise KeyError("a secret")

    for run, ending in ((once, b"3\r\nall\r\n0\r\n\r\n"), (broken, b"4\r\nsome\r\n")):
        async with streaming(run) as (client, ended):
            await client.stream.send_all(HEAD % b"/a")
            assert (await client.until_closed()).partition(b"\r\n\r\n")[2] == ending
            await ended.wait()


@pytest.mark.virtual_clock
async def test_a_client_that_takes_nothing_loses_its_stream() -> None:
    async def flood(send: Send) -> None:
        while True:
            await send(LARGE)

    ours, theirs = trio.testing.lockstep_stream_pair()

    async def answer(_request: Request) -> Streamed:
        return Streamed(run=flood, content_type="text/plain")

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HttpServer(answer, structlog.get_logger(), LIMITS).converse, theirs)
        await ours.send_all(HEAD % b"/a")
        assert await ours.receive_some(100)
    # The connection has ended by itself.
    assert trio.current_time() - begun <= LIMITS.write + LIMITS.linger


@pytest.mark.virtual_clock
async def test_a_client_that_takes_a_large_piece_slowly_gets_it() -> None:
    async def once(send: Send) -> None:
        await send(LARGE)

    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.lockstep_stream_pair()

        async def answer(_request: Request) -> Streamed:
            return Streamed(run=once, content_type="text/plain")

        nursery.start_soon(HttpServer(answer, structlog.get_logger(), LIMITS).converse, theirs)
        await ours.send_all(HEAD % b"/a")
        begun, taken = trio.current_time(), b""
        while part := await ours.receive_some(8 * 1024):
            taken += part
            await trio.sleep(1)
        assert trio.current_time() - begun > 3 * LIMITS.write
        assert taken.count(b"x" * 8) >= len(LARGE) // 8 - 32
        assert taken.endswith(b"\r\n0\r\n\r\n")
        await ours.aclose()


@pytest.mark.virtual_clock
async def test_the_head_of_a_stream_can_be_had_alone() -> None:
    async with streaming(counting) as (client, ended):
        await client.stream.send_all(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.until_closed()).endswith(b"\r\n\r\n")
        await ended.wait()


@pytest.mark.virtual_clock
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_is_kept_for_a_stream_is_given_back_once_however_it_ends(method: str) -> None:
    given_back: list[str] = []

    async def answer(_request: Request) -> Streamed:
        return Streamed(run=counting, content_type="text/plain", end=partial(given_back.append, "once"))

    for leaves_first in (False, True):
        async with trio.open_nursery() as nursery:
            client = Serving(HttpServer(answer, structlog.get_logger(), LIMITS), nursery).connect()
            await client.stream.send_all(f"{method} /a HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            if not leaves_first:
                assert await client.stream.receive_some(100)
            await client.stream.aclose()
        assert len(given_back) == 1
        given_back.clear()

"""Who is answered at a place, and how much of it."""

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import AsyncIterator

import dns.message
import dns.rcode
import pytest
import trio

from nodespan.controllers.dns import listening
from nodespan.controllers.dns.answering import Answering
from nodespan.controllers.dns.listening import BURST, RATE, Listener, ListenError, Meter, Place, bind
from nodespan.controllers.dns.metrics import Counts, Outcome
from nodespan.controllers.dns.names import Names
from nodespan.controllers.dns.upstreams import Upstreams
from nodespan.resources.cluster import MemberNameSpec
from nodespan.resources.network import StaticHostSpec
from tests.support.ports import free_port

HOST, PEER, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@contextlib.asynccontextmanager
async def listener(*, is_mesh: bool = False) -> AsyncIterator[tuple[int, Counts]]:
    """One at the loopback, that knows a member and a host; as one of a mesh it takes `PEER` only for a host of it."""
    counts, names = Counts(), Names("mesh.internal")
    names.set_member("db.mesh.internal", MemberNameSpec(addresses=("192.0.2.1",), ttl=5))
    names.set_host("printer", StaticHostSpec(addresses=("192.0.2.9",)))
    port = free_port(HOST)
    source = ipaddress.ip_network(PEER if is_mesh else "127.0.0.0/8")
    place = Place(HOST, port, (source,), is_mesh=is_mesh)
    answering = Answering(names, Upstreams(counts, lambda _server: None), counts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Listener(place, bind(place), answering, counts).run)
        yield port, counts
        nursery.cancel_scope.cancel()


def datagrams(source: str, port: int) -> trio.socket.SocketType:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((source, 0))
    opened.connect((HOST, port))
    opened.setblocking(False)  # noqa: FBT003
    return trio.socket.from_stdlib_socket(opened)


async def ask(opened: trio.socket.SocketType, name: str) -> dns.message.Message:
    await opened.send(dns.message.make_query(name, "A").to_wire())
    return dns.message.from_wire(await opened.recv(4096))


async def until(counts: Counts, dropped: int) -> None:
    while counts.queries[Outcome.DROPPED] < dropped:  # noqa: ASYNC110  # only the kernel knows sooner
        await trio.sleep(0.01)


def test_a_place_beyond_the_loopback_is_that_of_the_mesh() -> None:
    mesh = ipaddress.ip_network("fd00:db8::/64")
    local, remote = Place.parse("127.0.0.153:53", mesh), Place.parse("[fd00:db8::1]:53", mesh)
    assert (local.address, local.port, local.is_mesh) == ("127.0.0.153", 53, False)
    assert (remote.address, remote.port, remote.is_mesh, remote.sources) == ("fd00:db8::1", 53, True, (mesh,))
    # Without a subnet nobody is answered.
    assert Place.parse("[fd00:db8::1]:53", None).sources == ()


def test_a_host_is_answered_as_often_as_it_may_ask_and_others_beside_it() -> None:
    meter = Meter()
    assert sum(meter.admits("a", 0.0) for _ in range(2 * int(BURST))) == BURST
    assert meter.admits("b", 0.0)
    assert sum(meter.admits("a", 1.0) for _ in range(2 * int(BURST))) == RATE
    assert sum(meter.admits("a", 1000.0) for _ in range(2 * int(BURST))) == BURST
    # Who asks under ever new addresses does not fill the memory.
    for number in range(10_000):
        meter.admits(str(number), 1000.0)
    assert len(meter._allowance) <= 4096


async def test_in_the_mesh_its_hosts_are_answered_for_members_only() -> None:
    async with listener(is_mesh=True) as (port, counts):
        with datagrams(PEER, port) as peer, datagrams(STRANGER, port) as stranger:
            assert (await ask(peer, "db.mesh.internal")).answer[0][0].to_text() == "192.0.2.1"
            for name in ("printer", "localhost", "example.org"):
                assert (await ask(peer, name)).rcode() == dns.rcode.REFUSED
            await stranger.send(dns.message.make_query("db.mesh.internal", "A").to_wire())
            await until(counts, 1)
        # A connection of a stranger is closed at once.
        stream = await trio.open_tcp_stream(HOST, port, local_address=STRANGER)
        async with stream:
            assert await stream.receive_some() == b""


async def test_packets_that_are_no_queries_disturb_nobody() -> None:
    async with listener() as (port, counts):
        with datagrams(HOST, port) as opened:
            for data in (b"", b"\0", 4000 * b"\xff", b"\0\0\x80\0\0\1\0\0\0\0\0\0\0\0\1\0\1"):
                await opened.send(data)
            await until(counts, 4)
            assert (await ask(opened, "printer")).answer[0][0].to_text() == "192.0.2.9"


async def test_a_connection_may_ask_much_and_one_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    question = dns.message.make_query("printer", "A").to_wire()
    framed = len(question).to_bytes(2) + question
    async with listener() as (port, _), await trio.open_tcp_stream(HOST, port) as stream:
        # Two at once, and one in pieces.
        await stream.send_all(2 * framed + framed[:5])
        received = b""
        while len(received) < 2 * (2 + len(question) + 16):
            received += await stream.receive_some()
        await stream.send_all(framed[5:])
        assert await stream.receive_some() != b""
        # Something that is no query ends the connection.
        await stream.send_all(b"\0\x03abc")
        while await stream.receive_some():
            pass
        monkeypatch.setattr(listening, "IDLE", 0.05)
        async with await trio.open_tcp_stream(HOST, port) as silent:
            assert await silent.receive_some() == b""


async def test_connections_of_one_client_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_OF_ONE_CLIENT", 3)
    async with listener() as (port, counts), contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(await trio.open_tcp_stream(HOST, port))
        refused = await stack.enter_async_context(await trio.open_tcp_stream(HOST, port))
        assert await refused.receive_some() == b""
        assert counts.queries[Outcome.DROPPED] == 1


def test_where_another_program_listens_nothing_is_taken() -> None:
    port = free_port(HOST)
    place = Place(HOST, port, (), is_mesh=False)
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind((HOST, port))
            if kind == socket.SOCK_STREAM:
                other.listen()
            with pytest.raises(ListenError, match="in use by another program"):
                bind(place)
    # Nothing remained open of what failed.
    bind(place).close()


def test_the_address_of_the_mesh_is_listened_at_before_the_link_is_there() -> None:
    bind(Place("fd00:db8::1", free_port(HOST), (), is_mesh=True)).close()
    with pytest.raises(ListenError, match="does not have the address"):
        bind(Place("192.0.2.77", free_port(HOST), (), is_mesh=False))


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EMFILE])
@pytest.mark.parametrize("failing", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_that_cannot_be_made_is_a_problem_of_its_place(
    monkeypatch: pytest.MonkeyPatch, number: int, failing: int
) -> None:
    made: list[socket.socket] = []

    def make(_family: int, kind: int) -> socket.socket:
        if kind == failing:
            raise OSError(number, os.strerror(number))
        made.append(real(socket.AF_INET, kind))
        return made[-1]

    real = socket.socket
    monkeypatch.setattr(socket, "socket", make)
    message = "this machine has no IPv6" if number == errno.EAFNOSUPPORT else os.strerror(number)
    with pytest.raises(ListenError, match=message):
        bind(Place("::1", 5353, (), is_mesh=False))
    assert all(each.fileno() == -1 for each in made)

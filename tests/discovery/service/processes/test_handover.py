"""How connections go to another process: none is lost because that one is busy, and one that is gone is given up."""

import socket
import ssl
import sys
from functools import partial
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from nodespan.discovery.service.processes import handover
from nodespan.discovery.service.processes.handover import Handover
from nodespan.discovery.service.processes.team import Team
from nodespan.discovery.service.server import serve_discovery
from nodespan.runtime.api.grpc import Peer
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.api.grpc.output import MAX_WAITING
from nodespan.runtime.api.grpc.probing import _TCP_NOTSENT_LOWAT
from nodespan.runtime.api.grpc.wire import TLSWire, Wire
from tests.discovery.service.processes.test_team import HERE, OF_0, OF_1
from tests.discovery.service.rpc import connected
from tests.support.certificates import Authority

LOG = structlog.get_logger()
# More than the kernel's queue for datagrams has room for.
MANY = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 50


def _streams() -> tuple[trio.SocketStream, trio.SocketStream]:
    first, second = trio.socket.socketpair()
    return trio.SocketStream(first), trio.SocketStream(second)


def _receiver(folder: Path) -> trio.socket.SocketType:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    # Not with trio, which does it in a thread, for which virtual time does not wait.
    receiver.bind(str(Team(1, 2, folder).connections_at(1)))
    return trio.socket.from_stdlib_socket(receiver)


async def _hand_over_many(folder: Path) -> None:
    here = Handover(Team(0, 2, folder), {}, LOG)
    near, far = _streams()
    async with near, far, trio.open_nursery() as nursery:
        for number in range(MANY):
            peer = Peer(port=number)
            nursery.start_soon(here.hand_over, 1, near, Wire(near), peer, b"")


@pytest.mark.virtual_clock
async def test_connections_wait_for_a_process_whose_queue_is_full(tmp_path: Path) -> None:
    with _receiver(tmp_path) as receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hand_over_many, tmp_path)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(MANY):
                await receiver.recvmsg(1000)
    assert trio.current_time() < handover._PATIENCE


@pytest.mark.virtual_clock
async def test_connections_for_a_process_that_takes_none_are_given_up(tmp_path: Path) -> None:
    started = trio.current_time()
    with _receiver(tmp_path):
        await _hand_over_many(tmp_path)
    assert trio.current_time() - started == pytest.approx(handover._PATIENCE)


async def test_what_a_peer_does_not_read_over_tls_does_not_pile_up_between_the_processes(tmp_path: Path) -> None:
    here, keys = Handover(Team(0, 2, tmp_path), {}, LOG), Authority("test").issue(tmp_path, "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*keys)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        transport = await listener.accept()
        async with client, transport:
            wire = TLSWire(transport, context, lambda _: 0.0)
            with _receiver(tmp_path) as receiver:
                nursery.start_soon(here.hand_over, 1, transport, wire, Peer(), b"")
                _, rights, _, _ = await receiver.recvmsg(1000, socket.CMSG_SPACE(4))
            with socket.socket(fileno=int.from_bytes(rights[0][2], sys.byteorder)) as taken:
                # The kernel doubles it, for its own use.
                assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * MAX_WAITING
            assert transport.getsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT) == MAX_WAITING
            nursery.cancel_scope.cancel()


async def test_the_last_bytes_arrive_when_the_process_that_serves_ends_first() -> None:
    (transport, peer), (near, owner) = _streams(), _streams()
    async with transport, near, peer, trio.open_nursery() as nursery:
        nursery.start_soon(handover._carry, Wire(transport), near)
        async with owner:
            await peer.send_all(b"request")
            assert await owner.receive_some() == b"request"
            await owner.send_all(b"goodbye")
        assert await peer.receive_some() == b"goodbye"
        await peer.send_all(b"too late")
        assert await peer.receive_some() == b""
        await peer.send_eof()


@pytest.mark.virtual_clock
async def test_a_peer_that_does_not_end_is_not_waited_for_long() -> None:
    (transport, peer), (near, owner) = _streams(), _streams()
    async with transport, near, peer:
        await owner.aclose()
        await handover._carry(Wire(transport), near)
    assert trio.current_time() == pytest.approx(handover._GOODBYE, abs=0.01)


async def test_what_is_on_its_way_arrives_when_the_peer_ends_first() -> None:
    (transport, peer), (near, owner) = _streams(), _streams()
    async with transport, near, peer, owner, trio.open_nursery() as nursery:
        nursery.start_soon(handover._carry, Wire(transport), near)
        await peer.send_eof()
        assert await owner.receive_some() == b""
        await owner.send_all(b"answer")
        await owner.send_eof()
        assert await peer.receive_some() == b"answer"


async def test_a_connection_for_a_process_that_is_gone_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "_PATIENCE", 0.05)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(serve_discovery, HERE, team=Team(0, 2, tmp_path)))
        async with connected(bound.port) as client:
            with pytest.raises(CallError):
                await client.list(cluster=OF_1)
        async with connected(bound.port) as client:
            assert await client.list(cluster=OF_0) == {}
        nursery.cancel_scope.cancel()

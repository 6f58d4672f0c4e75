"""Connections that go from the process that accepted them to the one that serves them.

A connection is one datagram: the peer's address, what was received so far, and the socket. Over TLS the socket is one
end of a pair, and the process that accepted it carries bytes between the two for as long as the connection lasts.
"""

import socket
import struct
from contextlib import suppress
from ipaddress import ip_address

import msgpack
import trio
from google.protobuf.message import DecodeError

from nodespan.discovery.relay.parts import owner_of_key
from nodespan.discovery.relay.wire import METHOD, Hello, WireError
from nodespan.discovery.service.processes.team import Team
from nodespan.runtime.api.grpc import Method, Peer, Server
from nodespan.runtime.api.grpc.output import MAX_WAITING
from nodespan.runtime.api.grpc.peek import MOST_KEPT
from nodespan.runtime.api.grpc.rare_lines import RareLine
from nodespan.runtime.api.grpc.wire import TLSWire, Wire
from nodespan.runtime.process.logger import Logger

_MOST = MOST_KEPT + 64 * 1024
_CHUNK = 64 * 1024
_DESCRIPTOR = struct.Struct("i")
# For how many seconds a process is looked for that has died or has a full queue, and how many lie between two looks.
# One that dies is back after the longest wait of its supervisor (5 s) and its start, at most.
_PATIENCE = 15.0
_BETWEEN = 0.1
# How long, in seconds, a peer may take to end its side when the process that serves it has ended the other.
_GOODBYE = 1.0


class Handover:
    """What `Server` needs to give connections away: see `Elsewhere`."""

    def __init__(self, team: Team, methods: dict[str, Method], log: Logger, *, relays: bool = False) -> None:
        self._team = team
        self._relays = relays
        self._methods = methods
        self._log = log

    def place_of(self, path: str, message: bytes) -> int | None:
        """The process of the cluster that a call is about, or of the relay's client; None for this one, or for none."""
        if self._relays and path == METHOD:
            try:
                owner = owner_of_key(Hello.decode(message).key, self._team.count)
            except WireError:
                return None
            return None if owner == self._team.place else owner
        method = self._methods.get(path)
        if method is None or method.request is None:
            return None
        try:
            request = method.request.FromString(message)
        except DecodeError:
            return None
        cluster = getattr(request, "cluster_id", "")
        return self._team.other_owner(cluster) if cluster else None

    async def hand_over(
        self, place: int, transport: trio.SocketStream, wire: Wire, peer: Peer, received: bytes
    ) -> None:
        """Give a connection to a process; over TLS, carry its bytes until it is over."""
        if not isinstance(wire, TLSWire):
            await self._send(place, transport.socket.fileno(), peer, received)
            return
        # As the process that serves a call both ways asks of a socket of its own: what waits here is not dropped.
        wire.keep_little(MAX_WAITING)
        wire.read_much()
        ours, theirs = trio.socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_WAITING)
        near = trio.SocketStream(ours)
        try:
            with theirs:
                await self._send(place, theirs.fileno(), peer, received)
            await _carry(wire, near)
        finally:
            await trio.aclose_forcefully(near)

    async def _send(self, place: int, descriptor: int, peer: Peer, received: bytes) -> None:
        address = "" if peer.address is None else str(peer.address)
        local = "" if peer.local is None else str(peer.local)
        data = msgpack.packb((address, peer.port, local, received))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(descriptor))]
        with trio.move_on_after(_PATIENCE):
            while True:
                # A new socket for each try: one is connected to a process, and waits for room only in that one's queue.
                sender = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                with sender, suppress(FileNotFoundError, ConnectionRefusedError):
                    await sender.connect(str(self._team.connections_at(place)))
                    await sender.sendmsg([data], rights)
                    return
                await trio.sleep(_BETWEEN)
        self._log.warning("a connection was closed: the process that serves its cluster takes none", process=place)


async def _carry(wire: Wire, near: trio.SocketStream) -> None:
    """Carry bytes between a peer and the process that serves it, until both have ended or the peer is gone.

    When that process ends first, what the peer still says is read and dropped: the peer would lose the last bytes for
    it otherwise.
    """
    async with trio.open_nursery() as nursery:

        async def from_peer() -> None:
            try:
                while data := await wire.read():
                    with suppress(trio.BrokenResourceError):
                        await near.send_all(data)
                with suppress(trio.BrokenResourceError):
                    await near.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                nursery.cancel_scope.cancel()

        nursery.start_soon(from_peer)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await near.receive_some(_CHUNK):
                wire.send(data)
                await wire.drain()
        wire.end()
        nursery.cancel_scope.deadline = trio.current_time() + _GOODBYE


async def receive_connections(
    team: Team, server: Server, log: Logger, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Have what the other processes hand over served by a server that serves already, until cancelled."""
    path = team.connections_at(team.place)
    path.unlink(missing_ok=True)
    text = "a connection was handed over without its socket: are there too many open files?"
    without_socket = RareLine(log.error, text)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        await receiver.bind(str(path))
        task_status.started()
        while True:
            data, rights, _, _ = await receiver.recvmsg(_MOST, socket.CMSG_SPACE(_DESCRIPTOR.size))
            descriptors = [
                _DESCRIPTOR.unpack_from(content)[0]
                for level, kind, content in rights
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            ]
            if not descriptors:
                without_socket.due()
                continue
            address, port, local, received = msgpack.unpackb(data)
            peer = Peer(
                address=ip_address(address) if address else None, port=port, local=ip_address(local) if local else None
            )
            transport = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=descriptors[0])))
            server.adopt(transport, peer, received)

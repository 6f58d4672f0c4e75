"""The relay: what it carries and how fast, against the least that Python can do with TLS, and what it costs discovery.

Each end is a process, as the relay is. Packets come from this process by UDP, as WireGuard would send them, and come
back to it at the other end.
"""

import functools
import logging
import os
import random
import secrets
import select
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import attrs
import grpc
import structlog
import trio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.discovery import SERVICE, _allow_many_files, _resident_kib, _trust
from bench.measure import Figure
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.relay.client import Channels, RelayClient, RelayClientOptions
from nodespan.discovery.relay.datagrams import Datagrams
from nodespan.discovery.relay.relay import RelayOptions
from nodespan.discovery.relay.rules import RelayLimits
from nodespan.discovery.relay.wire import encode_address
from nodespan.discovery.service.server import DiscoveryOptions, serve_discovery
from nodespan.discovery.transport import GrpcTransport
from nodespan.discovery.wire import server_pb2 as wire

HOST = "127.0.0.1"
SIZE, SECONDS = 1_420, 2.0
# So many packets are on their way at most: more would only be lost in the buffers of the sockets.
IN_FLIGHT = 160
RATE, PACKETS = 1_000, 3_000
IDLE = 1_000
HELLOS = 300
REPEATS = 3
# What an end reads in a row.
AT_ONCE = 32
_NUMBER = struct.Struct("<IIQ")
_LENGTH = struct.Struct(">H")


def packet(number: int, size: int = SIZE) -> bytes:
    """A packet that a relay takes for WireGuard's, with a number."""
    return _NUMBER.pack(4, 0, number).ljust(size, b"\0")


@attrs.frozen
class Ways:
    """What is sent from one socket to `way` comes to the other one; `port` is that of the service in between."""

    near: socket.socket
    far: socket.socket
    way: int
    port: int
    trust: Path
    # The processes in between.
    processes: tuple[int, ...]

    def processor(self) -> float:
        """The processor time that they have used, in seconds."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self.processes) / 1e9

    def send(self, number: int, size: int = SIZE) -> None:
        """Send a packet to the far end."""
        self.near.sendto(packet(number, size), (HOST, self.way))

    def received(self) -> int | None:
        """The number of the next packet at the far end; None if there is none."""
        try:
            return int(_NUMBER.unpack_from(self.far.recv(2 * SIZE))[2])
        except BlockingIOError:
            return None


def _udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    made.bind((HOST, 0))
    return made


@attrs.frozen
class Program:
    """This module as a process: what it says, line by line, and what it is told."""

    process: "subprocess.Popen[str]"

    def answer(self) -> str:
        """The next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: object) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


@contextmanager
def _program(*arguments: object, nice: int = 0) -> Iterator[Program]:
    command = (sys.executable, "-m", "bench.relay", *map(str, arguments))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        os.setpriority(os.PRIO_PROCESS, process.pid, nice)
        try:
            yield Program(process)
        finally:
            process.kill()


@contextmanager
def _between(service: str, end: str, nice: int = 0) -> Iterator[Ways]:
    """Two ends of a service in between: each a process."""
    with ExitStack() as stack:
        trust = stack.enter_context(_trust())
        between = stack.enter_context(_program(service, trust))
        port = int(between.answer())
        sockets = [stack.enter_context(_udp()) for _ in range(2)]
        ends = [stack.enter_context(_program(end, trust, port, each.getsockname()[1], nice=nice)) for each in sockets]
        # The address of each end, for the other one; and then the local one for what goes there.
        addresses = [each.answer() for each in ends]
        for each, other in zip(ends, reversed(addresses), strict=True):
            each.tell(other)
        ways = [int(each.answer()) for each in ends]
        processes = tuple(each.process.pid for each in (between, *ends))
        yield Ways(sockets[0], sockets[1], ways[0], port, trust, processes)


def _relayed(nice: int = 0) -> AbstractContextManager[Ways]:
    """Over a relay with two clients, by TLS."""
    return _between("serve", "client", nice)


def _bare() -> AbstractContextManager[Ways]:
    """The same packets by the least that takes them over TLS: a length before each, and a proxy that copies."""
    return _between("bare-proxy", "bare-end")


def _throughput(ways: Ways) -> float:
    """Microseconds of processor for each packet that came, with as many on their way as get through.

    Where processors are the bound, as for any of these, this is the throughput; and other load does not change it.
    """
    poll = select.epoll()
    poll.register(ways.far, select.EPOLLIN)
    sent = received = 0
    heard = began = time.perf_counter()
    until = began + SECONDS
    processor = ways.processor()
    while (now := time.perf_counter()) < until:
        while sent - received < IN_FLIGHT:
            ways.send(sent)
            sent += 1
        poll.poll(0.05)
        while ways.received() is not None:
            received += 1
            heard = now
        if now - heard > 1:
            # What has not come by now is lost.
            sent, heard = received, now
    return (ways.processor() - processor) / received * 1e6


def throughput() -> Figure:
    """Packets of the usual size from one relayed node to another."""
    ours, baseline = [], []
    for _ in range(REPEATS):
        with _relayed() as ways:
            ours.append(_throughput(ways))
        with _bare() as ways:
            baseline.append(_throughput(ways))
    return Figure("a packet between relayed nodes, against a bare TLS proxy, processor", min(ours), min(baseline), 2)


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def _one_way(ways: Ways) -> float:
    """The 99th percentile of how long a packet takes, in microseconds."""
    poll = select.epoll()
    poll.register(ways.far, select.EPOLLIN)
    times: list[float] = []
    sent: dict[int, float] = {}
    began = time.perf_counter()
    number = 0
    while number < PACKETS or (sent and time.perf_counter() - began < PACKETS / RATE + 1):
        now = time.perf_counter()
        if number < PACKETS and now >= began + number / RATE:
            sent[number] = now
            ways.send(number, 200)
            number += 1
            continue
        poll.poll(max(0.0, min(0.01, began + number / RATE - now)))
        while (came := ways.received()) is not None:
            if came in sent:
                times.append(time.perf_counter() - sent.pop(came))
    assert len(times) > 0.99 * PACKETS, f"only {len(times)} packets came"
    return _p99(times) * 1e6


def _echo() -> float:
    """The same of a bare TLS echo: there and back."""
    with _trust() as trust, _program("echo", trust) as program:
        return trio.run(_echoes, int(program.answer()), trust)


async def _echoes(port: int, trust: Path) -> float:
    stream = await trio.open_ssl_over_tcp_stream(HOST, port, ssl_context=_context(trust))
    sent: dict[int, float] = {}
    times: list[float] = []

    async def receive() -> None:
        rest = b""
        while len(times) < PACKETS:
            rest += await stream.receive_some()
            while len(rest) >= 200:
                times.append(time.perf_counter() - sent.pop(_NUMBER.unpack_from(rest)[2]))
                rest = rest[200:]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        began = time.perf_counter()
        for number in range(PACKETS):
            await trio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            sent[number] = time.perf_counter()
            await stream.send_all(packet(number, 200))
    return _p99(times) * 1e6


def latency() -> Figure:
    """1,000 packets a second from one relayed node to another."""
    ours, baseline = [], []
    for _ in range(REPEATS):
        with _relayed() as ways:
            ours.append(_one_way(ways))
        baseline.append(_echo())
    what = "1,000 packets/s between relayed nodes, p99, against a TLS echo"
    return Figure(what, min(ours), min(baseline), 3)


def idle() -> Figure:
    """A node that has an address at the relay, and no traffic."""
    ours = [_memory("many-clients") for _ in range(REPEATS)]
    baseline = [_memory("many-watchers") for _ in range(REPEATS)]
    return Figure("memory of an idle relayed node, against an idle watcher", min(ours), min(baseline), 2, "KiB", 1.5)


def _memory(role: str) -> float:
    """KiB of the service for each of many clients of a kind."""
    with _program("serve") as service:
        port = service.answer()
        before = _resident_kib(service.process.pid)
        with _program(role, port) as clients:
            assert clients.answer() == "connected"
            return (_resident_kib(service.process.pid) - before) / IDLE


def _hellos(port: int, trust: Path) -> float:
    """The median of the time that a hello takes, in microseconds."""
    credentials = grpc.ssl_channel_credentials((trust / "ca").read_bytes())
    with grpc.secure_channel(f"{HOST}:{port}", credentials) as channel:
        hello = channel.unary_unary(
            f"{SERVICE}/Hello",
            request_serializer=wire.HelloRequest.SerializeToString,
            response_deserializer=wire.HelloResponse.FromString,
        )
        request = wire.HelloRequest(cluster_id="c", client_version="v1.9.0")
        times = []
        for _ in range(HELLOS):
            began = time.perf_counter()
            hello(request, timeout=10)
            times.append(time.perf_counter() - began)
            time.sleep(0.002)
    return statistics.median(times) * 1e6


def fairness() -> Figure:
    """Discovery, beside a relay that carries as much as it can, whose clients leave it the processor."""
    ours, baseline = [], []
    for _ in range(REPEATS):
        with _relayed(nice=19) as ways:
            baseline.append(_hellos(ways.port, ways.trust))
            with _flooding(ways):
                ours.append(_hellos(ways.port, ways.trust))
    return Figure("discovery, a hello, while the relay is saturated against idle", min(ours), min(baseline), 3)


@contextmanager
def _flooding(ways: Ways) -> Iterator[None]:
    """Send without a pause, from a process of its own that leaves others the processor."""
    child = os.fork()
    if child == 0:
        os.nice(19)
        while True:
            try:
                ways.send(0)
            except BlockingIOError:
                select.select((), (ways.near,), ())
    try:
        time.sleep(0.5)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


FIGURES = (throughput, latency, idle, fairness)


# The other processes.


def _context(trust: Path, *, server: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    if server:
        context.load_cert_chain(trust / "crt", trust / "key")
    else:
        context.load_verify_locations(trust / "ca")
    return context


async def _serve(trust: str = "") -> None:
    limits = RelayLimits(clients_per_source=2 * IDLE, clients_per_cluster=2 * IDLE, rate=1e9, cluster_rate=1e9)
    limits = attrs.evolve(limits, total_rate=1e9, beginnings_per_source=2 * IDLE)
    options = DiscoveryOptions(
        listen=(HOST, 0),
        rate=0,
        certificate=(Path(trust) / "crt", Path(trust) / "key") if trust else None,
        relay=RelayOptions(addresses=(ip_address(HOST),), limits=limits),
    )
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve_discovery, options)
        print(bound.port, flush=True)


@attrs.define(eq=False)
class _Local:
    """A local address for what is at the other side of a stream, as an agent has them."""

    opened: socket.socket
    send: Callable[[list[bytes]], None]

    def received(self, packets: list[bytes]) -> None:
        self.send(packets)

    @classmethod
    def make(cls, wireguard: int, send: Callable[[list[bytes]], None]) -> "_Local":
        """One that takes packets from this port only."""
        opened = _udp()
        opened.connect((HOST, wireguard))
        return cls(opened, send)


def _client(target: DialAddress, channels: Channels, receive: Callable[[bytes, Sequence[bytes]], None]) -> RelayClient:
    private = X25519PrivateKey.generate()
    options = RelayClientOptions(
        target=target,
        private_key=private.private_bytes_raw(),
        public_key=private.public_key().public_bytes_raw(),
        cluster_id="bench",
    )
    log = structlog.get_logger()
    return RelayClient(
        options, channels, receive, on_change=lambda: None, log=log, random=random.Random(secrets.randbits(32))
    )


async def _connected(clients: Sequence[RelayClient]) -> None:
    while not all(client.is_connected for client in clients):  # noqa: ASYNC110  # it is not in the way
        await trio.sleep(0.01)  # it is looked at once in a while, for not to be in the way


async def _relayed_end(trust: str, port: int, wireguard: int) -> None:
    def receive(_address: bytes, packets: Sequence[bytes]) -> None:
        for each in packets:
            local.opened.send(each)

    channels = GrpcTransport((Path(trust) / "ca").read_bytes, dict)
    client = _client(DialAddress(f"{HOST}:{port}"), channels, receive)
    datagrams: Datagrams[_Local] = Datagrams(connected=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        await _connected([client])
        print(client.endpoints[0], flush=True)
        other = sys.stdin.readline().strip().rpartition(":")
        address = encode_address((other[0], int(other[2])))
        local = _Local.make(wireguard, lambda packets: client.send(address, packets))
        datagrams.add(local.opened, local)
        print(local.opened.getsockname()[1], flush=True)
        await datagrams.run()


async def _many_clients(port: int) -> None:
    channels = GrpcTransport(environment=dict)
    target = DialAddress(f"{HOST}:{port}", insecure=True)
    async with trio.open_nursery() as nursery:
        clients = [_client(target, channels, lambda _address, _packets: None) for _ in range(IDLE)]
        # Not all at once: of one address the service keeps so many connections without a request.
        for first in range(0, IDLE, 100):
            some = clients[first : first + 100]
            for client in some:
                nursery.start_soon(client.run)
            await _connected(some)
        print("connected", flush=True)


async def _many_watchers(port: int) -> None:
    channels = GrpcTransport(environment=dict)
    target = DialAddress(f"{HOST}:{port}", insecure=True)

    async def watch(*, task_status: trio.TaskStatus[None]) -> None:
        async with (
            channels.connect(target, keepalive=60) as connection,
            connection.watch(wire.WatchRequest(cluster_id="bench")) as messages,
        ):
            await anext(messages)
            task_status.started()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(IDLE):
            await nursery.start(watch)
        print("connected", flush=True)


async def _bare_proxy(trust: str) -> None:
    """Two connections, each of which gets what comes on the other one."""
    streams: list[trio.abc.Stream] = []
    complete = trio.Event()

    async def carry(stream: trio.SSLStream[trio.SocketStream]) -> None:
        streams.append(stream)
        if len(streams) == 2:
            complete.set()
        await complete.wait()
        other = next(each for each in streams if each is not stream)
        with suppress(trio.BrokenResourceError):  # the ends are killed
            async for data in stream:
                await other.send_all(data)

    await _tls_server(trust, carry)


async def _echo_server(trust: str) -> None:
    async def echo(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(data)

    await _tls_server(trust, echo)


async def _tls_server(trust: str, handle: Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]) -> None:
    listeners = await trio.open_ssl_over_tcp_listeners(0, _context(Path(trust), server=True), host=HOST)
    bound: trio.SocketListener = listeners[0].transport_listener  # type: ignore[assignment]
    print(bound.socket.getsockname()[1], flush=True)
    await trio.serve_listeners(handle, listeners)


async def _bare_end(trust: str, port: int, wireguard: int) -> None:
    stream = await trio.open_ssl_over_tcp_stream(HOST, port, ssl_context=_context(Path(trust)))
    await stream.do_handshake()
    print("ready", flush=True)
    sys.stdin.readline()
    local = _udp()
    local.connect((HOST, wireguard))
    print(local.getsockname()[1], flush=True)

    async def up() -> None:
        while True:
            await trio.lowlevel.wait_readable(local)
            parts: list[bytes] = []
            with suppress(BlockingIOError):
                while len(parts) < 2 * AT_ONCE:
                    data = local.recv(1 << 16)
                    parts += (_LENGTH.pack(len(data)), data)
            await stream.send_all(b"".join(parts))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(up)
        rest = b""
        async for part in stream:
            rest += part
            at = 0
            while len(rest) - at >= 2 and len(rest) - at >= 2 + (size := _LENGTH.unpack_from(rest, at)[0]):
                local.send(rest[at + 2 : at + 2 + size])
                at += 2 + size
            rest = rest[at:]


_ROLES: dict[str, Callable[..., Awaitable[None]]] = {
    "serve": _serve,
    "client": lambda trust, port, wireguard: _relayed_end(trust, int(port), int(wireguard)),
    "many-clients": lambda port: _many_clients(int(port)),
    "many-watchers": lambda port: _many_watchers(int(port)),
    "bare-proxy": _bare_proxy,
    "bare-end": lambda trust, port, wireguard: _bare_end(trust, int(port), int(wireguard)),
    "echo": _echo_server,
}


def _main(role: str, *arguments: str) -> None:
    _allow_many_files()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    trio.run(functools.partial(_ROLES[role], *arguments))


if __name__ == "__main__":
    _main(*sys.argv[1:])

"""The cost of notifying a large cluster of its own growth, at the discovery service.

Three processes: the service, the watchers, and this one, where the affiliates join.
"""

import functools
import gc
import logging
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import h2.config
import h2.connection
import h2.settings
import structlog
import trio
from hyperframe.frame import DataFrame

from bench.measure import Figure
from nodespan.discovery.service.server import DiscoveryOptions, serve_discovery
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc import frame
from nodespan.runtime.process import garbage
from tests.support.certificates import Authority

HOST = "127.0.0.1"
WATCHERS = 1_000
AFFILIATES = 1_000
# Other load on the machine only adds time: the best of this many runs counts.
REPEATS = 3
# The limit for the memory of a watcher, in KiB.
ALLOWANCE = 64
# Of the notifications written one by one, this many per stream are measured: they fit into its idle socket.
SAMPLE = 50
CLUSTER = "8XuV9TZHW08DOk3bVxQjH9ih_TBKjnh-j44tsCLSBzo="
SERVICE = "/sidero.discovery.server.Cluster"
WATCH = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", f"{SERVICE}/Watch"),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
WINDOW = 2**31 - 1
Answer = Callable[[], str]


def affiliate(number: int) -> wire.Affiliate:
    """An affiliate with a record of the usual size."""
    blob = number.to_bytes(2, "big")
    return wire.Affiliate(id=f"{number:044}", data=blob * 127, endpoints=(blob * 8, (blob + b"\1\2") * 4))


def memory() -> Figure:
    """The service's memory for each watcher."""
    kib = max(kib for kib, _ in _measured())
    return Figure("memory of a watcher, against its allowance", kib, ALLOWANCE, 1, "KiB")


def fan_out() -> Figure:
    """Every watcher receives every affiliate."""
    ours = min(seconds for _, seconds in _measured())
    baseline = min(_one_by_one() for _ in range(REPEATS))
    return Figure("1,000 join before 1,000 watchers, against single notifications", ours, baseline, 0.2, "s")


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@functools.cache
def _measured() -> tuple[tuple[float, float], ...]:
    return tuple(_measure() for _ in range(REPEATS))


def _measure() -> tuple[float, float]:
    """KiB per watcher, and the seconds until every watcher has seen every affiliate."""
    with ExitStack() as stack:
        server, answer = stack.enter_context(_program("serve"))
        port = answer()
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
        update = channel.unary_unary(
            f"{SERVICE}/AffiliateUpdate",
            request_serializer=wire.AffiliateUpdateRequest.SerializeToString,
            response_deserializer=wire.AffiliateUpdateResponse.FromString,
        )
        before = _resident_kib(server.pid)
        _, report = stack.enter_context(_program("watch", port))
        assert report() == "watching"
        per_watcher = (_resident_kib(server.pid) - before) / WATCHERS
        started = time.perf_counter()
        for number in range(AFFILIATES):
            joining = affiliate(number)
            request = wire.AffiliateUpdateRequest(
                cluster_id=CLUSTER,
                affiliate_id=joining.id,
                affiliate_data=joining.data,
                affiliate_endpoints=joining.endpoints,
            )
            request.ttl.seconds = 1800
            update(request, timeout=60)
        assert report() == "seen"
        return per_watcher, time.perf_counter() - started


def _one_by_one() -> float:
    """The seconds to encode and write every notification by itself, with all streams idle."""
    _allow_many_files()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        streams = []
        for _ in range(WATCHERS):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            accepted = stack.enter_context(listener.accept()[0])
            streams.append((_idle_stream(), accepted))
        affiliates = [affiliate(number) for number in range(SAMPLE)]
        gc.collect()
        started = time.perf_counter()
        for joined in affiliates:
            for machine, connection in streams:
                machine.send_data(1, frame(wire.WatchResponse(affiliates=(joined,)).SerializeToString()))
                connection.sendall(machine.data_to_send())
        return (time.perf_counter() - started) * AFFILIATES / SAMPLE


def _idle_stream() -> h2.connection.H2Connection:
    """A server's end of a connection on which a watch has begun, with a large window."""
    client, server = (
        h2.connection.H2Connection(h2.config.H2Configuration(client_side=side, header_encoding=None))
        for side in (True, False)
    )
    _begin_watch(client)
    server.initiate_connection()
    server.receive_data(client.data_to_send())
    server.send_headers(1, ((":status", "200"), ("content-type", "application/grpc")))
    server.data_to_send()
    return server


def _begin_watch(client: h2.connection.H2Connection) -> None:
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
    client.increment_flow_control_window(WINDOW - 65_535)
    client.send_headers(1, WATCH)
    client.send_data(1, frame(wire.WatchRequest(cluster_id=CLUSTER).SerializeToString()), end_stream=True)


# The other processes.


@contextmanager
def _program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Answer]]:
    """This module as a process of its own, and its output, line by line."""
    command = (sys.executable, "-m", "bench.discovery", *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        try:
            yield process, lambda: lines.readline().strip()
        finally:
            process.kill()


@contextmanager
def _trust() -> Iterator[Path]:
    """A directory with a certificate for this machine, and its authority."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = Authority("bench")
        certificate, key = authority.issue(directory, HOST)
        certificate.rename(directory / "crt")
        key.rename(directory / "key")
        (directory / "ca").write_bytes(authority.pem)
        yield directory


def _resident_kib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def _serve(*trust: str) -> None:
    """Over TLS, with the certificate of a directory, if there is one."""
    certificate = (Path(trust[0]) / "crt", Path(trust[0]) / "key") if trust else None
    options = DiscoveryOptions(listen=("127.0.0.1", 0), rate=0, certificate=certificate)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve_discovery, options)
        print(bound.port, flush=True)


async def _watch(port: int) -> None:
    unseen = WATCHERS

    async def watch(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal unseen
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            watcher = _Watcher(stream)
            await watcher.begin()
            await watcher.response()
            task_status.started()
            seen = 0  # each joins once, and is notified once
            while seen < AFFILIATES:
                seen += len((await watcher.response()).affiliates)
            unseen -= 1
            if not unseen:
                print("seen", flush=True)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(WATCHERS):
            await nursery.start(watch)
        print("watching", flush=True)


class _Watcher:
    """A minimal client that watches the cluster: it is not what is measured."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = bytearray()
        self._body = bytearray()

    async def begin(self) -> None:
        """Start the watch."""
        machine = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        _begin_watch(machine)
        await self._stream.send_all(machine.data_to_send())

    async def response(self) -> wire.WatchResponse:
        """The next message."""
        while (message := self._take(self._body, 5, int.from_bytes(self._body[1:5], "big"))) is None:
            received = self._received
            while (found := self._take(received, 9, int.from_bytes(received[:3], "big"))) is None:
                data = await self._stream.receive_some(256 * 1024)
                assert data, "the service has closed the connection"
                received += data
            if found[3] == DataFrame.type:
                self._body += found[9:]
        return wire.WatchResponse.FromString(message[5:])

    def _take(self, buffer: bytearray, head: int, length: int) -> bytes | None:
        if len(buffer) < head + length:
            return None
        taken = bytes(buffer[: head + length])
        del buffer[: head + length]
        return taken


FIGURES = (memory, fan_out)


def _main(arguments: list[str]) -> None:
    _allow_many_files()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    match arguments:
        case ["serve", *trust]:
            garbage.tune()  # as the command does
            trio.run(_serve, *trust)
        case ["watch", port]:
            trio.run(_watch, int(port))


if __name__ == "__main__":
    _main(sys.argv[1:])

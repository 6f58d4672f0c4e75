"""The cost of the State service: a long list, and a change that many watch.

Three processes: the service, the watchers, and this one, which asks for the list and makes the changes.
"""

import functools
import gc
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.settings
import structlog
import trio

from bench.discovery import _allow_many_files
from bench.measure import REPEATS, Figure
from nodespan.resources.messages import messages
from nodespan.resources.network import AddressStatus, AddressStatusSpec
from nodespan.runtime.api.cosi.service import LIMITS, SERVICE, StateService
from nodespan.runtime.api.grpc import Server, Service, frame
from nodespan.runtime.api.grpc.limits import Bounds
from nodespan.runtime.api.local import listen
from nodespan.runtime.codec.messages import SpecMessages
from nodespan.runtime.codec.resources import encode_resource
from nodespan.runtime.codec.wire import resource_pb2 as wire
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import MemoryState

MANY = 10_000
WATCHERS = 1_000
CHANGES = 30
WINDOW = 2**31 - 1
_HEADERS, _END_STREAM = 1, 1
_PREFIX = 9
Talk = Callable[[str], str]
KIND: dict[str, Any] = {"namespace": "network", "type": AddressStatus.name}


def address(number: int) -> Resource[AddressStatusSpec]:
    """One of many addresses."""
    text = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32"
    spec = AddressStatusSpec(address=text, local=text.partition("/")[0], link_index=7, link_name="eth0")
    return AddressStatus.new(f"eth0/{text}", spec)


def long_list() -> Figure:
    """A list as a client receives it, of resources that were not sent before."""
    ours, baseline = [], []
    with _service() as (path, serve):
        for _ in range(REPEATS):
            assert serve("all\n") == "changed"
            ours.append(_list(path))
            baseline.append(_encode_all())
    return Figure("List of 10,000 over gRPC, against encoding them", min(ours) * 1e3, min(baseline) * 1e3, 2, "ms")


def fan_out() -> Figure:
    """A change as all watchers receive it."""
    _allow_many_files()
    ours = _change_watched()
    baseline = min(_written() for _ in range(REPEATS))
    return Figure("a change seen by 1,000 remote watchers, against writes", ours * 1e3, baseline * 1e3, 2, "ms")


def _encode_all() -> float:
    resources = [address(number) for number in range(MANY)]
    specs = SpecMessages(messages())
    gc.collect()
    started = time.perf_counter()
    for resource in resources:
        frame(wire.ListResponse(resource=encode_resource(resource, specs)).SerializeToString())
    return time.perf_counter() - started


def _list(path: str) -> float:
    request = wire.ListRequest(**KIND)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        started = time.perf_counter()
        connection.sendall(_begun("List", request.SerializeToString()))
        received = _Frames()
        while not received.has_ended:
            received.feed(connection.recv(1 << 20))
        return time.perf_counter() - started


def _begun(method: str, request: bytes) -> bytes:
    """What a client with a large window sends for a call."""
    machine = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    machine.initiate_connection()
    machine.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
    machine.increment_flow_control_window(WINDOW - 65_535)
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{SERVICE}/{method}",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    machine.send_headers(1, tuple(fields.items()))
    machine.send_data(1, frame(request), end_stream=True)
    return machine.data_to_send()


class _Frames:
    """Counts what comes on one stream: it is not what is measured."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self.data = 0
        self.has_ended = False

    def feed(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= _PREFIX:
            size = int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < _PREFIX + size:
                return
            kind, flags = self._rest[3], self._rest[4]
            self.data += kind == 0
            self.has_ended = self.has_ended or (kind <= _HEADERS and bool(flags & _END_STREAM))
            del self._rest[: _PREFIX + size]


def _change_watched() -> float:
    with _service() as (path, serve), _program("watch", path) as watch:
        assert watch("") == "watching"
        rounds = []
        for _ in range(CHANGES):
            started = time.perf_counter()
            serve("one\n")
            assert watch("") == "seen"
            rounds.append(time.perf_counter() - started)
        return min(rounds)


def _written() -> float:
    """The seconds to put one message into HTTP/2, and onto the wire, for each watcher."""
    data = frame(wire.WatchResponse(event=[wire.Event(resource=_message(), old=_message())]).SerializeToString())
    with ExitStack() as stack:
        streams = []
        for _ in range(WATCHERS):
            ours, theirs = (stack.enter_context(each) for each in socket.socketpair())
            streams.append((_idle_stream(), ours, theirs))
        gc.collect()
        started = time.perf_counter()
        for machine, ours, _ in streams:
            machine.send_data(1, data)
            ours.sendall(machine.data_to_send())
        return time.perf_counter() - started


@functools.cache
def _message() -> wire.Resource:
    return encode_resource(address(1), SpecMessages(messages()))


def _idle_stream() -> h2.connection.H2Connection:
    """A server's end of a connection on which a watch has begun."""
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    server.receive_data(_begun("Watch", b""))
    server.send_headers(1, ((":status", "200"), ("content-type", "application/grpc")))
    server.data_to_send()
    return server


# The other processes.


@contextmanager
def _program(*arguments: str) -> Iterator[Talk]:
    """This module as a process of its own: what it is told, and its next line."""
    command = (sys.executable, "-m", "bench.remote", *arguments)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, lines = process.stdin, process.stdout

        def talk(line: str) -> str:
            given.write(line)
            given.flush()
            return lines.readline().strip()

        try:
            yield talk
        finally:
            process.kill()


@contextmanager
def _service() -> Iterator[tuple[str, Talk]]:
    with tempfile.TemporaryDirectory() as directory, _program("serve", f"{directory}/s") as serve:
        assert serve("") == "serving"
        yield f"{directory}/s", serve


async def _serve(path: str) -> None:
    _allow_many_files()
    state = MemoryState()
    for number in range(MANY):
        await state.create(address(number))
    log = structlog.get_logger()
    service = StateService(
        lambda _call: state, messages=SpecMessages(messages()), find_type=lambda _name: None, log=log
    )
    limits = attrs.evolve(LIMITS, connections=Bounds())  # all watchers come from here
    server = Server(Service(methods=service.methods(), log=log, limits=limits))
    gc.collect()
    gc.freeze()
    async with listen(Path(path)) as listener, trio.open_nursery() as nursery:
        await nursery.start(server.serve, [listener])
        print("serving", flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            for number in range(MANY if line == "all\n" else 1):
                await state.update(state.get(AddressStatus, address(number).id))
            print("changed", flush=True)


def _watch(path: str) -> None:
    _allow_many_files()
    begin = _begun("Watch", wire.WatchRequest(**KIND, api_version=1).SerializeToString())
    poll = select.epoll()
    watchers: dict[int, tuple[socket.socket, _Frames]] = {}
    for _ in range(WATCHERS):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        connection.sendall(begin)
        watchers[connection.fileno()] = connection, _Frames()
        poll.register(connection, select.EPOLLIN)
        # Not more at once than the listener lets wait.
        _read_until(poll, watchers, len(watchers))
    print("watching", flush=True)
    expected = WATCHERS
    while True:
        expected += WATCHERS
        _read_until(poll, watchers, expected)
        print("seen", flush=True)


def _read_until(poll: select.epoll, watchers: dict[int, tuple[socket.socket, _Frames]], expected: int) -> None:
    """Read until so many messages have come to all of them together."""
    total = sum(frames.data for _, frames in watchers.values())
    while total < expected:
        for file, _ in poll.poll():
            connection, frames = watchers[file]
            before = frames.data
            frames.feed(connection.recv(1 << 16))
            total += frames.data - before


FIGURES = (long_list, fan_out)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", path]:
            trio.run(_serve, path)
        case ["watch", path]:
            _watch(path)
        case _:
            for measure in FIGURES:
                print(measure())

"""The discovery service under load, by a client that costs little: prepared frames on plain sockets.

The service is a process of its own, and its processor time is what counts where that is the goal: other load on the
machine does not change it. The goals are those of the original service, measured side by side.
"""

import functools
import os
import resource
import select
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from bench.discovery import SERVICE, WINDOW, _allow_many_files, _program, _resident_kib, _trust, affiliate
from bench.measure import Figure
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc import frame as message_frame
from nodespan.runtime.api.grpc.header_block import header_block
from nodespan.runtime.api.grpc.server_machine import frame

CLUSTERS, NODES = 300, 10
SECONDS = 3.0
AT_ONCE = 16
WATCHERS, JOINS, PAUSE = 1_000, 15, 0.2
# Other load on the machine only adds time: the best of so many rounds counts.
ROUNDS = 3
IDLE_CLUSTERS, IDLE_SECONDS = 1_000, 60.0
# How much of its files a process may have as connections: a service keeps an eighth, and clusters are not even.
_FILLED = 0.65
MANY_WATCHERS, TOLD = 5_000, 5
# Over TLS: how many watchers, and of how many other nodes each is told when it begins; a record is so much longer.
SECURED_WATCHERS, OTHERS = 500, 20
_RECORD = 22
# How many connections come from one address: a service bounds the work that one may ask for. Of a large cluster, which
# changes little, one address may have some thousand.
_OF_ONE_ADDRESS = 3_000
_OF_ONE_BUSY_ADDRESS = 3 * NODES
# In seconds: longer than any change takes to be told.
_PATIENCE = 30.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HELLO = (
    _PREFACE
    + frame(4, 0, 0, b"\0\4" + WINDOW.to_bytes(4, "big"))
    + frame(8, 0, 0, (WINDOW - 65_535).to_bytes(4, "big"))
)


@functools.cache
def _fields(method: str) -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"{SERVICE}/{method}",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return header_block(tuple(fields.items()))


class _Secured:
    """What a connection over TLS sends and has received."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                connected.sendall(self._outgoing.read())
                self._incoming.write(connected.recv(1 << 16))
            else:
                connected.sendall(self._outgoing.read())
                return

    def encrypted(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def decrypted(self, records: bytes) -> bytes:
        self._incoming.write(records)
        data = b""
        try:
            while part := self._tls.read(1 << 16):
                data += part
        except ssl.SSLWantReadError:
            return data
        return data


class _Node:
    """A connection; `ended` counts the calls that were answered, `told` the messages of the watch that came.

    `latest` is the size of the last of these, with its frame.
    """

    def __init__(self, port: int, cluster: str, number: int, neighbours: int, tls: ssl.SSLContext | None) -> None:
        address = number // neighbours
        source = f"127.0.{address // 250}.{1 + address % 250}"
        self.socket = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        self._tls = None if tls is None else _Secured(self.socket, tls)
        self._send(_HELLO)
        self.cluster = cluster
        self.number = number
        self.ended = self.told = self.latest = 0
        self._id = 1
        self._watch = 0
        self._rest = b""

    def call(self, method: str, request: bytes) -> None:
        """Begin a call."""
        id, self._id = self._id, self._id + 2
        if method == "Watch":
            self._watch = id
        self._send(frame(1, 4, id, _fields(method)) + frame(0, 1, id, message_frame(request)))

    def _send(self, data: bytes) -> None:
        self.socket.sendall(data if self._tls is None else self._tls.encrypted(data))

    def announce(self, turn: int = 0) -> None:
        """Begin to report the node, with other data each turn."""
        known = affiliate(self.number % 65_536)
        request = wire.AffiliateUpdateRequest(
            cluster_id=self.cluster,
            affiliate_id=known.id,
            affiliate_data=known.data + turn.to_bytes(4, "big"),
            affiliate_endpoints=known.endpoints,
        )
        request.ttl.seconds = 1800
        self.call("AffiliateUpdate", request.SerializeToString())

    def read(self) -> None:
        """Take in what has come."""
        data = self.socket.recv(1 << 16)
        data = self._rest + (data if self._tls is None else self._tls.decrypted(data))
        at = 0
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if len(data) - at < 9 + size:
                break
            kind, flags, id = data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big")
            if kind == 0 and id == self._watch:
                self.told += 1
                self.latest = 9 + size
            self.ended += kind == 1 and bool(flags & 1)
            at += 9 + size
        self._rest = data[at:]


def _processor(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@attrs.define
class _Crowd:
    """Nodes, and one loop that reads for all of them."""

    pid: int
    port: int
    nodes: list[_Node] = attrs.field(factory=list)
    neighbours: int = _OF_ONE_ADDRESS
    tls: ssl.SSLContext | None = None
    _poll: select.epoll = attrs.field(factory=select.epoll)
    _by_file: dict[int, _Node] = attrs.field(factory=dict)

    def add(self, cluster: str, number: int | None = None) -> _Node:
        """One more node of a cluster."""
        number = len(self.nodes) if number is None else number
        node = _Node(self.port, cluster, number, self.neighbours, self.tls)
        self.nodes.append(node)
        self._by_file[node.socket.fileno()] = node
        self._poll.register(node.socket, select.EPOLLIN)
        return node

    def read_until(self, done: Callable[[], bool], each: Callable[[_Node], None] = lambda _node: None) -> None:
        """Read until it is done; `each` is called with every node that something has come for."""
        while not done():
            for file, _ in self._poll.poll(1.0):
                self._by_file[file].read()
                each(self._by_file[file])

    def fill(self, clusters: int, first_cluster: int = 0) -> tuple[float, int]:
        """Have so many clusters join; the processor time and the memory, in KiB, of each node."""
        memory, began, count = _resident_kib(self.pid), self.processor(), clusters * NODES
        beginning = first_cluster * NODES
        for first in range(beginning, beginning + count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, beginning + count))
            nodes = [self.add(f"cluster {number // NODES}", number) for number in numbers]
            for node in nodes:
                hello = wire.HelloRequest(cluster_id=node.cluster, client_version="v1.9.0")
                node.call("Hello", hello.SerializeToString())
            self.read_until(functools.partial(_all_answered, nodes, 1))
            for node in nodes:
                node.announce()
            self.read_until(functools.partial(_all_answered, nodes, 2))
            for node in nodes:
                node.call("Watch", wire.WatchRequest(cluster_id=node.cluster).SerializeToString())
            self.read_until(functools.partial(_all_told, nodes, 1))
        return (self.processor() - began) / count, (_resident_kib(self.pid) - memory) // count

    def watch(self, node: _Node) -> None:
        """Begin to watch, and wait for the first message."""
        node.call("Watch", wire.WatchRequest(cluster_id=node.cluster).SerializeToString())
        self.read_until(lambda: node.told > 0)

    def hear(self, watchers: list[_Node], size: int, began: float) -> list[float]:
        """How long it takes, from the beginning, until each of the watchers has got so many bytes.

        What comes is counted and not looked at, and waited for without sleeping: else this would be what is measured.
        """
        missing = {node.socket.fileno(): size for node in watchers}
        receivers = {node.socket.fileno(): node.socket.recv_into for node in watchers}
        buffer = bytearray(1 << 16)
        times: list[float] = []
        poll, now = self._poll.poll, time.perf_counter
        while missing:
            assert now() < began + _PATIENCE, "the service does not tell all"
            for file, _ in poll(0):
                left = missing.get(file)
                if left is None:
                    self._by_file[file].read()
                    continue
                received = receivers[file](buffer)
                assert received, "the service has closed the connection"
                if received < left:
                    missing[file] = left - received
                else:
                    times.append(now() - began)
                    del missing[file]
        return times

    def processor(self) -> float:
        """The processor time that the service has used, in seconds."""
        return _processor(self.pid)

    def close(self) -> None:
        """Leave."""
        self._poll.close()
        for node in self.nodes:
            node.socket.close()


@contextmanager
def _crowd(neighbours: int = _OF_ONE_ADDRESS, *, is_secured: bool = False) -> Iterator[_Crowd]:
    _allow_many_files()
    with ExitStack() as stack:
        trust = [stack.enter_context(_trust())] if is_secured else []
        server, answer = stack.enter_context(_program("serve", *map(str, trust)))
        crowd = _Crowd(server.pid, int(answer()), neighbours=neighbours)
        if trust:
            crowd.tls = ssl.create_default_context(cafile=trust[0] / "ca")
        stack.callback(crowd.close)
        yield crowd


@attrs.frozen
class _Many:
    """What many small clusters cost, for each node or change: in milliseconds of processor, and KiB."""

    set_up: float
    memory: float
    change: float


@functools.cache
def _many_clusters() -> _Many:
    with _crowd(_OF_ONE_BUSY_ADDRESS) as crowd:
        count = CLUSTERS * NODES
        set_up, memory = crowd.fill(CLUSTERS)
        began, changes, until = crowd.processor(), 0, time.perf_counter() + SECONDS

        def next_change() -> None:
            nonlocal changes
            changes += 1
            busy = crowd.nodes[changes * 7919 % count]
            waiting[busy] = busy.ended
            busy.announce(changes)

        def answered(node: _Node) -> None:
            if node in waiting and node.ended > waiting[node]:
                del waiting[node]
                if time.perf_counter() < until:
                    next_change()

        waiting: dict[_Node, int] = {}
        for _ in range(AT_ONCE):
            next_change()
        crowd.read_until(lambda: not waiting, answered)
        return _Many(set_up * 1e3, memory, (crowd.processor() - began) / changes * 1e3)


def set_up() -> Figure:
    """A connection, hello, a report and a watch."""
    return Figure("a node joins one of 300 clusters, processor", _many_clusters().set_up, 1.3, 2, "ms", 1)


def idle_node() -> Figure:
    """The memory of a node that watches, with its affiliate and its part of the cluster."""
    return Figure("memory of a node of 300 clusters of 10", _many_clusters().memory, 30, 1, "KiB")


def changes() -> Figure:
    """A report that nine others are told of, as many as the service takes: the goal is 900 a second."""
    return Figure("a change in one of 300 clusters of 10, processor", _many_clusters().change, 1e3 / 900, 1, "ms")


def told() -> Figure:
    """One change, told to many watchers of one cluster."""
    with _crowd() as crowd:
        joining = crowd.add("big")
        for _ in range(MANY_WATCHERS):
            crowd.watch(crowd.add("big"))
        watchers = crowd.nodes[1:]
        costs = []
        for turn in range(TOLD):
            began = crowd.processor()
            joining.announce(turn)
            crowd.read_until(functools.partial(_all_told, watchers, turn + 2))
            costs.append(crowd.processor() - began)
        return Figure("one change told to 5,000 watchers, processor", min(costs) * 1e3, 250, 1, "ms")


def _all_answered(nodes: list[_Node], times: int) -> bool:
    return all(node.ended >= times for node in nodes)


def _all_told(nodes: list[_Node], times: int) -> bool:
    return all(node.told >= times for node in nodes)


@contextmanager
def _undisturbed(pid: int) -> Iterator[None]:
    """Have the service and this process wait for no other program, where that is permitted.

    On a busy machine it is that which would be measured: 13 ms of processor take 50 to 300 ms there.
    """
    try:
        for each in (pid, 0):
            os.sched_setscheduler(each, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        for each in (pid, 0):
            os.sched_setscheduler(each, os.SCHED_OTHER, os.sched_param(0))


def latency() -> Figure:
    """How long it takes until a watcher of a large, quiet cluster knows of a change."""
    with _crowd() as crowd:
        joining = crowd.add("big")
        for _ in range(WATCHERS):
            crowd.watch(crowd.add("big"))
        watchers = crowd.nodes[1:]
        # All that is told from now on is as long as the first.
        joining.announce()
        crowd.read_until(functools.partial(_all_told, watchers, 2))
        size = watchers[0].latest
        medians = []
        for _ in range(ROUNDS):
            times: list[float] = []
            for turn in range(JOINS):
                time.sleep(PAUSE)
                with _undisturbed(crowd.pid):
                    began = time.perf_counter()
                    joining.announce(turn + 1)
                    times += crowd.hear(watchers, size, began)
            medians.append(statistics.median(times) * 1e3)
        return Figure("1,000 watchers, 5 changes a second: until one knows, median", min(medians), 20, 3, "ms", 1)


@attrs.frozen
class _OverTLS:
    """What watchers over TLS cost: KiB of each, ms of processor for a change told to all, ms until one knows."""

    memory: float
    told: float
    median: float
    p99: float


@functools.cache
def _over_tls() -> _OverTLS:
    with _crowd(is_secured=True) as crowd:
        joining = crowd.add("big")
        for number in range(1, OTHERS + 1):
            joining.number = number
            joining.announce()
            crowd.read_until(functools.partial(_all_answered, [joining], number))
        memory = _resident_kib(crowd.pid)
        for _ in range(SECURED_WATCHERS):
            crowd.watch(crowd.add("big"))
        memory = _resident_kib(crowd.pid) - memory
        watchers = crowd.nodes[1:]
        joining.announce(1)
        crowd.read_until(functools.partial(_all_told, watchers, 2))
        size = watchers[0].latest + _RECORD
        times: list[float] = []
        costs: list[float] = []
        for turn in range(JOINS):
            time.sleep(PAUSE)
            with _undisturbed(crowd.pid):
                used, began = crowd.processor(), time.perf_counter()
                joining.announce(turn + 2)
                times += crowd.hear(watchers, size, began)
                costs.append(crowd.processor() - used)
        times.sort()
        p99 = times[int(len(times) * 0.99)]
        return _OverTLS(memory / SECURED_WATCHERS, min(costs) * 1e3, statistics.median(times) * 1e3, p99 * 1e3)


def secured_watcher() -> Figure:
    """The memory of a watcher over TLS, whose first message was a cluster of some size."""
    return Figure("memory of a watcher over TLS", _over_tls().memory, 30, 1, "KiB")


def secured_latency() -> Figure:
    """How long it takes until a watcher over TLS knows of a change, with 500 of them."""
    figure = "500 watchers over TLS, 5 changes a second: until one knows, median"
    return Figure(figure, _over_tls().median, 20, 3, "ms", 1)


def start() -> Figure:
    """From the command to a port that answers, against Python with the libraries alone."""
    libraries = "import trio, structlog, attrs, google.protobuf.message, argparse, importlib.metadata"
    baseline = min(_time(sys.executable, "-c", libraries) for _ in range(3))
    return Figure(
        "discovery serve until it listens, against its libraries", min(map(_listens, range(3))), baseline, 2.5, "s"
    )


def _time(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def _listens(_turn: int) -> float:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = "import sys; from nodespan.runtime.cli import main; sys.exit(main(sys.argv[1:]))"
    command = ("discovery", "serve", "--insecure", "--snapshot", "", "--listen", f"127.0.0.1:{port}")
    began = time.perf_counter()
    with subprocess.Popen((sys.executable, "-c", program, *command), stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                except ConnectionRefusedError:
                    os.sched_yield()
                    time.sleep(0.002)
                else:
                    return time.perf_counter() - began
        finally:
            process.kill()


@contextmanager
def _spread(processes: int) -> Iterator[tuple[list[int], int]]:
    """The service as a command, of so many processes: these, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = "import sys; from nodespan.runtime.cli import main; sys.exit(main(sys.argv[1:]))"
    options = (
        "--insecure",
        "--snapshot",
        "",
        "--rate-limit",
        "0",
        "--log-level",
        "error",
        "--processes",
        str(processes),
    )
    command = (sys.executable, "-c", program, "discovery", "serve", "--listen", f"127.0.0.1:{port}", *options)
    with subprocess.Popen(command) as service:
        try:
            members: list[int] = []
            while len(members) < processes or not _answers(port):
                time.sleep(0.2)
                children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
                members = [int(each) for each in children]
            yield members or [service.pid], port
        finally:
            service.terminate()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _print_idle(clusters: int) -> None:
    """What many clusters cost that do nothing; `make bench` leaves it out, for it takes minutes.

    As many processes serve them, and as many others are the nodes, as files allow.
    """
    _allow_many_files()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    parts = -(-clusters * NODES // int(files * _FILLED))
    with ExitStack() as stack:
        members, port = stack.enter_context(_spread(max(2, parts)))
        memory, began = sum(map(_resident_kib, members)), sum(map(_processor, members))
        shares = [range(part * clusters // parts, (part + 1) * clusters // parts) for part in range(parts)]
        for share in shares:
            command = (
                sys.executable,
                "-m",
                "bench.discovery_load",
                "fill",
                str(port),
                str(share.start),
                str(share.stop),
            )
            crowd = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(crowd.kill)
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == b"filled\n"
            print(f"{share.stop} of {clusters} clusters", flush=True)
        count = clusters * NODES
        set_up = (sum(map(_processor, members)) - began) / count * 1e3
        each = (sum(map(_resident_kib, members)) - memory) / count
        print(f"{count} nodes of {len(members)} processes, each: {set_up:.2f} ms to join, {each:.1f} KiB", flush=True)
        began = sum(map(_processor, members))
        time.sleep(IDLE_SECONDS)
        print(f"idle: {(sum(map(_processor, members)) - began) / IDLE_SECONDS:.3%} of a processor")


def _fill(port: int, first: int, end: int) -> None:
    """Be the nodes of some clusters, until killed."""
    _allow_many_files()
    crowd = _Crowd(os.getpid(), port, neighbours=_OF_ONE_BUSY_ADDRESS)
    crowd.fill(end - first, first)
    print("filled", flush=True)
    signal.pause()


FIGURES = (set_up, idle_node, changes, told, latency, secured_watcher, secured_latency, start)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["tls"]:
            print(_over_tls())
        case ["fill", port, first, end]:
            _fill(int(port), int(first), int(end))
        case ["idle", *count]:
            _print_idle(int(count[0]) if count else IDLE_CLUSTERS)
        case names:
            for measure in FIGURES:
                if not names or measure.__name__ in names:
                    print(measure(), flush=True)

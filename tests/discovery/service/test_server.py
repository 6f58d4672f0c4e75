"""The whole service: over real connections, restarted, killed, and asked by browsers."""

import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import attrs
import grpc
import h2.events
import pytest
import structlog
import structlog.testing
import trio

from nodespan.discovery.listening import parse_address
from nodespan.discovery.service.client_address import Trust
from nodespan.discovery.service.server import (
    Bound,
    DiscoveryOptions,
    client_limits,
    page_limits,
    reserved_files,
    serve_discovery,
)
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.cli import main
from nodespan.runtime.cli.errors import CommandError
from tests.discovery.service.rpc import connected
from tests.runtime.api.grpc.greeter import RawClient
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE
from tests.support.ports import free_port
from tests.support.process import eventually, running

SERVICE = "/sidero.discovery.server.Cluster"
HERE = DiscoveryOptions(listen=("127.0.0.1", 0))
in_thread = trio.to_thread.run_sync


@asynccontextmanager
async def service(options: DiscoveryOptions = HERE) -> AsyncIterator[Bound]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_discovery, options)
        nursery.cancel_scope.cancel()


class Client:
    """The methods of the service, by the reference client."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def _unary(self, name: str, request: Any, response: Any, **named: Any) -> Any:
        method = self._channel.unary_unary(
            f"{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        return method(request, **{"timeout": 10, **named})

    def hello(self, **named: Any) -> wire.HelloResponse:
        request = wire.HelloRequest(cluster_id="c", client_version="v1.8.3")
        response: wire.HelloResponse = self._unary("Hello", request, wire.HelloResponse, **named)
        return response

    def update(self, id: str, data: bytes = b"", endpoints: tuple[bytes, ...] = ()) -> None:
        request = wire.AffiliateUpdateRequest(
            cluster_id="c", affiliate_id=id, affiliate_data=data, affiliate_endpoints=endpoints
        )
        request.ttl.seconds = 600
        self._unary("AffiliateUpdate", request, wire.AffiliateUpdateResponse)

    def list(self) -> dict[str, bytes]:
        response = self._unary("List", wire.ListRequest(cluster_id="c"), wire.ListResponse)
        return {affiliate.id: affiliate.data for affiliate in response.affiliates}

    def watch(self, **named: Any) -> Any:
        method = self._channel.unary_stream(
            f"{SERVICE}/Watch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=wire.WatchResponse.FromString,
        )
        return method(wire.WatchRequest(cluster_id="c"), **{"timeout": 20, **named})


@contextmanager
def client(port: int) -> Iterator[Client]:
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield Client(channel)


async def ask(port: int, use: Callable[[Client], Any]) -> Any:
    """Use a client of its own, in a thread."""

    def used() -> Any:
        with client(port) as connected:
            return use(connected)

    return await in_thread(used)


async def test_a_watcher_receives_new_affiliates_and_the_end_of_the_service() -> None:
    stopped: list[tuple[list[Any], Any]] = []
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve_discovery, HERE)

        def use(connected: Client) -> None:
            assert connected.hello().client_ip == bytes((127, 0, 0, 1))
            watch = connected.watch()
            assert not next(watch).affiliates
            connected.update("a", b"data", (b"endpoint",))
            (affiliate,) = next(watch).affiliates
            assert (affiliate.id, affiliate.data, list(affiliate.endpoints)) == ("a", b"data", [b"endpoint"])
            trio.from_thread.run_sync(nursery.cancel_scope.cancel)
            stopped.append((list(watch), watch.code()))

        await trio.to_thread.run_sync(_used, bound.port, use)
    assert stopped == [([], grpc.StatusCode.OK)]


def _used(port: int, use: Callable[[Client], None]) -> None:
    with client(port) as connected:
        use(connected)


async def test_records_survive_a_restart_with_their_remaining_lifetime(tmp_path: Path) -> None:
    options = attrs.evolve(HERE, snapshot=tmp_path / "deep" / "state.binpb")
    async with service(options) as bound:
        await ask(bound.port, lambda connected: connected.update("a", b"data"))
    async with service(options) as bound:
        assert await ask(bound.port, lambda connected: connected.list()) == {"a": b"data"}


async def test_deleted_records_do_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    options = attrs.evolve(HERE, snapshot=path, collect_interval=0.05, snapshot_interval=0.05)
    async with service(options) as bound:
        await ask(bound.port, lambda connected: connected.update("a", b"data"))
    assert path.stat().st_size > 0
    now = time.time_ns()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_discovery(options, now=lambda: now, task_status=task_status))
        now += 601 * 10**9
        await eventually(lambda: path.stat().st_size == 0)
        nursery.cancel_scope.cancel()
    assert path.stat().st_size == 0


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"\x0a\x03\x0a\x01x\x0a\x7f"])
async def test_a_damaged_file_does_not_keep_the_service_from_starting(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    path.write_bytes(content)
    async with service(attrs.evolve(HERE, snapshot=path)) as bound:
        assert await ask(bound.port, lambda connected: connected.list()) == {}
    # The save at the end has replaced it; what could not be read is still there.
    assert path.read_bytes() != content or not content
    kept = tmp_path / "state.binpb.damaged"
    assert kept.read_bytes() == content if content else not kept.exists()


async def test_an_unwritable_path_is_logged_and_the_service_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with structlog.testing.capture_logs() as logs:
        options = attrs.evolve(HERE, snapshot=tmp_path / "file" / "state.binpb", snapshot_interval=0.01)
        async with service(options) as bound:
            found = await eventually(lambda: [entry for entry in logs if entry["event"] == "snapshot not saved"])
            await ask(bound.port, lambda connected: connected.hello())
    assert found[0]["log_level"] == "error"


async def test_a_service_that_is_killed_comes_back_with_its_last_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    port = free_port()
    nodespan = "import sys; from nodespan.runtime.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ("discovery", "serve", "--insecure", "--listen", f"127.0.0.1:{port}")
    keeping = ("--snapshot", str(path), "--snapshot-interval", "0.1")
    command = (sys.executable, "-c", nodespan, *words, *keeping)
    async with running(*command) as process:
        await _answering(port)
        await ask(port, lambda connected: connected.update("a", b"data"))
        await eventually(lambda: path.exists() and b"data" in path.read_bytes())
        process.kill()
        await process.wait()
    async with running(*command) as process:
        await _answering(port)
        assert await ask(port, lambda connected: connected.list()) == {"a": b"data"}
        process.terminate()
        assert await process.wait() == 0


async def _answering(port: int) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return


async def test_tls_is_served(tmp_path: Path) -> None:
    authority = Authority("test")
    certificate = authority.issue(tmp_path, "localhost")

    def use() -> wire.HelloResponse:
        given = grpc.ssl_channel_credentials(authority.pem)
        with grpc.secure_channel(f"localhost:{bound.port}", given) as channel:
            return Client(channel).hello()

    async with service(attrs.evolve(HERE, certificate=certificate)) as bound:
        assert (await in_thread(use)).client_ip == bytes((127, 0, 0, 1))


class _Calls(trio.abc.Instrument):
    """Counts the tasks that calls are given."""

    tasks = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.tasks += task.name.endswith("Stream.run")


async def test_of_all_calls_only_a_watch_has_a_task() -> None:
    calls = _Calls()
    async with service() as bound, connected(bound.port) as client, client.watch() as watch:
        assert not (await anext(watch)).affiliates
        trio.lowlevel.add_instrument(calls)
        try:
            for number in range(3):
                await client.update("a", b"%d" % number)
                (told,) = (await anext(watch)).affiliates
                assert told.data == b"%d" % number
                assert await client.list() == {"a": told.data}
        finally:
            trio.lowlevel.remove_instrument(calls)
    assert calls.tasks == 0


async def test_a_client_that_calls_too_often_has_to_wait_and_is_refused_beyond_its_deadline() -> None:
    def waits(connected: Client) -> None:
        for _ in range(9):
            connected.hello()

    async with service(attrs.evolve(HERE, rate=2)) as bound:
        await ask(bound.port, waits)

    def is_refused(connected: Client) -> None:
        for call in (
            lambda: connected.hello(timeout=PATIENCE / 2),
            lambda: next(connected.watch(timeout=PATIENCE / 2)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    # Not even the first call could be served in time.
    async with service(attrs.evolve(HERE, rate=0.25 / PATIENCE)) as bound:
        await ask(bound.port, is_refused)


@pytest.mark.parametrize("carries", [False, True])
@pytest.mark.parametrize("files", [64, 256, 1024, 524_288, 1 << 30])
def test_clients_never_get_all_files_nor_one_address_all_connections(files: int, carries: bool) -> None:
    limits = client_limits(files, by_source=True, carries=carries)
    assert limits.connections.total * (2 if carries else 1) <= max(32 if carries else 16, files - 64)
    assert limits.connections.source <= limits.connections.total / 2
    assert 0 < limits.idle_per_source < limits.connections.source
    assert limits.connections.total <= 100_000
    assert 16 <= 2 * page_limits(files).max_connections <= reserved_files(files) / 2


async def test_pages_on_the_port_of_the_service_count_as_calls() -> None:
    async with (
        service(attrs.evolve(HERE, rate=1)) as bound,
        await trio.open_tcp_stream("127.0.0.1", bound.port) as stream,
    ):
        client = RawClient(stream)
        for _ in range(40):
            client.request("/stats", b"", content_type="text/plain", method="GET")
        await client.flush()
        statuses = set()
        while "429" not in statuses:
            response = await client.until(h2.events.ResponseReceived)
            statuses.add(dict[Any, Any](response.headers)[":status"])


async def test_clients_are_identified_by_the_field_of_a_trusted_proxy() -> None:
    # The second call of an address would have to wait for four seconds.
    options = attrs.evolve(HERE, rate=0.25, trust=Trust(first_x_forwarded_for=True))
    async with service(options) as bound:

        def use(connected: Client) -> None:
            for number in range(20):
                address = (("x-forwarded-for", f"192.0.2.{number}, 10.0.0.1"),)
                assert connected.hello(timeout=3.0, metadata=address).client_ip == bytes((192, 0, 2, number))

        await ask(bound.port, use)


async def test_pages_and_metrics_are_served_over_plain_http() -> None:
    options = attrs.evolve(HERE, pages=("127.0.0.1", 0), metrics=("127.0.0.1", 0))
    async with service(options) as bound:

        def use(connected: Client) -> None:
            connected.hello()
            connected.update("a", b"data", (b"endpoint",))

        await ask(bound.port, use)

        def get(url: str) -> str:
            with urlopen(url, timeout=PATIENCE) as response:
                text: str = response.read().decode()
                return text

        assert "/inspect" in await in_thread(get, f"{bound.pages}/")
        assert b"data".hex() in await in_thread(get, f"{bound.pages}/inspect?clusterID=c")
        assert json.loads(await in_thread(get, f"{bound.pages}/stats")) == {"affiliates": 1}
        metrics = await in_thread(get, f"{bound.metrics}/metrics")
        labels = 'grpc_method="Hello",grpc_service="sidero.discovery.server.Cluster",grpc_type="unary"'
        for line in (
            'discovery_server_hello_requests_total{client_version="v1.8"} 1.0',
            "discovery_state_clusters 1.0",
            "discovery_state_affiliates 1.0",
            "discovery_state_endpoints 1.0",
            "discovery_state_subscriptions 0.0",
            "discovery_state_gc_runs_total 1.0",
            f"grpc_server_started_total{{{labels}}} 1.0",
            f'grpc_server_handled_total{{grpc_code="OK",{labels}}} 1.0',
            f"grpc_server_msg_received_total{{{labels}}} 1.0",
            f"grpc_server_msg_sent_total{{{labels}}} 1.0",
            f'grpc_server_handling_seconds_bucket{{{labels},le="2.5"}} 1.0',
            "discovery_server_held_bytes 0.0",
        ):
            assert line in metrics.splitlines()
        for name in ("connections", "connections_idle", "connections_limit", "connections_source_limit", "sources"):
            assert f"\ndiscovery_server_{name} " in metrics


async def test_the_log_has_callers_and_requests_but_no_records() -> None:
    with structlog.testing.capture_logs() as logs:
        async with service() as bound:

            def use(connected: Client) -> None:
                connected.hello()
                connected.update("a", b"ciphertext of a", (b"ciphertext of e",))
                with pytest.raises(grpc.RpcError):
                    connected.update("a" * 300, b"ciphertext of a")
                watch = connected.watch()
                next(watch)
                watch.cancel()

            await ask(bound.port, use)
    requests = [entry for entry in logs if entry["event"] == "request"]
    assert [(entry["method"].rpartition("/")[2], entry["code"], entry["log_level"]) for entry in requests] == [
        ("Hello", "OK", "info"),
        ("AffiliateUpdate", "OK", "info"),
        ("AffiliateUpdate", "INVALID_ARGUMENT", "error"),
        ("Watch", "OK", "info"),
    ]
    assert requests[1]["cluster_id"] == "c"
    assert requests[1]["affiliate_id"] == "a"
    assert "300 bytes" in requests[2]["error"]
    assert "ciphertext" not in repr(logs)


async def test_an_address_in_use_is_an_error() -> None:
    async with service() as bound:
        with pytest.RaisesGroup(OSError, flatten_subgroups=True, allow_unwrapped=True):
            async with service(attrs.evolve(HERE, listen=("127.0.0.1", bound.port))):
                pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":3000", ("", 3000)),
        ("192.0.2.1:443", ("192.0.2.1", 443)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("[::]:443", ("::", 443)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses_to_listen_at_are_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_address("--listen", text) == expected


@pytest.mark.parametrize("text", ["", "3000", "host", "host:", "host:x", "host:65536", "2001:db8::1:443", "::"])
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(CommandError, match="--listen"):
        parse_address("--listen", text)


@pytest.mark.parametrize("target", ["/dev/null", "directory"])
def test_a_snapshot_that_is_no_regular_file_is_refused_at_the_start(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "directory").mkdir()
    path = tmp_path / target
    assert main(["discovery", "serve", "--insecure", "--snapshot", str(path)]) != 0
    assert "not a regular file" in capsys.readouterr().err
    assert not path.is_file()

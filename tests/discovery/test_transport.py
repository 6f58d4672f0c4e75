"""Clients and services over real connections."""

import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import structlog
import trio

from nodespan.discovery.client import Client, ClientOptions, Connection, TransportError
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.service.server import DiscoveryOptions, serve_discovery
from nodespan.discovery.transport import GrpcTransport
from nodespan.discovery.wire import server_pb2
from nodespan.runtime.api.grpc import Call, Code, RPCError, Server, Service, frame, methods, server_stream, unary
from nodespan.runtime.api.grpc.client import Stage, TrustError, system_roots
from tests.discovery.samples import KEY, node
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE
from tests.support.ports import free_port

PATH = "/sidero.discovery.server.Cluster/"


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    before = {thread for thread in threading.enumerate() if "Trio" not in thread.name}
    yield
    deadline = time.monotonic() + PATIENCE
    while left := {thread for thread in threading.enumerate() if "Trio" not in thread.name} - before:
        assert time.monotonic() < deadline, f"threads are left: {left}"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "grpc_proxy", "no_grpc_proxy", "all_proxy", "SSL_CERT_FILE"):
        for spelled in (name, name.upper()):
            monkeypatch.delenv(spelled, raising=False)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that this system trusts."""
    authority = Authority("the system's")
    (tmp_path / "roots.pem").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    return authority


@asynccontextmanager
async def service(certificate: tuple[Path, Path] | None = None) -> AsyncIterator[int]:
    options = DiscoveryOptions(listen=("127.0.0.1", 0), certificate=certificate, rate=0)
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(serve_discovery, options)
        yield bound.port
        nursery.cancel_scope.cancel()


class News:
    """What a client has to say, waited for."""

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    def __call__(self) -> None:
        self._lot.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await self._lot.park()


@asynccontextmanager
async def client(
    target: DialAddress, id: str, transport: GrpcTransport | None = None
) -> AsyncIterator[tuple[Client, News]]:
    news = News()
    options = ClientOptions(target=target, cluster_id="cluster", node_id=id, key=KEY, version="v1.0.0")
    made = Client(
        options,
        transport or GrpcTransport(),
        log=structlog.get_logger(),
        on_change=news,
        random=random.Random(1),
        random_bytes=os.urandom,
    )
    made.publish(node(id, "10.0.0.1"), ("10.0.0.1:51820",))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made, news
        nursery.cancel_scope.cancel()


async def meet(one: tuple[Client, News], two: tuple[Client, News]) -> None:
    await one[1].until(lambda: "two" in one[0].affiliates)
    await two[1].until(lambda: "one" in two[0].affiliates)


async def test_two_nodes_find_each_other_over_tls(authority: Authority, tmp_path: Path) -> None:
    async with service(authority.issue(tmp_path, "127.0.0.1")) as port:
        target = DialAddress(f"127.0.0.1:{port}")
        async with client(target, "one") as one, client(target, "two") as two:
            await meet(one, two)
            assert one[0].affiliates["two"].data == node("two", "10.0.0.1")
            assert one[0].affiliates["two"].endpoints == ("10.0.0.1:51820",)
            assert one[0].public_address == "127.0.0.1"
            two[0].publish(node("two", "10.0.0.2"), ())
            await one[1].until(lambda: one[0].affiliates["two"].data.addresses == ("10.0.0.2",))
            two[0].leave()
            await one[1].until(lambda: "two" not in one[0].affiliates)


async def test_two_nodes_find_each_other_in_plain_text() -> None:
    async with service() as port:
        target = DialAddress(f"127.0.0.1:{port}", insecure=True)
        async with client(target, "one") as one, client(target, "two") as two:
            await meet(one, two)


async def test_one_node_uses_several_services_at_once() -> None:
    async with service() as first, service() as second:
        targets = [DialAddress(f"127.0.0.1:{port}", insecure=True) for port in (first, second)]
        async with (
            client(targets[0], "one") as one_first,
            client(targets[1], "one") as one_second,
            client(targets[0], "two") as two_first,
            client(targets[1], "two") as two_second,
        ):
            await meet(one_first, two_first)
            await meet(one_second, two_second)


async def test_an_added_authority_is_trusted_from_the_next_attempt_on(authority: Authority, tmp_path: Path) -> None:
    private = Authority("private")
    roots = [b""]
    async with service(private.issue(tmp_path, "127.0.0.1")) as port:
        target = DialAddress(f"127.0.0.1:{port}")
        transport = GrpcTransport(lambda: roots[0])
        async with transport.connect(target, keepalive=60) as connection:
            with pytest.raises(TransportError, match="UNAVAILABLE"):
                await connection.hello(server_pb2.HelloRequest(cluster_id="c"))
        roots[0] = private.pem
        async with transport.connect(target, keepalive=60) as connection:
            response = await connection.hello(server_pb2.HelloRequest(cluster_id="c"))
            assert response.client_ip == b"\x7f\0\0\1"


async def test_a_certificate_for_another_name_is_rejected(authority: Authority, tmp_path: Path) -> None:
    async with (
        service(authority.issue(tmp_path, "other.example.org")) as port,
        GrpcTransport().connect(DialAddress(f"127.0.0.1:{port}"), keepalive=60) as connection,
    ):
        with pytest.raises(TransportError, match="UNAVAILABLE"):
            await connection.hello(server_pb2.HelloRequest(cluster_id="c"))


def test_without_any_authority_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(TrustError, match="install ca-certificates"):
        system_roots()


@attrs.define
class Proxy:
    """An HTTP proxy that leads every CONNECT to one port of this machine."""

    port: int
    asked: list[str] = attrs.field(factory=list)

    async def handle(self, incoming: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await incoming.receive_some(1024)
        self.asked.append(head.split(b"\r\n")[0].decode())
        async with incoming, await trio.open_tcp_stream("127.0.0.1", self.port) as outgoing:
            await incoming.send_all(b"HTTP/1.1 200 connected\r\n\r\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, incoming, outgoing, nursery.cancel_scope)
                nursery.start_soon(self._copy, outgoing, incoming, nursery.cancel_scope)

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # either side may leave
        scope.cancel()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[tuple[Proxy, str]]:
    proxy = Proxy(port)
    async with trio.open_nursery() as nursery:
        (listener, *_) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, proxy.handle, [listener])
        yield proxy, f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
async def test_a_service_is_reached_through_a_proxy(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async with service(authority.issue(tmp_path, "nodespan.discovery.test")) as port, proxied(port) as (proxy, address):
        monkeypatch.setenv(variable, f"http://{address}")
        target = DialAddress("nodespan.discovery.test:443")
        async with client(target, "one") as one, client(target, "two") as two:
            await meet(one, two)
        assert set(proxy.asked) == {"CONNECT nodespan.discovery.test:443 HTTP/1.1"}


async def test_excluded_hosts_bypass_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with service() as port, proxied(port) as (proxy, address):
        monkeypatch.setenv("https_proxy", f"http://{address}")
        target = DialAddress(f"127.0.0.1:{port}", insecure=True)
        for no_proxy in ("", "127.0.0.1"):
            if no_proxy:
                monkeypatch.setenv("http_proxy", f"http://{address}")
                monkeypatch.setenv("no_proxy", no_proxy)
            async with GrpcTransport().connect(target, keepalive=60) as connection:
                await connection.hello(server_pb2.HelloRequest(cluster_id="c"))
        assert proxy.asked == []


async def test_the_proxy_comes_from_the_given_environment(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    environment = {"https_proxy": "socks4://user:word@proxy.example.org:1080"}
    async with service(authority.issue(tmp_path, "nodespan.discovery.test")) as port, proxied(port) as (proxy, address):
        transport = GrpcTransport(environment=lambda: environment)
        target, hello = DialAddress("nodespan.discovery.test:443"), server_pb2.HelloRequest(cluster_id="c")
        refused = None
        try:
            async with transport.connect(target, keepalive=60) as connection:
                await connection.hello(hello)
        except TransportError as error:
            refused = str(error)
        assert refused is not None
        assert "https_proxy names a proxy that cannot be used: it is of type socks4" in refused
        assert "word" not in refused
        environment["https_proxy"] = address
        async with transport.connect(target, keepalive=60) as connection:
            await connection.hello(hello)
        assert proxy.asked == ["CONNECT nodespan.discovery.test:443 HTTP/1.1"]


# A service that behaves as told.


async def never(_request: object, _call: Call) -> server_pb2.HelloResponse:
    await trio.sleep_forever()
    raise AssertionError


async def refuse(_request: object, _call: Call) -> server_pb2.AffiliateUpdateResponse:
    raise RPCError(Code.RESOURCE_EXHAUSTED, "too many affiliates")


async def watch(request: server_pb2.WatchRequest, call: Call) -> None:
    async def send(message: server_pb2.WatchResponse) -> None:
        await call.send_framed(frame(message.SerializeToString()))

    if request.cluster_id == "large":
        await send(server_pb2.WatchResponse(affiliates=[server_pb2.Affiliate(id="a", data=bytes(5 << 20))]))
    elif request.cluster_id == "many":
        for number in range(1000):
            await send(server_pb2.WatchResponse(affiliates=[server_pb2.Affiliate(id=str(number))]))
    elif request.cluster_id == "abort":
        await send(server_pb2.WatchResponse())
        raise RPCError(Code.ABORTED, "too slow")
    else:
        await send(server_pb2.WatchResponse())
        await trio.sleep_forever()


@asynccontextmanager
async def odd_service() -> AsyncIterator[DialAddress]:
    served = Service(
        methods=methods(
            unary(f"{PATH}Hello", server_pb2.HelloRequest, never),
            unary(f"{PATH}AffiliateUpdate", server_pb2.AffiliateUpdateRequest, refuse),
            server_stream(f"{PATH}Watch", server_pb2.WatchRequest, watch),
        ),
        log=structlog.get_logger(),
    )
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(lambda task_status: Server(served).serve(listeners, task_status=task_status))
        yield DialAddress(f"127.0.0.1:{listeners[0].socket.getsockname()[1]}", insecure=True)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def odd_connection() -> AsyncIterator[Connection]:
    async with odd_service() as target, GrpcTransport().connect(target, keepalive=60) as connection:
        yield connection


async def test_a_cancelled_call_ends_at_once() -> None:
    async with odd_connection() as connection:
        with trio.move_on_after(0.1) as scope:
            await connection.hello(server_pb2.HelloRequest())
        assert scope.cancelled_caught


async def test_a_silent_watch_can_be_cancelled_at_once() -> None:
    request = server_pb2.WatchRequest(cluster_id="silent")
    async with odd_connection() as connection, connection.watch(request) as messages:
        assert await anext(aiter(messages)) == server_pb2.WatchResponse()
        with trio.move_on_after(0.1) as scope:
            await anext(aiter(messages))
        assert scope.cancelled_caught


async def test_a_watch_can_be_closed_with_unread_messages() -> None:
    async with odd_connection() as connection, connection.watch(server_pb2.WatchRequest(cluster_id="many")) as messages:
        assert (await anext(aiter(messages))).affiliates[0].id == "0"
        await trio.sleep(0.1)


async def test_every_message_of_a_watch_arrives_in_order() -> None:
    async with odd_connection() as connection, connection.watch(server_pb2.WatchRequest(cluster_id="many")) as messages:
        assert [message.affiliates[0].id async for message in messages] == [str(n) for n in range(1000)]


async def test_a_full_cluster_fits_into_one_message() -> None:
    async with (
        odd_connection() as connection,
        connection.watch(server_pb2.WatchRequest(cluster_id="large")) as messages,
    ):
        assert len((await anext(aiter(messages))).affiliates[0].data) == 5 << 20


async def test_errors_carry_the_status_of_the_service() -> None:
    async with odd_connection() as connection:
        with pytest.raises(TransportError, match="RESOURCE_EXHAUSTED: too many affiliates") as refused:
            await connection.update(server_pb2.AffiliateUpdateRequest())
        assert refused.value.is_refusal
        with pytest.raises(TransportError, match="UNIMPLEMENTED") as missing:
            await connection.delete(server_pb2.AffiliateDeleteRequest())
        assert not missing.value.is_refusal
        async with connection.watch(server_pb2.WatchRequest(cluster_id="abort")) as messages:
            stream = aiter(messages)
            await anext(stream)
            aborted = None
            try:
                await anext(stream)
            except TransportError as error:
                aborted = error
        assert aborted is not None
        assert aborted.code == "ABORTED"


async def test_a_refused_connection_fails_at_once() -> None:
    began = trio.current_time()
    async with GrpcTransport().connect(DialAddress("127.0.0.1:1", insecure=True), keepalive=60) as connection:
        with pytest.raises(TransportError, match="UNAVAILABLE"):
            await connection.hello(server_pb2.HelloRequest())
    assert trio.current_time() - began < 5


async def test_a_failed_call_names_the_step_that_failed() -> None:
    port = free_port()
    target = DialAddress(f"127.0.0.1:{port}", insecure=True)
    async with GrpcTransport(environment=dict).connect(target, keepalive=60) as connection:
        with pytest.raises(TransportError) as failed:
            await connection.hello(server_pb2.HelloRequest())
    assert (failed.value.code, failed.value.stage) == ("UNAVAILABLE", Stage.TCP)
    assert failed.value.details == f"no connection to 127.0.0.1:{port}: Connection refused"


async def test_an_answer_that_is_http_but_not_grpc_is_described_by_its_status() -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65536)
            await stream.send_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, refuse, listeners)
        target = DialAddress(f"127.0.0.1:{listeners[0].socket.getsockname()[1]}", insecure=True)
        async with GrpcTransport(environment=dict).connect(target, keepalive=60) as connection:
            with pytest.raises(TransportError) as failed:
                await connection.hello(server_pb2.HelloRequest())
        nursery.cancel_scope.cancel()
    assert failed.value.stage is Stage.HTTP
    assert failed.value.details == "it answers with HTTP status 502, not like gRPC"

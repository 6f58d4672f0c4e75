"""Several processes that are one service: here as tasks of one process, each with a port of its own."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import attrs
import pytest
import trio

from nodespan.discovery.service.processes.team import Team, owner_of
from nodespan.discovery.service.server import Bound, DiscoveryOptions, serve_discovery
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError, ChannelOptions, Endpoint, open_channel
from nodespan.runtime.state import MemoryState
from tests.discovery.service.rpc import RpcClient, connected
from tests.support.certificates import Authority
from tests.support.deadlines import PATIENCE

HERE = DiscoveryOptions(listen=("127.0.0.1", 0), metrics=("127.0.0.1", 0), pages=("127.0.0.1", 0), rate=0)
# A cluster of each of two processes.
OF_0, OF_1 = (next(f"c{number}" for number in range(99) if owner_of(f"c{number}", 2) == place) for place in range(2))


@asynccontextmanager
async def team(folder: Path, options: DiscoveryOptions = HERE, *, shares: bool = False) -> AsyncIterator[list[Bound]]:
    """Two processes."""
    state = MemoryState() if shares else None
    async with trio.open_nursery() as nursery:
        bounds = []
        for place in range(2):
            serve = partial(serve_discovery, options, state=state, team=Team(place, 2, folder, shares))
            bounds.append(await nursery.start(serve))
        yield bounds
        nursery.cancel_scope.cancel()


async def _get(url: str) -> str:
    def get() -> str:
        with urlopen(url, timeout=PATIENCE) as response:
            text: str = response.read().decode()
            return text

    return await trio.to_thread.run_sync(get)


async def _value(bound: Bound, name: str) -> float:
    lines = (await _get(f"{bound.metrics}/metrics")).splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).rpartition(" ")[2])


@pytest.mark.parametrize("cluster", [OF_0, OF_1])
async def test_all_accept_connections_and_the_process_of_the_cluster_serves_them(tmp_path: Path, cluster: str) -> None:
    async with team(tmp_path) as bounds:
        for number, bound in enumerate(bounds):
            async with connected(bound.port) as client:
                await client.update(f"{number}", b"data", cluster=cluster)
        async with (
            connected(bounds[0].port) as one,
            connected(bounds[1].port) as two,
            one.watch(cluster=cluster) as first,
            two.watch(cluster=cluster) as second,
        ):
            for watch in (first, second):
                assert {affiliate.id for affiliate in (await watch.receive()).affiliates} == {"0", "1"}
            await one.update("2", b"data", cluster=cluster)
            for watch in (first, second):
                assert [affiliate.id for affiliate in (await watch.receive()).affiliates] == ["2"]


async def test_the_address_of_a_client_goes_with_its_connection_and_its_calls(tmp_path: Path) -> None:
    async with team(tmp_path) as bounds, open_channel([Endpoint("127.0.0.1", bounds[0].port, secure=False)]) as channel:
        for cluster in (OF_1, OF_0):
            path = "/sidero.discovery.server.Cluster/Hello"
            request = wire.HelloRequest(cluster_id=cluster, client_version="v1.9.1")
            hello = await channel.unary(path, request, wire.HelloResponse.FromString, timeout=PATIENCE)
            assert hello.client_ip == bytes((127, 0, 0, 1))


async def test_a_call_of_another_cluster_on_the_same_connection_is_forwarded(tmp_path: Path) -> None:
    async with team(tmp_path) as bounds, connected(bounds[0].port) as client:
        for cluster in (OF_0, OF_1):
            await client.update("a", b"data of " + cluster.encode(), cluster=cluster)
            assert await client.list(cluster=cluster) == {"a": b"data of " + cluster.encode()}
        async with client.watch(cluster=OF_1) as watch:
            assert len((await watch.receive()).affiliates) == 1
            async with connected(bounds[1].port) as other:
                await other.update("b", b"x", cluster=OF_1)
            assert [affiliate.id for affiliate in (await watch.receive()).affiliates] == ["b"]
        with pytest.raises(CallError, match="300 bytes") as caught:
            await client.update("b" * 300, cluster=OF_1)
        assert caught.value.code is Code.INVALID_ARGUMENT


async def test_a_connection_over_tls_is_carried_to_its_process(tmp_path: Path) -> None:
    authority = Authority("test")
    certificate = authority.issue(tmp_path, "localhost")
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    options = attrs.evolve(HERE, certificate=certificate)
    large = {f"{number}": bytes(2000) for number in range(40)}
    async with team(tmp_path, options) as bounds:
        for bound in bounds:
            endpoint = Endpoint("localhost", bound.port)
            async with open_channel([endpoint], tls=lambda: context, options=ChannelOptions()) as channel:
                client = RpcClient(channel)
                for id, data in large.items():
                    await client.update(id, data, cluster=OF_1)
                async with client.watch(cluster=OF_1) as watch:
                    assert len((await watch.receive()).affiliates) == 40
                    assert await _value(bounds[0], "discovery_state_subscriptions") == 1
                    # It is one connection, whoever accepted it.
                    assert await _value(bounds[0], "discovery_server_connections") == 1
                    carried = await _value(bounds[0], "discovery_server_connections_carried")
                    assert carried == (bound is bounds[0])
        # Both ends of what carried them are closed.
        with trio.fail_after(PATIENCE):
            while await _value(bounds[0], "discovery_server_connections"):  # noqa: ASYNC110  # another side's sockets
                await trio.sleep(0.02)


async def test_the_metrics_and_pages_of_any_process_are_those_of_all(tmp_path: Path) -> None:
    async with team(tmp_path) as bounds:
        async with connected(bounds[0].port) as client, connected(bounds[1].port) as other:
            await client.update("a", b"of 0", cluster=OF_0)
            await other.update("a", b"of 1", cluster=OF_1)
        for bound in bounds:
            assert await _value(bound, "discovery_state_clusters") == 2
            assert await _value(bound, "discovery_server_processes") == 2
            assert json.loads(await _get(f"{bound.pages}/stats")) == {"affiliates": 2}
            for cluster, data in ((OF_0, b"of 0"), (OF_1, b"of 1")):
                assert data.hex() in await _get(f"{bound.pages}/inspect?clusterID={cluster}")


async def test_with_a_state_that_all_share_each_serves_what_it_accepts(tmp_path: Path) -> None:
    async with team(tmp_path, shares=True) as bounds:
        for number, bound in enumerate(bounds):
            async with connected(bound.port) as client:
                await client.update(f"{number}", cluster=OF_0)
                assert len(await client.list(cluster=OF_0)) == number + 1
        assert await _value(bounds[0], "discovery_state_affiliates") == 2


async def test_a_connection_that_was_handed_over_ends_in_order_when_its_process_stops(tmp_path: Path) -> None:
    async def watch_to_the_end(port: int, task_status: trio.TaskStatus[None]) -> None:
        async with connected(port) as client, client.watch(cluster=OF_1) as watch:
            await watch.receive()
            task_status.started()
            async for _ in watch:
                pass

    async with trio.open_nursery() as nursery, team(tmp_path) as bounds:
        await nursery.start(watch_to_the_end, bounds[0].port)


async def test_over_tls_each_connection_counts_for_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.discovery.service.server.most_files", lambda: 1000)
    secure = attrs.evolve(HERE, certificate=Authority("test").issue(tmp_path, "localhost"))
    # 125 are kept from clients, by each of the two.
    for options, shares, most in ((HERE, False, 1750), (secure, False, 874), (secure, True, 1750)):
        async with team(tmp_path, options, shares=shares) as bounds:
            assert await _value(bounds[0], "discovery_server_connections_limit") == most

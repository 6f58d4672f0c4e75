"""Several discovery services on one etcd: they serve one set of clusters, and one may die."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from nodespan.discovery.service.server import Bound, DiscoveryOptions, serve_discovery
from nodespan.runtime.api.grpc import Code, RPCError
from tests.discovery.service.house import SECOND
from tests.discovery.service.rpc import RpcClient, connected
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually
from tests.support.shared_etcd import SharedEtcd, running_etcd

pytestmark = pytest.mark.needs_program("etcd")


@pytest.fixture(scope="module")
def etcd() -> Iterator[SharedEtcd]:
    with running_etcd() as shared:
        yield shared


@attrs.define
class Instance:
    """A service, its clients, and how to end it."""

    bound: Bound
    client: RpcClient
    scope: trio.CancelScope


class Watcher:
    """The messages that a watcher received."""

    def __init__(self) -> None:
        self.present: dict[str, bytes] = {}
        self.deleted: list[str] = []

    async def run(self, client: RpcClient, *, task_status: trio.TaskStatus[None]) -> None:
        started = False
        async with client.watch() as call:
            async for message in call:
                for affiliate in message.affiliates:
                    if message.deleted:
                        self.present.pop(affiliate.id, None)
                        self.deleted.append(affiliate.id)
                    else:
                        self.present[affiliate.id] = affiliate.data
                if not started:
                    task_status.started()
                    started = True


@asynccontextmanager
async def instances(
    etcd: SharedEtcd, count: int, *, now: Callable[[], int] | None = None, **changes: Any
) -> AsyncIterator[tuple[Instance, ...]]:
    options = DiscoveryOptions(
        listen=("127.0.0.1", 0),
        state=f"etcd:{etcd.endpoint}",
        state_settings={"prefix": etcd.prefix(), "patience": "0"},
        **changes,
    )
    async with trio.open_nursery() as nursery, AsyncExitStack() as clients:

        async def serve(*, task_status: trio.TaskStatus[tuple[Bound, trio.CancelScope]]) -> None:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    bound = await inner.start(
                        lambda task_status: serve_discovery(options, now=now, task_status=task_status)
                    )
                    task_status.started((bound, scope))

        running = []
        for _ in range(count):
            bound, scope = await nursery.start(serve)
            client = await clients.enter_async_context(connected(bound.port))
            running.append(Instance(bound, client, scope))
        yield tuple(running)
        nursery.cancel_scope.cancel()


until = functools.partial(eventually, within=PATIENCE)


async def test_an_affiliate_announced_at_one_is_served_by_all_and_one_may_die(etcd: SharedEtcd) -> None:
    async with instances(etcd, 3) as (one, two, three), trio.open_nursery() as nursery:
        watchers = [Watcher() for _ in range(3)]
        for watcher, instance in zip(watchers, (one, two, three), strict=True):
            await nursery.start(watcher.run, instance.client)
        expected = {}
        for number, instance in enumerate((one, two, three)):
            expected[str(number)] = b"data"
            await instance.client.update(str(number), b"data")
        await until(lambda: all(watcher.present == expected for watcher in watchers))
        for instance in (one, two, three):
            assert await instance.client.list() == expected

        # Its clients go on elsewhere: with another record, and the same cluster.
        nursery.cancel_scope.cancel()
    async with instances(etcd, 3) as (one, two, _), trio.open_nursery() as nursery:
        watcher = Watcher()
        async with connected(one.bound.port, two.bound.port) as wanderer:
            await wanderer.update("wanderer", b"before")
            await nursery.start(watcher.run, two.client)
            one.scope.cancel()
            await persistently(lambda: wanderer.update("wanderer", b"after"))
            await until(lambda: watcher.present == {"wanderer": b"after"})
            assert watcher.deleted == []
            assert await wanderer.list() == {"wanderer": b"after"}
        nursery.cancel_scope.cancel()


async def persistently(call: Callable[[], Awaitable[None]]) -> None:
    """Call until it succeeds, as clients do."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                return await call()
            except RPCError as error:
                if error.code is not Code.UNAVAILABLE:
                    raise
            await trio.sleep(0.02)


async def test_an_expiry_is_reported_once_by_all_and_what_is_refreshed_elsewhere_stays(etcd: SharedEtcd) -> None:
    clock = 1000 * SECOND
    async with (
        instances(etcd, 2, now=lambda: clock, grace=0.0, collect_interval=0.05) as (one, two),
        trio.open_nursery() as nursery,
    ):
        watchers = [Watcher(), Watcher()]
        for watcher, instance in zip(watchers, (one, two), strict=True):
            await nursery.start(watcher.run, instance.client)
        await one.client.update("short", b"data", ttl=60)
        await one.client.update("long", b"data", ttl=60)
        await two.client.update("long", b"data", ttl=600)
        clock += 61 * SECOND
        await until(lambda: all(watcher.deleted == ["short"] for watcher in watchers))
        await one.client.update("short", b"again", ttl=60)
        await until(lambda: all(watcher.present == {"long": b"data", "short": b"again"} for watcher in watchers))
        assert [watcher.deleted for watcher in watchers] == [["short"], ["short"]]
        nursery.cancel_scope.cancel()


async def test_reports_of_one_affiliate_at_all_instances_are_merged(etcd: SharedEtcd) -> None:
    async with instances(etcd, 2, rate=0.0) as (one, two):
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    for instance in (one, two):
                        endpoint = f"{instance.bound.port}-{number}".encode()
                        # All write one key, and on a busy machine one of them may not get its turn in time.
                        nursery.start_soon(persistently, functools.partial(instance.client.report, "a", endpoint))
        endpoints = {f"{instance.bound.port}-{number}".encode() for instance in (one, two) for number in range(8)}
        with trio.fail_after(PATIENCE):
            for instance in (one, two):
                while await instance.client.endpoints("a") != endpoints:  # noqa: ASYNC110 (told by the other)
                    await trio.sleep(0.01)

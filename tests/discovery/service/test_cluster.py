from typing import Any, cast

import pytest
import trio
import trio.testing

from nodespan.discovery.service.affiliate import AffiliateSpec
from nodespan.discovery.service.cluster import Cluster
from nodespan.runtime.api.grpc import Call

WATCHERS, REPORTERS, TURNS = 100, 20, 50


class FullCall:
    """A call to which nothing can be sent at once, as while its socket is full."""

    def offer(self, _data: bytes, _count: int) -> bool:
        return False


@pytest.mark.virtual_clock
async def test_watchers_that_send_by_themselves_do_not_go_on_for_each_change() -> None:
    """Once they have caught up, what comes next is told in beats: otherwise each would send each change by itself."""
    sends = 0
    positions: dict[int, int] = {}

    async def watch(number: int) -> None:
        nonlocal sends
        watcher = cluster.watch(cast("Call", cast("Any", FullCall())))
        while True:
            positions[number] = watcher.position
            await cluster.wait_beyond(watcher)
            assert cluster.increment(watcher.position) is not None
            watcher.position = cluster.position
            sends += 1

    async def report(reporter: int) -> None:
        """Changes in each turn of the loop, while watchers are busy."""
        for turn in range(TURNS):
            cluster.put(AffiliateSpec(cluster="c", affiliate=f"node-{reporter}-{turn}", announcement=1))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        cluster = Cluster(nursery)
        for number in range(WATCHERS):
            nursery.start_soon(watch, number)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as reporters:
            for reporter in range(REPORTERS):
                reporters.start_soon(report, reporter)
        assert sends <= 3 * WATCHERS
        await trio.sleep(10)
        assert set(positions.values()) == {REPORTERS * TURNS}
        assert sends <= 6 * WATCHERS
        nursery.cancel_scope.cancel()

"""What watchers are told, and how often."""

import pytest
import trio
import trio.testing

from nodespan.discovery.service import cluster as cluster_module
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc import RPCError
from tests.discovery.service.house import Watcher, open_house, settle


@pytest.mark.virtual_clock
async def test_the_first_message_is_a_snapshot_even_if_empty() -> None:
    async with open_house() as house:
        for expected in ([], ["a", "b"]):
            watcher = Watcher()
            house.nursery.start_soon(
                lambda to: house.call("Watch", wire.WatchRequest(cluster_id="c"), outlet=to), watcher
            )
            await settle()
            (snapshot,) = watcher.take()
            assert sorted(affiliate.id for affiliate in snapshot.affiliates) == expected
            await house.update("a")
            await house.update("b", b"d")
            await settle()


@pytest.mark.virtual_clock
async def test_a_change_after_a_quiet_period_is_sent_at_once() -> None:
    async with open_house() as house:
        watcher = await house.watch()
        before = trio.current_time()
        await house.update("a")
        await trio.testing.wait_all_tasks_blocked()
        assert len(watcher.take()) == 1
        assert trio.current_time() == before


class Steps(trio.abc.Instrument):
    """Counts the steps of tasks."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


@pytest.mark.virtual_clock
async def test_a_small_cluster_is_told_within_the_write_and_no_task_is_run_for_it() -> None:
    async with open_house() as house:
        watchers = [await house.watch() for _ in range(10)]
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await house.update("a")
        assert [watcher.offered for watcher in watchers] == [1] * 10
        assert [watcher.sent for watcher in watchers] == [1] * 10  # what each was sent when it began
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        # The test's own: it does not wait for the write, and once for the rest.
        assert steps.count <= 2
        assert len({id(message) for watcher in watchers for message in watcher.take()}) == 10


@pytest.mark.virtual_clock
async def test_changes_that_keep_coming_to_a_small_cluster_are_told_together() -> None:
    async with open_house() as house:
        watcher = await house.watch()
        cluster = house.clusters.mention("c")
        await house.update("first")
        cluster._rest_time, cluster._ended = 0.4, trio.current_time()
        for number in range(20):
            await house.update(f"{number}")
        assert len(watcher.take()) == 1
        await settle()
        (together,) = watcher.take()
        assert len(together.affiliates) == 20


@pytest.mark.virtual_clock
async def test_a_backlog_is_sent_as_one_message_and_one_for_deletions() -> None:
    async with open_house() as house:
        slow, quick = await house.watch(), await house.watch()
        await house.update("gone")
        await house.update("back")
        await settle()
        slow.take()
        slow.gate = trio.Event()
        await house.update("first")
        await settle()
        for number in range(300):
            await house.update(f"{number % 100}", b"data %d" % number)
        await house.delete("gone")
        await house.delete("back")
        await house.update("back", b"again")
        await settle()
        slow.gate.set()
        await settle()
        first, changed, gone = slow.take()
        assert [affiliate.id for affiliate in first.affiliates] == ["first"]
        assert {affiliate.id: affiliate.data for affiliate in changed.affiliates} == {
            "back": b"again",
            **{f"{number}": b"data %d" % (200 + number) for number in range(100)},
        }
        assert [affiliate.id for affiliate in gone.affiliates] == ["gone"]
        assert gone.deleted
        assert _view(quick) == {*(f"{number}" for number in range(100)), "first", "back"}


def _view(watcher: Watcher) -> set[str]:
    seen: set[str] = set()
    for message in watcher.messages:
        ids = {affiliate.id for affiliate in message.affiliates}
        seen = seen - ids if message.deleted else seen | ids
    return seen


@pytest.mark.virtual_clock
async def test_watchers_at_the_same_position_share_the_encoded_bytes() -> None:
    async with open_house() as house:
        await house.watch()
        cluster = house.clusters.mention("c")
        before = cluster.position
        await house.update("a")
        await house.update("b")
        assert cluster.increment(before) is cluster.increment(before)
        assert cluster.snapshot() is cluster.snapshot()


@pytest.mark.virtual_clock
async def test_a_watcher_is_told_without_a_task_unless_it_reads_no_more() -> None:
    async with open_house() as house:
        watcher = await house.watch()
        await house.update("a")
        await settle()
        assert (watcher.sent, watcher.offered) == (1, 1)
        watcher.gate = trio.Event()
        await house.update("b")
        await settle()
        await house.update("c")
        watcher.gate.set()
        await settle()
        await house.update("d")
        await settle()
        assert (watcher.sent, watcher.offered) == (3, 2)
        ids = [[affiliate.id for affiliate in message.affiliates] for message in watcher.take()]
        assert ids == [["a"], ["b"], ["c"], ["d"]]


@pytest.mark.virtual_clock
async def test_large_increments_are_split_into_messages_of_accepted_size() -> None:
    async with open_house() as house:
        watcher = await house.watch()
        watcher.gate = trio.Event()
        await house.update("first")
        await settle()
        for number in range(1000):
            endpoints = tuple(b"%06d" % number + bytes((n,)) * 26 for n in range(16))
            await house.update(f"{number}", bytes(2048), endpoints)
        watcher.gate.set()
        await settle()
        _, *messages = watcher.take()
        assert sum(len(message.affiliates) for message in messages) == 1000
        assert 1 < len(messages) < 10
        assert max(message.ByteSize() for message in messages) < 4 << 20


@pytest.mark.virtual_clock
async def test_a_watcher_that_falls_too_far_behind_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_MAX_BEHIND", 50)
    async with open_house() as house:
        watcher = Watcher()

        async def watch() -> None:
            with pytest.raises(RPCError, match="too slow") as caught:
                await house.call("Watch", wire.WatchRequest(cluster_id="c"), outlet=watcher)
            assert caught.value.code.name == "ABORTED"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await settle()
            watcher.gate = trio.Event()
            await house.update("stuck")
            await settle()
            for _ in range(3):
                for number in range(50):
                    await house.update(f"{number}", b"d")
            await house.update("one too many")
            watcher.gate.set()
        assert not house.clusters.mention("c").watchers


@pytest.mark.virtual_clock
async def test_a_watcher_that_never_reads_is_dropped() -> None:
    async with open_house() as house:
        watcher = Watcher()
        watcher.gate = trio.Event()
        with pytest.raises(RPCError, match="not read for 60 s"):
            await house.call("Watch", wire.WatchRequest(cluster_id="c"), outlet=watcher)


@pytest.mark.virtual_clock
async def test_a_watcher_that_does_not_read_delays_others_only_briefly() -> None:
    async with open_house() as house:
        stuck, other = await house.watch(), await house.watch()
        stuck.gate = trio.Event()
        for number in range(5):
            await house.update(f"{number}", b"d")
            await trio.sleep(2)
            assert len(other.take()) == 1


@pytest.mark.virtual_clock
async def test_changes_of_other_clusters_are_not_sent() -> None:
    async with open_house() as house:
        watcher = await house.watch()
        await house.update("a", cluster="other")
        await settle()
        assert watcher.take() == []

"""Changes are spread over the calls that watch them by one of them, whoever leaves and whoever does not read."""

from typing import Any

import pytest
import trio
import trio.testing

from nodespan.runtime.api.cosi.fan_out import FanOuts, Member
from nodespan.runtime.resource import Filter, equal
from nodespan.runtime.state import Event, MemoryState
from nodespan.runtime.state.watching import AggregatedWatch
from tests.runtime.api.cosi.client import Thing, ThingSpec


class Watcher:
    """A call that watches: what was offered to it, and what was left to its own task."""

    def __init__(
        self, fan_outs: FanOuts, state: MemoryState, *, takes: bool = True, filter: Filter | None = None
    ) -> None:
        self.takes = takes
        self.offered: list[bytes] = []
        self.left: list[str] = []
        self.errors: list[str] = []
        self.scope = trio.CancelScope()
        self._fan_outs = fan_outs
        self._state = state
        self._options: dict[str, Any] = {} if filter is None else {"filter": filter}

    def offer(self, data: bytes, _messages: int = 1) -> bool:
        if self.takes:
            self.offered.append(data)
        return self.takes

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        watch = self._state.watch_kind_aggregated(Thing, **self._options)
        assert isinstance(watch, AggregatedWatch)
        member = Member(self, watch, _framed)  # type: ignore[arg-type]  # as much of a call as is used
        with self.scope:
            async with watch:
                fan_out = self._fan_outs.join(member)
                task_status.started()
                try:
                    while not self.errors:
                        for event in await fan_out.next(member):
                            if event.error is not None:
                                self.errors.append(str(event.error))
                            else:
                                self.left.append(_id(event))
                finally:
                    self._fan_outs.leave(member)


def _id(event: Event) -> str:
    assert event.resource is not None
    return event.resource.id


def _framed(batch: list[Event]) -> bytes | None:
    return _id(batch[0]).encode() if len(batch) == 1 and batch[0].error is None else None


async def settled(state: MemoryState, id: str, **labels: str) -> None:
    """Make a resource, and let all see it."""
    await state.create(Thing.new(id, ThingSpec(), labels=labels))
    await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def state() -> MemoryState:
    return MemoryState(initial_capacity=10, max_capacity=10)


async def test_who_can_take_a_change_is_sent_it_at_once_and_others_send_it_themselves(state: MemoryState) -> None:
    fan_outs = FanOuts()
    quick, other = Watcher(fan_outs, state), Watcher(fan_outs, state)
    slow = Watcher(fan_outs, state, takes=False)
    async with trio.open_nursery() as nursery:
        for watcher in (slow, quick, other):
            await nursery.start(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        await settled(state, "a")
        await settled(state, "b")
        assert quick.offered == other.offered == [b"a", b"b"]
        assert slow.left == ["a", "b"]
        # Several changes at once are for its own task.
        await state.create(Thing.new("c", ThingSpec()))
        await settled(state, "d")
        assert quick.left == ["c", "d"]
        nursery.cancel_scope.cancel()


async def test_no_watcher_misses_a_change_when_another_leaves(state: MemoryState) -> None:
    fan_outs = FanOuts()
    watchers = [Watcher(fan_outs, state) for _ in range(100)]
    async with trio.open_nursery() as nursery:
        for watcher in watchers:
            await nursery.start(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        for number, watcher in enumerate(watchers[:-1]):
            # The leader is cancelled between the change and its turn.
            await state.create(Thing.new(f"{number:02}", ThingSpec()))
            watcher.scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert watchers[-1].offered[-1] == f"{number:02}".encode()
        assert len(watchers[-1].offered) == 99
        nursery.cancel_scope.cancel()


async def test_each_gets_what_its_filter_passes(state: MemoryState) -> None:
    fan_outs = FanOuts()
    all_of_them = Watcher(fan_outs, state)
    some = Watcher(fan_outs, state, filter=Filter((equal("on", "1"),)))
    async with trio.open_nursery() as nursery:
        # The one that leads is woken by changes that it does not get.
        for watcher in (some, all_of_them):
            await nursery.start(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        await settled(state, "a")
        await settled(state, "b", on="1")
        assert (some.offered, all_of_them.offered) == ([b"b"], [b"a", b"b"])
        nursery.cancel_scope.cancel()


async def test_a_watcher_that_fell_behind_is_notified_by_its_own_task(state: MemoryState) -> None:
    fan_outs = FanOuts()
    watcher = Watcher(fan_outs, state)
    async with trio.open_nursery() as nursery:
        await nursery.start(watcher.run)
        for number in range(30):
            await state.create(Thing.new(f"{number:02}", ThingSpec()))
        await trio.testing.wait_all_tasks_blocked()
    assert watcher.errors[0].startswith("buffer overrun")
    assert fan_outs.count == 0


async def test_other_tasks_run_between(state: MemoryState) -> None:
    fan_outs = FanOuts()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    watchers = [Watcher(fan_outs, state) for _ in range(500)]
    async with trio.open_nursery() as nursery:
        for watcher in watchers:
            await nursery.start(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        await state.create(Thing.new("a", ThingSpec()))
        with trio.CancelScope() as counting:
            async with trio.open_nursery() as inner:
                inner.start_soon(count)
                while not all(watcher.offered for watcher in watchers):
                    await trio.lowlevel.checkpoint()
                counting.cancel()
        assert turns > 10
        nursery.cancel_scope.cancel()


async def test_watchers_of_other_connections_go_on_when_two_of_one_end_together(state: MemoryState) -> None:
    fan_outs = FanOuts()
    for round in range(20):
        first, second, other = (Watcher(fan_outs, state) for _ in range(3))
        async with trio.open_nursery() as nursery:
            for watcher in (first, second, other):
                await nursery.start(watcher.run)
            await trio.testing.wait_all_tasks_blocked()
            first.scope.cancel()
            second.scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await state.create(Thing.new(f"{round}", ThingSpec()))
            await trio.testing.wait_all_tasks_blocked()
            assert len(other.offered) == 1
            nursery.cancel_scope.cancel()


async def test_two_that_do_not_read_keep_nobody_else_waiting(state: MemoryState) -> None:
    fan_outs = FanOuts()
    watchers = [Watcher(fan_outs, state, takes=False), Watcher(fan_outs, state, takes=False), Watcher(fan_outs, state)]
    async with trio.open_nursery() as nursery:
        for watcher in watchers:
            await nursery.start(watcher.run)
            await trio.testing.wait_all_tasks_blocked()
        for id in ("a", "b"):
            await state.create(Thing.new(id, ThingSpec()))
            await trio.testing.wait_all_tasks_blocked()
        assert len(watchers[2].offered) == 2
        nursery.cancel_scope.cancel()

"""The history of the in-memory state: how long it is, how it grows, and what becomes of a reader it outruns."""

import itertools
import random
from typing import Any

import pytest
import trio
import trio.testing

from nodespan.runtime.errors import OverrunError
from nodespan.runtime.resource import Kind, Resource
from nodespan.runtime.state import Event, EventType, MemoryState, Watch
from tests.runtime.state.paths import KIND, addresses, churn, path, read

TYPE = KIND.type


# Overruns.


async def _ten_created_and_updated_twice(state: MemoryState) -> None:
    for number in range(10):
        await state.create(path(str(number)))
    for label in ("first", "second"):
        for number in range(10):
            await state.update(state.get(KIND, str(number)).with_labels({label: ""}))


async def test_a_watch_that_falls_behind_gets_one_overrun_and_ends() -> None:
    state = MemoryState(max_capacity=10, gap=5)
    async with (
        state.watch(KIND, "0") as one,
        state.watch_kind(KIND) as kind,
        state.watch_kind_aggregated(KIND, bootstrap_contents=True) as batches,
    ):
        assert (await read(one)).type is EventType.DESTROYED
        assert len(await read(batches)) == 1
        await _ten_created_and_updated_twice(state)
        text = f'buffer overrun: namespace "default" type "{TYPE}", write pos 30, pos 0, capacity 10'
        for event in (await read(one), await read(kind), *(await read(batches))):
            assert event.type is EventType.ERRORED
            assert isinstance(event.error, OverrunError)
            assert str(event.error) == text
            assert event.error.concerns(namespace="default", type=TYPE)
            assert (event.resource, event.old, event.bookmark) == (None, None, None)
        for watch in (one, kind, batches):
            with pytest.raises(StopAsyncIteration):
                await anext(watch)


async def test_the_contents_read_late_are_no_overrun_but_what_came_after_is() -> None:
    state = MemoryState(max_capacity=10, gap=5)
    await state.create(path("disk"))
    async with state.watch_kind(KIND, bootstrap_contents=True) as watch:
        await churn(state, "disk", 11)
        types = [(await read(watch)).type for _ in range(3)]
    assert types == [EventType.CREATED, EventType.BOOTSTRAPPED, EventType.ERRORED]


@pytest.mark.parametrize("behind", [1, 5, 6, 10])
async def test_the_gap_takes_nothing_from_a_reader_that_is_already_there(behind: int) -> None:
    state = MemoryState(max_capacity=10, gap=5)
    await churn(state, "disk", 30)
    async with state.watch_kind_aggregated(KIND) as watch:
        await churn(state, "disk", behind)
        assert len(await read(watch)) == behind


async def test_a_history_grows_while_it_is_filled_for_the_first_time() -> None:
    state = MemoryState(initial_capacity=4, max_capacity=4095, gap=2)
    async with state.watch_kind(KIND) as kind, state.watch(KIND, "0") as one:
        await read(one)
        for number in range(4095):
            await state.create(path(str(number)))
        events = [await read(kind) for _ in range(4095)]
        assert addresses(events) == [(EventType.CREATED, str(number), 1) for number in range(4095)]
        assert (await read(one)).resource is state.get(KIND, "0")
    async with state.watch_kind_aggregated(KIND, tail_events=10_000) as watch:
        assert await read(watch) == events[2:]
        # From here on the oldest make room.
        await churn(state, "last", 4096)
        (event,) = await read(watch)
    assert str(event.error).endswith("write pos 8191, pos 4095, capacity 4095")


@pytest.mark.parametrize(("written", "capacity"), [(4, 4), (5, 8), (8, 8), (9, 10), (10, 10), (1000, 10)])
async def test_a_history_doubles_when_full_up_to_its_maximum(written: int, capacity: int) -> None:
    state = MemoryState(initial_capacity=4, max_capacity=10, gap=0)
    await churn(state, "disk", written)
    async with state.watch_kind_aggregated(KIND, tail_events=10_000) as watch:
        assert len(await read(watch)) == min(capacity, written)


async def _held(state: MemoryState) -> list[int | None]:
    """The versions in the history."""
    async with state.watch_kind_aggregated(KIND, tail_events=10_000) as watch:
        return [event.resource.metadata.version for event in await read(watch) if event.resource is not None]


async def test_a_change_now_and_then_fills_a_history_without_making_it_grow() -> None:
    minutes = itertools.count(0, 60 * 10**9)
    state = MemoryState(initial_capacity=10, max_capacity=1000, gap=0, now=minutes.__next__)
    await churn(state, "disk", 100)
    assert await _held(state) == [*range(91, 101)]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("most", [4, 10, 16, 64])
async def test_a_history_grows_at_any_time_and_every_event_keeps_its_place(seed: int, most: int) -> None:
    chance = random.Random(seed)
    moment = 0
    state = MemoryState(initial_capacity=4, max_capacity=most, gap=0, now=lambda: moment)
    written, longest = 0, 0
    async with state.watch_kind_aggregated(KIND) as watch:
        for _ in range(40):
            pause = chance.choice((0, 10**9, 400 * 10**9))
            count = chance.randrange(1, 5)
            for _ in range(count):
                moment += pause
                await churn(state, "disk", 1)
            written += count
            assert len(await read(watch)) == count
            held = await _held(state)
            assert held == [*range(written - len(held) + 1, written + 1)]
            assert min(4, written) <= len(held) <= most
            longest = max(longest, len(held))
    assert longest > 4 or most == 4


# Sizes.


@pytest.mark.parametrize(
    ("sizes", "held"),
    [
        ({}, 100),
        ({"max_capacity": 10}, 10),
        ({"max_capacity": 300}, 300),
        ({"initial_capacity": 10}, 100),
        ({"initial_capacity": 150}, 150),
        ({"initial_capacity": 10, "max_capacity": 20}, 20),
    ],
)
async def test_a_size_that_is_not_given_follows_the_one_that_is(sizes: dict[str, int], held: int) -> None:
    state = MemoryState(**sizes, gap=0)  # type: ignore[arg-type]
    await churn(state, "disk", 400)
    async with state.watch_kind_aggregated(KIND, tail_events=1000) as watch:
        assert len(await read(watch)) == held


@pytest.mark.parametrize(
    "sizes", [{"initial_capacity": 20, "max_capacity": 10}, {"gap": 100}, {"gap": -1}, {"max_capacity": 0}]
)
def test_sizes_that_contradict_each_other_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need 0 <= gap < initial <= max capacity"):
        MemoryState(**sizes)  # type: ignore[arg-type]


# Watches of single resources.


async def test_thousands_of_others_neither_wake_nor_outrun_the_watch_of_one() -> None:
    state = MemoryState()
    woken: list[Event] = []

    async def collect(watch: Watch[Event]) -> None:
        async for event in watch:
            woken.append(event)

    async with trio.open_nursery() as nursery, state.watch(KIND, "mine") as watch:
        nursery.start_soon(collect, watch)
        for _ in range(5):
            for number in range(1000):
                await churn(state, f"other-{number}", 1)
            await churn(state, "mine", 3)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert addresses(woken[1:]) == [
        (EventType.UPDATED if version > 1 else EventType.CREATED, "mine", version) for version in range(1, 16)
    ]


async def test_the_watch_of_one_is_outrun_by_others_only_while_it_has_something_to_read() -> None:
    state = MemoryState(max_capacity=10, gap=0)
    async with state.watch(KIND, "mine") as watch:
        await read(watch)
        await churn(state, "other", 100)
        await churn(state, "mine", 1)
        await churn(state, "other", 9)
        assert (await read(watch)).type is EventType.CREATED
        await churn(state, "mine", 2)
        await churn(state, "other", 9)
        assert str((await read(watch)).error).endswith("write pos 121, pos 110, capacity 10")


async def test_a_watch_that_is_left_is_forgotten() -> None:
    state = MemoryState()
    view = state.view(KIND)
    for _ in range(3):
        async with state.watch(KIND, "disk"), state.watch(KIND, "disk"):
            with state.while_running(KIND, "disk"):
                pass
    assert not view._sinks_by_id


# Views.


async def test_a_view_shows_every_write_at_once_and_its_mapping_stays_the_same() -> None:
    state = MemoryState()
    view = state.view(KIND)
    items = view.items
    assert view.list() == []
    for id in ("b", "a", "c"):
        await state.create(path(id))
        assert view.list() == [items[id] for id in sorted(items)]
    await state.destroy(KIND, "b")
    assert [resource.id for resource in view.list()] == sorted(items) == ["a", "c"]
    assert state.view(KIND).items is items


async def test_a_list_is_the_readers_own() -> None:
    state = MemoryState()
    await state.create(path("disk"))
    state.list(KIND).clear()
    assert len(state.list(KIND)) == 1


async def test_subscribers_hear_of_each_commit_within_the_write() -> None:
    state = MemoryState()
    heard: list[tuple[str, Resource[Any], Resource[Any] | None, bool]] = []
    unsubscribe = [
        state.view(KIND).subscribe(lambda *told: heard.append(("kind", *told))),
        state.view(KIND).subscribe(lambda *told: heard.append(("disk", *told)), "disk"),
    ]
    created = await state.create(path("disk"))
    assert heard == [("kind", created, None, False), ("disk", created, None, False)]
    updated = await state.update(created)
    other = await state.create(path("other"))
    await state.destroy(KIND, "disk")
    assert heard[2:] == [
        ("kind", updated, created, False),
        ("disk", updated, created, False),
        ("kind", other, None, False),
        ("kind", updated, None, True),
        ("disk", updated, None, True),
    ]
    assert heard[2][2] is created
    for stop in unsubscribe:
        stop()
    await state.create(path("disk"))
    assert len(heard) == 7


async def test_the_same_subscriber_may_come_twice_and_leave_once() -> None:
    state = MemoryState()
    heard: list[str] = []

    def sink(resource: Resource[Any], _before: Resource[Any] | None, _destroyed: bool) -> None:
        heard.append(resource.id)

    for id in (None, "disk"):
        stop = state.view(KIND).subscribe(sink, id)
        state.view(KIND).subscribe(sink, id)
        stop()
    await state.create(path("disk"))
    assert heard == ["disk", "disk"]


async def test_kinds_that_were_touched_are_known() -> None:
    state = MemoryState()
    assert list(state.kinds()) == []
    await state.create(path("disk"))
    state.list(Kind("other", TYPE))
    assert set(state.kinds()) == {KIND, Kind("other", TYPE)}

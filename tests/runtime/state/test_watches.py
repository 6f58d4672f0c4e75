"""What watches start with, what they deliver, how they resume and how they end."""

from typing import Any

import pytest
import trio
import trio.testing

from nodespan.runtime.errors import InvalidBookmarkError, WatchOptionsError
from nodespan.runtime.resource import Phase, build_filter, is_tombstone
from nodespan.runtime.resource.query import equal
from nodespan.runtime.state import Event, EventType, MemoryState
from tests.runtime.state.paths import KIND, addresses, churn, path, read, read_until

CREATED, UPDATED, DESTROYED = EventType.CREATED, EventType.UPDATED, EventType.DESTROYED
BOOTSTRAPPED, NOOP = EventType.BOOTSTRAPPED, EventType.NOOP


# How a watch starts.


@pytest.mark.parametrize("phase", Phase)
async def test_a_watch_of_one_starts_with_what_is_there_in_whatever_phase(phase: Phase) -> None:
    state = MemoryState()
    stored = await state.create(path("disk").evolve(phase=phase))
    async with state.watch(KIND, "disk") as watch:
        assert await read(watch) == Event(CREATED, stored)


async def test_a_watch_of_one_starts_with_a_tombstone_where_there_is_nothing() -> None:
    async with MemoryState().watch(KIND, "disk") as watch:
        event = await read(watch)
    assert event.type is DESTROYED
    assert event.bookmark is None
    assert event.resource is not None
    assert is_tombstone(event.resource)
    assert event.resource.pointer == KIND.pointer("disk")


async def test_the_start_is_fixed_on_entering() -> None:
    state = MemoryState()
    first = await state.create(path("disk"))
    one, kind = state.watch(KIND, "disk"), state.watch_kind(KIND, bootstrap_contents=True)
    second = await state.update(first)
    async with one, kind:
        third = await state.update(second)
        for watch in (one, kind):
            assert (await read(watch)).resource is second
        assert (await read(kind)).type is BOOTSTRAPPED
        for watch in (one, kind):
            event = await read(watch)
            assert (event.type, event.resource, event.old) == (UPDATED, third, second)


async def test_the_contents_come_in_the_order_of_ids_whatever_order_they_came_in() -> None:
    state = MemoryState()
    for id in ("m", "a", "z", "b"):
        await state.create(path(id))
    await state.destroy(KIND, "m")
    await state.create(path("m"))
    async with state.watch_kind_aggregated(KIND, bootstrap_contents=True) as watch:
        batch = await read(watch)
    assert [event.resource.id for event in batch if event.resource] == ["a", "b", "m", "z", ""]
    assert [event.type for event in batch] == [CREATED] * 4 + [BOOTSTRAPPED]
    assert [event.bookmark is None for event in batch] == [True] * 4 + [False]


async def test_an_empty_kind_is_bootstrapped_at_once() -> None:
    async with MemoryState().watch_kind(KIND, bootstrap_contents=True) as watch:
        event = await read(watch)
    assert event.type is BOOTSTRAPPED
    assert event.resource is not None
    assert event.resource.pointer == KIND.pointer("")


async def test_the_bookmark_comes_after_the_contents_and_in_a_batch_of_its_own() -> None:
    state = MemoryState()
    await state.create(path("disk"))
    both = state.watch_kind_aggregated(KIND, bootstrap_contents=True, bootstrap_bookmark=True)
    async with both as watch:
        await state.create(path("other"))
        batches = [await read(watch) for _ in range(3)]
    assert [[event.type for event in batch] for batch in batches] == [[CREATED, BOOTSTRAPPED], [NOOP], [CREATED]]
    assert batches[0][-1].bookmark == batches[1][0].bookmark


async def test_the_bookmark_of_a_watch_with_a_tail_is_where_the_tail_begins() -> None:
    state = MemoryState()
    await churn(state, "disk", 5)
    async with state.watch_kind(KIND, tail_events=2, bootstrap_bookmark=True) as watch:
        noop, *tail = [await read(watch) for _ in range(3)]
    assert noop.type is NOOP
    assert addresses(tail) == [(UPDATED, "disk", 4), (UPDATED, "disk", 5)]
    async with state.watch_kind(KIND, start_from=noop.bookmark) as watch:
        assert [await read(watch) for _ in range(2)] == tail


@pytest.mark.parametrize(
    "options",
    [
        {"bootstrap_contents": True, "tail_events": 1},
        {"bootstrap_contents": True, "start_from": b""},
        {"tail_events": 1, "start_from": b""},
    ],
)
async def test_starts_that_exclude_each_other_are_refused(options: dict[str, Any]) -> None:
    state = MemoryState()
    with pytest.raises(WatchOptionsError, match="exclude each other"):
        await state.watch_kind(KIND, **options).__aenter__()
    with pytest.raises(WatchOptionsError, match="exclude each other"):
        await state.watch_kind_aggregated(KIND, **options).__aenter__()
    if "bootstrap_contents" not in options:
        with pytest.raises(WatchOptionsError, match="exclude each other"):
            await state.watch(KIND, "disk", **options).__aenter__()


# What is delivered.


async def test_every_commit_is_an_event_of_its_own_even_without_a_reader() -> None:
    state = MemoryState()
    async with state.watch(KIND, "disk") as one, state.watch_kind(KIND) as kind:
        await read(one)
        await churn(state, "disk", 50)
        expected = [(CREATED, "disk", 1), *((UPDATED, "disk", version) for version in range(2, 51))]
        for watch in (one, kind):
            assert addresses([await read(watch) for _ in range(50)]) == expected


async def test_batches_hold_what_piled_up_and_are_never_empty() -> None:
    state = MemoryState()
    filter = build_filter([equal("app", "web")])
    batches: list[list[Event]] = []

    async def collect() -> None:
        async with state.watch_kind_aggregated(KIND, filter=filter) as watch:
            async for batch in watch:
                batches.append(batch)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect)
        await trio.testing.wait_all_tasks_blocked()
        for round in range(3):
            for number in range(round):
                await state.create(path(f"{round}-{number}", app="web"))
                await state.create(path(f"{round}-{number}-other", app="db"))
            await state.create(path(f"{round}", app="db"))
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [addresses(batch) for batch in batches] == [
        [(CREATED, "1-0", 1)],
        [(CREATED, "2-0", 1), (CREATED, "2-1", 1)],
    ]


async def test_a_filter_judges_an_update_by_what_was_and_what_is() -> None:
    state = MemoryState()
    inside, outside = {"app": "web"}, {"app": "db"}
    async with state.watch_kind(KIND, filter=build_filter([equal("app", "web")], "^seen")) as watch:
        for id in ("seen", "unseen"):
            resource = await state.create(path(id).with_labels(outside))
            steps = [resource]
            for labels in (outside, inside, inside, outside, inside):
                steps.append(await state.update(steps[-1].with_labels(labels)))
            await state.destroy(KIND, id)
            if id == "seen":
                _, _, entered, stayed, left, entered_again = steps
        await state.create(path("seen-last", app="web"))
        events = await read_until(watch, "seen-last")
    assert [(event.type, event.resource, event.old) for event in events] == [
        (CREATED, entered, None),
        (UPDATED, stayed, entered),
        (DESTROYED, left, None),
        (CREATED, entered_again, None),
        (DESTROYED, entered_again, None),
    ]
    assert all(event.bookmark for event in events)


async def test_a_filter_lets_the_ends_of_the_beginning_through() -> None:
    state = MemoryState()
    await state.create(path("disk"))
    filter = build_filter(id_query="^nothing$")
    async with state.watch_kind(KIND, bootstrap_contents=True, bootstrap_bookmark=True, filter=filter) as watch:
        assert [(await read(watch)).type for _ in range(2)] == [BOOTSTRAPPED, NOOP]


async def test_watches_of_one_kind_know_nothing_of_another() -> None:
    state = MemoryState()
    async with state.watch_kind(KIND) as watch, state.watch(KIND, "disk") as one:
        await read(one)
        await state.create(path("disk").evolve(namespace="other"))
        here = await state.create(path("disk"))
        assert (await read(watch)).resource is here
        assert (await read(one)).resource is here


# Tails.


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (3, 3), (7, 7), (8, 8), (9, 8), (1000, 8)])
async def test_the_tail_of_a_kind_is_counted_before_the_filter_and_leaves_the_gap(asked: int, given: int) -> None:
    state = MemoryState(max_capacity=10, gap=2)
    for number in range(30):
        await state.create(path(f"{number:02}"))
    expected = [f"{number:02}" for number in range(30 - given, 30)]
    async with state.watch_kind(KIND, tail_events=asked) as watch:
        assert [event.resource.id for event in [await read(watch) for _ in expected] if event.resource] == expected
    even = build_filter(id_query="[02468]$")
    async with state.watch_kind_aggregated(KIND, tail_events=asked, filter=even) as watch:
        await state.create(path("end-0"))
        batch = await read(watch)
    assert [event.resource.id for event in batch if event.resource] == [
        *(id for id in expected if int(id) % 2 == 0),
        "end-0",
    ]


@pytest.mark.parametrize(
    ("asked", "versions"), [(1, [20]), (2, [19, 20]), (4, [17, 18, 19, 20]), (9, [17, 18, 19, 20])]
)
async def test_the_tail_of_one_counts_its_own_events_as_far_back_as_the_gap(asked: int, versions: list[int]) -> None:
    state = MemoryState(max_capacity=10, gap=2)
    for _ in range(20):
        await churn(state, "disk", 1)
        await churn(state, "other", 1)
    # Of the 8 events within reach every other one is the disk's.
    async with state.watch(KIND, "disk", tail_events=asked) as watch:
        assert addresses([await read(watch) for _ in versions]) == [(UPDATED, "disk", version) for version in versions]
        await churn(state, "disk", 1)
        assert addresses([await read(watch)]) == [(UPDATED, "disk", 21)]


# Bookmarks.


async def _events(state: MemoryState, count: int) -> list[Event]:
    async with state.watch_kind(KIND, bootstrap_contents=True) as watch:
        beginning = await read(watch)
        await churn(state, "disk", count)
        return [beginning, *[await read(watch) for _ in range(count)]]


def _moved(bookmark: bytes, by: int) -> bytes:
    position = int.from_bytes(bookmark[8:], "big", signed=True) + by
    return bookmark[:8] + position.to_bytes(8, "big", signed=True)


async def test_bookmarks_are_a_cookie_and_a_position() -> None:
    events = await _events(MemoryState(), 3)
    bookmarks = [event.bookmark or b"" for event in events]
    assert {len(bookmark) for bookmark in bookmarks} == {16}
    assert len({bookmark[:8] for bookmark in bookmarks}) == 1
    assert [int.from_bytes(bookmark[8:], "big", signed=True) for bookmark in bookmarks] == [-1, 0, 1, 2]


@pytest.mark.parametrize("seen", [0, 1, 2, 3])
async def test_a_watch_resumes_right_after_its_bookmark(seen: int) -> None:
    state = MemoryState()
    events = await _events(state, 3)
    async with state.watch_kind_aggregated(KIND, start_from=events[seen].bookmark) as watch:
        await churn(state, "other", 1)
        batch = await read(watch)
    assert batch[:-1] == events[seen + 1 :]
    assert addresses(batch[-1:]) == [(CREATED, "other", 1)]


async def _tail(state: MemoryState, count: int) -> list[Event]:
    async with state.watch_kind_aggregated(KIND, tail_events=count) as watch:
        return await read(watch)


async def test_a_bookmark_may_be_requested_again_on_resuming() -> None:
    state = MemoryState()
    events = await _events(state, 3)
    async with state.watch_kind(KIND, start_from=events[1].bookmark, bootstrap_bookmark=True) as watch:
        noop = await read(watch)
        assert (noop.type, noop.bookmark) == (NOOP, events[1].bookmark)
        assert [await read(watch) for _ in range(2)] == events[2:]


async def test_what_is_no_bookmark_of_this_state_is_refused() -> None:
    state = MemoryState()
    beginning, *_, last = await _events(state, 3)
    assert beginning.bookmark is not None
    assert last.bookmark is not None
    flipped = bytes([last.bookmark[0] ^ 1]) + last.bookmark[1:]
    foreign = (await _events(MemoryState(), 3))[-1].bookmark
    future = _moved(last.bookmark, 1)
    impossible = _moved(beginning.bookmark, -1)
    wrong = [b"", b"short", last.bookmark + b"\0", last.bookmark[:-1], flipped, foreign, future, impossible]
    for bookmark in wrong:
        for watch in (
            state.watch_kind(KIND, start_from=bookmark),
            state.watch_kind_aggregated(KIND, start_from=bookmark),
            state.watch(KIND, "disk", start_from=bookmark),
        ):
            with pytest.raises(InvalidBookmarkError, match=r"^invalid watch bookmark$"):
                await watch.__aenter__()
    # The place before the first event is one for kinds only.
    async with state.watch_kind(KIND, start_from=beginning.bookmark):
        pass
    with pytest.raises(InvalidBookmarkError):
        await state.watch(KIND, "disk", start_from=beginning.bookmark).__aenter__()


async def test_a_bookmark_grows_too_old_when_the_gap_reaches_it() -> None:
    state = MemoryState(max_capacity=10, gap=5)
    await churn(state, "disk", 30)
    last = (await _tail(state, 1))[0].bookmark
    assert last is not None
    for back in range(5):
        async with state.watch_kind(KIND, start_from=_moved(last, -back)):
            pass
    for back in (5, 6, 29):
        with pytest.raises(InvalidBookmarkError):
            await state.watch_kind(KIND, start_from=_moved(last, -back)).__aenter__()


# How a watch ends.


async def test_a_watch_ends_silently_with_its_block() -> None:
    state = MemoryState()
    async with state.watch(KIND, "disk") as one, state.watch_kind(KIND) as kind:
        await churn(state, "disk", 3)
    for watch in (one, kind):
        with pytest.raises(StopAsyncIteration):
            await anext(watch)


async def test_a_cancelled_read_loses_nothing() -> None:
    state = MemoryState()
    async with (
        state.watch(KIND, "disk") as one,
        state.watch_kind(KIND, bootstrap_contents=True) as kind,
        state.watch_kind_aggregated(KIND, bootstrap_contents=True) as batches,
    ):
        await churn(state, "disk", 3)
        for _ in range(2):
            for watch in (one, kind, batches):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await anext(watch)
                assert scope.cancelled_caught
        assert [(await read(one)).type for _ in range(4)] == [DESTROYED, CREATED, UPDATED, UPDATED]
        for _ in range(2):
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(kind)
        assert [(await read(kind)).type for _ in range(4)] == [BOOTSTRAPPED, CREATED, UPDATED, UPDATED]
        assert [len(await read(batches)) for _ in range(2)] == [1, 3]

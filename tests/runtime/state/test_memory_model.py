"""Any sequence of writes: the state agrees with a plain dict, and whoever follows it sees one and the same history."""

import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nodespan.runtime.state import Event, EventType, MemoryState
from nodespan.runtime.testing.state_model import IDS, WRITES, Model, Write, write_to_both
from nodespan.runtime.testing.state_suite import what
from tests.runtime.state.paths import KIND, addresses, churn, read, read_until

# A slow machine is no failure.
patient = settings(deadline=None, max_examples=60)


def _roomy() -> MemoryState:
    return MemoryState(initial_capacity=1000)


@patient
@given(WRITES)
async def test_every_write_has_the_outcome_it_would_have_on_a_dict(writes: list[Write]) -> None:
    await write_to_both(MemoryState(), Model(), writes)


@patient
@given(WRITES, WRITES)
async def test_contents_and_what_follows_make_up_the_present(before: list[Write], after: list[Write]) -> None:
    state, model = _roomy(), Model()
    await write_to_both(state, model, before)
    contents, start = dict(model.contents), len(model.history)
    async with state.watch_kind(KIND, bootstrap_contents=True) as watch:
        await write_to_both(state, model, after)
        assert [what(await read(watch)) for _ in contents] == [
            (EventType.CREATED, contents[id], None) for id in sorted(contents)
        ]
        assert (await read(watch)).type is EventType.BOOTSTRAPPED
        await churn(state, "end", 1)
        events = await read_until(watch, "end")
    assert [what(event) for event in events] == model.history[start:]
    for event in events:
        assert event.resource is not None
        if event.type is EventType.DESTROYED:
            del contents[event.resource.id]
        else:
            contents[event.resource.id] = event.resource
    assert contents == model.contents


@patient
@given(WRITES)
async def test_a_watch_resumed_anywhere_has_neither_gap_nor_repetition(writes: list[Write]) -> None:
    state, model = _roomy(), Model()
    async with state.watch_kind(KIND, bootstrap_bookmark=True) as watch:
        await write_to_both(state, model, writes)
        await churn(state, "end", 1)
        events = await read_until(watch, "end")
    assert events[0].type is EventType.NOOP
    for seen, event in enumerate(events, start=1):
        async with state.watch_kind(KIND, start_from=event.bookmark) as watch:
            assert await read_until(watch, "end") == events[seen:]
        if event.type is EventType.NOOP:
            continue
        for id in IDS:
            async with state.watch(KIND, id, start_from=event.bookmark) as one:
                for expected in (later for later in events[seen:] if later.resource and later.resource.id == id):
                    assert await read(one) == expected


@patient
@given(WRITES, WRITES)
async def test_the_watch_of_one_sees_exactly_its_own_events(before: list[Write], after: list[Write]) -> None:
    state, model = _roomy(), Model()
    await write_to_both(state, model, before)
    contents, start = dict(model.contents), len(model.history)
    seen: dict[str, list[Event]] = {id: [] for id in IDS}

    async def follow(id: str) -> None:
        async with state.watch(KIND, id) as watch:
            async for event in watch:
                seen[id].append(event)

    async with trio.open_nursery() as nursery:
        for id in IDS:
            nursery.start_soon(follow, id)
        await trio.testing.wait_all_tasks_blocked()
        await write_to_both(state, model, after)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for id, (first, *rest) in seen.items():
        if id in contents:
            assert what(first) == (EventType.CREATED, contents[id], None)
        else:
            assert first.type is EventType.DESTROYED
        assert [what(event) for event in rest] == list(model.of(id, start))


@patient
@given(WRITES, WRITES)
async def test_bound_work_ends_if_and_only_if_its_resource_does(before: list[Write], after: list[Write]) -> None:
    state, model = _roomy(), Model()
    await write_to_both(state, model, before)
    start = len(model.history)
    expected = {id for id in IDS if id not in model.contents or model.contents[id].metadata.is_tearing_down}
    ended: set[str] = set()

    async def work(id: str) -> None:
        with state.while_running(KIND, id) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        ended.add(id)

    async with trio.open_nursery() as nursery:
        for id in IDS:
            nursery.start_soon(work, id)
        await trio.testing.wait_all_tasks_blocked()
        assert ended == expected
        await write_to_both(state, model, after)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for type, resource, _ in model.history[start:]:
        if type is EventType.DESTROYED or resource.metadata.is_tearing_down:
            expected.add(resource.id)
    assert ended == expected


@patient
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=8))
@example([(4, 0), (4, 0), (8, 0), (16, 0), (16, 0), (17, 0)])
@example([(1, 200), (0, 200), (1, 0)])
async def test_a_reader_gets_every_event_or_an_overrun(bursts: list[tuple[int, int]]) -> None:
    """Bursts of so many writes to one resource and then so many to another, between any two reads."""
    state = MemoryState(initial_capacity=4, max_capacity=16, gap=0)
    written = 0
    reading = {"one", "kind"}
    async with state.watch(KIND, "mine") as one, state.watch_kind_aggregated(KIND) as kind:
        await read(one)
        for mine, others in bursts:
            await churn(state, "mine", mine)
            await churn(state, "other", others)
            burst = mine + others
            written += burst
            fits = burst <= next((size for size in (4, 8, 16) if written <= size), 16)
            if burst and "kind" in reading:
                batch = await read(kind)
                if fits:
                    assert len(batch) == burst
                    assert all(event.error is None for event in batch)
                else:
                    assert [event.type for event in batch] == [EventType.ERRORED]
                    reading.remove("kind")
            # The place of the other is that of the first event of its own which it has not read.
            if mine and "one" in reading:
                if fits:
                    assert [id for _, id, _ in addresses([await read(one) for _ in range(mine)])] == ["mine"] * mine
                else:
                    assert (await read(one)).type is EventType.ERRORED
                    reading.remove("one")

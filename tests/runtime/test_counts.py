"""What operations cost, in counts that are exact on every machine: calls, checkpoints, clock readings, bytes.

A count that grows is a cost that grew: `make bench` says how much. One that shrinks is taken over here.
"""

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio
import trio.testing

from nodespan.runtime.controller import Access, weak
from nodespan.runtime.controller.queue_transform import QueueTransform
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import Metadata, Resource, ResourceType
from nodespan.runtime.state import Event, MemoryState
from nodespan.runtime.testing.engine_suite import IntegerSpec
from tests.runtime.parts import access
from tests.support.counting import Steps, calls

Number = ResourceType("Numbers.counts.test.dev", IntegerSpec, namespace="test")
Double = ResourceType("Doubles.counts.test.dev", IntegerSpec, namespace="test")


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits: not even a checkpoint."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


def run(coroutine: Coroutine[Any, Any, Any]) -> None:
    """`finished`, without a call that would be counted."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def clocked() -> tuple[MemoryState, list[int]]:
    """A state, and the times that it has read."""
    read: list[int] = []

    def now() -> int:
        read.append(1_000_000 + len(read))
        return read[-1]

    return MemoryState(now=now), read


# Writes in memory.


def test_a_write_in_memory_has_no_checkpoint_and_reads_the_clock_once() -> None:
    state, read = clocked()
    stored = finished(state.create(Number.new("a", IntegerSpec(1))))
    assert read == [stored.metadata.created]
    stored = finished(state.update(Resource(stored.metadata, IntegerSpec(2))))
    assert read == [stored.metadata.created, stored.metadata.updated]
    finished(state.add_finalizer(Number, "a", "x"))
    finished(state.remove_finalizer(Number, "a", "x"))
    assert len(read) == 4
    finished(state.destroy(Number, "a"))
    assert len(read) == 4


def test_a_write_in_memory_makes_one_metadata_and_one_resource() -> None:
    state = MemoryState(now=int)  # a clock that is no Python function
    stored = finished(state.create(Number.new("a", IntegerSpec(1))))
    changed = Resource(stored.metadata, IntegerSpec(2))
    new = Number.new("b", IntegerSpec(1))
    making = ["stored_metadata", "stored_resource"]
    assert calls(lambda: run(state.update(changed)))[2:] == ["update", "updated", *making, "put", "_commit"]
    assert calls(lambda: run(state.create(new)))[2:] == ["create", "created", *making, "put_new", "_commit"]


def test_nothing_is_done_for_readers_that_there_are_not() -> None:
    """A subscription of another resource or kind costs a write no call; one of this costs its own."""
    state = MemoryState(now=int)
    stored = finished(state.create(Number.new("a", IntegerSpec(1))))
    bare = calls(lambda: run(state.update(stored)))
    state.view(Number).subscribe(lambda _resource, _before, _destroyed: None, "other")
    state.view(Double).subscribe(lambda _resource, _before, _destroyed: None)
    assert calls(lambda: run(state.update(state.get(Number, "a"))))[-len(bare) + 2 :] == bare[2:]
    seen: list[object] = []

    def sink(resource: Resource[Any], _before: Resource[Any] | None, destroyed: bool) -> None:
        seen.append((resource.id, destroyed))

    state.view(Number).subscribe(sink)
    with_sink = calls(lambda: run(state.update(state.get(Number, "a"))))
    assert Counter(with_sink)["sink"] == len(seen) == 1


def test_a_resource_has_no_more_bytes_than_its_fields() -> None:
    word = 8
    head = object.__basicsize__
    assert Metadata.__basicsize__ == head + 11 * word
    assert Resource.__basicsize__ == head + 2 * word


def held(build: Callable[[], object]) -> int:
    """The bytes of what is built."""
    gc.collect()
    tracemalloc.start()
    built = build()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del built
    return size


def test_a_resource_takes_at_most_400_bytes_beside_its_spec() -> None:
    """Ids, times, metadata, the collection and its history included."""
    count = 3_000

    def specs() -> object:
        return [IntegerSpec(1_000 + number) for number in range(count)]

    def state() -> object:
        made = MemoryState()
        for number in range(count):
            run(made.create(Number.new(f"number-{number:06}", IntegerSpec(1_000 + number))))
        return made

    assert held(state) - held(specs) < 400 * count


def test_updates_of_a_resource_leave_nothing_behind() -> None:
    state = MemoryState()
    resource = finished(state.create(Number.new("a", IntegerSpec(0))))
    for _ in range(300):  # fills the history
        resource = finished(state.update(resource))
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(1_000):
        resource = finished(state.update(resource))
    gc.collect()
    assert sys.getallocatedblocks() - before < 100


# Watches.


async def test_a_change_costs_each_watcher_one_step_and_makes_one_event_for_all() -> None:
    state = MemoryState()
    stored = await state.create(Number.new("a", IntegerSpec(1)))
    seen: list[Event] = []

    async def watcher() -> None:
        async with state.watch_kind(Number) as watch:
            async for event in watch:
                seen.append(event)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(watcher, name="watcher")
        await trio.testing.wait_all_tasks_blocked()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await state.update(stored)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    assert steps.by_task["watcher"] == 50
    assert len(seen) == 50
    assert len({id(event) for event in seen}) == 1


# The engine.


async def double(state: MemoryState, engine: Engine) -> None:
    def twice(_ctx: Access, input: Resource[IntegerSpec]) -> IntegerSpec:
        return IntegerSpec(2 * input.spec.value)

    await engine.register(QueueTransform("test.Double", input=Number, output=Double, transform=twice))
    for number in range(100):
        await state.create(Number.new(f"{number:03}", IntegerSpec(number)))


async def test_one_change_of_a_queue_transform_takes_one_step_and_one_write() -> None:
    state, read = clocked()
    engine = Engine(state)
    await double(state, engine)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await trio.testing.wait_all_tasks_blocked()
        steps, jobs = Steps(), engine.runners["test.Double"].access.counters
        writes, wakeups = jobs.writes, jobs.wakeups
        read.clear()
        trio.lowlevel.add_instrument(steps)
        await state.update(Resource(state.get(Number, "050").metadata, IntegerSpec(7)))
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        assert state.get(Double, "050").spec.value == 14
        assert (jobs.writes - writes, jobs.wakeups - wakeups) == (1, 1)
        assert len(read) == 2  # the input and the output
        nursery.cancel_scope.cancel()
    assert sum(count for name, count in steps.by_task.items() if "_work" in name) == 1


async def test_a_burst_of_changes_of_one_item_is_one_job() -> None:
    state = MemoryState()
    engine = Engine(state)
    await double(state, engine)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await trio.testing.wait_all_tasks_blocked()
        counters = engine.runners["test.Double"].access.counters
        writes = counters.writes
        resource = state.get(Number, "050")
        for number in range(1_000):
            resource = await state.update(Resource(resource.metadata, IntegerSpec(number)))
        await trio.testing.wait_all_tasks_blocked()
        assert counters.writes - writes == 1
        nursery.cancel_scope.cancel()


def test_a_read_of_a_controller_is_one_call() -> None:
    state = MemoryState()
    finished(state.create(Number.new("a", IntegerSpec(1))))
    ctx = access(state, weak(Number))
    ctx.find(Number, "a")  # checks the declarations
    assert calls(lambda: ctx.find(Number, "a"))[1:] == ["find"]

"""The engine's cost on top of the writes that it reacts to."""

import gc
import time
from typing import Any

import trio
import trio.testing

from bench.measure import Figure, compare_runs
from bench.state import MANY, OtherThing, Thing, ThingSpec, filled, thing
from nodespan.runtime.controller import Access, Controller, ControllerContext, weak
from nodespan.runtime.controller.queue_transform import QueueTransform
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import MemoryState

BURST = 100_000
NAME = "bench.Transform"


def _transform(_ctx: Access, input: Resource[ThingSpec]) -> ThingSpec:
    return ThingSpec("from " + input.spec.name, input.spec.number)


async def _transformed(count: int) -> tuple[float, float]:
    """Seconds for this many items through a queue transform, and microseconds for one more change."""
    state = MemoryState()
    engine = Engine(state)
    await engine.register(QueueTransform(NAME, input=Thing, output=OtherThing, transform=_transform))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        started = time.process_time()
        for number in range(count):
            await state.create(thing(number))
        while len(state.view(OtherThing).items) < count:
            await trio.testing.wait_all_tasks_blocked()
        seconds = time.process_time() - started
        changes = []
        for number in range(100):
            input = state.get(Thing, "thing-000050")
            started = time.process_time()
            await state.update(input.with_spec(ThingSpec("changed", number)))
            await trio.testing.wait_all_tasks_blocked()
            changes.append(time.process_time() - started)
            assert state.get(OtherThing, "thing-000050").spec.number == number
        nursery.cancel_scope.cancel()
    return seconds, sorted(changes)[len(changes) // 2] * 1e6


def one_change() -> Figure:
    """One changed item, among many and among few."""

    async def change_among(count: int) -> float:
        return (await _transformed(count))[1]

    measured = compare_runs(lambda: change_among(MANY), lambda: change_among(100))
    return Figure("one changed item of a queue controller: 10,000 items, against 100", *measured, 1.3)


_ONE = "thing-000050"


async def _seen(state: MemoryState, *, is_transformed: bool) -> float:
    """Microseconds from the write of an input until its output is there, or others have had a turn; the median."""
    outputs = state.view(OtherThing).items
    each = []
    for number in range(500):
        await trio.testing.wait_all_tasks_blocked()
        started = time.process_time()
        await state.update(Resource(state.get(Thing, _ONE).metadata, ThingSpec("changed", number)))
        await trio.lowlevel.checkpoint()
        while is_transformed and outputs[_ONE].spec.number != number:
            await trio.lowlevel.checkpoint()
        each.append(time.process_time() - started)
    return sorted(each)[len(each) // 2] * 1e6


async def _seen_through_transform() -> float:
    state = await filled(100)
    engine = Engine(state)
    await engine.register(QueueTransform(NAME, input=Thing, output=OtherThing, transform=_transform))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await trio.testing.wait_all_tasks_blocked()
        seen = await _seen(state, is_transformed=True)
        nursery.cancel_scope.cancel()
    return seen


async def _seen_through_task() -> float:
    """The same by the least that can be written by hand: a subscription that wakes a task, which writes the output."""
    state = await filled(100)
    changed: list[str] = []
    lot = trio.lowlevel.ParkingLot()

    def note(resource: Resource[Any], _before: Resource[Any] | None, _destroyed: bool) -> None:
        changed.append(resource.id)
        lot.unpark()

    async def work() -> None:
        while True:
            await lot.park()
            while changed:
                id = changed.pop()
                input, output = state.get(Thing, id), state.get(OtherThing, id)
                await state.update(Resource(output.metadata, ThingSpec("from " + input.spec.name, input.spec.number)))

    await state.create(thing(50, OtherThing))
    state.view(Thing).subscribe(note)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        seen = await _seen(state, is_transformed=True)
        nursery.cancel_scope.cancel()
    return seen


async def _not_seen() -> float:
    return await _seen(await filled(100), is_transformed=False)


def change_seen() -> Figure:
    """From the write of an input until its output is there; the goal would have no time for the second write."""
    measured = compare_runs(_seen_through_transform, _not_seen)
    return Figure("a change through a queue transform, against a write and a checkpoint", *measured, 4, goal=1.5)


def change_by_hand() -> Figure:
    """From the write of an input until its output is there, against the least that does it."""
    measured = compare_runs(_seen_through_transform, _seen_through_task)
    return Figure("a change through a queue transform, against a task that does the same", *measured, 1.6)


def queue_transform() -> Figure:
    """All items through a queue transform, against the three writes that it makes for each."""

    async def ours() -> float:
        return (await _transformed(MANY))[0] / MANY * 1e6

    async def baseline() -> float:
        state = MemoryState()
        gc.collect()
        started = time.process_time()
        for number in range(MANY):
            input = await state.create(thing(number))
            await state.add_finalizer(Thing, input.id, NAME)
            await state.create(thing(number, OtherThing), owner=NAME)
        return (time.process_time() - started) / MANY * 1e6

    measured = compare_runs(ours, baseline)
    return Figure("10,000 items through a queue transform, against its writes", *measured, 4)


class _Counter(Controller):
    name = "bench.Counter"
    inputs = (weak(Thing),)

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            ctx.list(Thing)


def burst() -> Figure:
    """Many creations between two turns of the loop, with a controller to wake and without."""

    async def create_all(*, watched: bool) -> float:
        state = MemoryState()
        engine = Engine(state)
        async with trio.open_nursery() as nursery:
            if watched:
                await engine.register(_Counter())
                await nursery.start(engine.run)
                await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            started = time.process_time()
            for number in range(BURST):
                await state.create(thing(number))
            await trio.testing.wait_all_tasks_blocked()
            seconds = time.process_time() - started
            nursery.cancel_scope.cancel()
        return seconds / BURST * 1e6

    measured = compare_runs(lambda: create_all(watched=True), lambda: create_all(watched=False))
    return Figure("100,000 creations seen by an engine, against the creations", *measured, 1.5)


FIGURES = (one_change, change_seen, change_by_hand, queue_transform, burst)

"""The engine's cost on top of the writes that it reacts to."""

import gc
import time

import trio
import trio.testing

from bench.measure import Figure, compare_runs
from bench.state import MANY, OtherThing, Thing, ThingSpec, thing
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
        started = time.perf_counter()
        for number in range(count):
            await state.create(thing(number))
        while len(state.view(OtherThing).items) < count:
            await trio.testing.wait_all_tasks_blocked()
        seconds = time.perf_counter() - started
        changes = []
        for number in range(100):
            input = state.get(Thing, "thing-000050")
            started = time.perf_counter()
            await state.update(input.with_spec(ThingSpec("changed", number)))
            await trio.testing.wait_all_tasks_blocked()
            changes.append(time.perf_counter() - started)
            assert state.get(OtherThing, "thing-000050").spec.number == number
        nursery.cancel_scope.cancel()
    return seconds, sorted(changes)[len(changes) // 2] * 1e6


def one_change() -> Figure:
    """One changed item, among many and among few."""

    async def change_among(count: int) -> float:
        return (await _transformed(count))[1]

    measured = compare_runs(lambda: change_among(MANY), lambda: change_among(100))
    return Figure("one changed item of a queue controller: 10,000 items, against 100", *measured, 1.3)


def queue_transform() -> Figure:
    """All items through a queue transform, against the three writes that it makes for each."""

    async def ours() -> float:
        return (await _transformed(MANY))[0] / MANY * 1e6

    async def baseline() -> float:
        state = MemoryState()
        gc.collect()
        started = time.perf_counter()
        for number in range(MANY):
            input = await state.create(thing(number))
            await state.add_finalizer(Thing, input.id, NAME)
            await state.create(thing(number, OtherThing), owner=NAME)
        return (time.perf_counter() - started) / MANY * 1e6

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
            started = time.perf_counter()
            for number in range(BURST):
                await state.create(thing(number))
            await trio.testing.wait_all_tasks_blocked()
            seconds = time.perf_counter() - started
            nursery.cancel_scope.cancel()
        return seconds / BURST * 1e6

    measured = compare_runs(lambda: create_all(watched=True), lambda: create_all(watched=False))
    return Figure("100,000 creations seen by an engine, against the creations", *measured, 1.5)


FIGURES = (one_change, queue_transform, burst)

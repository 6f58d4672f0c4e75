"""What operations cost by the number of resources: `make bench ARGS=--sizes`.

A cost that does not depend on the number is the rule; what grows with it is said in docs/performance.md.
"""

import gc
import time
from collections.abc import Awaitable, Callable

import trio
import trio.testing

from bench.state import OtherThing, Thing, ThingSpec, bytes_each, filled, thing
from nodespan.runtime.controller import Access
from nodespan.runtime.controller.queue_transform import QueueTransform
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import LabelQuery, Resource, Term
from nodespan.runtime.state import MemoryState

SIZES = (10, 100, 1_000, 10_000, 100_000)
REPEATS = 25
OPERATIONS = 400


async def _best(operation: Callable[[int], Awaitable[object]], times: int = OPERATIONS) -> float:
    """Microseconds of an operation, which gets the number of the call: the best of several rounds of calls."""
    rounds = []
    for repeat in range(REPEATS):
        gc.collect()
        started = time.process_time()
        for number in range(repeat * times, (repeat + 1) * times):
            await operation(number)
        rounds.append((time.process_time() - started) / times * 1e6)
    return min(rounds)


def _ids(count: int) -> list[str]:
    """One for each call, from all over the collection: nothing stays in the processor's cache that would not."""
    return [f"thing-{number * 7919 % count:06}" for number in range(REPEATS * OPERATIONS)]


async def _get(count: int) -> float:
    state, ids = await filled(count), _ids(count)

    async def get(number: int) -> object:
        return state.get(Thing, ids[number])

    return await _best(get)


async def _list(count: int) -> float:
    view = (await filled(count)).view(Thing)

    async def list_all(_number: int) -> object:
        return view.list()

    return await _best(list_all, max(1, 20_000 // count))


async def _list_by_label(count: int) -> float:
    state = await filled(count)
    queries = [LabelQuery((Term("absent"),))]

    async def list_some(_number: int) -> object:
        return state.list(Thing, labels=queries)

    return await _best(list_some, max(1, 1_000 // count))


async def _create_and_destroy(count: int) -> float:
    state = await filled(count)

    async def create_one(number: int) -> None:
        new = await state.create(thing(count + number))
        await state.destroy(Thing, new.id)

    return await _best(create_one)


async def _update(count: int) -> float:
    state, ids = await filled(count), _ids(count)

    async def update_one(number: int) -> None:
        current = state.get(Thing, ids[number])
        await state.update(Resource(current.metadata, ThingSpec("new", number)))

    return await _best(update_one)


async def _woken(count: int) -> float:
    """A write, until all of so many watchers have seen it and wait again: for each of them."""
    state = await filled(1)

    async def watcher() -> None:
        async with state.watch_kind(Thing) as watch:
            async for _ in watch:
                pass

    async def write(_number: int) -> None:
        await state.update(state.get(Thing, "thing-000000"))
        await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(watcher)
        await trio.testing.wait_all_tasks_blocked()
        seen = await _best(write, max(1, 1_000 // count))
        nursery.cancel_scope.cancel()
    return seen / count


def _transform(_ctx: Access, input: Resource[ThingSpec]) -> ThingSpec:
    return ThingSpec("from " + input.spec.name, input.spec.number)


async def _queue_change(count: int) -> float:
    """A change of one of so many inputs of a queue transform, until its output is there."""
    state = MemoryState()
    engine = Engine(state)
    await engine.register(QueueTransform("bench.Sizes", input=Thing, output=OtherThing, transform=_transform))
    outputs, ids = state.view(OtherThing).items, _ids(count)

    async def change(number: int) -> None:
        current = state.get(Thing, ids[number])
        await state.update(Resource(current.metadata, ThingSpec("changed", number)))
        while outputs[current.id].spec.number != number:
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        for number in range(count):
            await state.create(thing(number))
        while len(outputs) < count:
            await trio.testing.wait_all_tasks_blocked()
        seen = await _best(change, 100)
        nursery.cancel_scope.cancel()
    return seen


async def _memory(count: int) -> float:
    specs = bytes_each(lambda: [ThingSpec(f"name {number}", number) for number in range(count)], count)
    held: list[MemoryState] = []

    def build() -> object:
        made = filled(count)
        # Writes in memory do not wait, so no event loop is needed.
        try:
            made.send(None)
        except StopIteration as ended:
            held.append(ended.value)
        return held

    return bytes_each(build, count) - specs


ROWS: tuple[tuple[str, str, Callable[[int], Awaitable[float]]], ...] = (
    ("get", "us", _get),
    ("list all, sorted", "us", _list),
    ("list by a label that none has", "us", _list_by_label),
    ("update", "us", _update),
    ("create and destroy", "us", _create_and_destroy),
    ("a write seen by so many watchers, for each", "us", _woken),
    ("a change through a queue transform", "us", _queue_change),
    ("memory beside the specs, of each", "bytes", _memory),
)


def print_table() -> None:
    """Measure and print all rows."""
    print(f"{'by the number of resources':<44} {'':<5}" + "".join(f" {size:>9,}" for size in SIZES))
    for what, unit, measure in ROWS:
        print(f"{what:<44} {unit:<5}", end="", flush=True)
        for size in SIZES:
            print(f" {trio.run(measure, size):>9.3g}", end="", flush=True)
        print()

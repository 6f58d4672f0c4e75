"""The cost of the in-memory state."""

import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import trio
import trio.testing

from bench.measure import Figure, compare, compare_runs, time_call
from nodespan.runtime.controller import Controller, ControllerContext, weak
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import FrozenMapping, Kind, Phase, Resource, ResourceType
from nodespan.runtime.state import MemoryState


@attrs.frozen
class ThingSpec:
    """A small spec, of typical size."""

    name: str = ""
    number: int = 0
    enabled: bool = False


Thing = ResourceType("Things.bench.nodespan.dev", ThingSpec, namespace="bench")
OtherThing = ResourceType("OtherThings.bench.nodespan.dev", ThingSpec, namespace="bench")
MANY = 10_000
WATCHERS = 1_000


def thing(number: int, kind: ResourceType[ThingSpec] = Thing) -> Resource[ThingSpec]:
    """One of many resources, with an id that sorts by number."""
    return kind.new(f"thing-{number:06}", ThingSpec(f"name {number}", number))


async def filled(count: int) -> MemoryState:
    """A state with this many things."""
    state = MemoryState()
    for number in range(count):
        await state.create(thing(number))
    return state


class _Reader(Controller):
    name = "bench.Reader"
    inputs = (weak(Thing),)

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            ctx.list(Thing)


async def _reader(state: MemoryState) -> Any:
    engine = Engine(state)
    await engine.register(_Reader())
    return engine.runners[_Reader.name].access


def get() -> Figure:
    """One resource, through a controller's reader."""
    state = trio.run(filled, MANY)
    reader = trio.run(_reader, state)
    plain: dict[str, Resource[Any]] = dict(state.view(Thing).items)
    id = "thing-005000"
    ours = time_loop("reader.get(kind, id)", reader=reader, kind=Thing, id=id)
    baseline = time_loop("plain[id]", plain=plain, id=id)
    return Figure("get one, through a reader, against a dict lookup", *compare(ours, baseline), 12)


def time_loop(statement: str, **names: object) -> Callable[[], float]:
    """Measures a statement as timeit does, without the cost of a call around it."""
    from timeit import Timer

    timer = Timer(statement, timer=time.process_time, globals=names)
    return lambda: min(timer.repeat(10, 10_000)) / 10_000 * 1e6


def list_all() -> Figure:
    """Everything of a kind, sorted."""
    view = trio.run(filled, MANY).view(Thing)
    plain = dict(view.items)
    measured = compare(lambda: time_call(view.list, 100), lambda: time_call(lambda: list(plain.values()), 100))
    return Figure("list 10,000, sorted, against list(d.values())", *measured, 5)


# Metadata and Resource as attrs would make them. They are what writes are measured against: the yardstick must not move
# when ours are built in another way.


_NO_PAIRS = FrozenMapping()


def _frozen_pairs(pairs: Mapping[str, str]) -> FrozenMapping:
    if type(pairs) is FrozenMapping:
        return pairs
    return FrozenMapping(pairs) if pairs else _NO_PAIRS


@attrs.frozen
class _PlainMetadata:
    namespace: str
    type: str
    id: str
    version: int | None = None
    owner: str = ""
    phase: Phase = Phase.RUNNING
    created: int = attrs.field(factory=time.time_ns, eq=False)
    updated: int = attrs.field(default=attrs.Factory(lambda self: self.created, takes_self=True), eq=False)
    labels: FrozenMapping = attrs.field(default=_NO_PAIRS, converter=_frozen_pairs)
    annotations: FrozenMapping = attrs.field(default=_NO_PAIRS, converter=_frozen_pairs)
    finalizers: tuple[str, ...] = attrs.field(default=(), eq=frozenset)


@attrs.frozen
class _PlainResource:
    metadata: _PlainMetadata
    spec: ThingSpec


def update() -> Figure:
    """One resource among many, again and again."""

    async def ours() -> float:
        state = await filled(MANY)
        resource = state.get(Thing, "thing-005000")
        gc.collect()
        started = time.process_time()
        for number in range(MANY):
            resource = await state.update(Resource(resource.metadata, ThingSpec("new", number)))
        return (time.process_time() - started) / MANY * 1e6

    async def baseline() -> float:
        meta = (await filled(1)).get(Thing, "thing-000000").metadata
        gc.collect()
        started = time.process_time()
        for number in range(MANY):
            _PlainResource(
                _PlainMetadata(
                    meta.namespace,
                    meta.type,
                    meta.id,
                    meta.version,
                    meta.owner,
                    meta.phase,
                    meta.created,
                    meta.updated,
                    meta.labels,
                    meta.annotations,
                    meta.finalizers,
                ),
                ThingSpec("new", number),
            )
        return (time.process_time() - started) / MANY * 1e6

    return Figure("update one of 10,000, against building it", *compare_runs(ours, baseline), 1.6)


def create() -> Figure:
    """Many resources, one after the other."""

    async def ours() -> float:
        state = MemoryState()
        gc.collect()
        started = time.process_time()
        for number in range(MANY):
            await state.create(thing(number))
        return (time.process_time() - started) / MANY * 1e6

    async def baseline() -> float:
        kept = []
        gc.collect()
        started = time.process_time()
        for number in range(MANY):
            metadata = _PlainMetadata("bench", Thing.name, f"thing-{number:06}", labels={}, annotations={})
            kept.append(_PlainResource(metadata, ThingSpec(f"name {number}", number)))
        return (time.process_time() - started) / MANY * 1e6

    return Figure("create 10,000, against building them", *compare_runs(ours, baseline), 1.6)


async def _time_wakes(sleeper: Callable[[], Awaitable[None]], wake: Callable[[], Awaitable[None]]) -> float:
    """The time until all woken tasks sleep again; the median of some rounds."""
    rounds = []
    async with trio.open_nursery() as nursery:
        for _ in range(WATCHERS):
            nursery.start_soon(sleeper)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(15):
            started = time.process_time()
            await wake()
            await trio.testing.wait_all_tasks_blocked()
            rounds.append(time.process_time() - started)
        nursery.cancel_scope.cancel()
    return sorted(rounds)[len(rounds) // 2] * 1e6


def wake_watchers() -> Figure:
    """A write seen by 1,000 watchers of the kind."""

    async def ours() -> float:
        state = await filled(1)

        async def watcher() -> None:
            async with state.watch_kind(Thing) as watch:
                async for _ in watch:
                    pass

        async def write() -> None:
            current = state.get(Thing, "thing-000000")
            await state.update(current)

        return await _time_wakes(watcher, write)

    async def baseline() -> float:
        lot = trio.lowlevel.ParkingLot()

        async def sleeper() -> None:
            while True:
                await lot.park()

        async def wake() -> None:
            lot.unpark_all()

        return await _time_wakes(sleeper, wake)

    return Figure("a write seen by 1,000 watchers, against waking tasks", *compare_runs(ours, baseline), 1.2)


def bystanders() -> Figure:
    """A write with many watchers of other kinds: half of them of one that is written too, half of one that is not."""

    async def write_among(watchers: int) -> float:
        state = await filled(1)

        async def watcher(number: int) -> None:
            async with state.watch_kind(Kind("bench", f"Bystanders{number % 100}.bench.nodespan.dev")) as watch:
                async for _ in watch:
                    pass

        async with trio.open_nursery() as nursery:
            for number in range(watchers):
                nursery.start_soon(watcher, number)
            await trio.testing.wait_all_tasks_blocked()
            resource = state.get(Thing, "thing-000000")
            gc.collect()
            gc.freeze()
            started = time.process_time()
            for _ in range(20_000):
                resource = await state.update(resource)
            seconds = time.process_time() - started
            gc.unfreeze()
            nursery.cancel_scope.cancel()
        return seconds / 20_000 * 1e6

    measured = compare_runs(lambda: write_among(MANY), lambda: write_among(0))
    return Figure("a write with 10,000 watchers of other kinds, against none", *measured, 1.1)


@attrs.frozen
class _PlainRecord:
    namespace: str
    type: str
    id: str
    version: int
    owner: str
    phase: Phase
    created: int
    updated: int
    labels: FrozenMapping
    annotations: FrozenMapping
    finalizers: tuple[str, ...]
    spec: ThingSpec


def memory() -> Figure:
    """The memory of 100,000 resources."""
    count = 100_000
    empty = FrozenMapping()

    def ours() -> object:
        return trio.run(filled, count)

    def plain() -> object:
        return {
            record.id: record
            for record in (
                _PlainRecord(
                    "bench",
                    Thing.name,
                    f"thing-{number:06}",
                    1,
                    "",
                    Phase.RUNNING,
                    time.time_ns(),
                    time.time_ns(),
                    empty,
                    empty,
                    (),
                    ThingSpec(f"name {number}", number),
                )
                for number in range(count)
            )
        }

    ours_size, plain_size = bytes_each(ours, count), bytes_each(plain, count)
    return Figure("memory of 100,000, against plain attrs objects in a dict", ours_size, plain_size, 1.1, "bytes")


def memory_beside_specs() -> Figure:
    """What the state adds to the specs: metadata, ids, the collection, its history."""
    count = 100_000

    def specs() -> object:
        return [ThingSpec(f"name {number}", number) for number in range(count)]

    beside = bytes_each(lambda: trio.run(filled, count), count) - bytes_each(specs, count)
    return Figure("memory of 100,000 beside their specs, against 400 bytes", beside, 400, 1, "bytes")


def bytes_each(build: Callable[[], object], count: int) -> float:
    """The memory that is held of what is built, per item."""
    gc.collect()
    tracemalloc.start()
    held = build()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del held
    return size / count


FIGURES = (get, list_all, update, create, wake_watchers, bystanders, memory, memory_beside_specs)

"""The cost of the state in a SQLite file, against memory, and against SQLite used by hand in the same way."""

import gc
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import trio

from bench.measure import Figure, compare, compare_runs, time_call
from bench.state import MANY, Thing, filled, thing, time_loop
from nodespan.runtime.codec.stored import decode_spec
from nodespan.runtime.resource import FrozenMapping, Kind, Metadata, Phase, Resource
from nodespan.runtime.state import State
from nodespan.runtime.state.sqlite import open_sqlite
from nodespan.runtime.state.sqlite.database import UPSERT, opened
from nodespan.runtime.state.sqlite.rows import RowCodec

AT_ONCE = 100
STORED = 100_000


def _no_secrets() -> Any:
    raise AssertionError("things are no secrets")


_codec = RowCodec(_no_secrets)
_codec.learn(Thing)


@contextmanager
def _file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory, "state.db")


def _fill(path: Path, count: int) -> None:
    """A file with this many things, written by hand."""
    with opened(path, synchronous="NORMAL") as found:
        rows = [_codec.encode(thing(number).evolve(version=1)) for number in range(count)]
        found.connection.execute("BEGIN")
        found.connection.executemany(UPSERT, rows)
        found.connection.execute("COMMIT")


def _read_both(measure: Callable[[State], float]) -> tuple[float, float]:
    """The best of a read on a file and on memory, measured in turn."""

    async def main() -> tuple[float, float]:
        memory = await filled(MANY)
        with _file() as path:
            _fill(path, MANY)
            async with open_sqlite(path, types=[Thing]) as file:
                return compare(lambda: measure(file), lambda: measure(memory))

    return trio.run(main)


def get() -> Figure:
    """One resource."""

    def measure(state: State) -> float:
        return time_loop("state.find(kind, id)", state=state, kind=Thing, id="thing-005000")()

    return Figure("get one on SQLite, against memory", *_read_both(measure), 1.1)


def list_all() -> Figure:
    """All of a kind."""

    def measure(state: State) -> float:
        return time_call(lambda: state.list(Thing), 100)

    return Figure("list 10,000 on SQLite, against memory", *_read_both(measure), 1.1)


@contextmanager
def _by_hand(path: Path) -> Iterator[sqlite3.Connection]:
    """A file with our table and pragmas."""
    with opened(path, synchronous="FULL") as found:
        yield found.connection


def write_one() -> Figure:
    """One durable write after the other; by hand from a thread, for it waits for the disk."""
    count = 200

    async def ours() -> float:
        with _file() as path:
            async with open_sqlite(path, types=[Thing]) as state:
                await state.create(thing(0))
                started = time.perf_counter()
                for number in range(1, count + 1):
                    await state.create(thing(number))
                return (time.perf_counter() - started) / count * 1e6

    async def baseline() -> float:
        with _file() as path, _by_hand(path) as connection:
            started = time.perf_counter()
            for number in range(1, count + 1):
                row = _codec.encode(thing(number).evolve(version=1))
                await trio.to_thread.run_sync(connection.execute, UPSERT, row)
            return (time.perf_counter() - started) / count * 1e6

    return Figure("a durable write on SQLite, against INSERT from a thread", *compare_runs(ours, baseline), 2)


def _insert(connection: sqlite3.Connection, rows: list[Any]) -> None:
    connection.execute("BEGIN")
    connection.executemany(UPSERT, rows)
    connection.execute("COMMIT")


def write_many() -> Figure:
    """A hundred writers at once; by hand, the same hundred tasks wait for one transaction of a hundred INSERTs."""
    rounds = 20

    async def ours() -> float:
        with _file() as path:
            async with open_sqlite(path, types=[Thing]) as state:

                async def write(number: int) -> None:
                    await state.create(thing(number))

                return await _best(rounds, write)

    async def baseline() -> float:
        with _file() as path, _by_hand(path) as connection:
            waiting: list[Any] = []
            done = trio.Event()

            async def write(number: int) -> None:
                nonlocal waiting, done
                waiting.append(_codec.encode(thing(number).evolve(version=1)))
                if len(waiting) < AT_ONCE:
                    await done.wait()
                    return
                rows, waiting = waiting, []
                await trio.to_thread.run_sync(_insert, connection, rows)
                done.set()
                done = trio.Event()

            return await _best(rounds, write)

    what = "100 durable writes at once on SQLite, against one transaction"
    return Figure(what, *compare_runs(ours, baseline), 1.5)


async def _best(rounds: int, write: Callable[[int], Any]) -> float:
    found = []
    for number in range(rounds):
        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for other in range(AT_ONCE):
                nursery.start_soon(write, number * AT_ONCE + other)
        found.append(time.perf_counter() - started)
    return min(found) * 1e6


def start() -> Figure:
    """Opening a file with 100,000 resources; by hand, reading the rows and building the resources."""
    with _file() as path:
        _fill(path, STORED)

        async def ours() -> float:
            gc.collect()
            started = time.perf_counter()
            async with open_sqlite(path, types=[Thing]) as state:
                assert len(state.view(Thing).items) == STORED
                return (time.perf_counter() - started) * 1e3

        async def baseline() -> float:
            gc.collect()
            started = time.perf_counter()
            with closing(sqlite3.connect(path)) as connection:
                built = _build(connection)
            seconds = time.perf_counter() - started
            assert len(built[Thing.kind]) == STORED
            return seconds * 1e3

        measured = compare_runs(ours, baseline, repeats=3)
    return Figure("start with 100,000 on SQLite, against building them", *measured, 1.5, "ms")


def _build(connection: sqlite3.Connection) -> dict[Kind[Any], dict[str, Resource[Any]]]:
    built: dict[Kind[Any], dict[str, Resource[Any]]] = {}
    empty = FrozenMapping()
    columns = "namespace, type, id, version, owner, phase, created, updated, spec"
    for namespace, type, id, version, owner, phase, created, updated, spec in connection.execute(
        f"SELECT {columns} FROM resources"
    ):
        metadata = Metadata(namespace, type, id, version, owner, Phase(phase), created, updated, empty, empty, ())
        resource = Resource(metadata, decode_spec(Thing.spec_class, spec))
        built.setdefault(Kind(namespace, type), {})[id] = resource
    return built


FIGURES = (get, list_all, write_one, write_many, start)

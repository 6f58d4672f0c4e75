"""The cost of the state on etcd, against memory, and against transactions by the same client. Needs etcd."""

import shutil
import time
from collections.abc import Awaitable, Callable

import trio

from bench.measure import REPEATS, Figure, compare, time_call
from bench.state import MANY, Thing, filled, thing, time_loop
from nodespan.etcd import Compare, EtcdClient, Get, Put
from nodespan.etcd.state import EtcdState, open_etcd
from nodespan.etcd.stored_value import ValueCodec
from nodespan.runtime.state import State
from tests.support.shared_etcd import running_etcd

# So many in a row, and so many at once when the state is filled.
WRITES = 200
AT_ONCE = 100
_TOKEN = b"0123456789abcdef"


def _on_etcd(measure: Callable[[EtcdClient, EtcdState], Awaitable[tuple[float, float]]]) -> tuple[float, float]:
    async def main() -> tuple[float, float]:
        async with (
            EtcdClient([etcd.endpoint]) as client,
            open_etcd(client, types=[Thing], prefix="/bench", patience=60.0) as state,
        ):
            await state.until_available("")
            return await measure(client, state)

    with running_etcd() as etcd:
        return trio.run(main)


def _no_secrets() -> None:
    raise AssertionError("things are no secrets")


def _read_both(measure: Callable[[State], float]) -> tuple[float, float]:
    """The best of a read on etcd's view and on memory, measured in turn."""

    async def compared(_client: EtcdClient, state: EtcdState) -> tuple[float, float]:
        memory = await filled(MANY)
        numbers = iter(range(MANY))

        async def fill() -> None:
            for number in numbers:
                await state.create(thing(number))

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(fill)
        return compare(lambda: measure(state), lambda: measure(memory))

    return _on_etcd(compared)


def get() -> Figure:
    """One resource of many."""

    def measure(state: State) -> float:
        return time_loop("state.get(kind, id)", state=state, kind=Thing, id="thing-005000")()

    return Figure("get one on etcd, against memory", *_read_both(measure), 1.1)


def list_all() -> Figure:
    """All of many resources."""
    return Figure(
        f"list {MANY:,} on etcd, against memory",
        *_read_both(lambda state: time_call(lambda: state.list(Thing), 200)),
        1.1,
    )


def write() -> Figure:
    """Updates, one after the other, until each is shown."""

    async def compared(client: EtcdClient, state: EtcdState) -> tuple[float, float]:
        codec = ValueCodec(_no_secrets)  # type: ignore[arg-type]
        codec.learn(Thing)
        value = codec.encode(thing(1).evolve(version=1), _TOKEN)
        resource = await state.create(thing(1))
        revision = 0

        async def ours() -> None:
            nonlocal resource
            resource = await state.update(resource)

        async def bare() -> None:
            nonlocal revision
            answer = await client.txn(
                compare=[Compare.modified(b"/bare", revision)],
                success=[Put(key=b"/bare", value=value)],
                failure=[Get(key=b"/bare")],
                repeat=True,
            )
            assert answer.succeeded
            revision = answer.header.revision

        async def timed(action: Callable[[], Awaitable[None]]) -> float:
            began = time.perf_counter()
            for _ in range(WRITES):
                await action()
            return (time.perf_counter() - began) / WRITES * 1e6

        pairs = [(await timed(ours), await timed(bare)) for _ in range(REPEATS)]
        return min(first for first, _ in pairs), min(second for _, second in pairs)

    # The bare transaction became cheaper by more than the write when the client went from JSON to gRPC.
    return Figure("write on etcd, against a bare transaction", *_on_etcd(compared), 1.6, goal=1.3)


FIGURES: tuple[Callable[[], Figure], ...] = (get, list_all, write) if shutil.which("etcd") else ()

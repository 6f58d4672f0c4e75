"""A controller that applies specs of one type to something outside: files, a device, the API of a cloud.

Give it a plan, a pure function from desired and observed to the difference, and a driver, which reads and writes. The
rest is the reconciler's: finalizers, worker threads, retries, full comparisons, what is shown. For an outside with
parts of its own, put a `Reconciler` together instead.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import trio

from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller.base import QueueController
from nodespan.runtime.controller.context import Access, QueueContext
from nodespan.runtime.controller.declarations import Input, Output, primary
from nodespan.runtime.controller.reconciler import (
    FULL_INTERVAL,
    RETRIES,
    Applied,
    Decision,
    Driver,
    Look,
    Plan,
    Reconciler,
    Report,
    Retries,
    Worker,
    in_thread,
)
from nodespan.runtime.controller.reconciler_specs import Specs
from nodespan.runtime.resource import Metadata, Pointer, ResourceType

S = TypeVar("S")
O = TypeVar("O")  # noqa: E741
W = TypeVar("W")


class ItemDriver(ABC, Generic[O, W]):
    """The outside, by the ids of specs. `observe`, `owned` and `apply` run in a worker thread, one at a time."""

    @abstractmethod
    def observe(self, ids: Collection[str]) -> Mapping[str, O]:
        """What is there of these items; what is missing is not there. Blocks."""

    @abstractmethod
    def apply(self, id: str, work: W) -> None:
        """Apply the difference of one item. Blocks; what it raises is shown, and the item is retried."""

    def owned(self) -> Iterable[str]:
        """The ids of all that is there and was made by this controller, an earlier process included. Blocks.

        Asked for at each full comparison: what no spec desires is decided on too, as leaving.
        """
        return ()

    async def watch(self, touch: Callable[[Iterable[str]], None]) -> None:
        """Runs beside the rounds, on trio; calls `touch` with the ids that changed outside. May return."""


class ReconcilerController(QueueController, Generic[S, O, W]):
    """Makes the outside be as the resources of a type say.

    `plan` gets the desired spec, None for an item that is leaving, and what the driver observed, None for nothing; it
    returns the difference, None if there is none, or a `Decision`. `report` is where problems are shown, beside the
    log; what it writes is declared in `outputs`, what it reads in `inputs`. `worker` runs what blocks.
    """

    # So many changed specs at a time become one round.
    concurrency = 64

    def __init__(
        self,
        name: str,
        *,
        input: ResourceType[S],
        plan: Callable[[S | None, O | None], W | Decision[W] | None],
        driver: ItemDriver[O, W],
        retries: Exponential = RETRIES,
        report: Report | None = None,
        full_interval: float = FULL_INTERVAL,
        inputs: Iterable[Input] = (),
        outputs: Iterable[Output] = (),
        worker: Worker = in_thread,
    ) -> None:
        self.name = name
        self.inputs = (primary(input), *inputs)
        self.outputs = tuple(outputs)
        items = _Items(input)
        adapter: _Driver[O, W] = _Driver(driver, items, self._touch, worker)
        self._reconciler = Reconciler(
            desired=items,
            plan=_Plan(plan, items, adapter),
            driver=adapter,
            retries=Retries(retries),
            report=report,
            full_interval=full_interval,
            worker=worker,
        )

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Have the next round take the item up, and wait for its end."""
        await self._reconciler.reconcile(ctx, item.id)

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """A change of a further input is a matter of all items."""
        self._reconciler.compare_all()
        return ()

    async def run(self, ctx: QueueContext) -> None:
        """Follow specs and the outside."""
        await self._reconciler.run(ctx)

    def _touch(self, ids: Iterable[str]) -> None:
        self._reconciler.touch(ids)


class _Items(Specs[S]):
    """The specs, and what was found outside that none desires."""

    def __init__(self, type: ResourceType[S]) -> None:
        super().__init__(type)
        self.strays: set[str] = set()

    def ids(self) -> Iterable[str]:
        return (*super().ids(), *(self.strays - self.desired.keys() - self.leaving.keys()))

    def __contains__(self, id: str) -> bool:
        return super().__contains__(id) or id in self.strays

    def is_leaving(self, id: str) -> bool:
        return id not in self.desired

    async def let_go(self, ctx: Access, id: str) -> None:
        self.strays.discard(id)
        if id in self.leaving:
            await super().let_go(ctx, id)


class _Plan(Plan[W], Generic[S, O, W]):
    def __init__(
        self,
        rule: Callable[[S | None, O | None], W | Decision[W] | None],
        items: _Items[S],
        driver: "_Driver[O, W]",
    ) -> None:
        self._rule = rule
        self._items = items
        self._driver = driver

    def decide(self, id: str) -> Mapping[str, Decision[W]]:
        found = self._rule(self._items.desired.get(id), self._driver.observed.get(id))
        return {id: found if isinstance(found, Decision) else Decision(work=found)}

    def gone(self, id: str) -> None:
        self._driver.observed.pop(id, None)


class _Driver(Driver[W, None], Generic[O, W]):
    def __init__(
        self,
        driver: ItemDriver[O, W],
        items: _Items[Any],
        touch: Callable[[Iterable[str]], None],
        worker: Worker,
    ) -> None:
        self._driver = driver
        self._worker = worker
        self._items = items
        self._touch = touch
        self.observed: dict[str, O] = {}

    @asynccontextmanager
    async def opened(self, ctx: Access, wake: Callable[[], None]) -> AsyncIterator[None]:  # noqa: ARG002
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._driver.watch, self._touch)
            yield
            nursery.cancel_scope.cancel()

    async def observe(self, look: Look) -> Collection[Hashable]:
        if not look.ids and not look.everything:
            return ()

        def read() -> tuple[frozenset[str], Mapping[str, O]]:
            owned = frozenset(self._driver.owned()) if look.everything else frozenset()
            return owned, self._driver.observe(look.ids | owned)

        # A thread of trio's, also in full comparisons: drivers of users may call back by `trio.from_thread`.
        owned, found = await self._worker(read)
        for id in look.ids | owned:
            if id in found:
                self.observed[id] = found[id]
            else:
                self.observed.pop(id, None)
        strays = {id for id in owned if id not in self._items}
        self._items.strays |= strays
        return strays

    def job(self, work: Mapping[str, W]) -> Callable[[], Applied[None]]:
        apply = self._driver.apply

        def apply_all() -> Applied[None]:
            failed: dict[str, Exception] = {}
            for id, each in work.items():
                try:
                    apply(id, each)
                except Exception as error:
                    failed[id] = error
            return Applied(result=None, failed=failed)

        return apply_all

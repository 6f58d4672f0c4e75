"""A queue controller for changes that are not tied to one item: it handles those in batches.

Items are reconciled one by one. Changes of mapped inputs are collected, and `batch` is called for all that came since
the last call. The two never run concurrently.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import trio

from nodespan.runtime.controller import QueueContext, QueueController
from nodespan.runtime.resource import Metadata, Pointer


class BatchedQueueController(QueueController):
    """Calls `begin` first, then `item` and `batch` as changes arrive."""

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._batch_is_due = trio.Event()
        self._arrival = trio.Event()
        self._changed: set[tuple[str, str]] = set()
        self._begun = False

    @abstractmethod
    async def begin(self, ctx: QueueContext) -> None:
        """Derive everything; called again after a failure."""

    @abstractmethod
    async def item(self, ctx: QueueContext, id: str) -> None:
        """A primary resource has changed."""

    @abstractmethod
    async def batch(self, ctx: QueueContext, changed: frozenset[tuple[str, str]]) -> None:
        """Mapped resources have changed: their types and ids."""

    def request_batch(self) -> None:
        """Request a call of `batch`."""
        self._batch_is_due.set()
        self._arrival.set()

    async def wait_for_change(self) -> None:
        """Wait for the next change of a mapped resource; `batch` is called for it nevertheless."""
        self._arrival = trio.Event()
        await self._arrival.wait()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """Collect the change; it leads to no item."""
        self._changed.add((changed.type, changed.id))
        self.request_batch()
        return ()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Reconcile one item, unless `begin` is still to come, which reconciles all."""
        async with self._lock:
            if self._begun:
                await self.item(ctx, item.id)

    async def run(self, ctx: QueueContext) -> None:
        """Call `begin`, then `batch` whenever there are changes."""
        async with self._lock:
            self._begun = False
            ctx.begin_item()
            await self.begin(ctx)
            self._begun = True
        while True:
            await self._batch_is_due.wait()
            async with self._lock:
                self._batch_is_due = trio.Event()
                changed, self._changed = frozenset(self._changed), set()
                ctx.begin_item()
                await self.batch(ctx, changed)

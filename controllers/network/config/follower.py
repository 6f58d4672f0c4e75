"""A queue controller with news that are about no single item: it looks at those together, at its own pace.

Items are reconciled one by one. Changes of mapped inputs are noted, and `news` is called for all that came until then.
Both never run at once.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import trio

from nodespan.runtime.controller import QueueContext, QueueController
from nodespan.runtime.resource import Metadata, Pointer


class Follower(QueueController):
    """Begins with a look at everything; nothing else happens before."""

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._has_news = trio.Event()
        self._arrival = trio.Event()
        self._changed: set[tuple[str, str]] = set()
        self._begun = False

    @abstractmethod
    async def begin(self, ctx: QueueContext) -> None:
        """Look at everything; called again after a failure."""

    @abstractmethod
    async def item(self, ctx: QueueContext, id: str) -> None:
        """A primary resource has changed."""

    @abstractmethod
    async def news(self, ctx: QueueContext, changed: frozenset[tuple[str, str]]) -> None:
        """Mapped resources have changed: their types and ids."""

    def announce(self) -> None:
        """Ask for a call of `news`."""
        self._has_news.set()
        self._arrival.set()

    async def wait_for_news(self) -> None:
        """Wait for the next change of a mapped resource; `news` is called for it all the same."""
        self._arrival = trio.Event()
        await self._arrival.wait()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """Note what has changed; it is about no item."""
        self._changed.add((changed.type, changed.id))
        self.announce()
        return ()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Look at one item, unless everything is still to be looked at."""
        async with self._lock:
            if self._begun:
                await self.item(ctx, item.id)

    async def run(self, ctx: QueueContext) -> None:
        """Look at everything, then at news."""
        async with self._lock:
            self._begun = False
            ctx.begin_item()
            await self.begin(ctx)
            self._begun = True
        while True:
            await self._has_news.wait()
            async with self._lock:
                self._has_news = trio.Event()
                changed, self._changed = frozenset(self._changed), set()
                ctx.begin_item()
                await self.news(ctx, changed)

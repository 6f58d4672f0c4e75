"""The generic destroy controller: destroys resources that users tore down and that have no owner."""

from typing import Any

from nodespan.runtime.controller.base import QueueController
from nodespan.runtime.controller.context import QueueContext
from nodespan.runtime.controller.declarations import primary, shared
from nodespan.runtime.resource import KindLike, Pointer, kind_of


class DestroyController(QueueController):
    """Destroys resources of a kind that are tearing down, without owner and without finalizers. All others stay."""

    def __init__(self, kind: KindLike[Any], *, concurrency: int = 1) -> None:
        self._kind = kind_of(kind)
        self.name = f"Destroy[{self._kind.type}]"
        self.concurrency = concurrency
        self.inputs = (primary(kind),)
        self.outputs = (shared(kind),)

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        resource = ctx.find(self._kind, item.id)
        if resource is not None and resource.metadata.is_destroy_ready and not resource.metadata.owner:
            await ctx.destroy(self._kind, item.id, owner="")

"""Resources of one type as what a reconciler desires.

Each is held by a finalizer until nothing is left outside of what it stood for.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from nodespan.runtime.controller.context import Access
from nodespan.runtime.controller.reconciler import Collected, Desired
from nodespan.runtime.resource import Resource, ResourceType
from nodespan.runtime.slices import Slices

S = TypeVar("S")


class Specs(Desired, Generic[S]):
    """The specs of a type by id: `desired`, and `leaving` those that are torn down and held.

    The controller declares the type as a primary, mapped or strong input.
    """

    def __init__(self, type: ResourceType[S]) -> None:
        self.type = type
        self.desired: dict[str, S] = {}
        self.leaving: dict[str, S] = {}

    async def begin(self, ctx: Access) -> Iterable[str]:
        """All there are, and those that an earlier run knew."""
        return {*(resource.id for resource in ctx.list(self.type)), *self.desired, *self.leaving}

    async def collect(self, ctx: Access, touched: frozenset[str]) -> Collected:
        """Read what was touched, and put finalizers on what is new."""
        dirty: set[str] = set()
        changed: set[str] = set()
        gone: set[str] = set()
        slices = Slices()
        for id in touched:
            await slices.rest()
            resource: Resource[S] | None = ctx.find(self.type, id)
            is_held = resource is not None and ctx.name in resource.metadata.finalizers
            if resource is not None and not resource.metadata.is_tearing_down:
                if not is_held:
                    await ctx.add_finalizer(self.type, id)
                if self.desired.get(id) != resource.spec:
                    self.desired[id] = resource.spec
                    changed.add(id)
                self.leaving.pop(id, None)
                dirty.add(id)
            elif resource is not None and is_held:
                if self.desired.pop(id, None) is not None:
                    changed.add(id)
                self.leaving[id] = resource.spec
                dirty.add(id)
            else:
                self.desired.pop(id, None)
                self.leaving.pop(id, None)
                gone.add(id)
        return Collected(dirty=frozenset(dirty), changed=frozenset(changed), gone=frozenset(gone))

    def ids(self) -> Iterable[str]:
        """All items."""
        return (*self.desired, *self.leaving)

    def __contains__(self, id: str) -> bool:
        return id in self.desired or id in self.leaving

    def is_leaving(self, id: str) -> bool:
        """Whether an item is to go."""
        return id in self.leaving

    @property
    def has_leaving(self) -> bool:
        """Whether any item is leaving."""
        return bool(self.leaving)

    async def let_go(self, ctx: Access, id: str) -> None:
        """Take the finalizer off."""
        await ctx.remove_finalizer(self.type, id)
        self.leaving.pop(id, None)

    def knows(self, ctx: Access, id: str) -> bool:
        """Whether the resource is held and was collected as it is."""
        resource: Resource[S] | None = ctx.find(self.type, id)
        return (
            resource is not None
            and not resource.metadata.is_tearing_down
            and ctx.name in resource.metadata.finalizers
            and self.desired.get(id) == resource.spec
        )

"""Outputs that follow a mirror: only those of changed keys are written."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.slices import Slices

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")


class Publication(Generic[K, S]):
    """The outputs of one type, by the keys they come from. An output belongs to the key that wrote it last.

    An output that is no longer published but has a finalizer is torn down and waits; so does one that
    is published again in the meantime. Declare the type as a destroy-ready input to be woken when it is released.
    """

    def __init__(self, ctx: ControllerContext, type: ResourceType[S]) -> None:
        self._ctx = ctx
        self._type = type
        self._ids: dict[K, frozenset[str]] = {}
        self._key_of: dict[str, K] = {}
        # Outputs held by a finalizer: the spec to write after they are destroyed, None for none.
        self._held: dict[str, S | None] = {}
        self._begun = False

    async def publish(self, outputs: Mapping[K, Mapping[str, S]], slices: Slices | None = None) -> None:
        """Publish exactly these outputs, by id, for these keys; other keys keep theirs.

        The first call also removes outputs of an earlier run of the controller. `slices` are those of the work that
        has led here, with which this goes on.
        """
        slices = Slices() if slices is None else slices
        held, self._held = self._held, {}
        for id, spec in held.items():
            await self._replace(id, spec)
        for key, specs in outputs.items():
            for id, spec in specs.items():
                await self._put(id, spec)
                self._key_of[id] = key
                await slices.rest()
        for key, specs in outputs.items():
            before = self._ids.pop(key, frozenset())
            if specs:
                self._ids[key] = frozenset(specs)
            for id in before - specs.keys():
                # Two links may swap names: then the id belongs to another key by now.
                if self._key_of.get(id) == key:
                    del self._key_of[id]
                    await self._replace(id, None)
            await slices.rest()
        if not self._begun:
            self._begun = True
            for output in self._ctx.list(self._type):
                if output.metadata.owner == self._ctx.name and output.id not in self._key_of:
                    await self._replace(output.id, None)

    async def _put(self, id: str, spec: S) -> None:
        current = self._ctx.find(self._type, id)
        if current is not None and current.metadata.is_tearing_down:
            await self._replace(id, spec)
        else:
            await self._ctx.put(self._type, id, spec)

    async def _replace(self, id: str, spec: S | None) -> None:
        """Destroy an output, and create it again unless the spec is None: now, or when its finalizers are gone."""
        if not await self._ctx.remove(self._type, id):
            self._held[id] = spec
        elif spec is not None:
            await self._ctx.put(self._type, id, spec)


class KeysByLink(Generic[K]):
    """The keys that refer to a link, so that a rename updates only those."""

    def __init__(self) -> None:
        self._keys: defaultdict[int, set[K]] = defaultdict(set)
        self._links: dict[K, frozenset[int]] = {}

    def set(self, key: K, links: Iterable[int]) -> None:
        """Set the links that a key refers to; none removes the key."""
        after = frozenset(links)
        before = self._links.pop(key, frozenset())
        if after:
            self._links[key] = after
        for link in before - after:
            self._keys[link].discard(key)
            if not self._keys[link]:
                del self._keys[link]
        for link in after - before:
            self._keys[link].add(key)

    def keys(self, links: Iterable[int]) -> frozenset[K]:
        """The keys that refer to any of these links."""
        return frozenset(key for link in links for key in self._keys.get(link, ()))

"""Outputs that follow a mirror: only what belongs to the keys that changed is written."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.resource import ResourceType

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")


class Publication(Generic[K, S]):
    """The outputs of one type, filed under the keys they come from. An output belongs to the key that wrote it last.

    An output that is no longer given, but that somebody holds by a finalizer, is torn down and waits; so does one that
    is given again in the meantime. Declare the type as a destroy-ready input: that gives a turn when it is let go.
    """

    def __init__(self, ctx: ControllerContext, type: ResourceType[S]) -> None:
        self._ctx = ctx
        self._type = type
        self._ids: dict[K, frozenset[str]] = {}
        self._key_of: dict[str, K] = {}
        # Those that are held: what they are to be once they are gone, None for nothing.
        self._held: dict[str, S | None] = {}
        self._begun = False

    async def publish(self, outputs: Mapping[K, Mapping[str, S]]) -> None:
        """Make the outputs of these keys be exactly those given, by id; other keys keep theirs.

        The first call also takes away what an earlier run of the controller left and this one does not give.
        """
        held, self._held = self._held, {}
        for id, spec in held.items():
            await self._replace(id, spec)
        for key, specs in outputs.items():
            for id, spec in specs.items():
                await self._put(id, spec)
                self._key_of[id] = key
        for key, specs in outputs.items():
            before = self._ids.pop(key, frozenset())
            if specs:
                self._ids[key] = frozenset(specs)
            for id in before - specs.keys():
                # Two links may swap names: then the id is another key's by now.
                if self._key_of.get(id) == key:
                    del self._key_of[id]
                    await self._replace(id, None)
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
        """Take an output away, and make it anew unless the spec is None: now, or when it is let go."""
        if not await self._ctx.remove(self._type, id):
            self._held[id] = spec
        elif spec is not None:
            await self._ctx.put(self._type, id, spec)


class LinkIndex(Generic[K]):
    """Which keys show the name of which link, so that a renamed link touches only those."""

    def __init__(self) -> None:
        self._keys: defaultdict[int, set[K]] = defaultdict(set)
        self._links: dict[K, frozenset[int]] = {}

    def set(self, key: K, links: Iterable[int]) -> None:
        """The links that a key shows from now on; none forgets the key."""
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
        """The keys that show any of these links."""
        return frozenset(key for link in links for key in self._keys.get(link, ()))

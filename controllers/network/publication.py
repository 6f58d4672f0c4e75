"""Outputs that follow a mirror: only what belongs to the keys that changed is written."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from runtime.controller import ControllerContext
from runtime.resource import ResourceType

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")


class Publication(Generic[K, S]):
    """The outputs of one type, filed under the keys they come from. An output belongs to the key that wrote it last."""

    def __init__(self, ctx: ControllerContext, type: ResourceType[S]) -> None:
        self._ctx = ctx
        self._type = type
        self._ids: dict[K, frozenset[str]] = {}
        self._key_of: dict[str, K] = {}
        self._begun = False

    async def publish(self, outputs: Mapping[K, Mapping[str, S]]) -> None:
        """Make the outputs of these keys be exactly those given, by id; other keys keep theirs.

        The first call also destroys what an earlier run of the controller left and this one does not give.
        """
        if self._begun:
            await self._write(outputs)
            return
        async with self._ctx.tracked_outputs(self._type):
            await self._write(outputs)
        self._begun = True

    async def _write(self, outputs: Mapping[K, Mapping[str, S]]) -> None:
        for key, specs in outputs.items():
            for id, spec in specs.items():
                await self._ctx.put(self._type, id, spec)
                self._key_of[id] = key
        for key, specs in outputs.items():
            before = self._ids.pop(key, frozenset())
            if specs:
                self._ids[key] = frozenset(specs)
            for id in before - specs.keys():
                # Two links may swap names: then the id is another key's by now.
                if self._key_of.get(id) == key:
                    del self._key_of[id]
                    await self._ctx.destroy(self._type, id)


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

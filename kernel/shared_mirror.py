"""One mirror per kind of kernel object and network namespace in a process: notifications are read and parsed once.

Each subscriber gets a view with an aspect: which differences between two values matter to it. Only those wake it.
The first subscriber opens the mirror, the last closes it. One of them at a time lets it follow the kernel; when that
one leaves, the next goes on from there.
"""

import operator
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import attrs
import trio

from nodespan.kernel.mirror import RECEIVE_BUFFER, Changes, Mirror, ObjectKind

K = TypeVar("K")
V = TypeVar("V")

_hubs: trio.lowlevel.RunVar["dict[tuple[type[Any], str | None], _Hub[Any, Any]]"] = trio.lowlevel.RunVar("hubs")


@attrs.frozen(kw_only=True)
class Aspect(Generic[V]):
    """What matters to a subscriber: `same` says whether two values are alike in that.

    `announced`: whether it also matters that the kernel sent a notification about an object that looks the same.
    """

    same: Callable[[V, V], bool] = operator.eq
    announced: bool = False


class MirrorView(Generic[K, V]):
    """A mirror as one of its subscribers has it: the same objects, its own changes. See `Mirror`."""

    def __init__(self, mirror: Mirror[K, V], on_change: Callable[[], None], aspect: Aspect[V]) -> None:
        self._mirror = mirror
        self._on_change = on_change
        self._aspect = aspect
        self._touched: set[K] = set(mirror.items)

    @property
    def items(self) -> Mapping[K, V]:
        """The objects."""
        return self._mirror.items

    @property
    def is_certain(self) -> bool:
        """Whether the mirror is correct as of the last notification processed; if not, a dump is due."""
        return self._mirror.is_certain

    def changed_by(self, key: K) -> int:
        """The netlink port over which an object was last changed, 0 if that is not known."""
        return self._mirror.changed_by(key)

    def take(self) -> frozenset[K]:
        """The keys of all objects that appeared, changed, or went since the last call; at first, all."""
        touched = frozenset(self._touched)
        self._touched.clear()
        return touched

    async def catch_up(self) -> None:
        """Process the notifications that have arrived."""
        await self._mirror.catch_up()

    async def look(self, keys: Iterable[K]) -> None:
        """Read these objects again."""
        await self._mirror.look(keys)

    async def resync(self) -> None:
        """List everything again."""
        await self._mirror.resync()

    @property
    def aspect(self) -> Aspect[V]:
        """What matters to the subscriber."""
        return self._aspect

    def notify(self, touched: Collection[K], *, is_certainty: bool) -> None:
        """These changed in what matters here; without any changes at all the mirror became certain."""
        self._touched.update(touched)
        if touched or is_certainty:
            self._on_change()


class _Hub(Generic[K, V]):
    """A mirror and its subscribers."""

    def __init__(self, kind: ObjectKind[K, V], netns: str | None) -> None:
        self.mirror = Mirror(kind, netns, self._notify, RECEIVE_BUFFER)
        self.views: set[MirrorView[K, V]] = set()
        self.users = 0
        self._is_filled = False
        self._filling = trio.Lock()
        self._leading = trio.Lock()

    async def fill(self) -> None:
        """Wait until the mirror is complete."""
        async with self._filling:
            if not self._is_filled:
                await self.mirror.resync()
                self._is_filled = True

    async def follow(self) -> None:
        """Follow the kernel, once no other task does."""
        async with self._leading:
            await self.mirror.follow()

    def _notify(self) -> None:
        changes = self.mirror.take_changes()
        # Many views have one aspect.
        touched: dict[Aspect[V], Collection[K]] = {}
        is_certainty = not changes.before and not changes.announced
        for view in tuple(self.views):
            aspect = view.aspect
            if aspect not in touched:
                touched[aspect] = self._touched(changes, aspect)
            view.notify(touched[aspect], is_certainty=is_certainty)

    def _touched(self, changes: Changes[K, V], aspect: Aspect[V]) -> Collection[K]:
        """The objects that changed in what matters to an aspect."""
        items, same = self.mirror.items, aspect.same
        found = set(changes.announced) if aspect.announced else set()
        for key, before in changes.before.items():
            after = items.get(key)
            if before is None or after is None:
                if before is not after:
                    found.add(key)
            elif not same(before, after):
                found.add(key)
        return found


@asynccontextmanager
async def open_shared_mirror(
    kind: ObjectKind[K, V], *, netns: str | None = None, on_change: Callable[[], None], aspect: Aspect[V] | None = None
) -> AsyncIterator[MirrorView[K, V]]:
    """The mirror of a kind in a network namespace, shared by all subscribers in this trio run.

    `aspect` is what matters to this one; unless given, everything that makes two values unequal.

    As `open_mirror` otherwise.
    """
    hubs = _all_hubs()
    key = (type(kind), netns)
    hub: _Hub[K, V] | None = hubs.get(key)
    if hub is None:
        hub = hubs[key] = _Hub(kind, netns)
    hub.users += 1
    try:
        await hub.fill()
        view = MirrorView(hub.mirror, on_change, Aspect() if aspect is None else aspect)
        hub.views.add(view)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub.follow)
                yield view
                nursery.cancel_scope.cancel()
        finally:
            hub.views.discard(view)
    finally:
        hub.users -= 1
        if not hub.users:
            del hubs[key]
            hub.mirror.close()


def _all_hubs() -> dict[tuple[type[Any], str | None], _Hub[Any, Any]]:
    try:
        return _hubs.get()
    except LookupError:
        found: dict[tuple[type[Any], str | None], _Hub[Any, Any]] = {}
        _hubs.set(found)
        return found

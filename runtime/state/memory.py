"""The in-memory state: one collection per kind, each with a bounded history that watches read.

The cost of a write does not depend on the number of resources, kinds and watchers of other kinds: it replaces one entry
of a dict, appends to a ring, calls the sinks of the kind and wakes its watchers.
"""

import secrets
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

import trio

from nodespan.runtime.errors import (
    ConflictError,
    InvalidBookmarkError,
    OverrunError,
    OwnerConflictError,
    WatchOptionsError,
)
from nodespan.runtime.resource import (
    EVERYTHING,
    Filter,
    Kind,
    KindLike,
    Metadata,
    Phase,
    Resource,
    ResourceType,
    is_tombstone,
    kind_of,
    tombstone,
)
from nodespan.runtime.state.base import ANY_PHASE, ExpectedPhase, Sink, State, not_found, phase_conflict
from nodespan.runtime.state.events import Event, EventType, Watch

S = TypeVar("S")

_POSITION = struct.Struct(">q")
_COOKIE_SIZE = 8
_CAPACITY = 100
# A committed change as the ring first holds it: why, the new state (or the last), the state before.
_Change = tuple[EventType, Resource[Any], Resource[Any] | None]


class _Collection:
    """The resources of one kind, and the recent history of their changes."""

    __slots__ = (
        "_gap",
        "_in_order",
        "_last_id",
        "_max_capacity",
        "_ring",
        "_sinks",
        "_sinks_by_id",
        "capacity",
        "cookie",
        "items",
        "kind",
        "lot",
        "write_position",
    )

    def __init__(self, kind: Kind[Any], cookie: bytes, initial_capacity: int, max_capacity: int, gap: int) -> None:
        self.kind = kind
        self.cookie = cookie
        self.items: dict[str, Resource[Any]] = {}
        # The dict itself is kept in the order of ids, so that a list needs neither a sort nor an index. An id that
        # arrives out of order only breaks the order; the next list mends it.
        self._in_order = True
        self._last_id = ""
        self.capacity = initial_capacity
        self._max_capacity = max_capacity
        self._gap = gap
        self._ring: list[_Change | Event] = []
        self.write_position = 0
        self._sinks: tuple[Sink, ...] = ()
        self.lot = trio.lowlevel.ParkingLot()
        self._sinks_by_id: dict[str, tuple[Sink, ...]] = {}

    # The view.

    def list(self, filter: Filter = EVERYTHING) -> list[Resource[Any]]:
        if not self._in_order:
            items = self.items
            ordered = [(id, items[id]) for id in sorted(items)]
            items.clear()  # in place: readers hold on to this very dict
            items.update(ordered)
            self._in_order = True
        if filter is EVERYTHING or filter.is_empty:
            return list(self.items.values())
        return [resource for resource in self.items.values() if filter.matches(resource.metadata)]

    def subscribe(self, sink: Sink, id: str | None = None) -> Callable[[], None]:
        if id is None:
            self._sinks = (*self._sinks, sink)
        else:
            self._sinks_by_id[id] = (*self._sinks_by_id.get(id, ()), sink)

        def unsubscribe() -> None:
            if id is None:
                self._sinks = _without(self._sinks, sink)
            elif others := _without(self._sinks_by_id[id], sink):
                self._sinks_by_id[id] = others
            else:
                del self._sinks_by_id[id]

        return unsubscribe

    # Changes.

    def put_new(self, resource: Resource[Any]) -> None:
        id = resource.metadata.id
        if id < self._last_id:
            self._in_order = False
        else:
            self._last_id = id
        self.items[id] = resource
        self._commit(EventType.CREATED, resource, None)

    def put(self, resource: Resource[Any], old: Resource[Any]) -> None:
        self.items[resource.metadata.id] = resource
        self._commit(EventType.UPDATED, resource, old)

    def remove(self, resource: Resource[Any]) -> None:
        del self.items[resource.metadata.id]
        if not self.items:
            self._last_id, self._in_order = "", True
        self._commit(EventType.DESTROYED, resource, None)

    def _commit(self, type: EventType, resource: Resource[Any], old: Resource[Any] | None) -> None:
        position = self.write_position
        ring = self._ring
        if position < self.capacity:
            ring.append((type, resource, old))
        elif position == self.capacity and self.capacity < self._max_capacity:
            self.capacity = min(2 * self.capacity, self._max_capacity)
            ring.append((type, resource, old))
        else:
            ring[position % self.capacity] = (type, resource, old)
        self.write_position = position + 1
        for sink in self._sinks:
            sink(resource, type is EventType.DESTROYED)
        if self._sinks_by_id:
            for sink in self._sinks_by_id.get(resource.metadata.id, ()):
                sink(resource, type is EventType.DESTROYED)
        if self.lot:
            self.lot.unpark_all()

    # History.

    def event(self, position: int) -> Event:
        """The event at a position in the ring; made once, on demand, for all watchers."""
        slot = position % self.capacity
        entry = self._ring[slot]
        if isinstance(entry, tuple):
            type, resource, old = entry
            entry = self._ring[slot] = Event(type, resource, old, None, self.bookmark(position))
        return entry

    def holds(self, position: int) -> bool:
        """Whether the ring still has all events from this position on."""
        return self.write_position - position <= self.capacity

    def overrun(self, position: int) -> Event:
        text = (
            f'buffer overrun: namespace "{self.kind.namespace}" type "{self.kind.type}", '
            f"write pos {self.write_position}, pos {position}, capacity {self.capacity}"
        )
        error = OverrunError(text, namespace=self.kind.namespace, type=self.kind.type)
        return Event(EventType.ERRORED, error=error)

    def bookmark(self, position: int) -> bytes:
        return self.cookie + _POSITION.pack(position)

    def position_after(self, bookmark: bytes, *, lowest: int) -> int:
        """The position after the bookmark, where a watch resumes. Raises InvalidBookmarkError."""
        if len(bookmark) == _COOKIE_SIZE + _POSITION.size and bookmark.startswith(self.cookie):
            (position,) = _POSITION.unpack_from(bookmark, _COOKIE_SIZE)
            if max(lowest, self.write_position - self.capacity + self._gap) <= position < self.write_position:
                return int(position) + 1
        raise InvalidBookmarkError("invalid watch bookmark", namespace=self.kind.namespace, type=self.kind.type)

    def oldest_usable(self) -> int:
        return max(self.write_position - self.capacity + self._gap, 0)

    def tail(self, count: int) -> int:
        return max(self.write_position - min(count, self.capacity - self._gap), 0)

    def tail_of(self, id: str, count: int) -> int:
        """The position of the first of the last `count` events of one resource."""
        position = self.write_position
        while position > self.oldest_usable() and count > 0:
            position -= 1
            entry = self._ring[position % self.capacity]
            resource = entry[1] if isinstance(entry, tuple) else entry.resource
            count -= resource is not None and resource.metadata.id == id
        return position


def _without(sinks: tuple[Sink, ...], sink: Sink) -> tuple[Sink, ...]:
    """The sinks without one occurrence of this one: a function may be subscribed more than once."""
    at = sinks.index(sink)
    return sinks[:at] + sinks[at + 1 :]


def _passed(event: Event, filter: Filter) -> Event | None:
    """The event as a watch with this filter delivers it."""
    assert event.resource is not None  # the ring holds commits only
    now = filter.matches(event.resource.metadata)
    if event.type is not EventType.UPDATED:
        return event if now else None
    assert event.old is not None
    before = filter.matches(event.old.metadata)
    if now and before:
        return event
    if now:
        return Event(EventType.CREATED, event.resource, bookmark=event.bookmark)
    if before:
        return Event(EventType.DESTROYED, event.resource, bookmark=event.bookmark)
    return None


class _AggregatedWatch:
    """Reads a collection's history in batches."""

    def __init__(
        self,
        collection: _Collection,
        filter: Filter,
        *,
        bootstrap_contents: bool,
        bootstrap_bookmark: bool,
        tail_events: int,
        start_from: bytes | None,
    ) -> None:
        self._collection = collection
        self._filter = filter
        self._bootstrap_contents = bootstrap_contents
        self._bootstrap_bookmark = bootstrap_bookmark
        self._tail_events = tail_events
        self._start_from = start_from
        self._first: list[list[Event]] = []
        self._position = 0
        self._dead = False

    async def __aenter__(self) -> Self:
        collection = self._collection
        if (self._bootstrap_contents and (self._tail_events > 0 or self._start_from is not None)) or (
            self._tail_events > 0 and self._start_from is not None
        ):
            raise WatchOptionsError(
                f"watch of {collection.kind}: bootstrap contents, tail events and a bookmark exclude each other",
                namespace=collection.kind.namespace,
                type=collection.kind.type,
            )
        if self._start_from is not None:
            self._position = collection.position_after(self._start_from, lowest=-1)
        else:
            self._position = collection.tail(max(self._tail_events, 0))
        here = collection.bookmark(self._position - 1)
        kind_itself = tombstone(collection.kind)
        if self._bootstrap_contents:
            contents = [Event(EventType.CREATED, resource) for resource in collection.list(self._filter)]
            self._first.append([*contents, Event(EventType.BOOTSTRAPPED, kind_itself, bookmark=here)])
        if self._bootstrap_bookmark:
            self._first.append([Event(EventType.NOOP, kind_itself, bookmark=here)])
        self._first.reverse()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._dead = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Event]:
        if self._dead:
            raise StopAsyncIteration
        collection = self._collection
        if self._first:
            await trio.lowlevel.checkpoint()
            return self._first.pop()
        if self._position != collection.write_position:
            await trio.lowlevel.checkpoint()
        while True:
            while self._position == collection.write_position:
                await collection.lot.park()
            if not collection.holds(self._position):
                self._dead = True
                return [collection.overrun(self._position)]
            positions = range(self._position, collection.write_position)
            self._position = collection.write_position
            batch = [collection.event(position) for position in positions]
            if self._filter is not EVERYTHING:
                batch = [event for event in (_passed(event, self._filter) for event in batch) if event is not None]
            if batch:
                return batch


class _KindWatch:
    """An aggregated watch, handed out event by event."""

    def __init__(self, batches: _AggregatedWatch) -> None:
        self._batches = batches
        self._pending: list[Event] = []

    async def __aenter__(self) -> Self:
        await self._batches.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._pending.clear()
        await self._batches.__aexit__(*exc)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._pending:
            await trio.lowlevel.checkpoint()
        else:
            batch = await self._batches.__anext__()
            if len(batch) == 1:
                return batch[0]
            self._pending = batch[::-1]
        return self._pending.pop()


class _OneWatch:
    """Reads the events of one resource.

    `_pending` counts the commits to the resource that are not delivered yet. While it is 0, the position has no
    meaning, and changes of other resources of the kind neither wake the watch nor overrun it.
    """

    def __init__(self, collection: _Collection, id: str, tail_events: int, start_from: bytes | None) -> None:
        self._collection = collection
        self._id = id
        self._tail_events = tail_events
        self._start_from = start_from
        self._first: Event | None = None
        self._position = 0
        self._pending = 0
        self._lot = trio.lowlevel.ParkingLot()
        self._dead = False

    async def __aenter__(self) -> Self:
        collection = self._collection
        if self._tail_events > 0 and self._start_from is not None:
            raise WatchOptionsError(
                f"watch of {collection.kind.pointer(self._id)}: tail events and a bookmark exclude each other",
                namespace=collection.kind.namespace,
                type=collection.kind.type,
            )
        if self._start_from is not None:
            self._replay(collection.position_after(self._start_from, lowest=0))
        elif self._tail_events > 0:
            self._replay(collection.tail_of(self._id, self._tail_events))
        else:
            current = collection.items.get(self._id)
            if current is None:
                self._first = Event(EventType.DESTROYED, tombstone(collection.kind, self._id))
            else:
                self._first = Event(EventType.CREATED, current)
        self._unsubscribe = collection.subscribe(self._notify, self._id)
        return self

    def _replay(self, position: int) -> None:
        self._position = position
        self._pending = sum(self._is_ours(at) for at in range(position, self._collection.write_position))

    def _is_ours(self, position: int) -> bool:
        resource = self._collection.event(position).resource
        return resource is not None and resource.metadata.id == self._id

    async def __aexit__(self, *exc: object) -> None:
        self._dead = True
        self._unsubscribe()

    def _notify(self, _resource: Resource[Any], _destroyed: bool) -> None:
        if self._pending == 0:
            self._position = self._collection.write_position - 1
        self._pending += 1
        self._lot.unpark_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._dead:
            raise StopAsyncIteration
        if self._first is not None:
            await trio.lowlevel.checkpoint()
            first, self._first = self._first, None
            return first
        if self._pending:
            await trio.lowlevel.checkpoint()
        while not self._pending:
            await self._lot.park()
        collection = self._collection
        if not collection.holds(self._position):
            self._dead = True
            return collection.overrun(self._position)
        while not self._is_ours(self._position):
            self._position += 1
        self._pending -= 1
        self._position += 1
        return collection.event(self._position - 1)


class MemoryState(State):
    """Resources in memory, lost when the process ends.

    The history of each kind starts with room for `initial_capacity` events and doubles up to `max_capacity` while it
    is filled for the first time; a watcher that falls behind further gets an ERRORED event. Both are 100 by default,
    less or more where the other says so. `gap` is how many of the oldest events are not offered to those who resume.
    `now` gives wall-clock nanoseconds.
    """

    def __init__(
        self,
        *,
        initial_capacity: int | None = None,
        max_capacity: int | None = None,
        gap: int = 5,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        if initial_capacity is None:
            initial_capacity = _CAPACITY if max_capacity is None else min(_CAPACITY, max_capacity)
        if max_capacity is None:
            max_capacity = max(_CAPACITY, initial_capacity)
        if not 0 <= gap < initial_capacity <= max_capacity:
            raise ValueError(f"need 0 <= gap < initial <= max capacity, got {gap}, {initial_capacity}, {max_capacity}")
        self._initial_capacity = initial_capacity
        self._max_capacity = max_capacity
        self._gap = gap
        self._now = now
        self._cookie = secrets.token_bytes(_COOKIE_SIZE)
        self._collections: dict[Kind[Any], _Collection] = {}

    def view(self, kind: KindLike[Any]) -> _Collection:
        return self._collection(kind_of(kind))

    def kinds(self) -> Iterable[Kind[Any]]:
        return tuple(self._collections)

    def _collection(self, kind: Kind[Any]) -> _Collection:
        found = self._collections.get(kind)
        if found is None:
            found = _Collection(kind, self._cookie, self._initial_capacity, self._max_capacity, self._gap)
            self._collections[kind] = found
        return found

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        given = resource.metadata
        if is_tombstone(resource):
            raise ValueError(f"{resource.pointer} has no spec, a tombstone cannot be stored")
        if given.owner and given.owner != owner:
            raise ValueError(f"owner of {given} is already set to {given.owner!r}, it cannot become {owner!r}")
        collection = self._collection(Kind(given.namespace, given.type))
        if given.id in collection.items:
            message = f"resource {given} already exists"
            raise ConflictError(message, namespace=given.namespace, type=given.type)
        metadata = Metadata(
            given.namespace,
            given.type,
            given.id,
            1,
            owner,
            given.phase,
            self._now(),
            given.updated,
            given.labels,
            given.annotations,
            given.finalizers,
        )
        stored = Resource(metadata, resource.spec)
        collection.put_new(stored)
        return stored

    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        given = resource.metadata
        kind = Kind(given.namespace, given.type)
        collection = self._collection(kind)
        current = collection.items.get(given.id)
        if current is None:
            raise not_found(kind, given.id)
        stored = current.metadata
        if stored.owner != owner:
            raise _owner_conflict(stored, owner)
        version = stored.version
        if version is None or given.version != version:
            message = (
                f"resource {stored} update conflict: "
                f'expected version "{given.version or "undefined"}", actual version "{version}"'
            )
            raise ConflictError(message, namespace=stored.namespace, type=stored.type)
        if expected_phase is not stored.phase and expected_phase is not ANY_PHASE:
            raise phase_conflict(current, expected_phase)
        metadata = Metadata(
            given.namespace,
            given.type,
            given.id,
            version + 1,
            given.owner,
            given.phase,
            stored.created,
            self._now(),
            given.labels,
            given.annotations,
            given.finalizers,
        )
        new = Resource(metadata, resource.spec)
        collection.put(new, current)
        return new

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        address = kind.kind if isinstance(kind, ResourceType) else kind
        collection = self._collection(address)
        current = collection.items.get(id)
        if current is None:
            raise not_found(address, id)
        metadata = current.metadata
        if metadata.owner != owner:
            raise _owner_conflict(metadata, owner)
        if metadata.finalizers:
            message = f"resource {metadata} has pending finalizers [{' '.join(metadata.finalizers)}]"
            raise ConflictError(message, namespace=metadata.namespace, type=metadata.type)
        collection.remove(current)

    def watch(
        self, kind: KindLike[Any], id: str, *, tail_events: int = 0, start_from: bytes | None = None
    ) -> Watch[Event]:
        return _OneWatch(self.view(kind), id, tail_events, start_from)

    def watch_kind_aggregated(
        self,
        kind: KindLike[Any],
        *,
        bootstrap_contents: bool = False,
        bootstrap_bookmark: bool = False,
        tail_events: int = 0,
        start_from: bytes | None = None,
        filter: Filter = EVERYTHING,
    ) -> _AggregatedWatch:
        return _AggregatedWatch(
            self.view(kind),
            filter,
            bootstrap_contents=bootstrap_contents,
            bootstrap_bookmark=bootstrap_bookmark,
            tail_events=tail_events,
            start_from=start_from,
        )

    def watch_kind(
        self,
        kind: KindLike[Any],
        *,
        bootstrap_contents: bool = False,
        bootstrap_bookmark: bool = False,
        tail_events: int = 0,
        start_from: bytes | None = None,
        filter: Filter = EVERYTHING,
    ) -> Watch[Event]:
        return _KindWatch(
            self.watch_kind_aggregated(
                kind,
                bootstrap_contents=bootstrap_contents,
                bootstrap_bookmark=bootstrap_bookmark,
                tail_events=tail_events,
                start_from=start_from,
                filter=filter,
            )
        )


def _owner_conflict(stored: Metadata, owner: str) -> OwnerConflictError:
    message = f'resource {stored} is owned by "{stored.owner}", not by "{owner}"'
    return OwnerConflictError(message, namespace=stored.namespace, type=stored.type)

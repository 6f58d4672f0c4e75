"""The watches of a collection: they read its history, each from a position of its own."""

from typing import Any, Self

import trio

from nodespan.runtime.errors import WatchOptionsError
from nodespan.runtime.resource import EVERYTHING, Filter, Resource, tombstone
from nodespan.runtime.state.collection import Collection
from nodespan.runtime.state.events import Event, EventType


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


class AggregatedWatch:
    """Reads a collection's history in batches."""

    def __init__(
        self,
        collection: Collection,
        filter: Filter = EVERYTHING,
        *,
        bootstrap_contents: bool = False,
        bootstrap_bookmark: bool = False,
        tail_events: int = 0,
        start_from: bytes | None = None,
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
        while True:
            if self._dead:
                raise StopAsyncIteration
            await self.until_pending()
            if batch := self.take():
                return batch

    # The same in two steps, for one task that reads many watches.

    @property
    def collection(self) -> Collection:
        """What is watched."""
        return self._collection

    async def until_pending(self) -> None:
        """Wait until there may be something to take; always a checkpoint."""
        collection = self._collection
        if self._first or self._position != collection.write_position:
            await trio.lowlevel.checkpoint()
        while not self._first and self._position == collection.write_position:
            await collection.lot.park()

    def take(self) -> list[Event]:
        """The next batch; empty if there is none, or the watch has failed before."""
        collection = self._collection
        if self._first:
            return self._first.pop()
        if self._dead or self._position == collection.write_position:
            return []
        if not collection.holds(self._position):
            self._dead = True
            return [collection.overrun(self._position)]
        positions = range(self._position, collection.write_position)
        self._position = collection.write_position
        batch = [collection.event(position) for position in positions]
        if self._filter is not EVERYTHING:
            batch = [event for event in (_passed(event, self._filter) for event in batch) if event is not None]
        return batch


class KindWatch:
    """An aggregated watch, handed out event by event."""

    def __init__(self, batches: AggregatedWatch) -> None:
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


class OneWatch:
    """Reads the events of one resource.

    `_pending` counts the commits to the resource that are not delivered yet. While it is 0, the position has no
    meaning, and changes of other resources of the kind neither wake the watch nor overrun it.
    """

    def __init__(self, collection: Collection, id: str, tail_events: int, start_from: bytes | None) -> None:
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

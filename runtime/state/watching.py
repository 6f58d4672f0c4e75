"""The watches of a collection: they read its history, each from a position of its own."""

from typing import Any, Self

import trio

from nodespan.runtime.errors import WatchOptionsError
from nodespan.runtime.resource import EVERYTHING, Filter, Resource, tombstone
from nodespan.runtime.state.collection import Collection
from nodespan.runtime.state.events import Event, EventType
from nodespan.runtime.waiters import Waiters

_wait_task_rescheduled = trio.lowlevel.wait_task_rescheduled


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


class _Reader:
    """Reads a collection's history in batches, from a position of its own."""

    # Many watchers wait for the same change: what each of them touches then is kept small.
    __slots__ = (
        "_bootstrap_bookmark",
        "_bootstrap_contents",
        "_filter",
        "_first",
        "_position",
        "_start_from",
        "_tail_events",
        "collection",
        "is_over",
    )

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
        # What is watched.
        self.collection = collection
        self._filter = filter
        self._bootstrap_contents = bootstrap_contents
        self._bootstrap_bookmark = bootstrap_bookmark
        self._tail_events = tail_events
        self._start_from = start_from
        self._first: list[list[Event]] = []
        self._position = 0
        self.is_over = False

    async def __aenter__(self) -> Self:
        collection = self.collection
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
        self.is_over = True

    def __aiter__(self) -> Self:
        return self

    def take(self) -> list[Event]:
        """The next batch; empty if there is none, or the watch has failed before."""
        if self._first:
            return self._first.pop()
        collection = self.collection
        position, end = self._position, collection.write_position
        if position == end or self.is_over:
            return []
        if not collection.holds(position):
            self.is_over = True
            return [collection.overrun(position)]
        self._position = end
        if position + 1 == end:
            batch = [collection.event(position)]
        else:
            batch = [collection.event(each) for each in range(position, end)]
        if self._filter is not EVERYTHING:
            batch = [event for event in (_passed(event, self._filter) for event in batch) if event is not None]
        return batch


class AggregatedWatch(_Reader):
    """A watch of a kind, batch by batch."""

    __slots__ = ()

    async def __anext__(self) -> list[Event]:
        while not self.is_over:
            await self.until_pending()
            if batch := self.take():
                return batch
        raise StopAsyncIteration

    # The same in two steps, for one task that reads many watches.

    async def until_pending(self) -> None:
        """Wait until there may be something to take; always a checkpoint."""
        collection = self.collection
        if self._first or self._position != collection.write_position:
            await trio.lowlevel.checkpoint()
        while not self._first and self._position == collection.write_position:
            await collection.waiters.wait()


class KindWatch(_Reader):
    """A watch of a kind, event by event."""

    __slots__ = ("_rest",)

    def __init__(self, collection: Collection, filter: Filter = EVERYTHING, **options: Any) -> None:
        super().__init__(collection, filter, **options)
        # Of a batch of several events those that are not handed out yet, the next one last.
        self._rest: list[Event] = []

    async def __aexit__(self, *exc: object) -> None:
        self._rest.clear()
        await super().__aexit__(*exc)

    @trio.lowlevel.enable_ki_protection  # as `join` requires
    async def __anext__(self) -> Event:
        if self._rest:
            await trio.lowlevel.checkpoint()
            return self._rest.pop()
        collection = self.collection
        while not self.is_over:
            position = self._position
            if position == collection.write_position and not self._first:
                await _wait_task_rescheduled(collection.waiters.join())
                # One new event, which passes: nearly always so. It is what `take` would give.
                if position + 1 == collection.write_position and self._filter is EVERYTHING and not self.is_over:
                    self._position = position + 1
                    return collection.event(position)
            else:
                await trio.lowlevel.checkpoint()
            if batch := self.take():
                if len(batch) > 1:
                    self._rest = batch[:0:-1]
                return batch[0]
        raise StopAsyncIteration


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
        self._waiters = Waiters()
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

    def _notify(self, _resource: Resource[Any], _before: Resource[Any] | None, _destroyed: bool) -> None:
        if self._pending == 0:
            self._position = self._collection.write_position - 1
        self._pending += 1
        if self._waiters.tasks:
            self._waiters.wake_all()

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
            await self._waiters.wait()
        collection = self._collection
        if not collection.holds(self._position):
            self._dead = True
            return collection.overrun(self._position)
        while not self._is_ours(self._position):
            self._position += 1
        self._pending -= 1
        self._position += 1
        return collection.event(self._position - 1)

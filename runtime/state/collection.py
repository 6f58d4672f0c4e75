"""One kind's resources as its readers see them, and the recent history of their changes.

A collection decides nothing: a state that committed a change (in memory, in a file, on a server) feeds it, in the order
of the commits, and the collection notifies subscribers and watches. It belongs to the thread of the event loop.

The cost of a change does not depend on the number of resources, kinds and watchers of other kinds: it replaces one
entry of a dict, appends to a ring, calls the sinks of the kind and wakes its watchers.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from nodespan.runtime.errors import InvalidBookmarkError, OverrunError
from nodespan.runtime.resource import EVERYTHING, Filter, Kind, Resource
from nodespan.runtime.state.base import Sink
from nodespan.runtime.state.events import Event, EventType
from nodespan.runtime.waiters import Waiters

COOKIE_SIZE = 8
_POSITION = struct.Struct(">q")
_CAPACITY = 100
# In nanoseconds: what watchers may want to catch up on.
_RECENT = 300 * 10**9
# A committed change as the ring first holds it: why, the new state (or the last), the state before.
Change = tuple[EventType, Resource[Any], Resource[Any] | None]
_CREATED, _UPDATED, _DESTROYED = EventType.CREATED, EventType.UPDATED, EventType.DESTROYED


@attrs.frozen
class History:
    """How many events each kind's history holds.

    It starts with room for `capacity` events and doubles, up to `max_capacity`, when it is full of what happened within
    five minutes: a burst needs the room, a change now and then would only keep old resources in memory. A watcher that
    falls behind further gets an ERRORED event. `gap` is how many of the oldest events are not offered to those who
    resume.
    """

    capacity: int
    max_capacity: int
    gap: int

    @classmethod
    def of(cls, *, initial_capacity: int | None = None, max_capacity: int | None = None, gap: int = 5) -> "History":
        """Both capacities are 100 by default, less or more where the other says so. Raises ValueError."""
        if initial_capacity is None:
            initial_capacity = _CAPACITY if max_capacity is None else min(_CAPACITY, max_capacity)
        if max_capacity is None:
            max_capacity = max(_CAPACITY, initial_capacity)
        if not 0 <= gap < initial_capacity <= max_capacity:
            raise ValueError(f"need 0 <= gap < initial <= max capacity, got {gap}, {initial_capacity}, {max_capacity}")
        return cls(initial_capacity, max_capacity, gap)


class Collection:
    """The resources of one kind, and the recent history of their changes. It is the `View` of the kind.

    A bookmark is the cookie of the state and the position of the event. A state with bookmarks of its own overrides
    `bookmark` and `position_after`.
    """

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
        "waiters",
        "write_position",
    )

    def __init__(self, kind: Kind[Any], history: History, cookie: bytes) -> None:
        self.kind = kind
        self.cookie = cookie
        self.items: dict[str, Resource[Any]] = {}
        # The dict itself is kept in the order of ids, so that a list needs neither a sort nor an index. An id that
        # arrives out of order only breaks the order; the next list mends it.
        self._in_order = True
        self._last_id = ""
        self.capacity = history.capacity
        self._max_capacity = history.max_capacity
        self._gap = history.gap
        self._ring: list[Change | Event] = []
        self.write_position = 0
        self._sinks: tuple[Sink, ...] = ()
        self._sinks_by_id: dict[str, tuple[Sink, ...]] = {}
        # For the next commit.
        self.waiters = Waiters()

    # The view.

    def changed_since(self, id: str, position: int) -> bool | None:
        """Whether a resource has changed since `write_position` was this; None if the history does not reach back."""
        for each in range(self.write_position - 1, max(position, self.write_position - self.room) - 1, -1):
            if self._resource_at(each).metadata.id == id:
                return True
        return False if self.holds(position) else None

    def list(self, filter: Filter = EVERYTHING) -> list[Resource[Any]]:
        """The resources that pass the filter, as a new list sorted by id."""
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
        """Call `sink` after each commit, to one resource or to any, until the returned function is called."""
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
        """A resource was created."""
        id = resource.metadata.id
        if id < self._last_id:
            self._in_order = False
        else:
            self._last_id = id
        self.items[id] = resource
        self._commit((_CREATED, resource, None))

    def put(self, resource: Resource[Any], old: Resource[Any]) -> None:
        """A resource was updated; `old` is what the collection holds of it."""
        self.items[resource.metadata.id] = resource
        self._commit((_UPDATED, resource, old))

    def remove(self, resource: Resource[Any]) -> None:
        """A resource was destroyed; this is what the collection holds of it."""
        del self.items[resource.metadata.id]
        if not self.items:
            self._last_id, self._in_order = "", True
        self._commit((_DESTROYED, resource, None))

    def load(self, resources: Iterable[Resource[Any]]) -> None:
        """The contents at the start, without events: only for an empty collection that is not watched yet."""
        items = self.items
        for resource in resources:
            items[resource.metadata.id] = resource
        self._in_order = False
        self._last_id = max(items, default="")

    def resync(self, contents: Mapping[str, Resource[Any]]) -> None:
        """The contents after a gap in what is known: reported as changes, of what differs only.

        A resource with another time of creation is another resource: the one before was destroyed.
        """
        for id in sorted(self.items.keys() - contents.keys()):
            self.remove(self.items[id])
        for id in sorted(contents):
            new, current = contents[id], self.items.get(id)
            if current is not None and new.metadata.created != current.metadata.created:
                self.remove(current)
                current = None
            if current is None:
                self.put_new(new)
            elif new != current:
                self.put(new, current)

    def _commit(self, change: Change) -> None:
        position, ring = self.write_position, self._ring
        place = position % self.capacity
        if place == len(ring) or (place == 0 and self._grows(change[1])):
            ring.append(change)
        else:
            ring[place] = change
        self.write_position = position + 1
        if self._sinks or self._sinks_by_id:
            type, resource, before = change
            for sink in self._sinks:
                sink(resource, before, type is _DESTROYED)
            if self._sinks_by_id:
                for sink in self._sinks_by_id.get(resource.metadata.id, ()):
                    sink(resource, before, type is _DESTROYED)
        if self.waiters.tasks:
            self.waiters.wake_all()

    def _grows(self, newest: Resource[Any]) -> bool:
        """Make room in a ring that is full, from its first to its last place, if it is full of what is recent."""
        position, capacity = self.write_position, self.capacity
        larger = min(2 * capacity, self._max_capacity)
        # Every event must keep its place: the place of an event is its position, modulo the capacity.
        if larger == capacity or (position != capacity and (position % larger != capacity or larger != 2 * capacity)):
            return False
        if _written(newest) - _written(self._resource_at(position - capacity)) > _RECENT:
            return False
        self.capacity = larger
        return True

    # History.

    def event(self, position: int) -> Event:
        """The event at a position in the ring; made once, on demand, for all watchers."""
        entry = self._ring[position % self.capacity]
        if entry.__class__ is Event:
            return entry
        type, resource, old = entry  # type: ignore[misc]
        event = self._ring[position % self.capacity] = Event(type, resource, old, None, self.bookmark(position))
        return event

    def holds(self, position: int) -> bool:
        """Whether the ring still has all events from this position on."""
        return self.write_position - position <= self.room

    @property
    def room(self) -> int:
        """How many of the last events there are at most: fewer than the capacity while what was added to it fills."""
        return self.capacity if self.write_position < self.capacity else len(self._ring)

    def overrun(self, position: int) -> Event:
        """The last event of a watch that is so far behind."""
        text = (
            f'buffer overrun: namespace "{self.kind.namespace}" type "{self.kind.type}", '
            f"write pos {self.write_position}, pos {position}, capacity {self.capacity}"
        )
        error = OverrunError(text, namespace=self.kind.namespace, type=self.kind.type)
        return Event(EventType.ERRORED, error=error)

    def bookmark(self, position: int) -> bytes:
        """The bookmark of the event at this position; -1 and so on mean before the first."""
        return self.cookie + _POSITION.pack(position)

    def position_after(self, bookmark: bytes, *, lowest: int) -> int:
        """The position after the bookmark, where a watch resumes. Raises InvalidBookmarkError."""
        if len(bookmark) == COOKIE_SIZE + _POSITION.size and bookmark.startswith(self.cookie):
            (position,) = _POSITION.unpack_from(bookmark, COOKIE_SIZE)
            if max(lowest, self.write_position - self.room + self._gap) <= position < self.write_position:
                return int(position) + 1
        raise InvalidBookmarkError("invalid watch bookmark", namespace=self.kind.namespace, type=self.kind.type)

    def oldest_usable(self) -> int:
        """The first position that a watch may start from."""
        return max(self.write_position - self.room + self._gap, 0)

    def tail(self, count: int) -> int:
        """The position of the first of the last `count` events."""
        return max(self.write_position - min(count, self.room - self._gap), 0)

    def tail_of(self, id: str, count: int) -> int:
        """The position of the first of the last `count` events of one resource."""
        position = self.write_position
        while position > self.oldest_usable() and count > 0:
            position -= 1
            count -= self._resource_at(position).metadata.id == id
        return position

    def _resource_at(self, position: int) -> Resource[Any]:
        """The resource of the event at a position in the ring."""
        entry = self._ring[position % self.capacity]
        resource = entry[1] if isinstance(entry, tuple) else entry.resource
        assert resource is not None  # only changes are in the ring
        return resource


def _written(resource: Resource[Any]) -> int:
    """When this version of a resource was written."""
    metadata = resource.metadata
    return metadata.created if metadata.version == 1 else metadata.updated


def _without(sinks: tuple[Sink, ...], sink: Sink) -> tuple[Sink, ...]:
    """The sinks without one occurrence of this one: a function may be subscribed more than once."""
    at = sinks.index(sink)
    return sinks[:at] + sinks[at + 1 :]


class Collections(dict[tuple[str, str], Collection]):
    """The collections of a state, by namespace and type: looking up a kind makes its collection if it is missing.

    A bare pair finds what a Kind does, and is made faster.
    """

    def __init__(self, make: Callable[[Kind[Any]], Collection]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, kind: tuple[str, str]) -> Collection:
        address: Kind[Any] = Kind(*kind)
        found = self[address] = self._make(address)
        return found

    def kinds(self) -> tuple[Kind[Any], ...]:
        """The kinds of all collections."""
        return tuple(collection.kind for collection in self.values())

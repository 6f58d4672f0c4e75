"""The in-memory state: a write is a change of the collection."""

import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

from nodespan.runtime.resource import Kind, KindLike, Phase, Resource, kind_of
from nodespan.runtime.state import rules
from nodespan.runtime.state.base import ExpectedPhase
from nodespan.runtime.state.collection import COOKIE_SIZE, Collection, Collections, History
from nodespan.runtime.state.viewed import ViewedState

S = TypeVar("S")


class MemoryState(ViewedState):
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
        history = History.of(initial_capacity=initial_capacity, max_capacity=max_capacity, gap=gap)
        cookie = secrets.token_bytes(COOKIE_SIZE)

        def collection(kind: Kind[Any]) -> Collection:
            return Collection(kind, history, cookie)

        super().__init__(Collections(collection))
        self._now = now

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        given = resource.metadata
        collection = self._collections[given.namespace, given.type]
        stored = rules.created(collection.items.get(given.id), resource, owner, self._now())
        collection.put_new(stored)
        return stored

    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        given = resource.metadata
        collection = self._collections[given.namespace, given.type]
        current = collection.items.get(given.id)
        new = rules.updated(current, resource, owner, expected_phase, self._now())
        assert current is not None  # else the rule raised
        collection.put(new, current)
        return new

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        address = kind_of(kind)
        collection = self._collections[address]
        collection.remove(rules.check_destroy(collection.items.get(id), address, id, owner))

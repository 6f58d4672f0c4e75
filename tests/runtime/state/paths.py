"""What the tests of the state share: one kind of resource, and short ways to read a watch."""

from typing import Any, TypeVar

import trio

from nodespan.runtime.resource import Kind, Resource
from nodespan.runtime.state import Event, State, Watch
from nodespan.runtime.testing.state_suite import Path, PathSpec
from tests.support.deadlines import PATIENCE

T = TypeVar("T")

KIND: Kind[PathSpec] = Path.kind


def path(id: str, **labels: str) -> Resource[PathSpec]:
    """A path that no state has seen yet."""
    return Path.new(id, PathSpec(), labels=labels)


async def read(watch: Watch[T]) -> T:
    """The next thing that a watch delivers, soon."""
    with trio.fail_after(PATIENCE):
        return await anext(watch)


async def read_until(watch: Watch[Event], id: str) -> list[Event]:
    """What a watch delivers before the first event of this resource."""
    events: list[Event] = []
    while True:
        event = await read(watch)
        if event.resource is not None and event.resource.id == id:
            return events
        events.append(event)


async def churn(state: State, id: str, count: int) -> None:
    """Write a resource that many times, creating it first if need be."""
    for _ in range(count):
        current = state.find(KIND, id)
        await (state.create(path(id)) if current is None else state.update(current))


def addresses(events: list[Event]) -> list[Any]:
    """Type, id and version of each event."""
    return [
        (event.type, event.resource.id, event.resource.metadata.version)
        for event in events
        if event.resource is not None
    ]

"""A collection that is fed from elsewhere: what it is loaded with, and what it reports after a gap."""

from typing import Any

from nodespan.runtime.resource import Resource
from nodespan.runtime.state import EventType
from nodespan.runtime.state.collection import COOKIE_SIZE, Collection, History
from nodespan.runtime.state.watching import AggregatedWatch
from nodespan.runtime.testing.state_suite import PathSpec
from tests.runtime.state.paths import KIND, path, read

COOKIE = bytes(COOKIE_SIZE)


def stored(id: str, version: int = 1, created: int = 100) -> Resource[PathSpec]:
    """A path as a state elsewhere has it."""
    return path(id).evolve(version=version, created=created)


def collection() -> Collection:
    """An empty one."""
    return Collection(KIND, History.of(), COOKIE)


def contents(*resources: Resource[PathSpec]) -> dict[str, Resource[Any]]:
    """By id."""
    return {resource.id: resource for resource in resources}


def following(of: Collection) -> AggregatedWatch:
    """A watch from now on."""
    return AggregatedWatch(of)


async def test_what_is_loaded_is_listed_in_order_and_is_no_event() -> None:
    ours = collection()
    ours.load([stored("b"), stored("a"), stored("c")])
    assert [resource.id for resource in ours.list()] == ["a", "b", "c"]
    assert ours.write_position == 0
    ours.put_new(stored("bb"))
    ours.put_new(stored("d"))
    assert [resource.id for resource in ours.list()] == ["a", "b", "bb", "c", "d"]


async def test_a_resync_reports_what_differs_and_nothing_else() -> None:
    ours = collection()
    ours.load([stored("gone"), stored("same"), stored("newer"), stored("made again", version=7)])
    async with following(ours) as watch:
        ours.resync(
            contents(
                stored("same"), stored("newer", version=3), stored("made again", version=2, created=200), stored("new")
            )
        )
        events = await read(watch)
    assert [(event.type, event.resource.id if event.resource else "") for event in events] == [
        (EventType.DESTROYED, "gone"),
        (EventType.DESTROYED, "made again"),
        (EventType.CREATED, "made again"),
        (EventType.CREATED, "new"),
        (EventType.UPDATED, "newer"),
    ]
    assert [resource.metadata.version for resource in ours.list()] == [2, 1, 3, 1]


async def test_a_resync_to_the_same_contents_is_no_event() -> None:
    ours = collection()
    ours.load([stored("a"), stored("b")])
    ours.resync(contents(stored("b"), stored("a")))
    assert ours.write_position == 0

"""What a remote state does with an other side that does as it is told, in virtual time."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from nodespan.runtime.errors import AccessError, InvalidBookmarkError, OverrunError, StateError, UnavailableError
from nodespan.runtime.resource import Kind, Resource, ResourceType, tombstone
from nodespan.runtime.state import Event, EventType, ExpectedPhase
from nodespan.runtime.state.remote import RemoteState

pytestmark = pytest.mark.virtual_clock


@attrs.frozen
class ThingSpec:
    name: str = ""


Thing = ResourceType("Things.test.nodespan.dev", ThingSpec, namespace="test")


def thing(id: str, name: str, *, version: int = 1, created: int = 1) -> Resource[ThingSpec]:
    """A resource as it is stored over there."""
    return Thing.new(id, ThingSpec(name)).evolve(version=version, created=created)


class Scripted:
    """The other side: the test feeds its watches, and says when writes are answered."""

    def __init__(self) -> None:
        self.requests: list[bytes | None] = []
        self.refusals: list[StateError] = []
        self.answered = trio.Event()
        self.answer: Callable[[], Resource[Any]] = lambda: thing("a", "written")
        self._feed, self._events = trio.open_memory_channel[Event | StateError](100)

    def feed(self, *events: Event | StateError) -> None:
        """Let the current watch receive these, or fail."""
        for event in events:
            self._feed.send_nowait(event)

    def contents(self, *resources: Resource[Any], bookmark: bytes = b"0") -> None:
        """Let the current watch receive the contents."""
        self.feed(
            *(Event(EventType.CREATED, resource) for resource in resources),
            Event(EventType.BOOTSTRAPPED, tombstone(Thing.kind), bookmark=bookmark),
        )

    @asynccontextmanager
    async def watch_kind(
        self, _kind: Kind[Any], start_from: bytes | None, *, wait: bool
    ) -> AsyncIterator[AsyncIterator[Event]]:
        await trio.lowlevel.checkpoint()
        self.requests.append(start_from)
        if self.refusals:
            raise self.refusals.pop(0)
        yield self

    def __aiter__(self) -> "Scripted":
        return self

    async def __anext__(self) -> Event:
        event = await self._events.receive()
        if isinstance(event, StateError):
            raise event
        return event

    async def get(self, kind: Kind[Any], id: str) -> Resource[Any]:
        raise AssertionError

    async def create(self, resource: Resource[Any], owner: str) -> Resource[Any]:
        await self.answered.wait()
        return self.answer()

    async def update(self, resource: Resource[Any], owner: str, expected_phase: ExpectedPhase) -> Resource[Any]:
        await self.answered.wait()
        return self.answer()

    async def destroy(self, kind: Kind[Any], id: str, owner: str) -> None:
        await self.answered.wait()

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:
        pass

    def decoded(self, resource: Resource[Any]) -> Resource[Any]:
        return resource


@asynccontextmanager
async def following() -> AsyncIterator[tuple[Scripted, RemoteState, trio.Nursery]]:
    """A state whose kind was read, empty."""
    other = Scripted()
    async with trio.open_nursery() as nursery:
        state = RemoteState(other, nursery)
        other.contents()
        await state.follow(Thing)
        yield other, state, nursery
        nursery.cancel_scope.cancel()


@attrs.define
class Writing:
    """A write under way."""

    done: bool = False

    async def run(self, write: Callable[[], Any]) -> None:
        await write()
        self.done = True


OVERRUN = Event(EventType.ERRORED, error=OverrunError("behind"))


async def test_a_write_returns_when_the_view_has_it_and_not_before() -> None:
    async with following() as (other, state, nursery):
        writing = Writing()
        nursery.start_soon(writing.run, lambda: state.create(Thing.new("a", ThingSpec("written"))))
        other.answered.set()
        other.feed(Event(EventType.CREATED, thing("b", "else"), bookmark=b"1"))
        await trio.testing.wait_all_tasks_blocked()
        assert not writing.done
        other.feed(Event(EventType.CREATED, thing("a", "written"), bookmark=b"2"))
        await trio.testing.wait_all_tasks_blocked()
        assert writing.done


async def test_what_came_with_contents_that_were_read_again_counts() -> None:
    """Also if that was before the answer: no event will tell of it."""
    async with following() as (other, state, nursery):
        writing = Writing()
        nursery.start_soon(writing.run, lambda: state.create(Thing.new("a", ThingSpec("written"))))
        await trio.testing.wait_all_tasks_blocked()
        other.feed(OVERRUN)
        await trio.testing.wait_all_tasks_blocked()
        other.contents(thing("a", "written"))
        await trio.testing.wait_all_tasks_blocked()
        other.answered.set()
        await trio.testing.wait_all_tasks_blocked()
        assert writing.done
        assert other.requests == [None, None]


async def test_nobody_waits_long_for_what_no_event_will_tell() -> None:
    """It was created, and destroyed by another, and then the contents were read again."""
    async with following() as (other, state, nursery):
        writing = Writing()
        nursery.start_soon(writing.run, lambda: state.create(Thing.new("a", ThingSpec("written"))))
        await trio.testing.wait_all_tasks_blocked()
        other.feed(OVERRUN)
        other.contents()
        other.answered.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not writing.done
        await trio.sleep(1.5)
        assert writing.done


async def test_nobody_waits_for_a_broken_watch() -> None:
    async with following() as (other, state, nursery):
        writing = Writing()
        nursery.start_soon(writing.run, lambda: state.destroy(Thing, "a"))
        await trio.testing.wait_all_tasks_blocked()
        other.refusals += [UnavailableError("still gone")] * 10
        other.feed(UnavailableError("gone"))
        await trio.testing.wait_all_tasks_blocked()
        outage = state.outage("test")
        assert outage is not None
        assert (outage.reason, outage.is_loaded) == ("still gone", True)
        other.answered.set()
        await trio.testing.wait_all_tasks_blocked()
        assert writing.done


@pytest.mark.parametrize("refusal", [UnavailableError("stopping"), AccessError("denied"), InvalidBookmarkError("none")])
async def test_one_that_refuses_is_not_asked_over_and_over(refusal: StateError) -> None:
    async with following() as (other, _, _):
        other.refusals += [refusal] * 1000
        other.feed(UnavailableError("gone"))
        await trio.sleep(60)
        assert 5 < len(other.requests) < 20


async def test_a_watch_resumes_after_the_last_bookmark_and_reads_again_where_that_is_too_old() -> None:
    async with following() as (other, state, _):
        other.feed(Event(EventType.CREATED, thing("a", "x"), bookmark=b"7"))
        other.feed(UnavailableError("gone"))
        await trio.testing.wait_all_tasks_blocked()
        assert other.requests == [None, b"7"]
        assert state.outage("test") is None
        other.refusals.append(InvalidBookmarkError("too old"))
        other.feed(UnavailableError("gone again"))
        await trio.sleep(10)
        assert other.requests == [None, b"7", b"7", None]
        other.contents(thing("a", "y", version=2), bookmark=b"9")
        await trio.testing.wait_all_tasks_blocked()
        assert state.get(Thing, "a").spec.name == "y"


async def test_helpers_wait_for_the_contents() -> None:
    other = Scripted()
    async with trio.open_nursery() as nursery:
        state = RemoteState(other, nursery)
        writing = Writing()
        nursery.start_soon(writing.run, lambda: state.teardown(Thing, "a"))
        await trio.testing.wait_all_tasks_blocked()
        assert not writing.done
        other.answer = lambda: thing("a", "x", version=2)
        other.answered.set()
        other.contents(thing("a", "x"))
        await trio.testing.wait_all_tasks_blocked()
        other.feed(Event(EventType.UPDATED, thing("a", "x", version=2), bookmark=b"1"))
        await trio.testing.wait_all_tasks_blocked()
        assert writing.done
        nursery.cancel_scope.cancel()

"""The state of another process is a state: it passes the conformance suite, and outlives the connection."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio
import trio.testing

from nodespan.runtime.api.cosi.client import open_remote_state
from nodespan.runtime.api.cosi.service import LIMITS, StateService
from nodespan.runtime.api.grpc import Server, Service
from nodespan.runtime.api.local import listen
from nodespan.runtime.codec.messages import RawSpec, SpecMessages
from nodespan.runtime.errors import (
    AccessError,
    ConflictError,
    NotFoundError,
    OwnerConflictError,
    RefusedError,
    UnavailableError,
)
from nodespan.runtime.resource import Kind, Resource
from nodespan.runtime.state import EventType, MemoryState, State
from nodespan.runtime.state.collection import History
from nodespan.runtime.state.filtered import FilteredState, Verb
from nodespan.runtime.state.remote import RemoteState
from nodespan.runtime.testing.engine_suite import EngineSuite, Integer, Sentence, Text
from nodespan.runtime.testing.state_suite import Path as PathType
from nodespan.runtime.testing.state_suite import StateSuite
from tests.runtime.api.cosi.client import Thing, ThingSpec
from tests.support.deadlines import PATIENCE


@attrs.define
class Elsewhere:
    """A state served on a socket, by a server that can be stopped and started again."""

    path: Path
    state: State
    visible: State
    nursery: trio.Nursery
    scope: trio.CancelScope | None = None

    async def start(self) -> None:
        """Serve."""
        await self.nursery.start(self._serve)

    async def stop(self) -> None:
        """End all connections."""
        assert self.scope is not None
        self.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        log = structlog.get_logger()
        types = {type.name: type.spec_class for type in (Thing, PathType)}
        service = StateService(lambda _call: self.visible, messages=SpecMessages(), find_type=types.get, log=log)
        server = Server(Service(methods=service.methods(), log=log, limits=LIMITS))
        with trio.CancelScope() as self.scope:
            async with listen(self.path) as listener:
                await server.serve([listener], grace=0, task_status=task_status)


@contextlib.asynccontextmanager
async def elsewhere(path: Path, state: State | None = None, visible: State | None = None) -> AsyncIterator[Elsewhere]:
    """A served state, for as long as the block runs."""
    shown = MemoryState() if state is None else state
    async with trio.open_nursery() as nursery:
        other = Elsewhere(path, shown, visible or shown, nursery)
        await other.start()
        yield other
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def opened(path: Path, **named: Any) -> AsyncIterator[RemoteState]:
    """The remote state."""
    with trio.fail_after(PATIENCE):
        async with open_remote_state(f"unix:{path}", messages=(), **named) as state:
            yield state


class TestRemoteState(StateSuite):
    """The conformance suite, over the wire."""

    patience = PATIENCE

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self._path = tmp_path / "s"

    @contextlib.asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        async with elsewhere(self._path), opened(self._path, types=[PathType]) as state:
            yield state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def described(state: State) -> list[tuple[str, int | None, str]]:
    """What there is: ids, versions, names."""
    return [(found.id, found.metadata.version, found.spec.name) for found in state.list(Thing)]


async def until(state: RemoteState, condition: Any) -> None:
    """Wait until the view fulfils a condition."""
    async with state.watch_kind(Thing, bootstrap_contents=True) as watch:
        while not condition():
            await anext(watch)


async def test_what_others_write_arrives_and_what_is_written_is_read_at_once(path: Path) -> None:
    async with elsewhere(path) as other:
        await other.state.create(Thing.new("a", ThingSpec("before")))
        async with opened(path, follow=[Thing]) as state:
            assert described(state) == [("a", 1, "before")]
            stored = await state.create(Thing.new("b", ThingSpec("mine")), owner="me")
            assert state.get(Thing, "b") == stored == other.state.get(Thing, "b")
            changed = await state.update(stored.with_spec(ThingSpec("changed", 7)), owner="me")
            assert state.get(Thing, "b").spec == ThingSpec("changed", 7)
            assert changed.metadata.created == stored.metadata.created
            await other.state.destroy(Thing, "a")
            await until(state, lambda: state.find(Thing, "a") is None)
            await state.destroy(Thing, "b", owner="me")
            assert described(state) == [] == described(other.state)


async def test_errors_are_those_of_a_state(path: Path) -> None:
    async with elsewhere(path) as other:
        await other.state.create(Thing.new("mine", ThingSpec()), owner="me")
        async with opened(path) as state:
            with pytest.raises(OwnerConflictError) as owner:
                await state.destroy(Thing, "mine")
            assert owner.value.concerns(namespace="test", type=Thing.name)
            with pytest.raises(ConflictError, match="already exists"):
                await state.create(Thing.new("mine", ThingSpec()))
            with pytest.raises(NotFoundError):
                await state.update(Thing.new("gone", ThingSpec()).evolve(version=1))
            with pytest.raises(ValueError, match="already set") as refused:
                await state.create(Thing.new("x", ThingSpec()).evolve(owner="you"), owner="me")
            assert isinstance(refused.value, RefusedError)


async def test_a_conflict_is_raised_when_the_view_shows_its_cause(path: Path) -> None:
    async with elsewhere(path) as other, opened(path, follow=[Thing]) as state:
        stale = await state.create(Thing.new("a", ThingSpec()))
        await other.state.update(other.state.get(Thing, "a").with_spec(ThingSpec("theirs")))
        with pytest.raises(ConflictError):
            await state.update(stale)
        assert state.get(Thing, "a").spec.name == "theirs"
        await other.state.destroy(Thing, "a")
        with pytest.raises(NotFoundError):
            await state.update(stale)
        assert state.find(Thing, "a") is None


async def test_many_writers_lose_no_update(path: Path) -> None:
    def count(resource: Resource[ThingSpec]) -> Resource[ThingSpec]:
        return resource.with_spec(ThingSpec(number=resource.spec.number + 1))

    async with elsewhere(path) as other, opened(path) as one, opened(path) as two:
        await other.state.create(Thing.new("a", ThingSpec()))
        async with trio.open_nursery() as nursery:
            for state in (one, two, other.state):
                for _ in range(10):

                    async def write(state: State = state) -> None:
                        if isinstance(state, RemoteState):
                            await state.follow(Thing)
                        await state.update_with_conflicts(Thing, "a", count)

                    nursery.start_soon(write)
        assert other.state.get(Thing, "a").spec.number == 30


async def test_a_broken_connection_loses_no_change_and_repeats_none(path: Path) -> None:
    async with elsewhere(path, MemoryState(max_capacity=1000)) as other, opened(path, follow=[Thing]) as state:
        await other.state.create(Thing.new("a", ThingSpec("0")))
        async with state.watch_kind(Thing, bootstrap_contents=True) as watch:
            await until(state, lambda: state.find(Thing, "a") is not None)
            await other.stop()
            while state.outage("test") is None:
                await trio.testing.wait_all_tasks_blocked(0.001)
            outage = state.outage("test")
            assert outage is not None
            assert outage.is_loaded
            # It can be read, and says that it is stale; it cannot be written.
            assert described(state) == [("a", 1, "0")]
            with pytest.raises(UnavailableError):
                await state.create(Thing.new("b", ThingSpec()))
            for number in range(1, 6):
                await other.state.update(other.state.get(Thing, "a").with_spec(ThingSpec(str(number))))
            await other.start()
            await state.until_available("test")
            await until(state, lambda: described(state) == [("a", 6, "5")])
            versions: list[int | None] = []
            while versions[-1:] != [6]:
                event = await anext(watch)
                if event.type is not EventType.BOOTSTRAPPED and event.resource is not None:
                    versions.append(event.resource.metadata.version)
            assert versions == [1, 2, 3, 4, 5, 6]
            assert (await state.create(Thing.new("b", ThingSpec()))).metadata.version == 1


async def test_an_outage_longer_than_the_history_is_a_change_of_what_differs(path: Path) -> None:
    state_elsewhere = MemoryState(initial_capacity=10, max_capacity=10)
    async with elsewhere(path, state_elsewhere) as other:
        for id in ("same", "changed", "gone", "again"):
            await other.state.create(Thing.new(id, ThingSpec("old")))
        async with opened(path, follow=[Thing]) as state:
            await other.stop()
            async with state.watch_kind(Thing, bootstrap_contents=False) as watch:
                await other.state.update(other.state.get(Thing, "changed").with_spec(ThingSpec("new")))
                await other.state.destroy(Thing, "gone")
                await other.state.destroy(Thing, "again")
                await other.state.create(Thing.new("again", ThingSpec("other")))
                await other.state.create(Thing.new("more", ThingSpec("new")))
                for number in range(20):
                    await other.state.create(Thing.new(f"passing-{number}", ThingSpec()))
                    await other.state.destroy(Thing, f"passing-{number}")
                await other.start()
                seen: set[tuple[str, str]] = set()
                while len(seen) < 5:
                    event = await anext(watch)
                    assert event.resource is not None
                    seen.add((event.type.name, event.resource.id))
            assert seen == {
                ("UPDATED", "changed"),
                ("DESTROYED", "gone"),
                ("DESTROYED", "again"),
                ("CREATED", "again"),
                ("CREATED", "more"),
            }
            assert described(state) == described(other.state)


async def test_a_follower_that_falls_behind_reads_the_contents_again(path: Path) -> None:
    short = MemoryState(initial_capacity=10, max_capacity=10)
    async with elsewhere(path, short) as other, opened(path, follow=[Thing]) as state:
        # Within one step of the loop: the watch over there gets no turn between.
        for number in range(50):
            await _without_a_turn(other.state.create(Thing.new(f"{number:02}", ThingSpec())))
        await until(state, lambda: len(state.list(Thing)) == 50)


async def _without_a_turn(writing: Any) -> None:
    with pytest.raises(StopIteration):
        writing.send(None)


async def test_what_was_never_read_is_an_outage_not_an_empty_kind(path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with open_remote_state(f"unix:{path}", messages=()) as state:
            assert state.list(Thing) == []
            outage = state.outage("test")
            assert outage is not None
            assert not outage.is_loaded
            with pytest.raises(UnavailableError):
                await state.follow(Thing)
            with pytest.raises(UnavailableError):
                async with state.watch_kind(Thing):
                    pass
            async with elsewhere(path) as other:
                await other.state.create(Thing.new("a", ThingSpec()))
                await state.until_available("test")
                assert [found.id for found in state.list(Thing)] == ["a"]
    with pytest.raises(UnavailableError):
        async with open_remote_state(f"unix:{path}", messages=(), follow=[Thing]):
            pass


async def test_what_is_denied_says_so(path: Path) -> None:
    def rule(pointer: Any, _verb: Verb) -> None:
        raise AccessError(f"{pointer.type} is secret", namespace=pointer.namespace, type=pointer.type)

    state = MemoryState()
    async with elsewhere(path, state, FilteredState(state, rule)), opened(path) as remote:
        with pytest.raises(AccessError, match="is secret"):
            await remote.follow(Thing)


async def test_a_type_that_is_learned_later_is_decoded_then(path: Path) -> None:
    kind: Kind[Any] = Thing.kind
    async with elsewhere(path) as other, opened(path, follow=[kind]) as state:
        await other.state.create(Thing.new("a", ThingSpec("x", 3)))
        await until_raw(state, kind)
        found = state.get(kind, "a")
        assert isinstance(found.spec, RawSpec)
        assert found.spec.yaml == "name: x\nnumber: 3\n"
        state.learn([Thing])
        assert state.get(kind, "a").spec == ThingSpec("x", 3)


async def until_raw(state: RemoteState, kind: Kind[Any]) -> None:
    async with state.watch_kind(kind, bootstrap_contents=True) as watch:
        while state.find(kind, "a") is None:
            await anext(watch)


async def test_a_short_history_here_bounds_what_watches_may_fall_behind(path: Path) -> None:
    async with elsewhere(path) as other:
        history = History.of(initial_capacity=10, max_capacity=10)
        async with opened(path, follow=[Thing], history=history) as state, state.watch_kind(Thing) as watch:
            for number in range(30):
                await other.state.create(Thing.new(f"{number:02}", ThingSpec()))
            await state.create(Thing.new("last", ThingSpec()))
            assert (await anext(watch)).type is EventType.ERRORED


class TestEngineOnRemoteState(EngineSuite):
    """Controllers whose inputs and outputs are elsewhere."""

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self._path = tmp_path / "s"

    @contextlib.asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        async with elsewhere(self._path), opened(self._path, types=[Integer, Sentence, Text]) as state:
            yield state

"""The State conformance suite: tests that every kind of state must pass.

A test module defines a subclass that opens a state, and pytest collects it:

    class TestMyState(StateSuite):
        @asynccontextmanager
        async def open_state(self) -> AsyncIterator[State]:
            async with MyState.connect(...) as state:
                yield state

The tests are coroutines: a pytest plugin or hook must run them on trio. A state that decodes what it stores must know
the type `Path`. The test of an optional feature is skipped if the state raises UnsupportedError.
"""

import functools
import re
import secrets
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import attrs
import pytest
import trio

from nodespan.runtime.errors import (
    ConflictError,
    NotFoundError,
    OwnerConflictError,
    PhaseConflictError,
    UnsupportedError,
)
from nodespan.runtime.resource import (
    Filter,
    Kind,
    LabelQuery,
    Operation,
    Phase,
    Resource,
    ResourceType,
    Term,
    build_filter,
)
from nodespan.runtime.resource.query import equal, exists
from nodespan.runtime.state import ANY_PHASE, Event, EventType, State, Watch

T = TypeVar("T")
Suite = TypeVar("Suite", bound="StateSuite")
# Returns the next event of a watch, or fails if none arrives in time.
Receive = Callable[[], Awaitable[Event]]


@attrs.frozen
class PathSpec:
    """Empty: the path is the id."""


Path = ResourceType("Paths.os.cosi.dev", PathSpec, namespace="default")


def what(event: Event) -> tuple[EventType, Resource[Any] | None, Resource[Any] | None]:
    """An event without its bookmark."""
    return event.type, event.resource, event.old


def optional(test: Callable[[Suite], Awaitable[None]]) -> Callable[[Suite], Awaitable[None]]:
    """Skip the test if the state lacks the feature."""

    @functools.wraps(test)
    async def skip_if_unsupported(self: Suite) -> None:
        lacking = False
        try:
            await test(self)
        except* UnsupportedError:
            lacking = True
        # Skip outside the state's block: a nursery there would wrap the exception in a group, unknown to pytest.
        if lacking:
            pytest.skip("this kind of state lacks the feature")

    return skip_if_unsupported


class StateSuite(ABC):
    """The State conformance suite. Its tests are independent: they may share one state or open a new one each."""

    # Seconds to wait for an event, for a cancellation, or for a helper to return.
    patience = 1.0

    @abstractmethod
    def open_state(self) -> AbstractAsyncContextManager[State]:
        """Open the state to be tested; it is usable within the block."""

    def namespace(self) -> str:
        """A namespace that no other test uses; override it if the state allows only certain ones."""
        return f"suite-{secrets.token_hex(4)}"

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[State, Kind[PathSpec]]]:
        async with self.open_state() as state:
            yield state, Path.within(self.namespace())

    async def _next(self, watch: Watch[T]) -> T:
        with trio.fail_after(self.patience):
            return await anext(watch)

    @asynccontextmanager
    async def _kind_events(
        self, state: State, kind: Kind[Any], *, aggregated: bool, **options: Any
    ) -> AsyncIterator[Receive]:
        """Receive the events of a kind one by one, from a plain or an aggregated watch."""
        if not aggregated:
            async with state.watch_kind(kind, **options) as watch:
                yield lambda: self._next(watch)
            return
        pending: deque[Event] = deque()
        async with state.watch_kind_aggregated(kind, **options) as batches:

            async def receive() -> Event:
                if not pending:
                    pending.extend(await self._next(batches))
                return pending.popleft()

            yield receive

    # Creating, reading, destroying.

    async def test_crd(self) -> None:
        """Resources are created once, read, listed in id order, torn down, destroyed and created again."""
        async with self._opened() as (state, kind):
            run, lib = new(kind, "/var/run"), new(kind, "/var/lib")
            with pytest.raises(NotFoundError):
                state.get(kind, run.id)
            assert state.find(kind, run.id) is None
            assert state.list(kind) == []

            stored_run = await state.create(run)
            assert stored_run == run.evolve(version=1)
            assert state.get(kind, run.id) == stored_run
            stored_lib = await state.create(lib)
            assert state.list(kind) == [stored_lib, stored_run]
            with pytest.raises(ConflictError):
                await state.create(run)

            for action in (state.teardown, state.destroy):
                with pytest.raises(NotFoundError):
                    await action(kind, "/nowhere")
            assert await state.teardown(kind, run.id)
            torn_down = state.get(kind, run.id)
            assert torn_down == run.evolve(version=2, phase=Phase.TEARING_DOWN)
            assert state.list(kind) == [stored_lib, torn_down]
            with pytest.raises(ConflictError):
                await state.create(run)

            await state.destroy(kind, run.id)
            assert state.list(kind) == [stored_lib]
            with pytest.raises(NotFoundError):
                await state.destroy(kind, run.id)
            assert await state.create(run) == stored_run

    async def test_crd_with_owners(self) -> None:
        """Only the owner may update, tear down or destroy a resource; anyone may change its finalizers."""
        async with self._opened() as (state, kind):
            owned = await state.create(new(kind, "owned"), owner="owner")
            assert owned.metadata.owner == "owner"
            for stranger in ("", "stranger"):
                with pytest.raises(OwnerConflictError):
                    await state.update(owned.with_labels({"changed": ""}), owner=stranger)
                with pytest.raises(OwnerConflictError):
                    await state.teardown(kind, "owned", owner=stranger)
                with pytest.raises(OwnerConflictError):
                    await state.destroy(kind, "owned", owner=stranger)
            assert state.get(kind, "owned") == owned

            await state.add_finalizer(kind, "owned", "holder")
            assert state.get(kind, "owned").metadata.finalizers == ("holder",)
            assert not await state.teardown(kind, "owned", owner="owner")
            await state.remove_finalizer(kind, "owned", "holder")
            assert await state.teardown(kind, "owned", owner="owner")
            with pytest.raises(OwnerConflictError):
                await state.destroy(kind, "owned")
            await state.destroy(kind, "owned", owner="owner")

            await state.create(new(kind, "free"))
            with pytest.raises(OwnerConflictError):
                await state.destroy(kind, "free", owner="owner")

    async def test_parallel_destroy(self) -> None:
        """Concurrent destructions of a resource each succeed or raise NotFoundError, and at least one succeeds."""
        async with self._opened() as (state, kind):
            await state.create(new(kind, "popular"))
            missed = 0

            async def destroy() -> None:
                nonlocal missed
                try:
                    await state.destroy(kind, "popular")
                except NotFoundError:
                    missed += 1

            with trio.fail_after(self.patience):
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(destroy)
            assert missed < 10
            assert state.find(kind, "popular") is None

    # Changing.

    async def test_update(self) -> None:
        """An update is refused unless the stored version is the one it was made from, in the expected phase."""
        async with self._opened() as (state, kind):
            with pytest.raises(NotFoundError):
                await state.update(new(kind, "disk").evolve(version=1))
            first = await state.create(new(kind, "disk"))
            second = await state.update(first.with_labels({"size": "big"}))
            assert second == first.with_labels({"size": "big"}).evolve(version=2)
            assert state.get(kind, "disk") == second
            for version in (None, 1, 3):
                with pytest.raises(ConflictError):
                    await state.update(second.evolve(version=version))
            with pytest.raises(PhaseConflictError):
                await state.update(second, expected_phase=Phase.TEARING_DOWN)

            third = await state.update(second.evolve(phase=Phase.TEARING_DOWN))
            with pytest.raises(PhaseConflictError):
                await state.update(third)
            fourth = await state.update(third, expected_phase=Phase.TEARING_DOWN)
            fifth = await state.update(fourth, expected_phase=ANY_PHASE)
            assert fifth == second.evolve(version=5, phase=Phase.TEARING_DOWN)
            assert state.get(kind, "disk") == fifth

    async def test_update_with_conflicts(self) -> None:
        """Returns the result, and leaves the resource it started from unchanged; no concurrent mutation is lost."""
        async with self._opened() as (state, kind):
            before = await state.create(new(kind, "disk"))
            after = await state.update_with_conflicts(kind, "disk", lambda disk: disk.with_labels({"app": "web"}))
            assert after == state.get(kind, "disk") == before.with_labels({"app": "web"}).evolve(version=2)
            assert before == new(kind, "disk").evolve(version=1)

            async def count(number: int) -> None:
                label = {f"task-{number}": ""}
                await state.update_with_conflicts(kind, "disk", lambda disk: disk.with_labels(label))

            with trio.fail_after(self.patience):
                async with trio.open_nursery() as nursery:
                    for number in range(8):
                        nursery.start_soon(count, number)
            assert len(state.get(kind, "disk").metadata.labels) == 9

    async def test_modify(self) -> None:
        """Modifying creates a missing resource, or updates an existing one that is in the expected phase."""
        async with self._opened() as (state, kind):
            initial = new(kind, "disk")
            created = await state.modify(initial, lambda disk: disk.with_labels({"app": "web"}))
            assert created == initial.with_labels({"app": "web"}).evolve(version=1)
            updated = await state.modify(initial, lambda disk: disk.with_labels({"tier": "a"}))
            assert updated == initial.with_labels({"app": "web", "tier": "a"}).evolve(version=2)
            assert state.get(kind, "disk") == updated

            refusal = RuntimeError("changed my mind")

            def refuse(_: Resource[PathSpec]) -> Resource[PathSpec]:
                raise refusal

            for id in ("disk", "missing"):
                with pytest.raises(RuntimeError) as caught:
                    await state.modify(new(kind, id), refuse)
                assert caught.value is refusal
            assert state.find(kind, "missing") is None

            await state.teardown(kind, "disk")
            with pytest.raises(PhaseConflictError):
                await state.modify(initial, lambda disk: disk.with_labels({"late": ""}))
            late = await state.modify(initial, lambda disk: disk.with_labels({"late": ""}), expected_phase=ANY_PHASE)
            assert late.metadata.labels == {"app": "web", "tier": "a", "late": ""}
            assert late.metadata.is_tearing_down

    async def test_modify_with_owner(self) -> None:
        """Modifying sets the owner of a new resource, and respects the owner of an existing one."""
        async with self._opened() as (state, kind):
            initial = new(kind, "disk")
            created = await state.modify(initial, lambda disk: disk.with_labels({"app": "web"}), owner="owner")
            assert created.metadata.owner == "owner"
            updated = await state.modify(initial, lambda disk: disk.with_labels({"app": "db"}), owner="owner")
            assert updated == created.with_labels({"app": "db"}).evolve(version=2)
            with pytest.raises(OwnerConflictError):
                await state.modify(initial, lambda disk: disk.with_labels({"app": "none"}))
            assert state.get(kind, "disk") == updated

    # Tearing down.

    async def test_teardown_destroy(self) -> None:
        """Finalizers prevent destruction in both phases; teardown is idempotent and returns whether none are left."""
        async with self._opened() as (state, kind):
            await state.create(new(kind, "held"))
            await state.add_finalizer(kind, "held", "A", "B")
            with pytest.raises(ConflictError):
                await state.destroy(kind, "held")
            assert not await state.teardown(kind, "held")
            torn_down = state.get(kind, "held")
            assert not await state.teardown(kind, "held")
            assert state.get(kind, "held") == torn_down
            with pytest.raises(ConflictError):
                await state.destroy(kind, "held")
            await state.remove_finalizer(kind, "held", "A")
            assert not await state.teardown(kind, "held")
            await state.remove_finalizer(kind, "held", "B")
            assert await state.teardown(kind, "held")
            await state.destroy(kind, "held")
            assert state.find(kind, "held") is None

    async def test_teardown_and_destroy(self) -> None:
        """`teardown_and_destroy` waits until the last finalizer is removed."""
        async with self._opened() as (state, kind):
            await state.create(new(kind, "held"))
            await state.add_finalizer(kind, "held", "A")
            done = False

            async def teardown_and_destroy() -> None:
                nonlocal done
                await state.teardown_and_destroy(kind, "held")
                done = True

            with trio.fail_after(self.patience):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(teardown_and_destroy)
                    await state.watch_for(kind, "held", phases=[Phase.TEARING_DOWN])
                    assert not done
                    assert state.get(kind, "held").metadata.finalizers == ("A",)
                    await state.remove_finalizer(kind, "held", "A")
            assert state.find(kind, "held") is None

    async def test_concurrent_finalizers(self) -> None:
        """Finalizers added and removed at the same time do not overwrite each other."""
        async with self._opened() as (state, kind):
            await state.create(new(kind, "held"))
            with trio.fail_after(self.patience):
                async with trio.open_nursery() as nursery:
                    for finalizer in "ABCDEFGH":
                        nursery.start_soon(state.add_finalizer, kind, "held", finalizer)
                    for finalizer in "ABC":
                        nursery.start_soon(state.remove_finalizer, kind, "held", finalizer)
                async with trio.open_nursery() as nursery:
                    for finalizer in "ABC":
                        nursery.start_soon(state.remove_finalizer, kind, "held", finalizer)
            assert sorted(state.get(kind, "held").metadata.finalizers) == list("DEFGH")

    async def test_context_with_teardown(self) -> None:
        """A missing, torn-down or destroyed resource cancels the scope bound to it; other changes do not."""
        async with self._opened() as (state, kind):
            with trio.fail_after(self.patience), state.while_running(kind, "missing") as missing:
                await trio.sleep_forever()
            assert missing.cancelled_caught

            for id in ("destroyed", "torn-down", "unaffected"):
                await state.create(new(kind, id))
            ended = {id: trio.Event() for id in ("destroyed", "torn-down", "unaffected")}

            async def run(id: str, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
                with state.while_running(kind, id) as scope:
                    task_status.started(scope)
                    await trio.sleep_forever()
                if scope.cancelled_caught:
                    ended[id].set()

            async with trio.open_nursery() as nursery:
                scopes = {id: await nursery.start(run, id) for id in ended}
                for id in ended:
                    await state.modify(new(kind, id), lambda resource: resource.with_labels({"changed": ""}))
                    await state.add_finalizer(kind, id, "A")
                    await state.remove_finalizer(kind, id, "A")
                assert not any(scope.cancel_called for scope in scopes.values())
                await state.destroy(kind, "destroyed")
                await state.teardown(kind, "torn-down")
                with trio.fail_after(self.patience):
                    await ended["destroyed"].wait()
                    await ended["torn-down"].wait()
                assert not scopes["unaffected"].cancel_called
                nursery.cancel_scope.cancel()

            with trio.fail_after(self.patience), state.while_running(kind, "torn-down") as late:
                await trio.sleep_forever()
            assert late.cancelled_caught

    # Queries.

    async def test_id_query(self) -> None:
        """An id pattern narrows lists and watches; a watch reports resources destroyed without a teardown."""
        async with self._opened() as (state, kind):
            pattern = "^idquery/.+[2-4]$"
            ids = [f"idquery/path-{number}" for number in range(10)]
            for id in ids:
                await state.create(new(kind, id))
            chosen = state.list(kind, id_query=pattern)
            assert [resource.id for resource in chosen] == ids[2:5]

            watched = build_filter(id_query=re.compile(pattern))
            async with state.watch_kind(kind, bootstrap_contents=True, filter=watched) as watch:
                for resource in chosen:
                    assert what(await self._next(watch)) == (EventType.CREATED, resource, None)
                assert (await self._next(watch)).type is EventType.BOOTSTRAPPED
                for id in ids:
                    await state.destroy(kind, id)
                for resource in chosen:
                    assert what(await self._next(watch)) == (EventType.DESTROYED, resource, None)
                # There are no further events.
                last = await state.create(new(kind, "idquery/last-2"))
                assert what(await self._next(watch)) == (EventType.CREATED, last, None)

    async def test_labels(self) -> None:
        """All terms of a label query must hold; of several queries, one is enough; results are in id order."""
        async with self._opened() as (state, kind):
            for id, labels in {
                "a": {"app": "web", "tier": "front", "weight": "90"},
                "b": {"app": "web", "tier": "back", "weight": "2kg"},
                "c": {"app": "db", "weight": "100kg"},
                "d": {"app": "cache"},
                "e": {},
            }.items():
                await state.create(new(kind, id).with_labels(labels))

            def term(operation: Operation, key: str, *values: str, invert: bool = False) -> LabelQuery:
                return LabelQuery((Term(key, operation, values, invert),))

            def found(*queries: LabelQuery) -> str:
                return "".join(resource.id for resource in state.list(kind, labels=queries))

            assert found() == found(LabelQuery()) == "abcde"
            assert found(exists("app")) == "abcd"
            assert found(exists("nothing")) == ""
            assert found(LabelQuery((Term("app"), Term("tier")))) == "ab"
            assert found(equal("app", "web")) == "ab"
            assert found(LabelQuery((*equal("app", "web").terms, *equal("tier", "back").terms))) == "b"
            assert found(term(Operation.EQUAL, "app", "web", invert=True)) == "cde"
            assert found(term(Operation.EXISTS, "tier", invert=True)) == "cde"
            assert found(term(Operation.IN, "app", "db", "cache")) == "cd"
            assert found(term(Operation.LT, "app", "db")) == "d"
            assert found(term(Operation.LTE, "app", "db")) == "cd"
            assert found(term(Operation.LT, "app", "db", invert=True)) == "abc"
            assert found(term(Operation.LT_NUMERIC, "weight", "2kg")) == "a"
            assert found(term(Operation.LTE_NUMERIC, "weight", "2kg")) == "ab"
            assert found(term(Operation.LTE_NUMERIC, "weight", "2kg", invert=True)) == "c"
            assert found(equal("app", "db"), equal("tier", "front")) == "ac"

    # Watching one resource.

    async def test_watch(self) -> None:
        """A watch delivers the current state (a tombstone if none), then every change, updates with the old state."""
        async with self._opened() as (state, kind), state.watch(kind, "disk") as watch:
            absent = await self._next(watch)
            assert absent.type is EventType.DESTROYED
            assert absent.resource is not None
            assert absent.resource.pointer == kind.pointer("disk")
            assert absent.resource.metadata.version is None

            created = await state.create(new(kind, "disk"))
            assert what(await self._next(watch)) == (EventType.CREATED, created, None)
            await state.create(new(kind, "other"))
            await state.add_finalizer(kind, "disk", "A")
            held = state.get(kind, "disk")
            assert what(await self._next(watch)) == (EventType.UPDATED, held, created)
            await state.teardown(kind, "disk")
            torn_down = held.evolve(version=3, phase=Phase.TEARING_DOWN)
            assert what(await self._next(watch)) == (EventType.UPDATED, torn_down, held)
            await state.remove_finalizer(kind, "disk", "A")
            free = torn_down.evolve(version=4, finalizers=())
            assert what(await self._next(watch)) == (EventType.UPDATED, free, torn_down)

            async with state.watch(kind, "disk") as second:
                assert what(await self._next(second)) == (EventType.CREATED, free, None)
                await state.destroy(kind, "disk")
                for each in (watch, second):
                    assert what(await self._next(each)) == (EventType.DESTROYED, free, None)

    async def test_watch_for(self) -> None:
        """Waits for an event type, for the removal of the last finalizer, for a phase, or for any condition."""
        async with self._opened() as (state, kind):

            async def create_later() -> None:
                await trio.lowlevel.checkpoint()
                await state.create(new(kind, "disk"))
                await state.add_finalizer(kind, "disk", "A")

            async def release_later() -> None:
                await trio.lowlevel.checkpoint()
                await state.teardown(kind, "disk")
                await state.remove_finalizer(kind, "disk", "A")

            with trio.fail_after(4 * self.patience):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(create_later)
                    created = await state.watch_for(kind, "disk", event_types=[EventType.CREATED, EventType.UPDATED])
                    assert not created.metadata.is_tearing_down
                    held = await state.watch_for(kind, "disk", condition=lambda disk: "A" in disk.metadata.finalizers)
                    assert held.metadata.version == 2
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(release_later)
                    torn_down = await state.watch_for(kind, "disk", phases=[Phase.TEARING_DOWN])
                    assert torn_down.metadata.is_tearing_down
                    released = await state.watch_for(kind, "disk", finalizers_empty=True)
                    assert released.metadata.is_destroy_ready
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(state.destroy, kind, "disk")
                    gone = await state.watch_for(kind, "disk", event_types=[EventType.DESTROYED])
                    assert gone.pointer == kind.pointer("disk")

    @optional
    async def test_watch_with_tail_events(self) -> None:
        """A watch of one resource can start with past events: those of a live watch, none of other resources."""
        async with self._opened() as (state, kind):
            async with state.watch(kind, "disk") as watch:
                await self._next(watch)
                await _live_a_life(state, kind, "disk", beside="other")
                history = [await self._next(watch) for _ in range(5)]
            async with state.watch(kind, "disk", tail_events=1000) as watch:
                assert [what(await self._next(watch)) for _ in history] == [what(event) for event in history]
            async with state.watch(kind, "disk", tail_events=2) as watch:
                assert [what(await self._next(watch)) for _ in range(2)] == [what(event) for event in history[3:]]
                again = await state.create(new(kind, "disk"))
                assert what(await self._next(watch)) == (EventType.CREATED, again, None)

    @optional
    async def test_watch_with_bookmarks(self) -> None:
        """A watch of one resource resumes after the bookmark of any event, without gaps or repetitions."""
        async with self._opened() as (state, kind):
            async with state.watch(kind, "disk") as watch:
                await self._next(watch)
                await _live_a_life(state, kind, "disk", beside="other")
                history = [await self._next(watch) for _ in range(5)]
            for count, event in enumerate(tuple(history), start=1):
                assert event.bookmark is not None
                async with state.watch(kind, "disk", start_from=event.bookmark) as watch:
                    for expected in history[count:]:
                        assert what(await self._next(watch)) == what(expected)
                    later = await state.modify(new(kind, "disk"), _count_up)
                    history.append(await self._next(watch))
                    assert history[-1].resource == later

    # Watching a kind.

    async def test_watch_kind(self) -> None:
        """A watch of a kind delivers changes, and the contents first if requested."""
        await self._check_watch_kind(aggregated=False)

    async def test_watch_kind_aggregated(self) -> None:
        """An aggregated watch delivers the same events in batches."""
        await self._check_watch_kind(aggregated=True)

    async def _check_watch_kind(self, *, aggregated: bool) -> None:
        async with self._opened() as (state, kind), AsyncExitStack() as watches:
            existing = await state.create(new(kind, "existing"))
            live = await watches.enter_async_context(self._kind_events(state, kind, aggregated=aggregated))
            first = await state.create(new(kind, "a"))
            assert what(await live()) == (EventType.CREATED, first, None)
            second = await state.update(first.with_labels({"app": "web"}))
            assert what(await live()) == (EventType.UPDATED, second, first)
            assert (first.metadata.version, second.metadata.version) == (1, 2)
            await state.destroy(kind, "a")
            assert what(await live()) == (EventType.DESTROYED, second, None)
            another = await state.create(new(kind, "another"))
            assert what(await live()) == (EventType.CREATED, another, None)

            bootstrapped = await watches.enter_async_context(
                self._kind_events(state, kind, aggregated=aggregated, bootstrap_contents=True)
            )
            assert state.list(kind) == [another, existing]
            for resource in (another, existing):
                assert what(await bootstrapped()) == (EventType.CREATED, resource, None)
            end = await bootstrapped()
            assert end.type is EventType.BOOTSTRAPPED
            assert end.resource is not None
            assert end.resource.pointer == kind.pointer("")

            later = await state.update(existing.with_labels({"app": "db"}))
            for receive in (live, bootstrapped):
                assert what(await receive()) == (EventType.UPDATED, later, existing)

    async def test_watch_kind_with_labels(self) -> None:
        """An update by which a resource enters or leaves a filter arrives as its creation or destruction."""
        await self._check_watch_kind_with_labels(aggregated=False)

    async def test_watch_kind_aggregated_with_labels(self) -> None:
        """An aggregated watch delivers the same events in batches."""
        await self._check_watch_kind_with_labels(aggregated=True)

    async def _check_watch_kind_with_labels(self, *, aggregated: bool) -> None:
        async with self._opened() as (state, kind), AsyncExitStack() as watches:
            web = await state.create(new(kind, "1").with_labels({"app": "web"}))
            db = await state.create(new(kind, "2").with_labels({"app": "db"}))
            bare = await state.create(new(kind, "3"))

            async def watch(*queries: LabelQuery) -> Receive:
                events = self._kind_events(
                    state, kind, aggregated=aggregated, bootstrap_contents=True, filter=Filter(queries)
                )
                return await watches.enter_async_context(events)

            is_web = await watch(equal("app", "web"))
            has_app = await watch(exists("app"))
            is_either = await watch(equal("app", "web"), equal("app", "cache"))
            for receive, contents in ((is_web, [web]), (has_app, [web, db]), (is_either, [web])):
                for resource in contents:
                    assert what(await receive()) == (EventType.CREATED, resource, None)
                assert (await receive()).type is EventType.BOOTSTRAPPED

            cache = await state.update(web.with_labels({"app": "cache"}))
            assert what(await is_web()) == (EventType.DESTROYED, cache, None)
            for receive in (has_app, is_either):
                assert what(await receive()) == (EventType.UPDATED, cache, web)

            entered = await state.update(bare.with_labels({"app": "web"}))
            for receive in (is_web, has_app, is_either):
                assert what(await receive()) == (EventType.CREATED, entered, None)

            changed = await state.update(db.with_labels({"app": "mail"}))
            assert what(await has_app()) == (EventType.UPDATED, changed, db)

            await state.destroy(kind, "3")
            for receive in (is_web, has_app, is_either):
                assert what(await receive()) == (EventType.DESTROYED, entered, None)

    @optional
    async def test_watch_kind_with_tail_events(self) -> None:
        """A watch of a kind can start with past events: those of a live watch."""
        await self._check_watch_kind_with_tail_events(aggregated=False)

    @optional
    async def test_watch_kind_aggregated_with_tail_events(self) -> None:
        """An aggregated watch delivers the same events in batches."""
        await self._check_watch_kind_with_tail_events(aggregated=True)

    async def _check_watch_kind_with_tail_events(self, *, aggregated: bool) -> None:
        async with self._opened() as (state, kind):
            async with self._kind_events(state, kind, aggregated=aggregated) as receive:
                await _live_a_life(state, kind, "disk")
                history = [what(await receive()) for _ in range(5)]
            async with self._kind_events(state, kind, aggregated=aggregated, tail_events=1000) as receive:
                assert [what(await receive()) for _ in history] == history
            async with self._kind_events(state, kind, aggregated=aggregated, tail_events=2) as receive:
                assert [what(await receive()) for _ in range(2)] == history[3:]
                again = await state.create(new(kind, "disk"))
                assert what(await receive()) == (EventType.CREATED, again, None)

    @optional
    async def test_watch_kind_with_bookmarks(self) -> None:
        """A watch of a kind resumes after any bookmark, including that of its start, without gaps or repetitions."""
        for aggregated in (False, True):
            for start in ("bootstrap_contents", "bootstrap_bookmark"):
                await self._check_watch_kind_with_bookmarks(start, aggregated=aggregated)

    async def _check_watch_kind_with_bookmarks(self, start: str, *, aggregated: bool) -> None:
        async with self._opened() as (state, kind):
            async with self._kind_events(state, kind, aggregated=aggregated, **{start: True}) as receive:
                beginning = await receive()
                assert beginning.type in (EventType.BOOTSTRAPPED, EventType.NOOP)
                await _live_a_life(state, kind, "disk")
                history = [beginning, *[await receive() for _ in range(5)]]
            for count, event in enumerate(tuple(history), start=1):
                assert event.bookmark is not None
                resumed = self._kind_events(state, kind, aggregated=aggregated, start_from=event.bookmark)
                async with resumed as receive:
                    for expected in history[count:]:
                        assert what(await receive()) == what(expected)
                    later = await state.modify(new(kind, "disk"), _count_up)
                    history.append(await receive())
                    assert history[-1].resource == later


def new(kind: Kind[PathSpec], id: str) -> Resource[PathSpec]:
    """A path that is not stored yet."""
    return Path.new(id, PathSpec(), namespace=kind.namespace)


def _count_up(resource: Resource[PathSpec]) -> Resource[PathSpec]:
    return resource.with_labels({"count": str(int(resource.metadata.labels.get("count", "0")) + 1)})


async def _live_a_life(state: State, kind: Kind[PathSpec], id: str, *, beside: str | None = None) -> None:
    """Cause five events of one resource, from creation to destruction, each followed by one of `beside` if given."""

    async def disturb() -> None:
        if beside is not None:
            await state.modify(new(kind, beside), _count_up)

    resource = await state.create(new(kind, id))
    await disturb()
    for label in ("first", "second"):
        resource = await state.update(resource.with_labels({label: ""}))
        await disturb()
    await state.teardown(kind, id)
    await disturb()
    await state.destroy(kind, id)
    await disturb()


__all__ = [
    "StateSuite",
]

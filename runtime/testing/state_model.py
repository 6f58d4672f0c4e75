"""The model of a state: any sequence of writes, and crashes between and within them, against a plain dict.

A test module makes a subclass that says how to open a state and what a crash is, and pytest collects it:

    class TestMyStateAsAModel(StateModelSuite):
        @asynccontextmanager
        async def open_world(self) -> AsyncIterator[World]:
            ...

Needs hypothesis. The tests are coroutines, once per example: something (a plugin, a hook) must run each on trio.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

import attrs
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodespan.runtime.errors import (
    ConflictError,
    NotFoundError,
    OwnerConflictError,
    PhaseConflictError,
    StateError,
    UnavailableError,
)
from nodespan.runtime.resource import Kind, Phase, Resource
from nodespan.runtime.state import EventType, State
from nodespan.runtime.testing.state_suite import Path, PathSpec

IDS = ("a", "b", "c")
Step = Literal["create", "update", "update stale", "tear down", "hold", "release", "destroy"]
PathResource = Resource[PathSpec]
_KIND: Kind[PathSpec] = Path.kind


@attrs.frozen
class Write:
    """One attempt to write."""

    step: Step
    id: str
    owner: str
    value: str

    @property
    def given(self) -> PathResource:
        """The resource that a creation is given."""
        return Path.new(self.id, PathSpec(), labels={"value": self.value})


@attrs.define
class Model:
    """What the state should hold and have reported, kept in the simplest way."""

    contents: dict[str, PathResource] = attrs.field(factory=dict)
    history: list[tuple[EventType, PathResource, PathResource | None]] = attrs.field(factory=list)

    def copy(self) -> "Model":
        """Another one, as things stand."""
        return Model(dict(self.contents), list(self.history))

    def apply(self, write: Write) -> None:
        """Do what the state should do. Raises what it should raise."""
        current = self.contents.get(write.id)
        if write.step == "create":
            if current is not None:
                raise ConflictError("exists")
            self._put(write.given.evolve(version=1, owner=write.owner), None)
            return
        if current is None:
            raise NotFoundError("missing")
        finalizers = current.metadata.finalizers
        if write.step == "hold":
            if write.value not in finalizers:
                self._change(current, finalizers=(*finalizers, write.value))
            return
        if write.step == "release":
            if write.value in finalizers:
                self._change(current, finalizers=tuple(name for name in finalizers if name != write.value))
            return
        if write.step == "tear down" and current.metadata.is_tearing_down:
            return
        if write.owner != current.metadata.owner:
            raise OwnerConflictError("owned")
        if write.step == "destroy":
            if finalizers:
                raise ConflictError("held")
            del self.contents[write.id]
            self.history.append((EventType.DESTROYED, current, None))
            return
        if write.step == "update stale":
            raise ConflictError("stale")
        if current.metadata.is_tearing_down:
            raise PhaseConflictError("tearing down")
        if write.step == "tear down":
            self._change(current, phase=Phase.TEARING_DOWN)
        else:
            self._change(current, labels={"value": write.value})

    def _change(self, current: PathResource, **changes: object) -> None:
        assert current.metadata.version is not None
        self._put(current.evolve(version=current.metadata.version + 1, **changes), current)

    def _put(self, new: PathResource, old: PathResource | None) -> None:
        self.contents[new.id] = new
        self.history.append((EventType.CREATED if old is None else EventType.UPDATED, new, old))

    def of(self, id: str, since: int) -> Iterator[tuple[EventType, PathResource, PathResource | None]]:
        """The history of one resource from a point on."""
        return (event for event in self.history[since:] if event[1].id == id)


async def attempt(state: State, write: Write) -> None:
    """Do it on a state. Raises what that raises."""
    match write.step:
        case "create":
            await state.create(write.given, owner=write.owner)
        case "update" | "update stale":
            current = state.get(_KIND, write.id)
            if write.step == "update stale":
                current = current.evolve(version=99)
            await state.update(current.evolve(labels={"value": write.value}), owner=write.owner)
        case "tear down":
            ready = await state.teardown(_KIND, write.id, owner=write.owner)
            assert ready is state.get(_KIND, write.id).metadata.is_destroy_ready
        case "hold":
            await state.add_finalizer(_KIND, write.id, write.value)
        case "release":
            await state.remove_finalizer(_KIND, write.id, write.value)
        case "destroy":
            await state.destroy(_KIND, write.id, owner=write.owner)


async def write_to_both(state: State, model: Model, writes: list[Write]) -> None:
    """Write to the state and the model: the outcome and the contents must be the same after each."""
    for write in writes:
        expected = outcome = None
        try:
            model.apply(write)
        except StateError as error:
            expected = type(error)
        try:
            await attempt(state, write)
        except StateError as error:
            outcome = type(error)
        assert outcome is expected, write
        check_contents(state, model)


def check_contents(state: State, model: Model) -> None:
    """The state holds what the model holds, in order."""
    assert state.list(_KIND) == [model.contents[id] for id in sorted(model.contents)]
    assert state.view(_KIND).items == model.contents


WRITE = st.builds(
    Write,
    # Refusals are found without help; that much lives and ends in many ways needs some.
    step=st.sampled_from(
        ["create", "create", "update", "update", "tear down", "hold", "release", "destroy", "update stale"]
    ),
    id=st.sampled_from(IDS),
    owner=st.sampled_from(["", "", "", "owner"]),
    value=st.sampled_from(["A", "B"]),
)
WRITES = st.lists(WRITE, max_size=40)


@attrs.frozen
class Crash:
    """The process dies; `within` is a write that it is in the middle of."""

    within: Write | None


STEPS = st.lists(
    st.one_of(st.lists(WRITE, min_size=1, max_size=8), st.builds(Crash, st.one_of(st.none(), WRITE))), max_size=8
)


class World(ABC):
    """A state, and the means to kill what runs it."""

    state: State

    @abstractmethod
    async def crash(self) -> None:
        """Go on with what a new process finds, where the old one ended at this very moment."""


class StateModelSuite(ABC):
    """What is left of any sequence of writes when the process dies between, or within, any two of them."""

    @abstractmethod
    def open_world(self) -> AbstractAsyncContextManager[World]:
        """A new state without contents, usable within the block. It must know the type `Path`."""

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[World, None]:
        async with self.open_world() as world:
            yield world

    # A slow machine is no failure, and subclasses share the method.
    @settings(
        deadline=None,
        max_examples=25,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    )
    @given(STEPS)
    async def test_what_was_acknowledged_survives(self, steps: "list[list[Write] | Crash]") -> None:
        """After a crash there is every acknowledged write; of the one under way either all or nothing."""
        model = Model()
        async with self._opened() as world:
            for step in steps:
                if isinstance(step, list):
                    await write_to_both(world.state, model, step)
                elif step.within is None:
                    await self._crash(world)
                    check_contents(world.state, model)
                else:
                    model = await self._crash_within(world, model, step.within)

    async def _crash(self, world: World) -> None:
        before = times(world.state)
        await world.crash()
        assert times(world.state) == before

    async def _crash_within(self, world: World, model: Model, write: Write) -> Model:
        after = model.copy()
        refused = dies = False
        try:
            after.apply(write)
        except StateError:
            refused = True

        async def begin(task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            try:
                await attempt(world.state, write)
            except UnavailableError:
                assert dies  # the process that writes, before it was told of an outcome
            except StateError:
                assert refused

        async with trio.open_nursery() as nursery:
            await nursery.start(begin)
            dies = True
            await world.crash()
            nursery.cancel_scope.cancel()
        if world.state.view(_KIND).items == after.contents:
            return after
        check_contents(world.state, model)
        return model


def times(state: State) -> dict[str, tuple[int, int]]:
    """When each resource was created and updated."""
    return {resource.id: (resource.metadata.created, resource.metadata.updated) for resource in state.list(_KIND)}


__all__ = ["StateModelSuite", "World"]

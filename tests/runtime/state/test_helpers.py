"""What the helpers over the basic operations do when others write at the same time, and when they write nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from nodespan.runtime.errors import ConflictError, NotFoundError, OwnerConflictError, PhaseConflictError
from nodespan.runtime.resource import Kind, Phase, Resource
from nodespan.runtime.state import ANY_PHASE, EventType, ExpectedPhase, MemoryState
from nodespan.runtime.testing.state_suite import PathSpec
from tests.runtime.state.paths import KIND, path, read
from tests.support.deadlines import PATIENCE

Interference = Callable[["DisturbedState"], Awaitable[object]]


class DisturbedState(MemoryState):
    """A state in which somebody else gets in right before the next writes."""

    def __init__(self, *interferences: Interference) -> None:
        super().__init__()
        self.interferences = list(interferences)
        self.updates = 0

    async def _interfere(self) -> None:
        if self.interferences:
            await self.interferences.pop(0)(self)

    async def create(self, resource: Resource[Any], *, owner: str = "") -> Resource[Any]:
        await self._interfere()
        return await super().create(resource, owner=owner)

    async def update(
        self, resource: Resource[Any], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[Any]:
        self.updates += 1
        await self._interfere()
        return await super().update(resource, owner=owner, expected_phase=expected_phase)


async def _disturbed(*interferences: Interference, owner: str = "") -> DisturbedState:
    """A state with one disk, in which the interferences are still to come."""
    state = DisturbedState()
    await state.create(path("disk"), owner=owner)
    state.interferences = list(interferences)
    return state


async def _label(state: MemoryState) -> None:
    current = state.get(KIND, "disk")
    await MemoryState.update(state, current.with_labels({"other": "was here"}), owner=current.metadata.owner)


async def _tear_down(state: MemoryState) -> None:
    await MemoryState.update(state, state.get(KIND, "disk").evolve(phase=Phase.TEARING_DOWN))


async def _destroy(state: MemoryState) -> None:
    await state.destroy(KIND, "disk")


def _is_web(disk: Resource[PathSpec]) -> Resource[PathSpec]:
    return disk.with_labels({"app": "web"})


async def _events(state: MemoryState, kind: Kind[Any] = KIND) -> list[tuple[EventType, str]]:
    """What happened in a kind so far."""
    await MemoryState.create(state, path("~end"))
    happened: list[tuple[EventType, str]] = []
    async with state.watch_kind(kind, tail_events=1000) as watch:
        while True:
            event = await read(watch)
            assert event.resource is not None
            if event.resource.id == "~end":
                return happened
            happened.append((event.type, event.resource.id))


# Update with conflicts.


async def test_an_update_is_retried_after_a_conflicting_write() -> None:
    state = await _disturbed(_label, _label)
    stored = await state.update_with_conflicts(KIND, "disk", _is_web)
    assert stored == state.get(KIND, "disk")
    assert stored.metadata.labels == {"app": "web", "other": "was here"}
    # The second interference changed no label, but the version.
    assert (state.updates, stored.metadata.version) == (3, 4)


async def test_an_update_that_changes_nothing_is_not_written() -> None:
    state = await _disturbed()
    before = state.get(KIND, "disk")
    assert await state.update_with_conflicts(KIND, "disk", lambda disk: disk.with_labels({})) is before
    assert state.updates == 0


@pytest.mark.parametrize(("phase", "expected"), [
    (Phase.TEARING_DOWN, Phase.RUNNING),
    (Phase.RUNNING, Phase.TEARING_DOWN),
])  # fmt: skip
async def test_an_unexpected_phase_is_a_conflict_even_where_nothing_would_be_written(
    phase: Phase, expected: Phase
) -> None:
    state = MemoryState()
    await state.create(path("disk").evolve(phase=phase))
    with pytest.raises(PhaseConflictError):
        await state.update_with_conflicts(KIND, "disk", lambda disk: disk, expected_phase=expected)
    await state.update_with_conflicts(KIND, "disk", lambda disk: disk, expected_phase=ANY_PHASE)


async def test_the_phase_is_checked_before_the_mutation_runs() -> None:
    state = MemoryState()
    await state.create(path("disk").evolve(phase=Phase.TEARING_DOWN))

    def never(_: Resource[PathSpec]) -> Resource[PathSpec]:
        raise AssertionError("the mutation ran")

    with pytest.raises(PhaseConflictError):
        await state.update_with_conflicts(KIND, "disk", never)
    with pytest.raises(NotFoundError):
        await state.update_with_conflicts(KIND, "missing", never)


@pytest.mark.parametrize(("interference", "error"), [(_tear_down, PhaseConflictError), (_destroy, NotFoundError)])
async def test_what_cannot_be_mended_by_trying_again_is_raised(
    interference: Interference, error: type[Exception]
) -> None:
    state = await _disturbed(interference)
    with pytest.raises(error):
        await state.update_with_conflicts(KIND, "disk", _is_web)


async def test_the_wrong_owner_is_refused_at_once() -> None:
    state = await _disturbed(owner="owner")
    with pytest.raises(OwnerConflictError):
        await state.update_with_conflicts(KIND, "disk", _is_web, owner="wrong")
    assert state.updates == 1


async def test_the_error_of_a_mutation_is_raised_as_it_is() -> None:
    state = await _disturbed()
    refusal = ConflictError("mine, not the state's")

    def refuse(_: Resource[PathSpec]) -> Resource[PathSpec]:
        raise refusal

    with pytest.raises(ConflictError) as caught:
        await state.update_with_conflicts(KIND, "disk", refuse)
    assert caught.value is refusal


# Modify.


async def test_modifying_what_is_missing_creates_the_mutated_initial_one_in_any_phase() -> None:
    state = MemoryState()
    initial = path("disk").evolve(phase=Phase.TEARING_DOWN)
    stored = await state.modify(initial, _is_web, owner="owner")
    assert stored == _is_web(initial).evolve(version=1, owner="owner")
    assert await _events(state) == [(EventType.CREATED, "disk")]


async def test_modifying_what_is_there_starts_from_the_stored_one() -> None:
    state = MemoryState()
    await state.create(path("disk", tier="a"))
    stored = await state.modify(path("disk", unused=""), _is_web)
    assert stored.metadata.labels == {"app": "web", "tier": "a"}
    assert await state.modify(path("disk"), _is_web) == stored
    assert await _events(state) == [(EventType.CREATED, "disk"), (EventType.UPDATED, "disk")]


async def test_the_loser_of_a_race_to_create_gets_a_conflict() -> None:
    state = DisturbedState(lambda state: MemoryState.create(state, path("disk")))
    with pytest.raises(ConflictError, match="already exists"):
        await state.modify(path("disk"), _is_web)


async def test_modifying_a_resource_destroyed_meanwhile_raises_not_found() -> None:
    state = await _disturbed(_destroy)
    with pytest.raises(NotFoundError):
        await state.modify(path("disk"), _is_web)


# Teardown.


async def test_tearing_down_is_idempotent() -> None:
    state = await _disturbed()
    assert await state.teardown(KIND, "disk")
    assert await state.teardown(KIND, "disk")
    assert await _events(state) == [(EventType.CREATED, "disk"), (EventType.UPDATED, "disk")]


async def test_tearing_down_checks_the_owner_only_if_it_writes() -> None:
    state = await _disturbed(owner="owner")
    with pytest.raises(OwnerConflictError):
        await state.teardown(KIND, "disk")
    assert await state.teardown(KIND, "disk", owner="owner")
    assert await state.teardown(KIND, "disk", owner="wrong")


async def test_readiness_counts_finalizers_that_came_in_between() -> None:
    state = await _disturbed(lambda state: MemoryState.add_finalizer(state, KIND, "disk", "A"))
    assert not await state.teardown(KIND, "disk")


async def test_the_second_of_two_racing_teardowns_raises() -> None:
    state = await _disturbed(_tear_down)
    with pytest.raises(PhaseConflictError):
        await state.teardown(KIND, "disk")


# Finalizers.


async def test_finalizers_are_added_and_removed_by_anybody_in_any_phase() -> None:
    state = MemoryState()
    for phase in Phase:
        await state.create(path(phase).evolve(phase=phase), owner="owner")
        await state.add_finalizer(KIND, phase, "A", "B")
        await state.remove_finalizer(KIND, phase, "A", "C")
        assert state.get(KIND, phase) == path(phase).evolve(version=3, owner="owner", phase=phase, finalizers=("B",))


async def test_a_change_of_finalizers_that_changes_nothing_is_not_written() -> None:
    state = await _disturbed()
    await state.add_finalizer(KIND, "disk", "A")
    await state.add_finalizer(KIND, "disk", "A")
    await state.add_finalizer(KIND, "disk")
    await state.remove_finalizer(KIND, "disk", "B")
    assert state.updates == 1


@pytest.mark.parametrize("change", [MemoryState.add_finalizer, MemoryState.remove_finalizer])
async def test_a_missing_resource_has_no_finalizers_to_change(change: Callable[..., Awaitable[None]]) -> None:
    with pytest.raises(NotFoundError):
        await change(MemoryState(), KIND, "missing", "A")


async def test_finalizers_survive_the_writes_of_others() -> None:
    state = await _disturbed(_label, owner="owner")
    await state.add_finalizer(KIND, "disk", "A")
    disk = state.get(KIND, "disk").metadata
    assert (disk.finalizers, disk.labels) == (("A",), {"other": "was here"})


# Waiting for something.


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"phases": [Phase.RUNNING]},
        {"event_types": [EventType.DESTROYED]},
        {"condition": lambda disk: disk.metadata.version is None},
    ],
)
async def test_a_missing_resource_counts_as_a_running_one(conditions: dict[str, Any]) -> None:
    with trio.fail_after(PATIENCE):
        found = await MemoryState().watch_for(KIND, "disk", **conditions)
    assert found.pointer == KIND.pointer("disk")
    assert found.metadata.version is None


@pytest.mark.parametrize(
    "conditions",
    [
        {"event_types": [EventType.CREATED]},
        {"finalizers_empty": True},
        {"phases": [Phase.TEARING_DOWN]},
        {"condition": lambda disk: disk.metadata.version == 1},
    ],
)
async def test_conditions_that_no_missing_resource_meets_are_waited_for(conditions: dict[str, Any]) -> None:
    state = MemoryState()
    found: list[Resource[PathSpec]] = []

    async def wait() -> None:
        found.append(await state.watch_for(KIND, "disk", **conditions))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not found
            await state.create(path("disk").evolve(phase=Phase.TEARING_DOWN))
    assert found == [state.get(KIND, "disk")]


async def test_all_conditions_must_hold_at_one_and_the_same_event() -> None:
    state = MemoryState()
    found: list[Resource[PathSpec]] = []

    async def wait() -> None:
        resource = await state.watch_for(
            KIND,
            "disk",
            event_types=[EventType.UPDATED],
            condition=lambda disk: "app" in disk.metadata.labels,
            finalizers_empty=True,
            phases=[Phase.TEARING_DOWN],
        )
        found.append(resource)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await state.create(path("disk", app="web"))
            await state.add_finalizer(KIND, "disk", "A")
            await state.teardown(KIND, "disk")
            await trio.testing.wait_all_tasks_blocked()
            assert not found
            await state.remove_finalizer(KIND, "disk", "A")
    assert found[0].metadata.version == 4


async def test_the_predicate_is_called_only_for_the_requested_types_of_event_and_its_error_is_raised() -> None:
    state = MemoryState()

    def fail(disk: Resource[PathSpec]) -> bool:
        raise LookupError(f"version {disk.metadata.version}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(state.create, path("disk"))
        with trio.fail_after(PATIENCE), pytest.raises(LookupError, match="version 1"):
            await state.watch_for(KIND, "disk", event_types=[EventType.CREATED], condition=fail)


# Scopes that end with a resource.


@pytest.mark.parametrize("end", [_tear_down, _destroy])
async def test_work_bound_to_a_resource_ends_with_it(end: Interference) -> None:
    state = await _disturbed()
    with trio.fail_after(PATIENCE), state.while_running(KIND, "disk") as scope:
        await end(state)
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_work_that_is_done_before_leaves_no_trace() -> None:
    state = await _disturbed()
    with state.while_running(KIND, "disk") as scope:
        await _label(state)
        await trio.lowlevel.checkpoint()
    assert not scope.cancel_called
    await _destroy(state)
    assert not scope.cancel_called


async def test_an_error_of_the_work_is_not_hidden_by_the_end_of_its_resource() -> None:
    state = await _disturbed()

    async def fail_at_the_end() -> None:
        with state.while_running(KIND, "disk"):
            await _destroy(state)
            raise LookupError

    with pytest.raises(LookupError):
        await fail_at_the_end()


# Tear down and destroy.


async def _held_disk(owner: str = "") -> MemoryState:
    state = MemoryState()
    await state.create(path("disk").evolve(finalizers=("A", "B")), owner=owner)
    return state


async def test_without_finalizers_it_is_destroyed_at_once() -> None:
    state = await _disturbed(owner="owner")
    await state.teardown_and_destroy(KIND, "disk", owner="owner")
    assert await _events(state) == [
        (EventType.CREATED, "disk"),
        (EventType.UPDATED, "disk"),
        (EventType.DESTROYED, "disk"),
    ]


async def test_it_waits_for_the_last_finalizer() -> None:
    state = await _held_disk(owner="owner")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: state.teardown_and_destroy(KIND, "disk", owner="owner"))
            await trio.testing.wait_all_tasks_blocked()
            await state.remove_finalizer(KIND, "disk", "A")
            await trio.testing.wait_all_tasks_blocked()
            assert state.get(KIND, "disk").metadata.is_tearing_down
            await state.remove_finalizer(KIND, "disk", "B")
    assert state.find(KIND, "disk") is None


async def test_a_concurrent_destruction_is_not_an_error() -> None:
    state = await _held_disk()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(state.teardown_and_destroy, KIND, "disk")
            await trio.testing.wait_all_tasks_blocked()
            await state.remove_finalizer(KIND, "disk", "A", "B")
            await state.destroy(KIND, "disk")


async def test_concurrent_teardowns_do_not_disturb_each_other() -> None:
    state = await _held_disk()
    await state.teardown(KIND, "disk")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(state.teardown_and_destroy, KIND, "disk")
            await trio.testing.wait_all_tasks_blocked()
            await state.remove_finalizer(KIND, "disk", "A", "B")
    assert state.find(KIND, "disk") is None


async def test_given_up_it_leaves_the_resource_torn_down() -> None:
    state = await _held_disk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(state.teardown_and_destroy, KIND, "disk")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert state.get(KIND, "disk").metadata.is_tearing_down


async def test_it_destroys_what_exists_and_is_the_callers_own() -> None:
    state = await _held_disk(owner="owner")
    with pytest.raises(NotFoundError):
        await state.teardown_and_destroy(KIND, "missing")
    with pytest.raises(OwnerConflictError):
        await state.teardown_and_destroy(KIND, "disk", owner="wrong")
    assert not state.get(KIND, "disk").metadata.is_tearing_down


async def test_a_watch_that_fails_fails_its_readers() -> None:
    state = await _held_disk()
    refused: list[Exception] = []

    async def wait(action: Callable[[], Awaitable[object]]) -> None:
        try:
            await action()
        except Exception as error:
            refused.append(error)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, lambda: state.teardown_and_destroy(KIND, "disk"))
            nursery.start_soon(wait, lambda: state.watch_for(KIND, "disk", event_types=[EventType.NOOP]))
            await trio.testing.wait_all_tasks_blocked()
            for number in range(200):
                await state.update_with_conflicts(
                    KIND,
                    "disk",
                    lambda disk, number=number: disk.with_labels({"n": str(number)}),  # type: ignore[misc]
                    expected_phase=ANY_PHASE,
                )
    assert [str(error)[:14] for error in refused] == ["buffer overrun"] * 2

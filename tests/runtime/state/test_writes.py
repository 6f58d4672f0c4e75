"""What create, update and destroy check, in which order, and what they store."""

import itertools

import pytest

from nodespan.runtime.errors import (
    ConflictError,
    NotFoundError,
    OwnerConflictError,
    PhaseConflictError,
    StateError,
)
from nodespan.runtime.resource import Phase, tombstone
from nodespan.runtime.state import ANY_PHASE, EventType, MemoryState
from tests.runtime.state.paths import KIND, path, read

TYPE = KIND.type


# Creating.


async def test_the_owner_of_a_resource_is_checked_before_anything_else() -> None:
    state = MemoryState()
    await state.create(path("there"))
    for id in ("there", "missing"):
        with pytest.raises(ValueError, match="already set to 'somebody'"):
            await state.create(path(id).evolve(owner="somebody"), owner="else")
        with pytest.raises(ValueError, match="already set to 'somebody'"):
            await state.create(path(id).evolve(owner="somebody"))
    stored = await state.create(path("missing").evolve(owner="somebody"), owner="somebody")
    assert stored.metadata.owner == "somebody"


async def test_what_exists_cannot_be_created_in_whatever_phase() -> None:
    state = MemoryState()
    for phase in Phase:
        await state.create(path(phase).evolve(phase=phase))
        with pytest.raises(ConflictError, match=rf"^resource .*{phase}.* already exists$"):
            await state.create(path(phase))


async def test_a_created_resource_is_version_1_with_all_else_as_given() -> None:
    clock = itertools.count(1000)
    state = MemoryState(now=lambda: next(clock))
    given = path("disk", app="web").evolve(
        version=7, phase=Phase.TEARING_DOWN, created=1, updated=2, annotations={"a": "b"}, finalizers=("A",)
    )
    stored = await state.create(given, owner="owner")
    assert stored == given.evolve(version=1, owner="owner")
    assert stored.metadata.created == 1000
    # A new resource was not updated yet: the time stays that at which the caller made it.
    assert stored.metadata.updated == 2
    assert state.get(KIND, "disk") is stored


async def test_a_tombstone_cannot_be_created() -> None:
    with pytest.raises(ValueError, match="has no spec"):
        await MemoryState().create(tombstone(KIND, "disk"))


async def test_a_recreated_resource_starts_at_version_1() -> None:
    state = MemoryState()
    await state.update(await state.create(path("disk")))
    await state.destroy(KIND, "disk")
    assert (await state.create(path("disk"))).metadata.version == 1


# Updating.


async def test_an_update_checks_existence_then_owner_then_version_then_phase() -> None:
    state = MemoryState()
    wrong = path("disk").evolve(version=9)
    with pytest.raises(NotFoundError, match=r"^resource .*\(default/disk\) doesn't exist$"):
        await state.update(wrong, owner="wrong")
    stored = await state.create(path("disk").evolve(phase=Phase.TEARING_DOWN), owner="owner")
    with pytest.raises(OwnerConflictError, match=r'is owned by "owner"'):
        await state.update(wrong, owner="wrong")
    with pytest.raises(ConflictError, match=r'update conflict: expected version "9", actual version "1"$') as version:
        await state.update(wrong, owner="owner")
    assert type(version.value) is ConflictError
    with pytest.raises(PhaseConflictError, match=r"is not in phase running$"):
        await state.update(stored, owner="owner")
    assert state.get(KIND, "disk") is stored


async def test_an_undefined_version_is_never_the_current_one() -> None:
    state = MemoryState()
    stored = await state.create(path("disk"))
    with pytest.raises(ConflictError, match='expected version "undefined", actual version "1"'):
        await state.update(stored.evolve(version=None))


async def test_creation_time_and_version_are_the_stores_own() -> None:
    clock = itertools.count(1000)
    state = MemoryState(now=lambda: next(clock))
    stored = await state.create(path("disk"))
    updated = await state.update(stored.evolve(created=1, updated=2))
    assert (updated.metadata.created, updated.metadata.updated) == (1000, 1001)
    assert updated.metadata.version == 2


async def test_all_else_is_stored_as_sent_even_the_owner() -> None:
    state = MemoryState()
    stored = await state.create(path("disk"), owner="owner")
    sent = stored.evolve(owner="heir", phase=Phase.TEARING_DOWN, labels={"app": "web"}, finalizers=("A",))
    assert await state.update(sent, owner="owner") == sent.evolve(version=2)
    # Nor is the way between the phases policed.
    revived = await state.update(
        sent.evolve(version=2, phase=Phase.RUNNING), owner="heir", expected_phase=Phase.TEARING_DOWN
    )
    assert revived.metadata.phase is Phase.RUNNING


async def test_equal_content_is_written_again_and_reported() -> None:
    state = MemoryState()
    stored = await state.create(path("disk"))
    async with state.watch_kind(KIND) as watch:
        again = await state.update(stored)
        event = await read(watch)
    assert again == stored.evolve(version=2)
    assert (event.type, event.resource, event.old) == (EventType.UPDATED, again, stored)


@pytest.mark.parametrize("stored", Phase)
@pytest.mark.parametrize("expected", [*Phase, ANY_PHASE])
@pytest.mark.parametrize("new", Phase)
async def test_the_stored_phase_must_be_the_expected_one_and_the_new_one_is_free(
    stored: Phase, expected: Phase, new: Phase
) -> None:
    state = MemoryState()
    before = await state.create(path("disk").evolve(phase=stored))
    if expected in (stored, ANY_PHASE):
        assert (await state.update(before.evolve(phase=new), expected_phase=expected)).metadata.phase is new
    else:
        with pytest.raises(PhaseConflictError):
            await state.update(before.evolve(phase=new), expected_phase=expected)


# Destroying.


async def test_a_destruction_checks_existence_then_owner_then_finalizers() -> None:
    state = MemoryState()
    with pytest.raises(NotFoundError, match="doesn't exist"):
        await state.destroy(KIND, "disk", owner="wrong")
    await state.create(path("disk").evolve(finalizers=("A", "B")), owner="owner")
    with pytest.raises(OwnerConflictError):
        await state.destroy(KIND, "disk", owner="wrong")
    with pytest.raises(ConflictError, match=r"has pending finalizers \[A B\]$") as held:
        await state.destroy(KIND, "disk", owner="owner")
    assert type(held.value) is ConflictError


async def test_a_running_resource_may_be_destroyed_and_is_reported_as_it_last_was() -> None:
    state = MemoryState()
    last = await state.update((await state.create(path("disk"))).with_labels({"app": "web"}))
    async with state.watch_kind(KIND) as watch:
        await state.destroy(KIND, "disk")
        event = await read(watch)
    assert event.type is EventType.DESTROYED
    assert event.resource is last
    assert event.old is None


# Reading.


async def test_an_unknown_kind_is_empty() -> None:
    assert MemoryState().list(KIND) == []
    assert MemoryState().find(KIND, "disk") is None
    assert not MemoryState().view(KIND).items


async def test_a_refused_write_changes_nothing_and_reports_nothing() -> None:
    state = MemoryState()
    stored = await state.create(path("disk").evolve(finalizers=("A",)), owner="owner")
    async with state.watch_kind(KIND) as watch:
        for refused in (
            state.create(path("disk")),
            state.update(stored),
            state.update(stored.evolve(version=2), owner="owner"),
            state.update(stored, owner="owner", expected_phase=Phase.TEARING_DOWN),
            state.destroy(KIND, "disk"),
            state.destroy(KIND, "disk", owner="owner"),
            state.destroy(KIND, "other"),
        ):
            with pytest.raises(StateError):
                await refused
        assert state.list(KIND) == [stored]
        await state.create(path("end"))
        event = await read(watch)
    assert event.resource == state.get(KIND, "end")


# Errors.


async def test_errors_narrow_down_to_the_kind_they_are_about() -> None:
    state = MemoryState()
    stored = await state.create(path("disk"), owner="owner")
    for refused in (
        state.create(path("disk")),
        state.update(stored, owner="wrong"),
        state.update(stored.evolve(version=5), owner="owner"),
        state.update(stored, owner="owner", expected_phase=Phase.TEARING_DOWN),
        state.destroy(KIND, "disk", owner="wrong"),
        state.destroy(KIND, "missing"),
    ):
        with pytest.raises(StateError) as caught:
            await refused
        error = caught.value
        assert error.concerns()
        assert error.concerns(namespace="default", type=TYPE)
        assert not error.concerns(namespace="other")
        assert not error.concerns(type="Others.os.cosi.dev")
        assert not error.concerns(namespace="default", type="Others.os.cosi.dev")


def test_owner_and_phase_conflicts_are_conflicts() -> None:
    assert issubclass(OwnerConflictError, ConflictError)
    assert issubclass(PhaseConflictError, ConflictError)
    assert not issubclass(NotFoundError, ConflictError)

"""Outputs that follow a mirror."""

import pytest
import structlog
import trio

from nodespan.controllers.common.publication import KeysByLink, Publication
from nodespan.resources.network import HostnameStatus, HostnameStatusSpec
from nodespan.runtime import slices
from nodespan.runtime.controller import ControllerContext, exclusive
from nodespan.runtime.state import MemoryState

NAME = "test.PublicationController"


def spec(name: str) -> HostnameStatusSpec:
    return HostnameStatusSpec(hostname=name)


def context(state: MemoryState) -> ControllerContext:
    return ControllerContext(NAME, state, (), (exclusive(HostnameStatus),), structlog.get_logger())


def stored(state: MemoryState) -> dict[str, str]:
    return {resource.id: resource.spec.hostname for resource in state.view(HostnameStatus).list()}


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([{1: {"a": "A"}, 2: {"b": "B"}}], {"a": "A", "b": "B"}),
        ([{1: {"a": "A"}, 2: {"b": "B"}}, {1: {}}], {"b": "B"}),
        ([{1: {"a": "A"}, 2: {"b": "B"}}, {1: {"c": "A"}}], {"b": "B", "c": "A"}),
        ([{1: {"a": "A"}, 2: {"b": "B"}}, {1: {"b": "A"}, 2: {"a": "B"}}], {"a": "B", "b": "A"}),
        ([{1: {"a": "A"}}, {2: {"a": "B"}}, {1: {}}], {"a": "B"}),
        ([{1: {"a": "A"}}, {1: {}, 2: {"a": "B"}}], {"a": "B"}),
        ([{1: {"a": "A", "b": "B"}}, {1: {"b": "C"}}], {"b": "C"}),
        ([{1: {"a": "A"}}, {1: {}}, {1: {}}, {1: {"a": "B"}}], {"a": "B"}),
    ],
    ids=[
        "written",
        "gone",
        "renamed",
        "names swapped",
        "name taken over before the old one goes",
        "name taken over at once",
        "one of two ids gone",
        "come back",
    ],
)
async def test_outputs_follow_their_keys(rounds: list[dict[int, dict[str, str]]], expected: dict[str, str]) -> None:
    state = MemoryState()
    publication: Publication[int, HostnameStatusSpec] = Publication(context(state), HostnameStatus)
    for outputs in rounds:
        await publication.publish({key: {id: spec(name) for id, name in ids.items()} for key, ids in outputs.items()})
    assert stored(state) == expected


async def test_the_first_round_removes_what_an_earlier_run_left() -> None:
    state = MemoryState()
    await state.create(HostnameStatus.new("left", spec("left")), owner=NAME)
    await state.create(HostnameStatus.new("kept", spec("old")), owner=NAME)
    publication: Publication[int, HostnameStatusSpec] = Publication(context(state), HostnameStatus)
    await publication.publish({1: {"kept": spec("new")}})
    assert stored(state) == {"kept": "new"}


def test_an_index_knows_the_keys_of_each_link() -> None:
    index: KeysByLink[str] = KeysByLink()
    index.set("a", {1, 2})
    index.set("b", {2})
    assert index.keys([2]) == {"a", "b"}
    assert index.keys([1, 3]) == {"a"}
    index.set("a", {3})
    assert index.keys([1, 2]) == {"b"}
    index.set("a", ())
    index.set("b", ())
    assert not index.keys([1, 2, 3])


async def test_an_output_with_finalizers_goes_when_they_are_removed() -> None:
    state = MemoryState()
    publication: Publication[int, HostnameStatusSpec] = Publication(context(state), HostnameStatus)
    await publication.publish({1: {"a": spec("A")}})
    await state.add_finalizer(HostnameStatus, "a", "somebody")
    await publication.publish({1: {}})
    assert state.get(HostnameStatus, "a").metadata.is_tearing_down
    await publication.publish({})
    await state.remove_finalizer(HostnameStatus, "a", "somebody")
    await publication.publish({})
    assert stored(state) == {}


async def test_an_output_that_comes_back_while_its_old_one_is_held_waits_for_it() -> None:
    state = MemoryState()
    publication: Publication[int, HostnameStatusSpec] = Publication(context(state), HostnameStatus)
    await publication.publish({1: {"a": spec("A")}})
    await state.add_finalizer(HostnameStatus, "a", "somebody")
    await publication.publish({1: {}})
    await publication.publish({2: {"a": spec("B")}})
    await publication.publish({2: {"a": spec("C")}})
    assert stored(state) == {"a": "A"}
    await state.remove_finalizer(HostnameStatus, "a", "somebody")
    await publication.publish({})
    assert stored(state) == {"a": "C"}
    assert not state.get(HostnameStatus, "a").metadata.is_tearing_down


async def test_many_outputs_leave_other_tasks_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", -1.0)  # every output takes a slice
    steps = 0

    async def count_steps() -> None:
        nonlocal steps
        while True:
            await trio.lowlevel.checkpoint()
            steps += 1

    publication: Publication[int, HostnameStatusSpec] = Publication(context(MemoryState()), HostnameStatus)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_steps)
        await publication.publish({number: {f"n{number}": spec("a")} for number in range(100)})
        written, steps = steps, 0
        await publication.publish({number: {} for number in range(100)})
        destroyed = steps
        nursery.cancel_scope.cancel()
    assert min(written, destroyed) >= 98  # the others may miss the first and the last

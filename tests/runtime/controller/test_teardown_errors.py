"""The errors of `ctx.teardown_and_destroy` are those of its documentation, each by what causes it."""

import inspect
import re
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from nodespan.runtime import errors
from nodespan.runtime.controller import Access, exclusive
from nodespan.runtime.errors import StateError
from nodespan.runtime.resource import KindLike
from nodespan.runtime.state import ANY_PHASE, Event, MemoryState, State, Watch
from nodespan.runtime.testing.engine_suite import Integer
from tests.runtime.parts import access, integer

pytestmark = pytest.mark.virtual_clock

Meanwhile = Callable[[State], Awaitable[None]]


class Unwatched(MemoryState):
    """A state without watches."""

    def watch(
        self, kind: KindLike[object], id: str, *, tail_events: int = 0, start_from: bytes | None = None
    ) -> Watch[Event]:
        del kind, id, tail_events, start_from
        raise errors.UnsupportedError("this state cannot be watched")


class HeldAgain(MemoryState):
    """A state in which another reader holds a resource right before it is destroyed."""

    async def destroy(self, kind: KindLike[object], id: str, *, owner: str = "") -> None:
        await self.add_finalizer(kind, id, "late")
        await super().destroy(kind, id, owner=owner)


async def nothing(state: State) -> None:
    del state


async def release(state: State) -> None:
    await state.remove_finalizer(Integer, "one", "reader")


async def flood(state: State) -> None:
    for number in range(200):
        await state.update_with_conflicts(
            Integer,
            "one",
            lambda found, number=number: found.with_labels({"n": str(number)}),  # type: ignore[misc]
            owner="mine",
            expected_phase=ANY_PHASE,
        )


CAUSES: dict[str, tuple[MemoryState, str, str, Meanwhile]] = {
    "NotFoundError": (MemoryState(), "missing", "mine", nothing),
    "OwnerConflictError": (MemoryState(), "one", "another", nothing),
    "ConflictError": (HeldAgain(), "one", "mine", release),
    "OverrunError": (MemoryState(), "one", "mine", flood),
    "UnsupportedError": (Unwatched(), "one", "mine", nothing),
}


@pytest.mark.parametrize("method", [Access.teardown_and_destroy, State.teardown_and_destroy])
def test_what_is_documented_is_what_is_tried(method: Callable[..., object]) -> None:
    assert set(re.findall(r"[A-Z]\w+Error", inspect.getdoc(method) or "")) == set(CAUSES)


@pytest.mark.parametrize("name", CAUSES)
async def test_each_cause_raises_its_error(name: str) -> None:
    state, id, owner, meanwhile = CAUSES[name]
    await state.create(integer(Integer.kind, "one", finalizers=("reader",)), owner=owner)
    raised: list[StateError] = []

    async def end() -> None:
        try:
            await access(state, outputs=[exclusive(Integer)], name="mine").teardown_and_destroy(Integer, id)
        except StateError as error:
            raised.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        await trio.testing.wait_all_tasks_blocked()
        await meanwhile(state)
    assert [type(error) for error in raised] == [getattr(errors, name)]

"""Tasks that live as long as a block, and what is kept open for tasks that come and go."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio

from nodespan.runtime.background import Held, background

pytestmark = pytest.mark.virtual_clock


async def test_an_error_of_the_block_comes_out_bare_and_the_task_ends_with_it() -> None:
    ended = False

    async def task() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    raised = None
    try:
        async with background(task):
            await trio.sleep(1)
            raise LookupError("mine")
    except LookupError as error:
        raised = error
    assert (str(raised), ended) == ("mine", True)


class _Room:
    """Counts those who are in it; closes itself after `life` seconds."""

    def __init__(self, *, life: float = float("inf")) -> None:
        self.inside = 0
        self._life = life

    @contextlib.asynccontextmanager
    async def entered(self) -> AsyncIterator["_Room"]:
        async def end() -> None:
            await trio.sleep(self._life)
            raise LookupError("the room is closed")

        async with background(end):
            self.inside += 1
            try:
                yield self
            finally:
                self.inside -= 1


async def test_one_task_opens_what_another_one_closes() -> None:
    room = _Room()
    opened: list[Held[_Room]] = []

    async def first() -> None:
        opened.append(await Held.open(room.entered()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
    (held,) = opened
    assert held.value is room
    assert room.inside == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held.release)
    assert room.inside == 0


async def test_what_cannot_be_opened_raises_where_it_is_opened() -> None:
    @contextlib.asynccontextmanager
    async def locked() -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        raise LookupError("no key")
        yield

    with pytest.raises(LookupError, match="no key"):
        await Held.open(locked())


async def test_what_breaks_meanwhile_is_told_when_it_is_released() -> None:
    room = _Room(life=5)
    held = await Held.open(room.entered())
    await trio.sleep(10)
    assert room.inside == 0
    with pytest.raises(ExceptionGroup) as failed:
        await held.release()
    assert failed.group_contains(LookupError, match="the room is closed")

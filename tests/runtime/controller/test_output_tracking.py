"""Output tracking: what a turn does not write again is destroyed at its end, if it is the controller's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog

from nodespan.runtime.controller import ControllerContext, shared
from nodespan.runtime.errors import AccessError, ConflictError, OwnerConflictError
from nodespan.runtime.resource import Kind
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Text
from nodespan.runtime.testing.kit import running
from tests.runtime.parts import Routine, integer

HERE, THERE = Integer.within("here"), Integer.within("there")
NAME = "test.Controller"


class Tracking:
    """A context with three outputs of its own and one of somebody else's."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.resets = 0
        self.ctx = ControllerContext(
            NAME, self.state, (), (shared(Integer),), structlog.get_logger(), reset_backoff=self._reset
        )

    def _reset(self) -> None:
        self.resets += 1

    def ids(self, kind: Kind[IntegerSpec] = HERE) -> list[str]:
        return [resource.id for resource in self.state.list(kind)]


@asynccontextmanager
async def tracking() -> AsyncIterator[Tracking]:
    made = Tracking()
    for id in ("one", "two", "three"):
        await made.ctx.create(integer(HERE, id))
    await made.state.create(integer(HERE, "foreign"), owner="other")
    yield made


async def test_outputs_that_were_not_written_are_destroyed_and_those_of_others_are_not() -> None:
    async with tracking() as it:
        async with it.ctx.tracked_outputs(HERE):
            await it.ctx.put(HERE, "one", IntegerSpec(0))
        assert it.ids() == ["foreign", "one"]
        assert it.resets == 1


async def test_every_way_of_writing_counts_also_when_it_failed() -> None:
    async with tracking() as it:
        async with it.ctx.tracked_outputs(HERE):
            with pytest.raises(ConflictError):
                await it.ctx.create(integer(HERE, "one"))
            with pytest.raises(ConflictError):
                await it.ctx.update(integer(HERE, "two", 5, version=17, owner=NAME))
            await it.ctx.modify(integer(HERE, "three"), lambda resource: resource)
            with pytest.raises(OwnerConflictError):
                await it.ctx.put(HERE, "foreign", IntegerSpec(5))
        assert it.ids() == ["foreign", "one", "three", "two"]


async def test_a_teardown_does_not_count() -> None:
    async with tracking() as it:
        async with it.ctx.tracked_outputs(HERE):
            await it.ctx.put(HERE, "one", IntegerSpec(0))
            await it.ctx.teardown(HERE, "two")
        assert it.ids() == ["foreign", "one"]


async def test_only_the_named_kinds_are_cleaned_up() -> None:
    async with tracking() as it:
        await it.ctx.create(integer(THERE, "one"))
        async with it.ctx.tracked_outputs(THERE):
            await it.ctx.put(HERE, "two", IntegerSpec(0))
        assert it.ids() == ["foreign", "one", "three", "two"]
        assert it.ids(THERE) == []
        async with it.ctx.tracked_outputs(HERE, THERE):
            pass
        assert it.ids() == ["foreign"]


async def test_an_output_with_a_finalizer_makes_the_cleanup_fail() -> None:
    async with tracking() as it:
        await it.state.add_finalizer(HERE, "two", "holder")
        with pytest.raises(ConflictError, match="pending finalizers"):
            async with it.ctx.tracked_outputs(HERE):
                pass
        # The tracking has ended all the same: the next turn can begin one.
        it.ctx.start_tracking_outputs()


async def test_a_block_that_an_error_leaves_destroys_nothing() -> None:
    async with tracking() as it:
        with pytest.raises(RuntimeError, match="oops"):
            async with it.ctx.tracked_outputs(HERE):
                raise RuntimeError("oops")
        assert len(it.ids()) == 4
        assert it.resets == 0


async def test_tracking_twice_and_cleaning_up_without_tracking_are_mistakes() -> None:
    async with tracking() as it:
        with pytest.raises(RuntimeError, match="not being tracked"):
            await it.ctx.cleanup_outputs(HERE)
        it.ctx.start_tracking_outputs()
        with pytest.raises(RuntimeError, match="being tracked already"):
            it.ctx.start_tracking_outputs()
        await it.ctx.cleanup_outputs(HERE)
        assert it.ids() == ["foreign"]


async def test_what_may_not_be_listed_cannot_be_cleaned_up() -> None:
    async with tracking() as it:
        it.ctx.start_tracking_outputs()
        with pytest.raises(AccessError):
            await it.ctx.cleanup_outputs(Text)


@pytest.mark.virtual_clock
async def test_a_run_that_fails_forgets_what_it_tracked() -> None:
    runs = 0

    async def run(ctx: ControllerContext) -> None:
        nonlocal runs
        async for _ in ctx:
            runs += 1
            ctx.start_tracking_outputs()
            await ctx.put(HERE, f"run {runs}", IntegerSpec(0))
            if runs < 3:
                raise RuntimeError("fails while tracking")
            await ctx.cleanup_outputs(HERE)

    async with running(Routine("C", run, outputs=[shared(Integer)])) as node:
        for _ in range(2):
            assert str(await node.crashed()) == "fails while tracking"
        await node.eventually(HERE, "run 3")
        await node.settled()
        assert [resource.id for resource in node.state.list(HERE)] == ["run 3"]

"""Stopping: everything stops, nothing is left running or subscribed, and whoever has to say goodbye does, once."""

from typing import Any

import pytest
import trio

from nodespan.runtime.controller import (
    Controller,
    ControllerContext,
    QueueContext,
    QueueController,
    exclusive,
    primary,
    weak,
)
from nodespan.runtime.controller.transform import Transform
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import Pointer
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.engine_suite import Integer, Text, in_digits
from tests.runtime.parts import Jobs, Routine, Turns, integer

pytestmark = pytest.mark.virtual_clock


class Leaving(Jobs):
    """Never finishes a job, and notes its shutdown."""

    shutdowns = 0

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        await trio.sleep_forever()

    async def run(self, ctx: QueueContext) -> None:
        await trio.sleep_forever()

    async def shutdown(self, ctx: QueueContext) -> None:
        self.shutdowns += 1
        await trio.sleep(1)


async def at_work(ctx: ControllerContext) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(trio.sleep_forever)
        async for _ in ctx:
            await trio.sleep(1000)


async def failing(_ctx: ControllerContext) -> None:
    raise ValueError("fails")


async def failing_when_cancelled(_ctx: ControllerContext) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("fails on the way out")


async def failing_in_a_task_when_cancelled(ctx: ControllerContext) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failing_when_cancelled, ctx)
        await trio.sleep_forever()


async def goes_on_until_it_may_not(ctx: ControllerContext) -> None:
    async for _ in ctx:
        ctx.wake()


@pytest.mark.parametrize("after", [0.0, 0.1, 30.0])
async def test_cancelling_the_engine_ends_all_tasks_whatever_they_are_at(after: float) -> None:
    state = MemoryState()
    await state.create(integer(Integer.kind, "one"))
    engine = Engine(state, seed=1)
    leaving = Leaving("queue", primary(Integer), concurrency=3)
    shutdowns: list[str] = []
    transform = Transform(
        "transform",
        input=Integer,
        output=Text,
        transform=lambda _ctx, number: in_digits(number.spec),
        shutdown=lambda: shutdowns.append("transform"),
    )
    controllers: list[Controller | QueueController] = [Turns("turns", weak(Integer)), leaving, transform]
    for run in (at_work, failing, failing_when_cancelled, failing_in_a_task_when_cancelled):
        controllers.append(Routine(run.__name__, run, [weak(Integer)]))
    for controller in controllers:
        await engine.register(controller)
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(after) as scope:
        await engine.run()
    assert scope.cancelled_caught
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert leaving.shutdowns == 1
    assert shutdowns == ["transform"]


async def test_a_busy_controller_can_be_stopped() -> None:
    engine = Engine(MemoryState())
    await engine.register(Routine("busy", goes_on_until_it_may_not))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_a_busy_queue_can_be_stopped() -> None:
    def again(changed: Any) -> list[Pointer[Any]]:
        return [Integer.pointer(changed.id)]

    async def wake_again(ctx: QueueContext, item: Pointer[Any]) -> None:
        await ctx.put(Integer, item.id, Integer.spec_class(ctx.get(Integer, item.id).spec.value + 1))

    engine = Engine(MemoryState())
    jobs = Jobs("busy", primary(Integer), reconcile=wake_again, map_input=again, outputs=[exclusive(Integer)])
    await engine.register(jobs)
    await engine.state.create(integer(Integer.kind, "one"), owner="busy")
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(jobs.done) > 1


async def test_a_stopped_engine_is_not_notified_of_changes() -> None:
    engine = Engine(MemoryState())
    await engine.register(Turns("turns", weak(Integer), weak(Text, "one")))
    await engine.register(Jobs("jobs", primary(Integer)))
    with trio.move_on_after(1):
        await engine.run()
    wakeups = engine.runners["turns"].access.counters.wakeups
    await engine.state.create(integer(Integer.kind, "one"))
    assert engine.runners["turns"].access.counters.wakeups == wakeups
    assert engine.runners["jobs"].queue_length == 0


async def test_an_error_on_the_way_out_is_counted_and_does_not_stop_the_stopping() -> None:
    engine = Engine(MemoryState())
    await engine.register(Routine("C", failing_in_a_task_when_cancelled))
    with trio.move_on_after(1) as scope:
        await engine.run()
    assert scope.cancelled_caught
    assert engine.runners["C"].last_error == "ValueError: fails on the way out"

"""Quiet is when nobody works, be it in a task or in a thread."""

import threading

import trio

from nodespan.runtime.process.quiet import wait_quiet
from tests.support.deadlines import PATIENCE


async def test_a_task_that_only_waits_is_quiet() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        with trio.fail_after(PATIENCE):
            await wait_quiet(lambda: False)
        nursery.cancel_scope.cancel()


async def test_a_thread_is_waited_for() -> None:
    held, done = threading.Event(), []
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            await trio.to_thread.run_sync(held.wait)
            done.append("work")

        nursery.start_soon(work)
        with trio.move_on_after(0.1) as impatient:
            await wait_quiet(lambda: False)
        assert impatient.cancelled_caught
        held.set()
        with trio.fail_after(PATIENCE):
            await wait_quiet(lambda: False)
        assert done == ["work"]


async def test_who_says_to_be_busy_is_waited_for() -> None:
    with trio.move_on_after(0.1) as impatient:
        await wait_quiet(lambda: True)
    assert impatient.cancelled_caught


async def test_a_task_that_never_waits_is_waited_for() -> None:
    async with trio.open_nursery() as nursery:

        async def spin() -> None:
            while True:
                await trio.lowlevel.checkpoint()

        nursery.start_soon(spin)
        with trio.move_on_after(0.1) as impatient:
            await wait_quiet(lambda: False)
        assert impatient.cancelled_caught
        nursery.cancel_scope.cancel()

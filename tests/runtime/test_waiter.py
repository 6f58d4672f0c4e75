"""One task that waits to be woken."""

import pytest
import trio
import trio.testing

from nodespan.runtime.waiter import Waiter


async def test_a_task_goes_on_when_it_is_woken_and_can_wait_again() -> None:
    waiter, turns = Waiter(), 0

    async def wait() -> None:
        nonlocal turns
        while True:
            await waiter.wait()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for turn in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert (turns, bool(waiter)) == (turn, True)
            waiter.wake()
            assert not waiter
            waiter.wake()  # it is on its way
        await trio.testing.wait_all_tasks_blocked()
        assert turns == 3
        nursery.cancel_scope.cancel()
    assert not waiter


async def test_a_wake_up_that_nobody_waits_for_is_forgotten() -> None:
    waiter = Waiter()
    waiter.wake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert waiter
        waiter.wake()


async def test_a_task_that_is_cancelled_leaves_the_place_to_another() -> None:
    waiter = Waiter()
    with trio.move_on_after(0) as patience:
        await waiter.wait()
    assert patience.cancelled_caught
    waiter.wake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter.wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="waits already"):
            await waiter.wait()
        waiter.wake()


async def test_a_task_that_is_woken_and_cancelled_in_one_step_goes_on() -> None:
    waiter, went_on = Waiter(), False

    async def wait() -> None:
        nonlocal went_on
        await waiter.wait()
        went_on = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        waiter.wake()
        nursery.cancel_scope.cancel()
    assert went_on

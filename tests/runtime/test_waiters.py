"""Waiters: who is woken, in which order, and that a cancelled one leaves nothing behind."""

import trio
import trio.testing

from nodespan.runtime.waiters import Waiters


async def test_all_that_wait_are_woken_and_those_that_come_later_are_not() -> None:
    waiters, woken = Waiters(), []

    async def wait(name: str) -> None:
        await waiters.wait()
        woken.append(name)
        await waiters.wait()
        woken.append(name + " again")

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
        waiters.wake_all()
        assert not waiters.tasks
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(woken) == ["a", "b", "c"]
        nursery.cancel_scope.cancel()
    assert not waiters.tasks


async def test_the_first_is_the_one_that_has_waited_longest() -> None:
    waiters, woken = Waiters(), []

    async def wait(name: str) -> None:
        await waiters.wait()
        woken.append(name)

    waiters.wake_first()
    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
        for expected in ("a", "b", "c"):
            waiters.wake_first()
            await trio.testing.wait_all_tasks_blocked()
            assert woken[-1] == expected


async def test_a_cancelled_one_is_not_woken() -> None:
    waiters = Waiters()
    with trio.move_on_after(0) as scope:
        await waiters.wait()
    assert scope.cancelled_caught
    assert not waiters.tasks
    waiters.wake_all()
    waiters.wake_first()


async def test_a_wait_that_was_woken_before_its_cancellation_returns() -> None:
    waiters, returned = Waiters(), []

    async def wait() -> None:
        await waiters.wait()
        returned.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        waiters.wake_all()
        nursery.cancel_scope.cancel()
    assert returned

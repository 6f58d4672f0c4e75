"""Periodic looks are due together."""

import random

import pytest
import trio
import trio.testing

from nodespan.runtime.ticks import due_after, tick

pytestmark = pytest.mark.virtual_clock


async def test_looks_of_many_tasks_wake_the_loop_once_a_second() -> None:
    chance = random.Random(1)
    looks: dict[float, list[float]] = {}

    async def look(interval: float, begin: float) -> None:
        await trio.sleep(begin)
        while True:
            await tick(interval)
            looks.setdefault(interval, []).append(trio.current_time())
            # A look takes a while, and the loop is late.
            await trio.sleep(chance.random() / 1000)

    async with trio.open_nursery() as nursery:
        for interval in (1.0, 1.0, 1.0, 2.0, 5.0, 30.0, 60.0):
            nursery.start_soon(look, interval, chance.random())
        await trio.sleep(10.5)
        moments = {interval: len(found) for interval, found in looks.items()}
        await trio.sleep(600)
        nursery.cancel_scope.cancel()
    assert {moment % 1 for found in looks.values() for moment in found} == {0.0}
    seen = {interval: len(found) - moments.get(interval, 0) for interval, found in looks.items()}
    assert seen == {1.0: 1800, 2.0: 300, 5.0: 120, 30.0: 20, 60.0: 10}


@pytest.mark.parametrize("interval", [1.0, 1.5, 2.0, 5.0, 60.0])
async def test_a_look_is_at_most_half_a_second_off(interval: float) -> None:
    for tenth in range(31):
        now = trio.current_time()
        assert abs(due_after(interval) - now - interval) <= 0.5, tenth
        await trio.sleep(0.1)


@pytest.mark.parametrize("interval", [0.0, 0.05, 0.999, float("inf")])
async def test_short_intervals_are_exact(interval: float) -> None:
    await trio.sleep(0.3)
    assert due_after(interval) == trio.current_time() + interval

"""Periodic looks are due together."""

import random

import pytest
import trio
import trio.testing

from nodespan.runtime.ticks import due_after, due_by, due_from, tick

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


@pytest.mark.parametrize("interval", [0.5, 1.0, 1.5, 6.0])
async def test_what_must_not_be_late_is_due_at_half_a_second_and_never_later(interval: float) -> None:
    for _ in range(31):
        now, due = trio.current_time(), due_by(interval)
        assert now + interval - 0.5 < due <= now + interval
        assert due % 0.5 == 0.0
        await trio.sleep(0.1)


@pytest.mark.parametrize("interval", [0.0, 0.1, 0.3, 0.75, float("inf")])
async def test_what_must_not_be_late_is_exact_where_it_would_come_more_often(interval: float) -> None:
    await trio.sleep(0.3)
    assert due_by(interval) == trio.current_time() + interval


@pytest.mark.parametrize("interval", [1.0, 1.5, 20.0])
async def test_what_must_not_be_early_is_due_at_a_second_and_never_earlier(interval: float) -> None:
    for _ in range(11):
        since = trio.current_time()
        assert since + interval <= due_from(since, interval) < since + interval + 1.0
        assert due_from(since, interval) % 1 == 0.0
        await trio.sleep(0.1)


@pytest.mark.parametrize("interval", [0.0, 0.3, float("inf")])
async def test_what_must_not_be_early_is_exact_for_short_intervals(interval: float) -> None:
    await trio.sleep(0.3)
    assert due_from(trio.current_time(), interval) == trio.current_time() + interval

"""Waiting for a moment of a clock: by the kernel's timer, and by looking where there is none."""

import errno
import math
import os
from pathlib import Path

import pytest
import trio

from nodespan.runtime.process import boot_alarm
from nodespan.runtime.process.boot_alarm import until_boot_time, waiting_on
from nodespan.runtime.process.boot_time import boot_time
from tests.support.deadlines import PATIENCE


def _timers() -> int:
    """How many timers of the kernel this process has open; other files of earlier tests may be closed at any time."""
    links = (os.path.realpath(each) for each in Path("/proc/self/fd").iterdir())
    return sum(link.endswith("anon_inode:[timerfd]") for link in links)


async def test_the_timer_of_the_kernel_goes_off_when_the_moment_has_come() -> None:
    before, moment = _timers(), boot_time() + 0.02
    with trio.fail_after(PATIENCE):
        await until_boot_time(moment)
    assert boot_time() >= moment
    assert _timers() == before


@pytest.mark.parametrize("ago", [0.0, 10.0, float("inf")])
async def test_a_moment_that_is_over_is_not_waited_for(ago: float) -> None:
    with trio.fail_after(PATIENCE):
        await until_boot_time(boot_time() - ago)


async def test_waiting_that_is_given_up_leaves_no_timer() -> None:
    before = _timers()
    with trio.move_on_after(0) as scope:
        await until_boot_time(boot_time() + 3600)
    assert scope.cancelled_caught
    assert _timers() == before


async def test_a_lasting_wait_reads_the_clock_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0

    def counted() -> float:
        nonlocal reads
        reads += 1
        return boot_time()

    monkeypatch.setattr(boot_alarm, "boot_time", counted)
    with trio.fail_after(PATIENCE):
        await until_boot_time(boot_time() + 0.25)
    assert reads == 1


async def test_a_moment_that_never_comes_is_waited_for() -> None:
    with trio.move_on_after(0.01) as scope:
        await until_boot_time(math.inf)
    assert scope.cancelled_caught


async def test_without_a_timer_the_clock_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_moment: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(boot_alarm, "_timer", none)
    moment = boot_time() + 0.02
    with trio.fail_after(PATIENCE):
        await until_boot_time(moment)
    assert boot_time() >= moment


@pytest.mark.virtual_clock
async def test_another_clock_is_looked_at_ten_times_a_second() -> None:
    ahead, looks = 0.0, 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return trio.current_time() + ahead

    moment = clock() + 10.05
    await waiting_on(clock)(moment)
    assert trio.current_time() == pytest.approx(moment)
    assert 101 <= looks <= 105
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting_on(clock), clock() + 3600)
        await trio.sleep(1)
        ahead = 3600.0
        began = trio.current_time()
    assert trio.current_time() <= began + 0.11

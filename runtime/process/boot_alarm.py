"""Waiting for a moment of the clock of durations, which trio's own clock misses: that stands still during a sleep.

The kernel has a timer on that clock (timerfd_create(2)). It costs nothing until the moment comes; and when the machine
sleeps past the moment, it goes off as the machine wakes.
"""

import ctypes
import functools
import math
import os
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from nodespan.runtime.process.boot_time import boot_time

# Where there is no timer, and with a clock that the kernel does not know: how often to look at the clock, in seconds.
_LOOK: Final = 0.1
_ABSOLUTE: Final = 1
_SECOND: Final = 10**9
# In seconds: no machine runs for so long.
_LATEST: Final = 10**9
Until = Callable[[float], Awaitable[None]]


class _Setting(ctypes.Structure):
    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


def waiting_on(clock: Callable[[], float]) -> Until:
    """What waits until a clock shows a time: `until_boot_time`, or for other clocks one that looks again and again."""
    if clock is boot_time:
        return until_boot_time

    async def until(moment: float) -> None:
        await _look_until(clock, moment)

    return until


async def until_boot_time(moment: float) -> None:
    """Wait until `boot_time` has reached a moment, at once where it has. Always a checkpoint."""
    if moment <= boot_time():
        await trio.lowlevel.checkpoint()
        return
    try:
        timer = _timer(math.ceil(min(moment, _LATEST) * _SECOND))
    except OSError:
        # No more files, or a sandbox: what waits must not fail for that, as others rely on its being in time.
        await _look_until(boot_time, moment)
        return
    try:
        await trio.lowlevel.wait_readable(timer)
    finally:
        os.close(timer)


async def _look_until(clock: Callable[[], float], moment: float) -> None:
    await trio.lowlevel.checkpoint()
    while (left := moment - clock()) > 0:  # noqa: ASYNC110  # a clock has no events
        await trio.sleep(min(left, _LOOK))


def _timer(moment: int) -> int:
    """A file that can be read from a moment on, in nanoseconds of CLOCK_BOOTTIME. Raises OSError."""
    library = _library()
    timer = int(library.timerfd_create(time.CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC))
    if timer < 0:
        raise _last_error()
    seconds, nanoseconds = divmod(moment, _SECOND)
    setting = _Setting(0, 0, seconds, nanoseconds)
    if library.timerfd_settime(timer, _ABSOLUTE, ctypes.byref(setting), None) != 0:
        error = _last_error()
        os.close(timer)
        raise error
    return timer


@functools.cache
def _library() -> ctypes.CDLL:
    # Each has a class of its own, which is garbage that only the collector finds.
    return ctypes.CDLL(None, use_errno=True)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))

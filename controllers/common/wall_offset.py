"""How far the wall clock is ahead of the boot clock, and when it steps.

Durations go by the boot clock. Whatever is shown as a time of day is kept as a moment of the boot clock and converted
when it is shown, and shown again when the wall clock was set: a machine whose clock is put right after boot does not
say that a state began before it.
"""

import datetime
import time
from collections.abc import Awaitable, Callable

from nodespan.runtime.codec.plain import format_time
from nodespan.runtime.process.boot_time import boot_time
from nodespan.runtime.ticks import tick

# A clock that is slewed changes less than this between two looks, in seconds; one that is set changes more.
_STEP = 1.0
# How soon a step is noticed.
LOOK_INTERVAL = 1.0


class WallOffset:
    """Converts moments of the boot clock, and what the kernel tells in wall-clock time.

    The offset follows steps only, so that what is shown does not change with each correction of the clock's speed.
    """

    def __init__(self, now: Callable[[], float] = boot_time, wall: Callable[[], float] = time.time) -> None:
        self._now = now
        self._wall = wall
        self._seconds = wall() - now()

    def now(self) -> float:
        """This moment on the boot clock."""
        return self._now()

    def read(self) -> float:
        """The offset in seconds. Looks at both clocks; does not wait."""
        seconds = self._wall() - self._now()
        if abs(seconds - self._seconds) > _STEP:
            self._seconds = seconds
        return self._seconds

    def text(self, moment: float) -> str:
        """A moment of the boot clock as the time of day, as the wall clock is set now."""
        return format_time(int((moment + self.read()) * 10**9))

    def time_of_day(self, moment: float) -> datetime.datetime:
        """The same as a value, in whole seconds of UTC."""
        return datetime.datetime.fromtimestamp(int(moment + self.read()), datetime.UTC)


async def follow_steps(offset: WallOffset, show: Callable[[], Awaitable[None]]) -> None:
    """Call this after each step of the wall clock, within a second or so. Until cancelled."""
    known = offset.read()
    while True:
        await tick(LOOK_INTERVAL)
        if (seconds := offset.read()) != known:
            known = seconds
            await show()

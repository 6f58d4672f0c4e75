"""How far the wall clock is ahead of the boot clock, and when it steps."""

import time
from collections.abc import Callable

from nodespan.controllers.common.boot_clock import boot_time

# A clock that is slewed changes less than this between two looks, in seconds; one that is set changes more.
_STEP = 1.0


class WallOffset:
    """Durations go by the boot clock. What is shown, or told by the kernel in wall-clock time, is converted by this.

    The offset follows steps only, so that what is shown does not change with each correction of the clock's speed.
    """

    def __init__(self, now: Callable[[], float] = boot_time, wall: Callable[[], float] = time.time) -> None:
        self._now = now
        self._wall = wall
        self._seconds = wall() - now()

    def read(self) -> float:
        """The offset in seconds. Looks at both clocks; does not wait."""
        seconds = self._wall() - self._now()
        if abs(seconds - self._seconds) > _STEP:
            self._seconds = seconds
        return self._seconds

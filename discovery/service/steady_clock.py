"""A wall clock that is never set: lifetimes do not change when the system's time does.

The machine's clock goes forward when it is synchronized after boot, and back when an operator corrects it; a record
that has ten minutes left still has ten minutes left. So the wall clock is asked once, at the start, and from then on
the clock that counts on while the machine sleeps.
"""

import time
from collections.abc import Callable

from nodespan.runtime.process.boot_time import boot_time_ns


def steady_clock(wall: Callable[[], int] = time.time_ns, boot: Callable[[], int] = boot_time_ns) -> Callable[[], int]:
    """A clock in nanoseconds that agrees with the wall clock now."""
    offset = wall() - boot()
    return lambda: boot() + offset

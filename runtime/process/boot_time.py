"""The clock of durations: it counts while the machine sleeps, and nobody sets it."""

import time


def boot_time() -> float:
    """Seconds since the machine started, sleep included; independent of the time of day."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_time_ns() -> int:
    """The same in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

"""The clock of deadlines that must hold through suspends and changes of the wall clock."""

import time


def boot_time() -> float:
    """Seconds since the machine started, those that it slept among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

"""A clock that neither a restart of the agent nor a change of the time of day disturbs, and only a reboot ends."""

import time
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class BootClock(Protocol):
    """`now` in seconds is comparable only with that of the same `boot`."""

    @property
    def boot(self) -> str:
        """What names this run of the machine."""
        ...

    def now(self) -> float:
        """The time since the machine was started, sleep included."""
        ...


def boot_time() -> float:
    """Seconds since the machine was started, sleep included; a change of the time of day does not touch it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemBootClock:
    """The kernel's."""

    @property
    def boot(self) -> str:
        """The kernel's id of this run, "" where there is none."""
        try:
            return _BOOT_ID.read_text().strip()
        except OSError:
            return ""

    def now(self) -> float:
        """The kernel's count."""
        return boot_time()

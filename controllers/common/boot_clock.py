"""A clock that survives restarts of the agent and ignores changes of the time of day; it ends with a reboot."""

from pathlib import Path
from typing import Protocol

from nodespan.kernel.netns import namespace_id
from nodespan.runtime.process.boot_time import boot_time

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class BootClock(Protocol):
    """`now`, in seconds, can only be compared within the same `boot`."""

    @property
    def boot(self) -> str:
        """The id of this boot."""
        ...

    def now(self) -> float:
        """Seconds since boot, including suspend."""
        ...


class SystemBootClock:
    """The kernel's."""

    @property
    def boot(self) -> str:
        """The kernel's boot id, "" if there is none."""
        try:
            return _BOOT_ID.read_text().strip()
        except OSError:
            return ""

    def now(self) -> float:
        """The kernel's count."""
        return boot_time()


class NamespaceClock(SystemBootClock):
    """For what holds for one network namespace: a container that is started again has another one, in the same boot."""

    @property
    def boot(self) -> str:
        """The kernel's boot id, and the namespace of this process."""
        return f"{super().boot} {namespace_id()}".strip()

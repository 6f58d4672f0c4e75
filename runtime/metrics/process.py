"""The process itself, by the names that dashboards expect of any process."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from nodespan.runtime.metrics.metric import Family, Kind, Metric

_SELF = Path("/proc/self")
# Fields of /proc/self/stat behind the name of the program, from 0.
_USER_TIME, _SYSTEM_TIME, _START, _VIRTUAL, _RESIDENT = 11, 12, 19, 20, 21

CPU = Metric(
    name="process_cpu_seconds_total",
    text="Processor time that the process has used, in user space and in the kernel.",
    kind=Kind.COUNTER,
    remedy="a rate that stays above 0.2 on a node at rest: `nodespan get controllers` shows which one is at work",
)
RESIDENT = Metric(
    name="process_resident_memory_bytes",
    text="Memory that the process has in use.",
    remedy="if it grows for days: `nodespan support`, and report it",
)
VIRTUAL = Metric(name="process_virtual_memory_bytes", text="Address space of the process.")
OPEN_FILES = Metric(
    name="process_open_fds",
    text="Open files and sockets.",
    remedy="near `process_max_fds` connections are refused: raise LimitNOFILE of the unit",
)
MOST_FILES = Metric(name="process_max_fds", text="How many files and sockets the process may have open.")
STARTED = Metric(
    name="process_start_time_seconds",
    text="When the process started, in seconds since the epoch.",
    shared=True,
    remedy="`changes(...[1h])` counts restarts",
)
METRICS = (CPU, RESIDENT, VIRTUAL, OPEN_FILES, MOST_FILES, STARTED)


def collect() -> Iterator[Family]:
    """The metrics of this process; none where /proc is not to be read, as in some sandboxes."""
    try:
        # The name of the program, in brackets, may contain anything.
        fields = (_SELF / "stat").read_text().rpartition(")")[2].split()
        booted = _boot_time()
        open_files = len(os.listdir(_SELF / "fd"))
    except OSError:
        return
    ticks = os.sysconf("SC_CLK_TCK")
    yield CPU((int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / ticks)
    yield RESIDENT(int(fields[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE"))
    yield VIRTUAL(int(fields[_VIRTUAL]))
    yield OPEN_FILES(open_files)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield MOST_FILES(float("inf") if limit == resource.RLIM_INFINITY else limit)
    yield STARTED(booted + int(fields[_START]) / ticks)


def _boot_time() -> float:
    lines = Path("/proc/stat").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("btime ")))

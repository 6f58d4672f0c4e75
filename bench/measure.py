"""Takes the measurements: both sides in turn, several times, so that a machine that slows down slows both.

What only computes is measured in processor time, which other programs on the machine disturb least.
"""

import gc
import time
from collections.abc import Awaitable, Callable

import attrs
import trio

REPEATS = 7


@attrs.frozen
class Figure:
    """One line of the table. `ours` and `baseline` are in `unit`; the ratio must be at most `limit`.

    `goal` is what the ratio should be, where that is not reached: the limit then only keeps it from growing.
    """

    what: str
    ours: float
    baseline: float
    limit: float
    unit: str = "us"
    goal: float | None = None

    @property
    def ratio(self) -> float:
        """Ours against the baseline."""
        return self.ours / self.baseline

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its limit."""
        return self.ratio <= self.limit

    @property
    def aim(self) -> float:
        """What the ratio should be."""
        return self.limit if self.goal is None else self.goal

    @property
    def mark(self) -> str:
        """What the table says of it; "" if all is well."""
        if not self.holds:
            return f"above the limit of {self.limit:g}"
        return "" if self.ratio <= self.aim else "the goal is not reached"


def time_call(function: Callable[[], object], times: int) -> float:
    """Microseconds per call, of this many calls in a row."""
    calls = range(times)
    gc.collect()
    started = time.process_time()
    for _ in calls:
        function()
    return (time.process_time() - started) / times * 1e6


def compare(ours: Callable[[], float], baseline: Callable[[], float], *, repeats: int = REPEATS) -> tuple[float, float]:
    """The best of both sides, measured in turn: other load on the machine only adds time."""
    pairs = [(ours(), baseline()) for _ in range(repeats)]
    return min(first for first, _ in pairs), min(second for _, second in pairs)


def compare_runs(
    ours: Callable[[], Awaitable[float]], baseline: Callable[[], Awaitable[float]], *, repeats: int = REPEATS
) -> tuple[float, float]:
    """`compare`, for measurements that need a trio run of their own."""
    return compare(lambda: trio.run(ours), lambda: trio.run(baseline), repeats=repeats)

"""How late the event loop is: the time that each round takes for what was ready, before it looks for new events.

What becomes ready during a round waits for its end, so the length of a round is how late anything is at most. trio
notifies an instrument before and after it waits for events, which is once a round: two clock readings and an addition.
"""

import time
from bisect import bisect_left
from itertools import accumulate

import trio

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag(trio.abc.Instrument):
    """Counts rounds by their length. Enter it within the trio run to watch."""

    def __init__(self) -> None:
        # Of each length up to a bound, and of those beyond the last.
        self._counts = [0] * (len(BOUNDS) + 1)
        self._since: float | None = None
        self.seconds = 0.0

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002  # trio's signature
        """Called by trio when a round is over."""
        if self._since is not None:
            seconds = time.perf_counter() - self._since
            self._since = None
            self.seconds += seconds
            self._counts[bisect_left(BOUNDS, seconds)] += 1

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002  # trio's signature
        """Called by trio when a round begins."""
        self._since = time.perf_counter()

    @property
    def counts(self) -> tuple[int, ...]:
        """How many rounds took at most so long, for each of the bounds; the last of them is all."""
        return tuple(accumulate(self._counts))

    def __enter__(self) -> "LoopLag":
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *exc: object) -> None:
        trio.lowlevel.remove_instrument(self)

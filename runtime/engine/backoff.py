"""How long to wait before trying again: exponential, randomised, without an end."""

import random

# The parameters of the original runtime: 0.5 s, half as long again each time, at most a minute, give or take a half.
INITIAL = 0.5
FACTOR = 1.5
JITTER = 0.5
CAP = 60.0


class Backoff:
    """Delays in seconds: each is drawn from ±50 % around an interval that grows by half up to a minute."""

    __slots__ = ("_interval", "_random")

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._interval = INITIAL

    def next(self) -> float:
        """The next delay."""
        interval = self._interval
        self._interval = min(CAP, interval * FACTOR)
        return self._random.uniform((1 - JITTER) * interval, (1 + JITTER) * interval)

    def reset(self) -> None:
        """Start over from the shortest delay."""
        self._interval = INITIAL

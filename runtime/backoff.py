"""Exponential backoff: how long to wait before the next try, after so many failures in a row.

`Exponential` is the rule, a pure value; `Backoff` counts the failures of one thing that is tried again and again.
Waits that are not spread out are exact, so a rule whose times others must be able to predict has no jitter; what many
do at the same time has some, and gets its randomness from outside, so that a test can repeat it.
"""

import random

import attrs


@attrs.frozen(kw_only=True)
class Exponential:
    """`base` seconds after the first failure, `factor` times as long after each further one, at most `cap`.

    `jitter` spreads each wait by that part of it, up and down: with 0.5, between half and one and a half of it.
    """

    base: float
    cap: float
    factor: float = 2.0
    jitter: float = 0.0

    def after(self, failures: int) -> float:
        """The wait after so many failures in a row, without jitter; 0 after none."""
        if failures <= 0:
            return 0.0
        try:
            return min(self.base * self.factor ** (failures - 1), self.cap)
        except OverflowError:
            return self.cap

    def spread(self, wait: float, random: random.Random | None) -> float:
        """The wait with jitter."""
        if not self.jitter or random is None:
            return wait
        return random.uniform((1 - self.jitter) * wait, (1 + self.jitter) * wait)


# The parameters of the original runtime, by which controllers are restarted.
RESTARTS = Exponential(base=0.5, factor=1.5, cap=60.0, jitter=0.5)


class Backoff:
    """The waits of one thing that is tried again and again. Without a source of randomness they have no jitter."""

    __slots__ = ("_exponential", "_failures", "_random")

    def __init__(self, random: random.Random | None = None, exponential: Exponential = RESTARTS) -> None:
        self._random = random
        self._exponential = exponential
        self._failures = 0

    @property
    def failures(self) -> int:
        """How often `next` was called since the start or the last reset."""
        return self._failures

    def next(self) -> float:
        """Count one more failure, and return the wait after it in seconds."""
        self._failures += 1
        return self._exponential.spread(self._exponential.after(self._failures), self._random)

    def reset(self) -> None:
        """Forget the failures: the next wait is the shortest."""
        self._failures = 0

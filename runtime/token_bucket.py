"""A token bucket: so many a second on average, so many at once. It has no clock of its own."""


class TokenBucket:
    """Holds at most `burst` tokens, full at first, and gains `rate` a second. Times are seconds of any one clock."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float, patience: float = 0.0) -> float | None:
        """Take one token, or reserve a future one.

        Returns the seconds until it is available, 0 for at once; None, and none is taken, if that exceeds `patience`.
        """
        tokens = self._at(now) - 1
        wait = max(0.0, -tokens / self._rate)
        if wait > patience:
            return None
        self._tokens, self._updated = tokens, now
        return wait

    def spend(self, amount: float, now: float) -> float:
        """Take so many tokens, whether they are there or not; returns the seconds until nothing is owed."""
        self._tokens, self._updated = self._at(now) - amount, now
        return max(0.0, -self._tokens / self._rate)

    def is_full(self, now: float) -> bool:
        """Whether the bucket is full, as a new one is."""
        return self._at(now) >= self._burst

    def _at(self, now: float) -> float:
        return min(self._burst, self._tokens + max(0.0, now - self._updated) * self._rate)

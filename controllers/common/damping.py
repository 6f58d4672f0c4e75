"""When to retry: after failures, and after another program undid a change.

Failures are retried with exponential backoff. A change that was undone is made again at once a few
times, because operators make mistakes; then another program is reverting it, and the retries back off exponentially
too. Two programs that revert each other without a delay would load the machine, and neither would report the conflict.

The backoff is reset after a calm period, which grows with the delays.

A failure may be transient, if a dependency is about to appear: only one that lasts is a problem.
"""

import attrs

from nodespan.runtime.backoff import Exponential

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
_DELAYS = Exponential(base=FIRST_DELAY, cap=LONGEST_DELAY)
# A failure lasts when retries still fail after this long: duplicate detection of an IPv6 address takes the kernel up
# to two seconds, and until then nothing can use the address.
LASTING = 3.0
# How often a change may be undone before retries back off.
FREE = 5
# The shortest calm period, in seconds, that resets the backoff.
CALM = 10.0
# After a related change a failure waits for only this part of its delay.
_HASTE = 0.1


@attrs.frozen
class _Record:
    failures: int
    failing_since: float
    times_done: int
    # The last attempt, and the delay of the next.
    tried_at: float
    delay: float

    @property
    def again_at(self) -> float:
        return self.tried_at + self.delay

    @property
    def calm_at(self) -> float:
        return self.tried_at + max(CALM, 2 * self.delay)

    @property
    def is_damped(self) -> bool:
        return not self.failures and self.times_done > FREE

    def due_at(self, now: float) -> float:
        return self.again_at if self.failures or now < self.again_at else self.calm_at


class Damper:
    """The attempts by id. Times are the caller's, in seconds."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        # The ids with a deadline. The others are many, and matter only when they are applied again.
        self._waiting: set[str] = set()

    def failed(self, id: str, now: float) -> None:
        """An attempt failed."""
        before = self._records.get(id)
        failures, since = 1, now
        if before is not None and before.failures:
            failures, since = before.failures + 1, before.failing_since
        delay = _DELAYS.after(failures)
        if now < since + LASTING:
            # So that there is an attempt at that time.
            delay = min(delay, since + LASTING - now)
        self._set(id, _Record(failures, since, 0, now, delay))

    def done(self, id: str, now: float) -> None:
        """An attempt succeeded."""
        before = self._records.get(id)
        again = before is not None and not before.failures and now < before.calm_at
        times = before.times_done + 1 if before is not None and again else 1
        self._set(id, _Record(0, 0.0, times, now, _DELAYS.after(times - FREE)))

    def holds(self, id: str) -> None:
        """The desired state holds already: reset failures."""
        record = self._records.get(id)
        if record is not None and record.failures:
            self.forget(id)

    def forget(self, id: str) -> None:
        """Reset: the spec changed."""
        self._records.pop(id, None)
        self._waiting.discard(id)

    def hasten(self, id: str, now: float) -> None:
        """A related change may let the next attempt succeed: retry sooner."""
        record = self._records.get(id)
        if record is not None and record.failures:
            delay = max(now - record.tried_at, _HASTE * _DELAYS.after(record.failures))
            self._set(id, attrs.evolve(record, delay=min(record.delay, delay)))

    def may_try(self, id: str, now: float) -> bool:
        """Whether an attempt is due."""
        record = self._records.get(id)
        return record is None or now >= record.again_at

    def has_lasted(self, id: str) -> bool:
        """Whether it has failed for so long that it is not transient."""
        record = self._records.get(id)
        return record is not None and record.failures > 0 and record.tried_at >= record.failing_since + LASTING

    def is_damped(self, id: str, now: float) -> bool:
        """Whether another program keeps undoing it."""
        record = self._records.get(id)
        return record is not None and record.is_damped and now < record.calm_at

    def failing(self) -> set[str]:
        """The ids whose last attempt failed."""
        return {id for id in self._waiting if self._records[id].failures}

    def due(self, now: float) -> set[str]:
        """The ids to reconcile: an attempt is due, or the calm period has passed."""
        found = {id for id in self._waiting if now >= self._records[id].again_at}
        for id in tuple(found):
            record = self._records[id]
            if record.is_damped and now >= record.calm_at:
                self.forget(id)
        return found

    def next_due(self, now: float) -> float:
        """The time at which the next id is due, infinity for never."""
        return min((self._records[id].due_at(now) for id in self._waiting), default=float("inf"))

    def _set(self, id: str, record: _Record) -> None:
        self._records[id] = record
        if record.failures or record.is_damped:
            self._waiting.add(id)
        else:
            self._waiting.discard(id)

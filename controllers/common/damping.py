"""How soon something is done again: what failed, and what somebody else undoes.

What fails waits, twice as long after each further failure. What was done and is undone is done again at once a few
times, for people make mistakes; then somebody else wants it otherwise, and doing it again waits too, twice as long each
time. Two that each put things right at once would wear out the machine, and neither would ever be told of the other.

That is over when it was left alone for a while, which is longer the longer the waits were.

What fails may do so because something that it rests on is about to come: a failure that lasts is another matter.
"""

import attrs

from nodespan.runtime.backoff import Exponential

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
_DELAYS = Exponential(base=FIRST_DELAY, cap=LONGEST_DELAY)
# A failure lasts when something still fails after this long: the kernel takes up to two seconds to find out that an
# address of IPv6 is nobody else's, and until then nothing can rest on it.
LASTING = 3.0
# So often something may be undone before it waits.
FREE = 5
# For how long at least it has to be left alone, in seconds, until that is forgotten.
CALM = 10.0
# A change of circumstances lets a failure wait for only this part of its delay.
_HASTE = 0.1


@attrs.frozen
class _Record:
    failures: int
    failing_since: float
    times_done: int
    # When it was last tried, and when it may be tried again.
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
    """The tries of things, by their ids. Times are the caller's, in seconds."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        # Those that time will tell something of; the others are many, and are looked at only when they are done again.
        self._waiting: set[str] = set()

    def failed(self, id: str, now: float) -> None:
        """It was tried and failed."""
        before = self._records.get(id)
        failures, since = 1, now
        if before is not None and before.failures:
            failures, since = before.failures + 1, before.failing_since
        delay = _DELAYS.after(failures)
        if now < since + LASTING:
            # So that it is known by then.
            delay = min(delay, since + LASTING - now)
        self._set(id, _Record(failures, since, 0, now, delay))

    def done(self, id: str, now: float) -> None:
        """It was tried and done."""
        before = self._records.get(id)
        again = before is not None and not before.failures and now < before.calm_at
        times = before.times_done + 1 if before is not None and again else 1
        self._set(id, _Record(0, 0.0, times, now, _DELAYS.after(times - FREE)))

    def holds(self, id: str) -> None:
        """There is nothing to do, whoever saw to that: failures are forgotten."""
        record = self._records.get(id)
        if record is not None and record.failures:
            self.forget(id)

    def forget(self, id: str) -> None:
        """It is another thing from now on."""
        self._records.pop(id, None)
        self._waiting.discard(id)

    def hasten(self, id: str, now: float) -> None:
        """Something changed that may let a failure succeed."""
        record = self._records.get(id)
        if record is not None and record.failures:
            delay = max(now - record.tried_at, _HASTE * _DELAYS.after(record.failures))
            self._set(id, attrs.evolve(record, delay=min(record.delay, delay)))

    def may_try(self, id: str, now: float) -> bool:
        """Whether it may be done now."""
        record = self._records.get(id)
        return record is None or now >= record.again_at

    def has_lasted(self, id: str) -> bool:
        """Whether it failed over and over for so long that it will not come right by itself in a moment."""
        record = self._records.get(id)
        return record is not None and record.failures > 0 and record.tried_at >= record.failing_since + LASTING

    def is_damped(self, id: str, now: float) -> bool:
        """Whether somebody else keeps undoing it."""
        record = self._records.get(id)
        return record is not None and record.is_damped and now < record.calm_at

    def failing(self) -> set[str]:
        """What failed when it was last tried."""
        return {id for id in self._waiting if self._records[id].failures}

    def due(self, now: float) -> set[str]:
        """What to look at: what may be tried again, or was left alone for long enough."""
        found = {id for id in self._waiting if now >= self._records[id].again_at}
        for id in tuple(found):
            record = self._records[id]
            if record.is_damped and now >= record.calm_at:
                self.forget(id)
        return found

    def next_due(self, now: float) -> float:
        """When there is something due next, infinity for never."""
        return min((self._records[id].due_at(now) for id in self._waiting), default=float("inf"))

    def _set(self, id: str, record: _Record) -> None:
        self._records[id] = record
        if record.failures or record.is_damped:
            self._waiting.add(id)
        else:
            self._waiting.discard(id)

"""When a condition counts as failed, and when as recovered: the more often it failed lately, the later.

A failed condition moves the virtual IP to another node. So a single failure is tolerated and `failures` in a row count
at once; and a condition that recovers must hold for a while, which doubles with each failure and shrinks again, step by
step, over periods without failures.
"""

import attrs

from nodespan.runtime.backoff import Exponential

# In seconds: how long a condition must hold after its first failure, the limit that this grows to, and the period
# without a failure that halves it.
FIRST_HOLD = 2.0
LONGEST_HOLD = 120.0
FORGIVENESS = 300.0
_HOLDS = Exponential(base=FIRST_HOLD, cap=LONGEST_HOLD)


@attrs.frozen(kw_only=True)
class Health:
    """What the checks so far amount to. Times are those of one clock, in seconds."""

    ok: bool = False
    # Since when.
    since: float = 0.0
    # Consecutive failures, and the time of the first success after them.
    failed: int = 0
    good_since: float | None = None
    # The number of recent failures, which sets `hold`.
    level: int = 0

    @property
    def hold(self) -> float:
        """How long, in seconds, checks must succeed before the condition counts as recovered."""
        return _HOLDS.after(self.level)


def step(health: Health, *, succeeded: bool, now: float, failures: int) -> Health:
    """The health after one more check; `failures` in a row make it fail."""
    return _after_success(health, now) if succeeded else _after_failure(health, now, failures)


def _after_success(health: Health, now: float) -> Health:
    good_since = now if health.good_since is None else health.good_since
    if health.ok:
        return attrs.evolve(health, failed=0, good_since=good_since)
    ok = now - good_since >= health.hold
    return attrs.evolve(health, ok=ok, since=now if ok else health.since, failed=0, good_since=good_since)


def _after_failure(health: Health, now: float, failures: int) -> Health:
    failed = health.failed + 1
    if not health.ok:
        return attrs.evolve(health, failed=failed, good_since=None)
    if failed < failures:
        return attrs.evolve(health, failed=failed, good_since=health.good_since)
    forgiven = int((now - health.since) // FORGIVENESS)
    level = max(0, health.level - forgiven) + 1
    return Health(ok=False, since=now, failed=failed, good_since=None, level=level)

"""When a check counts as failed, and when it is believed again: the more often it failed lately, the later.

A condition that does not hold costs the virtual IP a move to another node. So a single failure may be an accident, but
`failures` in a row are believed at once; and one that comes back must stay for a while, which doubles with each failure
and is forgotten, step by step, over good times.
"""

import attrs

from nodespan.runtime.backoff import Exponential

# In seconds: how long the first success after a failure must last, what that grows to, and after how much good time
# the next failure counts as half as bad.
FIRST_HOLD = 2.0
LONGEST_HOLD = 120.0
FORGIVENESS = 300.0
_HOLDS = Exponential(base=FIRST_HOLD, cap=LONGEST_HOLD)


@attrs.frozen(kw_only=True)
class Health:
    """What the checks so far amount to. Times are those of one clock, in seconds."""

    ok: bool = False
    # When it began to be so.
    since: float = 0.0
    # Failures in a row, and since when there were none.
    failed: int = 0
    good_since: float | None = None
    # How often it has failed lately.
    level: int = 0

    @property
    def hold(self) -> float:
        """How long, in seconds, checks must succeed before they are believed again."""
        return _HOLDS.after(self.level)


def step(health: Health, *, succeeded: bool, now: float, failures: int) -> Health:
    """What is known after one more check; it takes `failures` in a row to believe them."""
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

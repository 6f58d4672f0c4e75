"""The fencing clock: until when the holder of a lease may act as its holder, by its own clock alone.

Theory. etcd counts a lease's life from the moment at which its leader takes a renewal, never before the renewal was
sent: until SENT + TTL no other client can get what the lease guards. The holder stops a margin earlier. It counts from
when it sent, not from when the answer came, however long the answer took; and it counts on CLOCK_BOOTTIME, which
neither follows the wall clock nor stands still while the machine sleeps.

A renewal counts only if it was confirmed. A former leader that is cut off answers renewals for a second or two more,
while the others have elected a new leader that knows nothing of them. So a linearizable read follows each renewal: its
answer comes from a leader that a majority obeys at that moment. If it carries the raft term of the renewal, then no
later leader had been elected when the renewal was taken, and any that is elected afterwards extends all leases.
An answer of another term proves nothing, and the renewal is repeated.

So the margin has to cover only what happens on this side: removing the address, the kernel's slack of up to a second
in removing addresses whose lifetime is over, and clocks that run at different speeds.

Beats come at a tenth of the TTL, not at the usual third: with etcd's default timers a leader that dies is replaced
after one and a half seconds as a rule, and after three if the first vote is split. All that must pass between the last
good beat and the moment at which the holder of a lease of five seconds stops, or it would stop without any fault.
"""

import math

import attrs

_MARGIN = 1 / 5
_LARGEST_MARGIN = 3.0
_BEATS = 10


def margin(ttl: float) -> float:
    """How long before a lease of this TTL can end its holder stops, in seconds."""
    return min(ttl * _MARGIN, _LARGEST_MARGIN)


def valid_for(ttl: float) -> float:
    """How long after sending a renewal the holder may act on it, in seconds."""
    return ttl - margin(ttl)


def settling_time(ttl: float) -> float:
    """How long a new candidate waits before it holds: by then a holder that etcd has forgotten has stopped. Seconds."""
    return valid_for(ttl) + margin(ttl) / 2


def beat_interval(ttl: float) -> float:
    """How often a lease of this TTL is renewed, in seconds."""
    return ttl / _BEATS


@attrs.frozen
class LeaseClock:
    """The moment until which the holder may act."""

    valid_until: float = -math.inf

    def renewed(self, *, sent: float, ttl: float) -> "LeaseClock":
        """After a confirmed renewal that was sent at this moment. A late one shortens nothing."""
        return LeaseClock(max(self.valid_until, sent + valid_for(ttl)))

    def remaining(self, now: float) -> float:
        """The seconds left, 0 when it is over."""
        return max(0.0, self.valid_until - now)

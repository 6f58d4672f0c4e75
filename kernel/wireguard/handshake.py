"""When a peer's last handshake was, on a clock that does not step.

WireGuard reports the time of a handshake by the wall clock of that moment, which may have been set since. A handshake
that is new in a reading happened after the reading before it; so only the first reading, of an agent that has just
started, depends on the wall clock.
"""

import math

import attrs


@attrs.frozen(kw_only=True)
class Handshake:
    """`reported` is the device's wall-clock time, `at` is the same on the caller's clock, `read` the last reading."""

    reported: float | None = None
    at: float | None = None
    read: float = -math.inf

    def observed(self, reported: float | None, now: float, wall_offset: float) -> "Handshake":
        """After a reading of the device. `wall_offset` is how far the wall clock is ahead of the caller's."""
        if reported is None:
            return Handshake(read=now)
        if reported == self.reported:
            return attrs.evolve(self, read=now)
        return Handshake(reported=reported, at=min(max(reported - wall_offset, self.read), now), read=now)

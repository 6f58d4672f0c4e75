"""When a peer's last handshake was, on a clock that does not step.

WireGuard tells the time of a handshake by the wall clock of that moment, which may have been set since. A handshake
that is new at a look happened after the look before it; so only the first look, of an agent that has just started,
has to believe the wall clock.
"""

import math

import attrs


@attrs.frozen(kw_only=True)
class Handshake:
    """`told` is the device's wall-clock time, `at` is the same on the caller's clock, `looked` the last look."""

    told: float | None = None
    at: float | None = None
    looked: float = -math.inf

    def observed(self, told: float | None, now: float, wall_offset: float) -> "Handshake":
        """With what the device tells at a look. `wall_offset` is what the wall clock is ahead of the caller's."""
        if told is None:
            return Handshake(looked=now)
        if told == self.told:
            return attrs.evolve(self, looked=now)
        return Handshake(told=told, at=min(max(told - wall_offset, self.looked), now), looked=now)

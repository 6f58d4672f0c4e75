"""Which of several relays a node uses. Pure rules.

The nearest one by measured round trip; the others are its reserve. A node stays with the relay that it has: its address
there is announced, and others use it. It changes only

    when the relay has not been usable for `PATIENCE`,            to the nearest one that may be usable; without such a
                                                                  one it stays, for each change is one for the mesh
    when another one is nearer by `MARGIN` and a third            once in `MEASURE_INTERVAL`, when that is known
"""

import math
from collections.abc import Mapping

import attrs

PATIENCE = 10.0
MARGIN = 0.02
_RATIO = 1.5
MEASURE_INTERVAL = 600.0
# A relay that has failed is not chosen again for so long, in seconds, unless it is connected again.
AVOIDED = 120.0


@attrs.frozen
class Candidate:
    """A relay: its round trip in seconds (infinite for unknown), and when it was last found not to be usable.

    `is_connected` is about the node's stream to it, None without one.
    """

    round_trip: float = math.inf
    failed: float = -math.inf
    is_connected: bool | None = None

    def is_avoided(self, now: float) -> bool:
        """Whether it is known not to be usable, or was not short ago."""
        return self.is_connected is False or now - self.failed < AVOIDED


def choose(
    candidates: Mapping[str, Candidate], current: str, now: float, *, unusable_since: float | None = None
) -> str:
    """The name of the relay to use, "" without any; `unusable_since` is about the current one, None if it works.

    The candidates are in the order of the configuration, which decides between equals.
    """
    if not candidates:
        return ""

    def rank(name: str) -> tuple[bool, float]:
        candidate = candidates[name]
        return candidate.is_avoided(now), candidate.round_trip

    best = min(candidates, key=rank)
    if current not in candidates:
        return best
    if unusable_since is not None:
        if now - unusable_since < PATIENCE:
            return current
        others = [
            name
            for name, each in candidates.items()
            if name != current and (each.is_connected or not each.is_avoided(now))
        ]
        return min(others, key=rank, default=current)
    mine, nearest = candidates[current].round_trip, candidates[best]
    is_nearer = nearest.round_trip + MARGIN < mine and nearest.round_trip * _RATIO < mine
    return best if is_nearer and not nearest.is_avoided(now) else current

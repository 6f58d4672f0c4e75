"""When a pair on a relay looks for a direct path, and where. Pure rules.

WireGuard goes over to a direct path by itself, at both ends, as soon as one packet of the other end comes from there.
So a trial costs one small packet: it is sent to a candidate from WireGuard's own port, instead of over the relay. If it
arrives, the peer answers to where it came from; if the answer arrives too, both ends are direct. If only the first one
does, the peer now answers where nothing gets through: hence another packet follows over the relay after `CONFIRM`,
which brings it back. So a trial that fails costs one probe, and at worst what the peer sends within `CONFIRM`.

    a pair has come on the relay           first trials after FIRST
    a round of trials has failed           the next round at the next multiple of INTERVAL of the wall clock, so that
                                           both ends try at the same time, which opens stateful firewalls at both; of
                                           EARLY_INTERVAL while the pair has been on the relay for less than EARLY,
                                           for where a new node is seen by others is only being found out
    a direct path was lost again           the next round after a hold-off, which doubles with each loss within MEMORY,
    soon after it was found                and is never so long that a path waits for more than two minutes

A round tries at most `MOST` candidates, the next round those after them.
"""

import math

import attrs

FIRST = 1.0
EARLY_INTERVAL = 5.0
EARLY = 20.0
INTERVAL = 30.0
CONFIRM = 0.4
MOST = 8
HOLD_OFF = 20.0
LONGEST_HOLD_OFF = 75.0
MEMORY = 600.0


@attrs.frozen
class Search:
    """What is remembered of the search of one peer. Times are seconds of one clock that does not step."""

    is_relayed: bool = False
    # Since when it is relayed, or direct.
    since: float = -math.inf
    # When the next round is due, while it is relayed.
    due: float = math.inf
    # How often a direct path was lost lately, and when that was last.
    losses: int = 0
    lost: float = -math.inf
    # Where the next round begins among the candidates.
    offset: int = 0

    def seen(self, now: float, *, is_relayed: bool) -> "Search":
        """The peer was just seen to be relayed, or to be direct."""
        if is_relayed == self.is_relayed:
            return self
        if not is_relayed:
            return attrs.evolve(self, is_relayed=False, since=now, due=math.inf, offset=0)
        losses = self.losses if now - self.lost < MEMORY else 0
        was_direct = self.since > -math.inf
        if not was_direct:
            return attrs.evolve(self, is_relayed=True, since=now, due=now + FIRST)
        hold_off = min(HOLD_OFF * 2**losses, LONGEST_HOLD_OFF)
        return attrs.evolve(self, is_relayed=True, since=now, due=now + hold_off, losses=losses + 1, lost=now)

    def tried(self, now: float, wall: float, count: int) -> "Search":
        """A round is over, of so many candidates; `wall` is the wall clock."""
        interval = EARLY_INTERVAL if now - self.since < EARLY else INTERVAL
        wait = interval - wall % interval
        # Not twice in a row where rounds take long.
        if wait < interval / 3:
            wait += interval
        return attrs.evolve(self, due=now + wait, offset=self.offset + count)


def round_of(candidates: tuple[str, ...], offset: int) -> tuple[str, ...]:
    """The candidates of a round that begins at this offset."""
    if len(candidates) <= MOST:
        return candidates
    start = offset % len(candidates)
    return (candidates[start:] + candidates[:start])[:MOST]

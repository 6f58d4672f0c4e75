"""How paths are judged, and when they are measured. Pure rules.

A round sends a peer one small echo request, and sometimes a large one beside it. A large one that is lost while the
small one is answered is too large for the path: routers drop it, and often without a word (RFC 8899 searches likewise).
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime

import attrs

from nodespan.resources.kubespan import KubeSpanPeerStatusSpec, PathTrial, PeerState, TrialResult
from nodespan.resources.network.link import IPV6_MINIMUM_MTU

# Bits a second that a node spends on all its idle peers, what one round with an idle peer costs there and back (two
# packets of 64 bytes, each with 60 of WireGuard, UDP and IPv6 in front), and how often a peer is measured at most.
BUDGET = 1000.0
ROUND_COST = 2 * 8 * (64 + 60)
SHORTEST_INTERVAL = 20.0
# A pair that carries more than this in an interval is not idle: it is measured this often, with a large packet. With
# keepalives, handshakes and what measures it, an idle one carries less.
BUSY_BYTES = 10_000
BUSY_INTERVAL = 30.0
# So many pairs are measured as busy ones in one round; the others have their turn later.
MOST_BUSY = 16
# The rounds that the figures are of.
ROUNDS = 10
# So often in a row a size is lost before it counts as too large.
LOSSES = 3
# WireGuard pads what it carries to multiples of this.
GRAIN = 16
# A path that is being searched is measured again after so long.
SEARCH_INTERVAL = 1.0
# A path that carries less than the tunnel assumes is asked after this long whether it carries more now.
RAISE_INTERVAL = 600.0
TRIALS = 8


def interval_of(peers: int) -> float:
    """How often each of so many idle peers is measured, in seconds, so that all of them stay within the budget."""
    return max(SHORTEST_INTERVAL, peers * ROUND_COST / BUDGET)


@attrs.frozen
class Figures:
    """Of the last rounds: the median and the longest round trip in seconds, None without any, and the part lost."""

    median: float | None = None
    worst: float | None = None
    loss: float = 0.0


def figures_of(rounds: Iterable[float | None]) -> Figures:
    """The figures of rounds, each a round trip in seconds or None for a lost one."""
    rounds = list(rounds)
    answered = sorted(each for each in rounds if each is not None)
    if not rounds:
        return Figures()
    loss = 1.0 - len(answered) / len(rounds)
    if not answered:
        return Figures(loss=loss)
    middle = len(answered) // 2
    median = answered[middle] if len(answered) % 2 else (answered[middle - 1] + answered[middle]) / 2
    return Figures(median, answered[-1], loss)


def is_news(before: Figures, after: Figures) -> bool:
    """Whether figures differ enough to be written: round trips differ a little all the time."""
    if (before.median is None) is not (after.median is None) or before.loss != after.loss:
        return True
    pairs = ((before.median, after.median), (before.worst, after.worst))
    return any(a is not None and b is not None and abs(a - b) > max(0.0005, 0.2 * a) for a, b in pairs)


@attrs.frozen
class SizeSearch:
    """The search for the largest packet that a path carries.

    `carried` is the largest size that was answered, `refused` the smallest that is too large, 0 for none; `lost` counts
    the losses in a row of the size that is tried. `found` is what the path carries, 0 while it is not known: the result
    of the last search that settled. It holds while the next search is under way, as routes depend on it.
    """

    largest: int
    carried: int = 0
    refused: int = 0
    lost: int = 0
    found: int = 0

    @property
    def size(self) -> int:
        """What to try next: while the search is settled, the size to try again now and then."""
        if not self.refused:
            return self.largest
        if not self.carried:
            return IPV6_MINIMUM_MTU
        if self.refused - self.carried <= GRAIN:
            return self.carried
        return max((self.carried + self.refused) // 2 // GRAIN * GRAIN, self.carried + GRAIN)

    @property
    def is_settled(self) -> bool:
        """Whether it is known what the path carries."""
        if not self.refused:
            return self.carried == self.largest and not self.lost
        if self.refused <= IPV6_MINIMUM_MTU:
            return True
        return bool(self.carried) and self.refused - self.carried <= GRAIN and not self.lost

    @property
    def is_too_small(self) -> bool:
        """Whether not even the least that IPv6 needs goes through."""
        return 0 < self.refused <= IPV6_MINIMUM_MTU

    def after(self, size: int, *, answered: bool) -> "SizeSearch":
        """The search after a packet of this size, of which only those count whose small one was answered."""
        if answered:
            refused = self.refused if size < self.refused else 0
            return attrs.evolve(self, carried=max(self.carried, size), refused=refused, lost=0)._concluded()
        if self.lost + 1 < LOSSES:
            return attrs.evolve(self, lost=self.lost + 1)
        carried = self.carried if self.carried < size else 0
        # The path became narrower than it was found: until it is searched, only this is sure to go through.
        found = IPV6_MINIMUM_MTU if self.found >= size else self.found
        return attrs.evolve(self, carried=carried, refused=size, lost=0, found=found)._concluded()

    def _concluded(self) -> "SizeSearch":
        if not self.is_settled:
            return self
        return attrs.evolve(self, found=0 if self.is_too_small else self.carried)

    def again(self) -> "SizeSearch":
        """The search begun anew from what is known, to see whether the path carries more by now."""
        return attrs.evolve(self, refused=0, lost=0) if self.refused else self


@attrs.define
class Measured:
    """What is known of the path to one peer."""

    search: SizeSearch
    rounds: deque[float | None] = attrs.field(factory=lambda: deque(maxlen=ROUNDS))
    # When to measure it next, and when to see whether larger packets go through by now; on the loop's clock.
    due: float = 0.0
    raise_at: float = 0.0
    # Since when it is watched how much it carries, what it had carried then, and whether that was much.
    since: float = 0.0
    carried: int = 0
    has_traffic: bool = False
    # Whether it is one of those that are measured as busy.
    is_busy: bool = False

    def notice(self, carried: int, now: float) -> bool:
        """Take in what it has carried by now; whether it has only begun to carry much."""
        span, moved, before = now - self.since, carried - self.carried, self.has_traffic
        is_much = moved > BUSY_BYTES * max(1.0, span / BUSY_INTERVAL)
        # Less than nothing where the tunnel counts anew.
        if is_much or moved < 0 or span >= BUSY_INTERVAL:
            self.since, self.carried, self.has_traffic = now, carried, is_much
        return self.has_traffic and not before

    @property
    def wants_large(self) -> bool:
        """Whether the next round has a large packet, which tells nothing of a peer that does not answer small ones."""
        return self.is_busy or (not self.search.is_settled and not self.silent)

    @property
    def silent(self) -> int:
        """How many of the last rounds in a row were lost."""
        return next((number for number, took in enumerate(reversed(self.rounds)) if took is not None), len(self.rounds))

    def pause(self, interval: float) -> float:
        """When to measure it again, where idle ones are measured at this interval.

        A search goes on soon; while the peer is silent, ever later.
        """
        if self.silent < ROUNDS and not self.search.is_settled:
            interval = min(interval, SEARCH_INTERVAL * 2**self.silent)
        return min(interval, BUSY_INTERVAL) if self.is_busy else interval


def with_trial(trials: tuple[PathTrial, ...], status: KubeSpanPeerStatusSpec, now: datetime) -> tuple[PathTrial, ...]:
    """The latest trials of endpoints, after a status of the peer."""
    last = trials[-1] if trials else None
    if status.state is PeerState.UP:
        endpoint, result = status.endpoint, TrialResult.UP
    else:
        endpoint, result = status.last_used_endpoint or status.endpoint, TrialResult.TRYING
        if last is not None and last.endpoint == endpoint and last.result in (TrialResult.UP, TrialResult.LOST):
            result = TrialResult.LOST
    if not endpoint or (last is not None and (last.endpoint, last.result) == (endpoint, result)):
        return trials
    if last is not None and last.endpoint == endpoint:
        return (*trials[:-1], attrs.evolve(last, result=result))
    if last is not None and last.result is TrialResult.TRYING:
        trials = (*trials[:-1], attrs.evolve(last, result=TrialResult.NO_ANSWER))
    return (*trials, PathTrial(endpoint=endpoint, since=now, result=result))[-TRIALS:]

"""What is counted of each virtual IP for metrics, beside its status: hand-overs, and how long the own lease holds.

A tally outlives the operator of its address, whose restart is no hand-over. It belongs to one trio run.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import trio


@attrs.frozen
class HeldLease:
    """The lease of a session: how long it still holds, and for how long it holds after a renewal, in seconds."""

    remaining: Callable[[], float]
    renewed: float


@attrs.define
class Tally:
    """`handovers` is how often another node was elected than the last one known. `lease` is None without a session."""

    handovers: int = 0
    lease: HeldLease | None = None
    _leader: str = ""

    def elected(self, leader: str) -> None:
        """This node is known to be elected, "" for none. One that is elected again has handed nothing over."""
        if leader and self._leader and leader != self._leader:
            self.handovers += 1
        self._leader = leader or self._leader

    @contextmanager
    def holding(self, lease: HeldLease) -> Iterator[None]:
        """There is a lease during the block."""
        self.lease = lease
        try:
            yield
        finally:
            self.lease = None


_tallies: trio.lowlevel.RunVar[dict[tuple[str, str], Tally]] = trio.lowlevel.RunVar("tallies of virtual IPs")


def tally_of(link: str, ip: str) -> Tally:
    """The tally of an address on a link."""
    try:
        known = _tallies.get()
    except LookupError:
        known = {}
        _tallies.set(known)
    return known.setdefault((link, ip), Tally())

"""Time slices of long work on the loop: a thousand objects that change at once hold up nothing else for long.

What becomes ready during a round of the loop waits for its end, and ten tasks may have long work in the same round. So
the slice is the round's, and not each task's: work that finds it used up has half of one, so that it gets on, and
leaves the rest to the next round.

Times are of trio's clock. In virtual time, which stands still meanwhile, all work is done in one piece.
"""

import trio

# In seconds.
SLICE = 0.005
# The part of a slice that a task has in any round: a checkpoint for each object would cost more than the object.
_LEAST = 0.5


class _Round(trio.abc.Instrument):
    """When the slice of the round ends that the loop is in: one clock reading a round."""

    def __init__(self) -> None:
        self.clock = trio.lowlevel.current_clock()
        self.ends = self.clock.current_time() + SLICE

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002  # trio's signature
        """Called by trio when a round begins."""
        self.ends = self.clock.current_time() + SLICE


_rounds: trio.lowlevel.RunVar[_Round] = trio.lowlevel.RunVar("round of slices")


def _round() -> _Round:
    try:
        return _rounds.get()
    except LookupError:
        found = _Round()
        _rounds.set(found)
        trio.lowlevel.add_instrument(found)
        return found


class Slices:
    """Work in slices, from now on."""

    def __init__(self) -> None:
        self._round = _round()
        self._until = 0.0
        self._begin()

    def _begin(self) -> None:
        self._until = max(self._round.ends, self._round.clock.current_time() + SLICE * _LEAST)

    @property
    def is_over(self) -> bool:
        """Whether it is time to rest."""
        return self._round.clock.current_time() >= self._until

    async def rest(self) -> None:
        """Let other tasks run if the slice is over; a checkpoint only then. Call it between two objects."""
        if self._round.clock.current_time() >= self._until:
            await trio.lowlevel.checkpoint()
            self._begin()

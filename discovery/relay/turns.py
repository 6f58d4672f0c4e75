"""Turns: at most one of those who take turns goes on in each pass of the loop.

The relay shares its loop with others, as discovery, whose calls are short and rare. Each pass of the loop runs whatever
can go on, so the time that a call waits is what all others do in a pass. What the relay carries is done in pieces, and
one piece a pass: discovery waits for one piece however many clients are busy.
"""

import trio


class Turns:
    """Await `next` after each piece of work."""

    __slots__ = ("_is_taken", "_waiting")

    def __init__(self) -> None:
        self._waiting = trio.lowlevel.ParkingLot()
        self._is_taken = False

    async def next(self) -> None:
        """Wait for a turn, in the order of the calls; and for one pass of the loop in any case."""
        if self._is_taken:
            await self._waiting.park()
        self._is_taken = True
        try:
            await trio.lowlevel.checkpoint()
        finally:
            if self._waiting:
                self._waiting.unpark()
            else:
                self._is_taken = False

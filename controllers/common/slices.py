"""Time slices of long work on the loop: a thousand objects that change at once hold up nothing else for long."""

import time

import trio

# In seconds. A checkpoint for each object would cost more than the object.
SLICE = 0.005


class Slices:
    """Work in slices, from now on."""

    def __init__(self) -> None:
        self._ends = time.perf_counter() + SLICE

    async def rest(self) -> None:
        """Let other tasks run if the slice is over; a checkpoint only then. Call it between two objects."""
        if time.perf_counter() >= self._ends:
            await trio.lowlevel.checkpoint()
            self._ends = time.perf_counter() + SLICE

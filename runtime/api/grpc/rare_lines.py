"""A line of the log for what may happen many times a second, for as long as others like."""

from collections.abc import Callable
from typing import Any

import trio

_INTERVAL = 60.0


class RareLine:
    """Written for the first time at once, and then at most once a minute, with how many `times` it was due since.

    `write` is a method of the log.
    """

    def __init__(self, write: Callable[..., Any], event: str) -> None:
        self._write = write
        self._event = event
        self._times = 0
        self._next = float("-inf")

    def due(self, **facts: object) -> None:
        """It has happened."""
        self._times += 1
        now = trio.current_time()
        if now >= self._next:
            self._write(self._event, times=self._times, **facts)
            self._times, self._next = 0, now + _INTERVAL

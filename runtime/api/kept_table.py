"""A large table is kept for some seconds: it is not made again for a command that is run in a loop."""

from collections.abc import Iterable, Iterator, Sequence
from operator import is_
from typing import Any

import trio

from nodespan.runtime.resource import Resource

# From so many rows on it takes longer to make a table than to compare what it was made of.
_FEWEST_ROWS = 500
# The characters of the largest table that is kept.
_LARGEST = 4 * 2**20
# How long, in seconds after its last use.
_KEPT = 5.0


class KeptTable:
    """The text of the last large table, for as long as it is asked for and none of its resources changes.

    Resources are immutable: the same ones make the same table. What else it depends on is its `key`. Whether a client
    may see it is for the caller to check, by listing the resources for that client.
    """

    def __init__(self) -> None:
        self._is_awaited = False
        self._forget()

    def _forget(self) -> None:
        self._key: object = None
        self._resources: Sequence[Resource[Any]] = ()
        self._parts: Sequence[str] = ()
        self._used = 0.0

    def find(self, key: object, resources: Sequence[Resource[Any]]) -> Sequence[str] | None:
        """The parts of this table if it is the one that is kept."""
        if key != self._key or len(resources) != len(self._resources) or not all(map(is_, resources, self._resources)):
            return None
        self._used = trio.current_time()
        return self._parts

    def keep(self, key: object, resources: Sequence[Resource[Any]], parts: Iterable[str]) -> Iterator[str]:
        """The parts, one after the other; once the last one was taken they are what is kept, unless few or many."""
        taken: list[str] = []
        size = 0
        for part in parts:
            size += len(part)
            if size <= _LARGEST:
                taken.append(part)
            else:
                taken.clear()
            yield part
        if len(resources) >= _FEWEST_ROWS and size <= _LARGEST:
            self._key, self._resources, self._parts = key, resources, taken
            self._used = trio.current_time()

    async def forget_in_time(self) -> None:
        """Wait until the table was not used for some seconds, and forget it.

        Returns at once if none is kept, or if another task waits already. Cancelled, it leaves the table to the next
        task that waits.
        """
        if self._is_awaited or not self._parts:
            return
        self._is_awaited = True
        try:
            while (ends := self._used + _KEPT) > trio.current_time():  # noqa: ASYNC110  # each use moves it
                await trio.sleep_until(ends)
            self._forget()
        finally:
            self._is_awaited = False

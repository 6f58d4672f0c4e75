"""Which unreadable records are logged: the first ones by name, later ones as a number.

Anyone who knows a cluster's id can create any number of unreadable records.
"""

from nodespan.discovery.view import Rejection

_MOST_NAMED = 64
_FIRST_COUNT = 1000


class Complaints:
    """Remembers what was logged."""

    __slots__ = ("_named", "_next_count")

    def __init__(self) -> None:
        self._named: set[Rejection] = set()
        self._next_count = _FIRST_COUNT

    def is_to_be_named(self, rejection: Rejection) -> bool:
        """Whether to log this one: it is new, and not too many were logged."""
        if rejection in self._named or len(self._named) >= _MOST_NAMED:
            return False
        self._named.add(rejection)
        return True

    def is_to_be_counted(self, count: int) -> bool:
        """Whether to log how many there were so far: at a thousand, ten thousand and so on."""
        if count < self._next_count:
            return False
        while count >= self._next_count:
            self._next_count *= 10
        return True

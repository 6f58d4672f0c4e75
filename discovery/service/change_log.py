"""The latest changes: each id once, at the position of its latest change.

A reader keeps a position and asks for the changes after it. The answer is a set and not a
history: an id that changed a hundred times is in it once.
"""

import attrs


@attrs.frozen
class Changes:
    """The ids that were changed and those that were removed, in the order of their latest changes."""

    changed: tuple[str, ...]
    gone: tuple[str, ...]


class ChangeLog:
    """The latest changes of at most `capacity` ids."""

    __slots__ = ("_capacity", "_floor", "_latest", "position")

    def __init__(self, capacity: int) -> None:
        self.position = 0
        self._capacity = capacity
        # Readers before this position have missed changes that were dropped.
        self._floor = 0
        self._latest: dict[str, tuple[int, bool]] = {}

    def record(self, id: str, *, gone: bool) -> None:
        """Record a change or removal of an id."""
        self.position += 1
        self._latest.pop(id, None)  # keeps the dict in the order of positions
        self._latest[id] = (self.position, gone)
        if len(self._latest) > self._capacity:
            oldest = next(iter(self._latest))
            self._floor, _ = self._latest.pop(oldest)

    def since(self, position: int) -> Changes | None:
        """The changes after a position; None if some were dropped."""
        if position < self._floor:
            return None
        changed: list[str] = []
        gone: list[str] = []
        for id, (at, is_gone) in reversed(self._latest.items()):
            if at <= position:
                break
            (gone if is_gone else changed).append(id)
        return Changes(tuple(reversed(changed)), tuple(reversed(gone)))

    def clear(self) -> None:
        """Drop everything: there are no readers."""
        self._latest.clear()
        self._floor = self.position

"""What changed since when: each id once, at the place of its latest change.

A reader keeps a position and asks what came after it. However long it was away, what it gets is a set and not a
history: an id that changed a hundred times is in it once, with what became of it.
"""

import attrs


@attrs.frozen
class Changes:
    """The ids that were changed and those that are gone, in the order of their latest changes."""

    changed: tuple[str, ...]
    gone: tuple[str, ...]


class ChangeLog:
    """Remembers the latest changes of at most `capacity` ids."""

    __slots__ = ("_capacity", "_floor", "_latest", "position")

    def __init__(self, capacity: int) -> None:
        self.position = 0
        self._capacity = capacity
        # Whoever stands before this position has missed something that was forgotten.
        self._floor = 0
        self._latest: dict[str, tuple[int, bool]] = {}

    def record(self, id: str, *, gone: bool) -> None:
        """An id was changed, or is gone."""
        self.position += 1
        self._latest.pop(id, None)  # so that the dict stays in the order of positions
        self._latest[id] = (self.position, gone)
        if len(self._latest) > self._capacity:
            oldest = next(iter(self._latest))
            self._floor, _ = self._latest.pop(oldest)

    def since(self, position: int) -> Changes | None:
        """The changes after a position; None if they are no longer known."""
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
        """Forget everything: there are no readers."""
        self._latest.clear()
        self._floor = self.position

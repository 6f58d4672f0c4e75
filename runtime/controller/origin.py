"""Where outputs come from: what a controller had read, in that turn or for that item, when it wrote one.

Reads are far more than writes, and nearly nobody asks, so noting must cost next to nothing: a turn has one list that
its reads are appended to, and an output remembers that list, and how long it was then.
"""

from typing import Any

import attrs

from nodespan.runtime.resource import KindLike, Version

# Of one turn. What reads more is told of the first ones.
MOST_READS = 512

# The kind, the id (None: all of the kind that passed a query), and the version that was found, None if there was none.
Note = tuple[KindLike[Any], str | None, Version]


@attrs.frozen
class Origin:
    """The last write of an output: when it was, in nanoseconds since 1970, and what had been read before it."""

    written: int
    _notes: list[Note]
    _count: int

    def notes(self) -> list[Note]:
        """The reads, in their order."""
        return self._notes[: self._count]

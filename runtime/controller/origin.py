"""Origins of outputs: what a controller had read, in that turn or for that item, when it wrote one.

Reads are far more frequent than writes, and origins are rarely requested, so recording must cost next to nothing: a
turn has one list that its reads are appended to, and an output keeps that list and its length at the time. Objects are
made from them on request.
"""

from typing import Any

import attrs

from nodespan.runtime.resource import KindLike, Version

# Of one turn: of more reads, only the first are recorded.
MOST_READS = 512

# The address of an output: namespace, type and id. A Pointer is equal to one, and takes several times as long to make.
Address = tuple[str, str, str]

# The kind, the id, and the version found (None: no resource). Without an id: all of the kind that passed a query, and
# how many changes of the kind there had been.
Note = tuple[KindLike[Any], str | None, Version]


# What is kept of a write: the list of the turn's reads, and how many of them were before it.
Record = tuple[list[Note], int]


@attrs.frozen
class Origin:
    """The last write of an output: the reads before it."""

    _notes: list[Note]
    _count: int

    def notes(self) -> list[Note]:
        """The reads, in their order."""
        return self._notes[: self._count]

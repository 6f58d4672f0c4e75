"""The layout of tables on the terminal: columns as wide as their widest cell, three spaces between them.

Each flush computes the widths. A list is flushed once, at its end; a watch when its initial contents are complete and
then after each line, because a line that waits for alignment is not seen.
"""

from collections.abc import Sequence

from nodespan.runtime.cli.screen import padded, width_of
from nodespan.runtime.text.escaping import escaped

_GAP = " " * 3


class Table:
    """Rows under a header. The first flush carries the header, even over no rows at all."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = len(columns)
        self._pending: list[list[str]] = []
        self.add(columns)

    def add(self, row: Sequence[str]) -> None:
        """Keep a row for the next flush. Raises ValueError if it has not one cell for each column."""
        if len(row) != self._columns:
            raise ValueError(f"a row of {len(row)} cells does not fit a table of {self._columns} columns: {row!r}")
        self._pending.append([escaped(cell) for cell in row])

    def flush(self) -> str:
        """The lines of the rows added since the last flush, each ended by a newline and without trailing blanks."""
        widths = [max(map(width_of, cells)) for cells in zip(*self._pending, strict=True)]
        lines = [
            _GAP.join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip(" ") + "\n"
            for row in self._pending
        ]
        self._pending.clear()
        return "".join(lines)

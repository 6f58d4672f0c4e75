"""The layout of tables on the terminal: columns as wide as their widest cell, three spaces between them.

Each flush computes the widths. A list is flushed once, at its end; a watch when its initial contents are complete and
then after each line, because a line that waits for alignment is not seen. Cells are kept and laid out by columns: what
is done for a whole column costs a tenth of the same for each cell.
"""

from collections.abc import Sequence

from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.width import padded, width_of

_GAP = " " * 3


class Table:
    """Rows under a header. The first flush carries the header, even over no rows at all."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._header: list[str] | None = [escaped(name) for name in columns]
        self._pending: list[list[str]] = [[] for _ in columns]

    def add(self, row: Sequence[str]) -> None:
        """Keep a row for the next flush. Raises ValueError if it has not one cell for each column."""
        if len(row) != len(self._pending):
            raise ValueError(f"a row of {len(row)} cells does not fit a table of {len(self._pending)} columns: {row!r}")
        for cells, cell in zip(self._pending, row, strict=True):
            cells.append(cell)

    def add_columns(self, rows: int, columns: Sequence[Sequence[str]]) -> None:
        """Keep so many rows, given as the cells of each column, or as the one text that all of them have.

        Raises ValueError if they are not rows of this table.
        """
        each = [[cells] * rows if isinstance(cells, str) else cells for cells in columns]
        if [*map(len, each)] != [rows] * len(self._pending):
            shape = [*map(len, each)]
            raise ValueError(f"columns of {shape} cells are not {rows} rows of {len(self._pending)} columns")
        for pending, cells in zip(self._pending, each, strict=True):
            pending.extend(cells)

    def flush(self) -> str:
        """The lines of the rows added since the last flush, each ended by a newline and without trailing blanks."""
        header = self._header or [""] * len(self._pending)
        count = len(self._pending[0])
        widths: list[int] = []
        # Cells of a column that are all alike, as many are, become part of the format of the lines.
        formats: list[str] = []
        columns: list[Sequence[str]] = []
        for name, cells in zip(header, self._pending, strict=True):
            alike = cells.count(cells[0]) == count if cells else True
            shown, width, is_padded = _laid_out(cells[:1] if alike else cells, width_of(name))
            widths.append(width)
            if alike:
                formats.append(padded("".join(shown), width).replace("%", "%%"))
            else:
                formats.append("%s" if is_padded else f"%-{width}s")
                columns.append(shown)
        self._pending = [[] for _ in header]
        rows = zip(*columns, strict=True) if columns else [()] * count
        lines = [line.rstrip(" ") for line in map(_GAP.join(formats).__mod__, rows)]
        if self._header is not None:
            lines.insert(0, _GAP.join(map(padded, header, widths)).rstrip(" "))
            self._header = None
        return "\n".join([*lines, ""])


def _laid_out(cells: Sequence[str], least: int) -> tuple[Sequence[str], int, bool]:
    """The cells of a column, escaped, the width of the column, at least this, and whether the cells fill it already.

    They do if they are not all ASCII: then the width of a text is not its length.
    """
    text = "".join(cells)
    if not text.isprintable():
        cells = [*map(escaped, cells)]
        text = "".join(cells)
    if text.isascii():
        return cells, max(least, *map(len, cells), 0), False
    widths = [*map(width_of, cells)]
    widest = max(least, *widths)
    return [cell + " " * (widest - width) for cell, width in zip(cells, widths, strict=True)], widest, True

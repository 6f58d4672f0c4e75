"""The layout of tables on the terminal: columns as wide as their widest cell, three spaces between them.

Each flush computes the widths. A list is flushed once, at its end; a watch when its initial contents are complete and
then after each line, because a line that waits for alignment is not seen. Cells are kept and laid out by columns, some
rows at a time: what is done for a whole column costs a tenth of the same for each cell.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.width import padded, width_of

_GAP = " " * 3
# So many characters of lines are made at once: one cell, which another machine may choose, makes all lines as long.
_PART = 128 * 1024
# What a terminal shows of ASCII; all else of it is escaped.
_SHOWN = bytes(range(0x20, 0x7F))
# The cells of a column, escaped, or the one text that all rows have; the width of the widest; the width of each, unless
# those are the lengths of the texts.
_Column = tuple[Sequence[str] | str, int, Sequence[int] | None]
# Some rows: their number and their columns.
_Block = tuple[int, list[_Column]]


class Table:
    """Rows under a header. The first flush carries the header, even over no rows at all."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._header: list[str] | None = [escaped(name) for name in columns]
        self._pending: list[list[str]] = [[] for _ in columns]
        self._blocks: list[_Block] = []

    def add(self, row: Sequence[str]) -> None:
        """Keep a row for the next flush. Raises ValueError if it has not one cell for each column."""
        if len(row) != len(self._pending):
            raise ValueError(f"a row of {len(row)} cells does not fit a table of {len(self._pending)} columns: {row!r}")
        for cells, cell in zip(self._pending, row, strict=True):
            cells.append(cell)

    def add_columns(self, rows: int, columns: Sequence[Sequence[str] | str]) -> None:
        """Keep so many rows, given as the cells of each column, or as the one text that all of them have.

        Raises ValueError if they are not rows of this table.
        """
        shape = [rows if isinstance(cells, str) else len(cells) for cells in columns]
        if shape != [rows] * len(self._pending):
            raise ValueError(f"columns of {shape} cells are not {rows} rows of {len(self._pending)} columns")
        self._keep_pending()
        if rows:
            self._blocks.append((rows, [*map(_measured, columns)]))

    def _keep_pending(self) -> None:
        rows = len(self._pending[0])
        if rows:
            columns = [cells[0] if cells.count(cells[0]) == rows else cells for cells in self._pending]
            self._pending = [[] for _ in columns]
            self._blocks.append((rows, [*map(_measured, columns)]))

    def flush(self) -> str:
        """The lines of the rows added since the last flush, each ended by a newline and without trailing blanks."""
        return "".join(self.parts())

    def parts(self) -> Iterator[str]:
        """`flush`, some lines at a time: the header, and then the rows as they were added."""
        self._keep_pending()
        widths = self._widths()
        header, self._header = self._header, None
        blocks, self._blocks = self._blocks, []
        if header is not None:
            yield _GAP.join(map(padded, header, widths)).rstrip(" ") + "\n"
        most = max(1, _PART // _length_of_line(widths))
        # Backwards and from the end, so that each can be forgotten once its lines are made.
        blocks.reverse()
        while blocks:
            rows, columns = blocks.pop()
            for first in range(0, rows, most):
                some = columns if rows <= most else [_cut(column, first, most) for column in columns]
                yield _lines(min(most, rows - first), some, widths)

    def size(self) -> int:
        """How many characters the lines of the next flush have at most, without the header."""
        self._keep_pending()
        return sum(rows for rows, _ in self._blocks) * _length_of_line(self._widths())

    def _widths(self) -> list[int]:
        least = repeat(0, len(self._pending)) if self._header is None else map(width_of, self._header)
        of_blocks = ([width for _, width, _ in columns] for _, columns in self._blocks)
        return [max(column) for column in zip(least, *of_blocks, strict=True)]


def _length_of_line(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1) + 1


def _cut(column: _Column, first: int, rows: int) -> _Column:
    """Some rows of a column; it stays as wide as it is."""
    cells, width, each = column
    if isinstance(cells, str):
        return column
    return cells[first : first + rows], width, None if each is None else each[first : first + rows]


def _measured(cells: Sequence[str] | str) -> _Column:
    if isinstance(cells, str):
        shown = escaped(cells)
        return shown, width_of(shown), None
    text = "".join(cells)
    # Of ASCII it is found out five times as fast what has to be escaped.
    if text.encode().translate(None, _SHOWN) if text.isascii() else not text.isprintable():
        cells = [*map(escaped, cells)]
        text = "".join(cells)
    if text.isascii():
        return cells, max(map(len, cells)), None
    each = [*map(width_of, cells)]
    return cells, max(each), each


def _lines(rows: int, columns: Sequence[_Column], widths: Sequence[int]) -> str:
    """The lines as one text: what they all have between the cells in which they differ, and these, in turn."""
    differing: list[Iterable[str]] = []
    # What all lines have before, between and behind those.
    common = [""]
    for (cells, own, each), width in zip(columns, widths, strict=True):
        if isinstance(cells, str):
            common[-1] += cells + " " * (width - own) + _GAP
        else:
            differing.append(_padded(cells, width, each))
            common.append(_GAP)
    start, *others = common
    if not differing:
        return (start.rstrip(" ") + "\n") * rows
    end = others.pop().rstrip(" ")
    pieces = differing[:1]
    for between, column in zip(others, differing[1:], strict=True):
        pieces += repeat(between, rows), column
    # The end of a line is one piece with the start of the next one.
    text = start + f"{end}\n{start}".join(map("".join, zip(*pieces, strict=True))) + f"{end}\n"
    if end:
        return text
    # Lines that end in cells of their own: how many blanks are behind those differs.
    return "\n".join([line.rstrip(" ") for line in text.split("\n")])


def _padded(cells: Sequence[str], width: int, each: Sequence[int] | None) -> Iterable[str]:
    if each is None:
        return map(str.ljust, cells, repeat(width))
    return [cell + " " * (width - own) for cell, own in zip(cells, each, strict=True)]

"""Configurations in which a mark stands where a problem is expected."""

import textwrap

MARK = "‸"


def unmark(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its marks, and the line and column, both from 1, of each of them."""
    places = []
    lines = textwrap.dedent(marked).lstrip("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        while (column := line.find(MARK)) >= 0:
            line = line.replace(MARK, "", 1)
            places.append((number, column + 1))
        lines[number - 1] = line
    return "\n".join(lines), places

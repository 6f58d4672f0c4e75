"""Pieces of Markdown: tables, code, headings."""

import re
from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown."""
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """A text as code in a line; "" stays empty."""
    if not text:
        return ""
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def block(text: str, language: str = "text") -> str:
    """A text as a block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def plain(text: str) -> str:
    """A text in which no character means anything in Markdown."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


def anchor(heading: str) -> str:
    """What a heading is linked by, as on the site and on forges."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", paragraph)[0]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|") if "|" in text else " ".join(text.split())

"""The texts of a configuration: where they come from, and how several become one text and are separated again.

What is applied is kept, and shown to clients, as one text. In a text of several files, each file follows a line
with its name; the files are merged as if they were still separate.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from nodespan.controllers.config.problem import split_lines

SUFFIX = ".yaml"
# In characters.
LARGEST_TEXT = 2**20
_MARK = "# nodespan: the file "
_MARKED = re.compile(rf"^---\n{re.escape(_MARK)}.*\n", re.MULTILINE)


@attrs.frozen(kw_only=True)
class SourceText:
    """A text, and the name of it in problems."""

    name: str
    text: str = attrs.field(repr=False)


def bundle(sources: Iterable[SourceText]) -> str:
    """One text for all of them; a single one stays as it is."""
    texts = list(sources)
    if len(texts) == 1:
        return texts[0].text
    return "".join(f"---\n{_MARK}{_one_line(each.name)}\n{_ended(each.text)}" for each in texts)


def unbundle(source: SourceText) -> Iterator[SourceText]:
    """The texts that a text stands for, each with its lines at their places in the whole."""
    marks = list(_MARKED.finditer(source.text))
    if not marks:
        yield source
        return
    starts = [mark.end() for mark in marks]
    ends = [*(mark.start() for mark in marks[1:]), len(source.text)]
    if source.text[: marks[0].start()].strip("\ufeff \n"):
        yield attrs.evolve(source, text=source.text[: marks[0].start()])
    for start, end in zip(starts, ends, strict=True):
        lines_before = len(split_lines(source.text[:start])) - 1
        yield attrs.evolve(source, text="\n" * lines_before + source.text[start:end])


def expand(path: Path) -> tuple[Path, ...]:
    """The files at a path: those of a directory in the order of their names, else the path itself.

    Blocks. Raises OSError for a directory that cannot be read.
    """
    if not path.is_dir():
        return (path,)
    return tuple(sorted(each for each in path.iterdir() if each.suffix == SUFFIX and not each.name.startswith(".")))


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _ended(text: str) -> str:
    text = text.removeprefix("\ufeff")
    return text if not text or text.endswith("\n") else text + "\n"

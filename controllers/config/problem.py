"""A problem as it is shown: file and place, what is wrong, what to do; with the line and a caret under it."""

import re
import unicodedata
from typing import Final

import attrs

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.masking import mask_line
from nodespan.runtime.text.escaping import escaped

# The line ends of the YAML reader.
_LINE_END: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_WINDOW = 100
_LINE_FEED: Final = "\n"


@attrs.frozen(kw_only=True)
class Problem:
    """Line and column count from 1; 0 without a place, as for a file that cannot be read.

    `width` is how many characters from the column on are marked. `path` is like `machine.network.interfaces[0].mtu`.
    `hides_value` says that the value of the key at this place may be a secret. `unknown`: it is about a key or a kind
    that nothing here knows, which a strict check refuses.
    """

    severity: Severity
    message: str
    file: str
    line: int = 0
    column: int = 0
    width: int = 1
    path: str = ""
    hint: str = ""
    hides_value: bool = False
    unknown: bool = False

    def __str__(self) -> str:
        place = f":{self.line}:{self.column}" if self.line else ""
        path = f"{escaped(self.path)}: " if self.path else ""
        return f"{escaped(self.file)}{place}: {self.severity}: {path}{escaped(self.message, keep=_LINE_FEED)}"


@attrs.frozen(kw_only=True)
class Ignored:
    """A part of a configuration that has no effect in nodespan; the line of the file counts from 1.

    `consequence` is what the author should know about that, "" if the part is plainly another system's. `is_unknown`: a
    document of a kind that no known version of the originals has.
    """

    path: str
    line: int
    file: str = ""
    consequence: str = ""
    is_unknown: bool = False

    def __str__(self) -> str:
        consequence = f": {self.consequence}" if self.consequence else ""
        return (
            f"{escaped(self.file)}:{self.line}: {escaped(self.path)} is not managed by nodespan, ignored{consequence}"
        )


def split_lines(text: str) -> list[str]:
    """The lines of a text, counted as the reader counts them, without their ends and without a byte order mark."""
    return _LINE_END.split(text.removeprefix("\ufeff"))


def render(problem: Problem, source_text: str) -> str:
    """The problem, its line with a caret under the place, and the hint. Secrets on the line are stars."""
    rendered = [str(problem)]
    lines = split_lines(source_text)
    if 0 < problem.line <= len(lines):
        start = problem.column - 1
        key_column = start if problem.hides_value else None
        line = mask_line(lines, problem.line - 1, understood=bool(problem.path), key_column=key_column)
        shown, start = _window(line, start)
        end = max(start + 1, min(start + problem.width, len(shown)))
        margin = f"{problem.line:>5}"
        rendered.append(f"{margin} | {_printable(shown)}".rstrip())
        rendered.append(f"{' ' * len(margin)} | {_blank(shown[:start])}{'^' * max(1, _columns(shown[start:end]))}")
    if problem.hint:
        rendered.append(problem.hint)
    return "\n".join(rendered)


def _window(line: str, start: int) -> tuple[str, int]:
    """The part of a long line around `start`, and where `start` is in it."""
    if len(line) <= _WINDOW:
        return line, start
    first = max(0, min(start - _WINDOW // 2, len(line) - _WINDOW))
    last = first + _WINDOW
    head = "…" if first else ""
    return head + line[first:last] + ("…" if last < len(line) else ""), start - first + len(head)


def _printable(text: str) -> str:
    return "".join(char if char == "\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _char_columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def _columns(text: str) -> int:
    return sum(map(_char_columns, text))


def _blank(text: str) -> str:
    """White space as wide as the text; tabs stay tabs, whatever their width is."""
    return "".join("\t" if char == "\t" else " " * _char_columns(char) for char in text)

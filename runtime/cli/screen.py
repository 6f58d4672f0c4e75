"""The terminal: how wide it is, and whether it shows colours.

Output that goes anywhere else is never cut and never coloured. NO_COLOR (no-color.org) turns colours off.
"""

import os
import sys
from typing import TextIO

from nodespan.runtime.text.escaping import escaped

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def for_terminal(text: str) -> str:
    """A text for programs as it is; where stdout is a terminal, with what that would act on, or hide, escaped."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return escaped(text, keep="\n\t") if sys.stdout.isatty() else text


def terminal_columns(stream: TextIO | None = None) -> int | None:
    """The columns of the terminal that the stream (stdout) is, None if it is none, or if it does not know.

    COLUMNS in the environment is heard for terminals only.
    """
    stream = sys.stdout if stream is None else stream
    try:
        if not stream.isatty():
            return None
        chosen = os.environ.get("COLUMNS", "")
        columns = int(chosen) if chosen.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None
    return columns or None


def shows_colours(stream: TextIO | None = None) -> bool:
    """Whether the stream (stdout) is a terminal whose user has nothing against colours."""
    stream = sys.stdout if stream is None else stream
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


class Paint:
    """Colours texts, or leaves them as they are."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled

    def __call__(self, colour: str, text: str) -> str:
        """The text in one of red, green, yellow, bold, dim."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._enabled and text else text

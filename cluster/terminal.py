"""Output to a terminal: lines, and a live part at the end that is redrawn."""

import os
from typing import TextIO

_UP_AND_CLEAR = "\x1b[{}A\x1b[J"


class Terminal:
    """Writes to `stream`, and flushes. Lines go above the live part."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: list[str] = []

    def line(self, text: str = "") -> None:
        """Write a permanent line."""
        self._write([text], self._live)

    def live(self, lines: list[str]) -> bool:
        """Redraw the live part; returns False if that is impossible: no terminal, or one that is too small."""
        if not self._stream.isatty():
            return False
        columns, rows = os.get_terminal_size(self._stream.fileno())
        if len(lines) >= rows or any(len(line) > columns for line in lines):
            return False
        if lines != self._live:
            self._write([], lines)
        return True

    def settle(self) -> None:
        """Keep the live part as permanent lines."""
        self._live = []

    def _write(self, above: list[str], live: list[str]) -> None:
        clear = _UP_AND_CLEAR.format(len(self._live)) if self._live else ""
        self._stream.write(clear + "".join(f"{text}\n" for text in (*above, *live)))
        self._stream.flush()
        self._live = list(live)

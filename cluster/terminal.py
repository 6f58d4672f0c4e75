"""Text for people: lines, and on a terminal a last part that is drawn over again."""

import os
from typing import TextIO

_UP_AND_CLEAR = "\x1b[{}A\x1b[J"


class Terminal:
    """Writes to `stream`, each time at once. Lines go above the part that is drawn over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: list[str] = []

    def line(self, text: str = "") -> None:
        """Write a line that stays."""
        self._write([text], self._live)

    def live(self, lines: list[str]) -> bool:
        """Draw over what was drawn last; returns False where that cannot be: no terminal, or too small a one."""
        if not self._stream.isatty():
            return False
        columns, rows = os.get_terminal_size(self._stream.fileno())
        if len(lines) >= rows or any(len(line) > columns for line in lines):
            return False
        if lines != self._live:
            self._write([], lines)
        return True

    def settle(self) -> None:
        """What was drawn last stays."""
        self._live = []

    def _write(self, above: list[str], live: list[str]) -> None:
        clear = _UP_AND_CLEAR.format(len(self._live)) if self._live else ""
        self._stream.write(clear + "".join(f"{text}\n" for text in (*above, *live)))
        self._stream.flush()
        self._live = list(live)

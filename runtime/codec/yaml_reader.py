"""ruamel.yaml's reader in about two thirds of its time, and with an end.

The reader goes through the text in pure Python. Most of its time goes into finding its own parts by properties, into
looking for keys that cannot be, and into counting columns one by one. These classes do the same without that; what they
do not override is ruamel's, and the tests compare the events. A text of many short values takes long all the same, so
there is a limit to their number.
"""

import functools
import math
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.parser import Parser
from ruamel.yaml.reader import Reader
from ruamel.yaml.scanner import Scanner


class _Reader(Reader):
    def forward(self, length: int = 1) -> None:
        if self.pointer + length + 1 >= len(self.buffer):
            self.update(length + 1)
        end = self.pointer + length
        passed = self.buffer[self.pointer : end]
        if "\n" in passed or "\r" in passed or "\ufeff" in passed:
            super().forward(length)
        else:
            self.pointer = end
            self.index += length
            self.column += length


class _Scanner(Scanner):
    # A property of the original.
    reader: Any = None

    def __init__(self, loader: Any) -> None:
        self.reader = loader.reader
        super().__init__(loader)

    def check_token(self, *choices: Any) -> bool:
        while self.need_more_tokens():
            self.fetch_more_tokens()
        return bool(self.tokens) and (not choices or isinstance(self.tokens[0], choices))

    def need_more_tokens(self) -> bool:
        if self.done or not self.tokens:
            return not self.done
        # Only where a key is possible does the next token depend on what follows it.
        return bool(self.possible_simple_keys) and super().need_more_tokens()

    def stale_possible_simple_keys(self) -> None:
        if self.possible_simple_keys:
            super().stale_possible_simple_keys()


class TooManyEventsError(Exception):
    """A text has more keys, values, lists and tables than may be read; at this line and column, from 0."""

    def __init__(self, line: int, column: int) -> None:
        super().__init__(line, column)
        self.line = line
        self.column = column


class _Parser(Parser):
    # Properties of the original.
    scanner: Any = None
    resolver: Any = None

    def __init__(self, loader: Any, most: float) -> None:
        self.scanner, self.resolver = loader.scanner, loader.resolver
        self._left = most
        super().__init__(loader)

    def get_event(self) -> Any:
        event = super().get_event()
        self._left -= 1
        if self._left < 0:
            raise TooManyEventsError(event.start_mark.line, event.start_mark.column)
        return event


class _Yaml(YAML):
    def official_plug_ins(self) -> list[str]:
        # The original looks through its directory for these, for each text: a tenth of a short one's time.
        return []


def yaml_reader(most_events: float = math.inf) -> YAML:
    """A reader for one text. Raises TooManyEventsError, and as ruamel YAMLError, ValueError and OverflowError."""
    reader = _Yaml(typ="safe", pure=True)
    reader.Reader, reader.Scanner, reader.Parser = _Reader, _Scanner, functools.partial(_Parser, most=most_events)
    return reader

"""Masks secrets in whole configurations.

A text that can be parsed is searched for secrets as the reader understands it, however it is written: the key
`"to\\x6ben"` is `token`, and what an alias repeats is where its anchor is. Its lines are searched too (`masking`), as
they are alone if it cannot be parsed. Only what shows whole texts loads this, for it loads the YAML parser.
"""

import bisect
import heapq
import re
from collections.abc import Iterator
from typing import Any

import attrs
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from nodespan.controllers.common.quoting import mask_url
from nodespan.controllers.config.masking import LONG_MATERIAL, PUBLIC_KEY, is_secret_name, mask_line
from nodespan.runtime.codec.yaml_reader import TooManyEventsError, yaml_reader

# Of longer texts, or of more keys and values, the lines are all that is looked at.
_LONGEST_TEXT, _MOST_EVENTS = 2**20, 30_000


def mask_text(text: str) -> str:
    """A whole configuration with stars for its secrets."""
    lines, understood = mask_values(text)
    return "\n".join(mask_line(lines, index, understood=understood) for index in range(len(lines)))


def mask_values(text: str) -> tuple[list[str], bool]:
    """The lines of a configuration, with stars for the secrets among its values, and whether it could be parsed.

    The lines as such are left to `mask_line`.
    """
    finder = _read(text)
    pieces, at = [], 0
    for value in () if finder is None else finder.secrets():
        pieces += [text[at : value.start], re.sub(r"\S", "*", text[value.start : value.end])]
        at = value.end
    return "".join([*pieces, text[at:]]).splitlines(), finder is not None


def secret_texts(text: str) -> list[str]:
    """The secrets among the values of a configuration, as the reader understands them; none if it cannot be parsed."""
    finder = _read(text)
    return [] if finder is None else finder.secret_texts()


@attrs.define
class _Value:
    """A value from where it starts to where it ends; `text` is what the reader makes of it, if it is a single one."""

    start: int
    end: int = 0
    text: str | None = None


@attrs.define
class _Level:
    """A list or table that is being read. `key` is that of the value which comes next, if it is a text."""

    value: _Value
    anchor: str | None
    is_table: bool
    is_secret: bool
    key: str | None = None
    has_key: bool = False


def _read(text: str) -> "_Finder | None":
    """The values of a text; None if it cannot be parsed, or is longer than what is read."""
    if len(text) > _LONGEST_TEXT:
        return None
    finder = _Finder(text)
    try:
        for event in yaml_reader(_MOST_EVENTS).parse(text.removeprefix("\ufeff")):
            finder.take(event)
    except (YAMLError, ValueError, OverflowError, TooManyEventsError):
        return None
    finder.follow_aliases()
    return finder


class _Finder:
    """Goes through the events of the reader, without recursion, and remembers where secrets are."""

    def __init__(self, text: str) -> None:
        # They may overlap.
        self._found: list[_Value] = []
        self._scalars: list[_Value] = []
        self._aliases: list[tuple[int, _Value]] = []
        self._offset = len(text) - len(text.removeprefix("\ufeff"))
        self._text = text
        self._levels: list[_Level] = []
        self._anchors: dict[str, _Value] = {}

    def follow_aliases(self) -> None:
        """Find what aliases inside of secrets stand for, which may hold others; all stand for something before them."""
        waiting = [(-value.end, value.start) for value in self._found]
        heapq.heapify(waiting)
        first = len(self._text)
        for position, value in reversed(self._aliases):
            # Of the secrets that end after this place, the first starts there.
            while waiting and -waiting[0][0] > position:
                first = min(first, heapq.heappop(waiting)[1])
            if first <= position:
                self._found.append(value)
                heapq.heappush(waiting, (-value.end, value.start))

    def secrets(self) -> Iterator[_Value]:
        """Places without overlap, in the order of the text."""
        now: _Value | None = None
        for value in sorted(self._found, key=lambda value: value.start):
            if now is not None and value.start < now.end:
                now = _Value(now.start, max(now.end, value.end))
                continue
            if now is not None:
                yield now
            now = value
        if now is not None:
            yield now

    def secret_texts(self) -> list[str]:
        """The single values at these places."""
        places = list(self.secrets())
        texts = []
        for scalar in self._scalars:
            place = bisect.bisect_right(places, scalar.start, key=lambda value: value.start) - 1
            if place >= 0 and scalar.start < places[place].end:
                texts.append(scalar.text or "")
        return texts

    def take(self, event: Any) -> None:
        match event:
            case DocumentStartEvent():
                self._anchors = {}
            case ScalarEvent():
                self._scalar(event)
            case AliasEvent():
                value = self._anchors.get(event.anchor)
                if value is not None:
                    self._aliases.append((event.start_mark.index + self._offset, value))
                    if self._is_secret():
                        self._found.append(value)
                self._place(value)
            case MappingStartEvent() | SequenceStartEvent():
                value = _Value(event.start_mark.index + self._offset)
                is_table = isinstance(event, MappingStartEvent)
                self._levels.append(_Level(value, event.anchor, is_table, self._is_secret()))
            case CollectionEndEvent():
                level = self._levels.pop()
                level.value.end = event.end_mark.index + self._offset
                if level.is_secret:
                    self._found.append(level.value)
                self._place(level.value, level.anchor)
            case _:
                pass

    def _scalar(self, event: Any) -> None:
        value = _Value(event.start_mark.index + self._offset, event.end_mark.index + self._offset, event.value)
        if not (self._levels and self._levels[-1].is_table and not self._levels[-1].has_key):
            self._scalars.append(value)
        is_escaped = event.style == '"' and "\\" in self._text[value.start : value.end]
        if self._is_secret() or (is_escaped and self._looks_secret(event.value)):
            self._found.append(value)
        self._place(value, event.anchor)

    def _place(self, value: _Value | None, anchor: str | None = None) -> None:
        """A value, or a key, is complete."""
        if anchor and value is not None:
            self._anchors[anchor] = value
        if self._levels and self._levels[-1].is_table:
            level = self._levels[-1]
            level.has_key = not level.has_key
            level.key = value.text if level.has_key and value is not None else None

    def _is_secret(self) -> bool:
        """Whether the value that comes belongs to a secret."""
        if not self._levels:
            return False
        level = self._levels[-1]
        return level.is_secret or (level.key is not None and is_secret_name(level.key))

    def _looks_secret(self, text: str) -> bool:
        key = self._levels[-1].key if self._levels else None
        is_public = key is not None and key.lower() == PUBLIC_KEY
        return mask_url(text) != text or (not is_public and bool(LONG_MATERIAL.search(text)))

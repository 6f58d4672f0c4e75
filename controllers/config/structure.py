"""From a tree of YAML nodes to values of the configuration's classes, by their type hints.

One walk over both: every error becomes a finding, the field keeps its default, and the walk goes on. A field that is
left out of `repr` holds a secret, and findings about it do not show the value.
"""

import datetime
import difflib
import enum
import functools
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import attrs

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.fields import fields_of, places_of
from nodespan.controllers.config.finding import Finding, Path, Severity, Span, warn
from nodespan.controllers.config.foreign import OPEN
from nodespan.controllers.config.masking import key_text
from nodespan.controllers.config.tree import Node, Scalar, Sequence, Table
from nodespan.resources.config.notation import Bounds, Octal
from nodespan.runtime.codec.duration import parse_duration

T = TypeVar("T")

_CLOSE_ENOUGH, _VERY_CLOSE = 0.7, 0.8
# Naming more places is of no use.
_MOST_PLACES = 2
_TRUE = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"}
_FALSE = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"}
_INTEGER = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*)")
_OCTAL = re.compile(r"0o?[0-7]+")


class _Absent(enum.Enum):
    """Stands for a value that is unset or invalid."""

    ABSENT = enum.auto()


_ABSENT: Final = _Absent.ABSENT


@functools.lru_cache(maxsize=1024)
def closest(word: str, known: tuple[str, ...], *, cutoff: float = _CLOSE_ENOUGH) -> str:
    """The one of the known words that was probably meant, "" if none is near."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[near[0]] if near else ""


def swapped(word: str, known: tuple[str, ...]) -> str:
    """The known word of the same letters, "" for none: two that changed places are a great part of a short word."""
    return next((name for name in known if sorted(name.lower()) == sorted(word.lower())), "")


@attrs.frozen(kw_only=True)
class Structured(typing.Generic[T]):
    """A value, its findings, and the parts beside it that belong to other systems."""

    value: T
    findings: tuple[Finding, ...]
    foreign: tuple[tuple[Path, Span], ...]


def structure(cls: type[T], node: Table, *, others: tuple[type, ...] = ()) -> Structured[T]:
    """The document as a value of class `cls`.

    `others` are the classes of other documents, in which a key that is unknown here may have its place.
    """
    walk = _Walk(cls, others)
    value: T = walk.instance(cls, node, ())
    return Structured(value=value, findings=tuple(walk.findings), foreign=tuple(walk.foreign))


class _Walk:
    """Collects findings on the way through a document."""

    def __init__(self, root: type, others: tuple[type, ...]) -> None:
        self._root = root
        self._others = others
        self.findings: list[Finding] = []
        self.foreign: list[tuple[Path, Span]] = []

    def instance(self, cls: Any, node: Table, path: Path) -> Any:
        fields = fields_of(cls)
        found: dict[str, Any] = {}
        for key, given, part in self._known(cls, node, path):
            field = fields[key]
            value = self._value(field.hint, part, (*path, given), is_secret=field.is_secret)
            if value is not _ABSENT:
                found[field.attribute] = value
        return cls(**found)

    def _known(self, cls: type, node: Table, path: Path) -> Iterator[tuple[str, str, Node]]:
        """Key, key as written and value for each key of the class; a misspelled one counts as the intended one."""
        fields = fields_of(cls)
        foreign = OPEN.get(cls)
        for given, (span, part) in node.values.items():
            if given in fields:
                yield given, given, part
                continue
            place, meant = "", ""
            if foreign is None or given not in foreign:
                meant = closest(given, tuple(fields), cutoff=_VERY_CLOSE)
                place = "" if meant else self._place(given, path)
                meant = meant or ("" if place else closest(given, tuple(fields)))
            if foreign is None and not meant and not place:
                meant = swapped(given, tuple(fields))
            if foreign is not None and not meant and not place:
                self.foreign.append(((*path, given), span))
                continue
            known = ", ".join(key for key in fields if key not in {"apiVersion", "kind"})
            # What is near no key here is one of a newer original, rather than a mistake.
            is_ours = bool(place or meant) or self._is_known(given)
            self.findings.append(
                Finding(
                    path=(*path, given),
                    message=f"unknown key {quote(key_text(given))}" + ("" if is_ours else ", ignored"),
                    hint=f"did you mean {place or quote(meant)}?" if place or meant else f"known here: {known}",
                    severity=Severity.ERROR if is_ours else Severity.WARNING,
                    unknown=not is_ours,
                    on_key=True,
                    hides_value=not meant or fields[meant].is_secret,
                )
            )
            if meant and meant not in node.values:
                yield meant, given, part

    def _is_known(self, key: str) -> bool:
        """Whether a key has a place anywhere, if too many to name them."""
        return any(key.lower() in places_of(cls) for cls in (self._root, *self._others))

    def _place(self, key: str, path: Path) -> str:
        """Where a key belongs that is unknown at this path, "" if nowhere, or in too many places to name them."""
        here = "".join("[]." if isinstance(part, int) else f".{part}" for part in path).replace("..", ".").strip(".")
        places = places_of(self._root).get(key.lower(), ())
        # A place below this one is more probable than one elsewhere.
        below = tuple(place for place in places if place.startswith(f"{here}."))
        nearest = _shortest(below) or places
        if nearest:
            return " or ".join(nearest) if len(nearest) <= _MOST_PLACES else ""
        elsewhere = [
            (str(attrs.fields_dict(other)["kind"].default), found)
            for other in self._others
            for found in places_of(other).get(key.lower(), ())
        ]
        if len(elsewhere) != 1:
            return ""
        kind, found = elsewhere[0]
        return f"{found} of a {kind} document"

    def _value(self, hint: Any, node: Node, path: Path, *, is_secret: bool) -> Any:
        if isinstance(node, Scalar) and node.is_null:
            return _ABSENT
        origin = typing.get_origin(hint)
        if origin is Literal:
            return _ABSENT
        if origin is tuple:
            return self._list(typing.get_args(hint)[0], node, path, is_secret=is_secret)
        if origin is Mapping:
            return self._pairs(typing.get_args(hint)[1], node, path, is_secret=is_secret)
        if attrs.has(hint):
            if isinstance(node, Table):
                return self.instance(hint, node, path)
            return self._refuse(path, f"must have keys of its own, not {_kind(node)}", _keys_hint(hint))
        if not isinstance(node, Scalar):
            return self._refuse(path, f"must be a single value, not {_kind(node)}")
        if node.tag:
            return self._refuse(path, "has a tag, which has no meaning here", "leave the word that starts with ! away")
        return self._scalar(hint, node, path, is_secret=is_secret)

    def _list(self, hint: Any, node: Node, path: Path, *, is_secret: bool) -> Any:
        if not isinstance(node, Sequence):
            return self._refuse(path, f"must be a list, not {_kind(node)}", "put a dash in front of each item")
        items = []
        for index, item in enumerate(node.items):
            if isinstance(item, Scalar) and item.is_null:
                self._refuse((*path, index), "an item of the list is empty", "fill it in or take it away")
            value = self._value(hint, item, (*path, index), is_secret=is_secret)
            # A placeholder keeps the positions of the items that follow.
            items.append(_placeholder(hint) if value is _ABSENT else value)
        return tuple(items)

    def _pairs(self, hint: Any, node: Node, path: Path, *, is_secret: bool) -> Any:
        if not isinstance(node, Table):
            return self._refuse(path, f"must be a table of names and values, not {_kind(node)}", "write NAME: value")
        pairs = {}
        for name, (_, item) in node.values.items():
            value = self._value(hint, item, (*path, name), is_secret=is_secret)
            if value is not _ABSENT or hint is str:
                pairs[name] = "" if value is _ABSENT else value
        return pairs

    def _scalar(self, hint: Any, node: Scalar, path: Path, *, is_secret: bool) -> Any:
        notes: tuple[Any, ...] = ()
        if typing.get_origin(hint) is Annotated:
            hint, *rest = typing.get_args(hint)
            notes = tuple(rest)
        shown = "the value" if is_secret else quote(node.text)
        if hint is str:
            return node.text
        if hint is bool:
            if node.plain and node.text in _TRUE | _FALSE:
                return node.text in _TRUE
            return self._refuse(path, f"{shown} is neither true nor false", "write true or false, without quotes")
        if hint is int:
            return self._number(node, path, shown, notes)
        if hint is datetime.timedelta:
            try:
                return parse_duration(node.text)
            except ValueError:
                return self._refuse(path, f"{shown} is not a duration", "write it like 5s, 1m30s or 500ms")
        if issubclass(hint, enum.StrEnum):
            return self._choice(hint, node, path)
        raise TypeError(f"no rule for fields of type {hint!r} in a configuration")

    def _number(self, node: Scalar, path: Path, shown: str, notes: tuple[Any, ...]) -> Any:
        is_octal = any(isinstance(note, Octal) for note in notes)
        if is_octal and _OCTAL.fullmatch(node.text):
            number = int(node.text.replace("o", ""), 8)
        elif is_octal and len(node.text) > 1 and node.text.startswith("0"):
            return self._refuse(path, f"{shown} is not an octal number", "octal digits are 0 to 7, as in 0644")
        elif is_octal and not (node.plain and _INTEGER.fullmatch(node.text)):
            return self._refuse(path, f"{shown} is not an octal number", "write it like 0644")
        elif not node.plain or not _INTEGER.fullmatch(node.text):
            hint = "write it without quotes" if _INTEGER.fullmatch(node.text) else ""
            return self._refuse(path, f"{shown} is not a whole number", hint)
        else:
            number = _integer(node.text)
        for bounds in notes:
            if isinstance(bounds, Bounds) and not bounds.low <= number <= bounds.high:
                limits = f"{bounds.low:#o} and {bounds.high:#o}" if is_octal else f"{bounds.low} and {bounds.high}"
                return self._refuse(path, f"{shown} is not between {limits}")
        if is_octal and number and not node.text.startswith("0"):
            other = f", or 0{node.text} if that is what you mean" if _OCTAL.fullmatch(f"0{node.text}") else ""
            self.findings.append(
                warn(
                    *path,
                    message=f"{shown} has no leading zero, so it is a decimal number and means {number:#o}",
                    hint=f"write {number:#o}{other}",
                )
            )
        return number

    def _choice(self, hint: type[enum.StrEnum], node: Scalar, path: Path) -> Any:
        if not node.text:
            return _ABSENT
        try:
            choice = hint(node.text)
        except ValueError:
            meant = closest(node.text, tuple(hint))
            self.findings.append(
                Finding(
                    path=path,
                    message=f"{quote(node.text)} is none of {', '.join(hint)}",
                    hint=f'did you mean "{meant}"?' if meant else "",
                    choice=True,
                )
            )
            return _ABSENT
        if choice != node.text:
            self.findings.append(warn(*path, message=f"{quote(node.text)} is an older word", hint=f"write {choice}"))
        return choice

    def _refuse(self, path: Path, message: str, hint: str = "") -> _Absent:
        self.findings.append(Finding(path=path, message=message, hint=hint))
        return _ABSENT


def _placeholder(hint: Any) -> Any:
    return next(iter(hint)) if isinstance(hint, type) and issubclass(hint, enum.Enum) else hint()


def _integer(text: str) -> int:
    """A whole number in the notations of YAML 1.2, and 1.1's octal with a leading zero."""
    body = text.lstrip("+-").replace("_", "")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(body[:2], 10)
    if base != 10:
        number = int(body[2:] or "0", base)
    elif body.startswith("0") and re.fullmatch("[0-7]+", body):
        number = int(body, 8)
    else:
        number = int(body[:40] or "0")
    return -number if text.startswith("-") else number


def _shortest(places: tuple[str, ...]) -> tuple[str, ...]:
    depth = min((place.count(".") for place in places), default=0)
    return tuple(place for place in places if place.count(".") == depth)


def _kind(node: Node) -> str:
    match node:
        case Scalar():
            return "a single value"
        case Sequence():
            return "a list"
        case Table():
            return "a table of keys and values"


def _keys_hint(cls: type) -> str:
    return f"known here: {', '.join(fields_of(cls))}"

"""Plain data from outside against a spec class: every mistake with its path, before anything is made of it.

`spec_from_plain` is for data that we wrote ourselves: it stops at the first mistake, does not say where, and takes 7
for a text. What people write is checked here first.
"""

import enum
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from nodespan.runtime.codec.documents import Path
from nodespan.runtime.codec.plain import spec_from_plain
from nodespan.runtime.resource import TextFlag
from nodespan.runtime.resource.spec import outside_name
from nodespan.runtime.text.suggestions import did_you_mean

_LISTS = (tuple, list, frozenset, set, Sequence)
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_MOST_SHOWN = 60
_MOST_CHOICES = 12


@attrs.frozen
class Mistake:
    """What is wrong, and where in the data; `on_key`: with the key, not with its value."""

    path: Path
    message: str
    on_key: bool = False

    @property
    def where(self) -> str:
        """The path as a text: `spec.lines[2]`."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text


def find_mistakes(cls: type[Any], data: Any, path: Path = ()) -> Iterator[Mistake]:
    """What keeps the data from being a spec of this class; nothing if `spec_from_plain` will make one of it."""
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError):
        hints = {}  # annotations that only a type checker can read
    if not isinstance(data, Mapping):
        yield Mistake(path, f"must be keys and values, not {_shown(data)}")
        return
    fields = {outside_name(field): field for field in attrs.fields(cls) if field.init}
    mistakes = [
        Mistake((*path, key), f"unknown key{did_you_mean(key, fields)}", on_key=True)
        for key in data
        if key not in fields
    ]
    for name, field in fields.items():
        if name in data:
            mistakes += _mistakes_of(hints.get(field.name, Any), data[name], (*path, name))
        elif field.default is attrs.NOTHING:
            mistakes.append(Mistake((*path, name), "is missing"))
    yield from mistakes
    if not mistakes:
        # What the class itself refuses.
        yield from _made(cls, data, path)


def _mistakes_of(annotation: Any, value: Any, path: Path) -> Iterator[Mistake]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or isinstance(annotation, typing.TypeVar):
        return
    if origin is typing.Annotated:
        yield from _mistakes_of(arguments[0], value, path)
    elif origin in (typing.Union, types.UnionType):
        yield from _mistakes_of_any(arguments, value, path)
    elif origin is typing.Literal:
        if value not in arguments:
            yield Mistake(path, f"must be {_choices(map(str, arguments))}, not {_shown(value)}")
    elif (origin or annotation) in _LISTS:
        yield from _mistakes_of_list(arguments, value, path)
    elif isinstance(origin or annotation, type) and issubclass(origin or annotation, Mapping):
        yield from _mistakes_of_mapping(arguments, value, path)
    elif isinstance(annotation, type):
        yield from _mistakes_of_class(annotation, value, path)


def _mistakes_of_any(annotations: Sequence[Any], value: Any, path: Path) -> Iterator[Mistake]:
    others = [each for each in annotations if each is not type(None)]
    if value is None and len(others) < len(annotations):
        return
    found = [list(_mistakes_of(each, value, path)) for each in others]
    if all(found):
        yield from min(found, key=len)


def _mistakes_of_list(arguments: Sequence[Any], value: Any, path: Path) -> Iterator[Mistake]:
    if not isinstance(value, list | tuple):
        yield Mistake(path, f"must be a list, not {_shown(value)}")
        return
    is_fixed = bool(arguments) and len(arguments) > 1 and arguments[1] is not Ellipsis
    if is_fixed and len(arguments) != len(value):
        yield Mistake(path, f"must be a list of {len(arguments)}, not of {len(value)}")
        return
    for number, item in enumerate(value):
        annotation = (arguments[number] if is_fixed else arguments[0]) if arguments else Any
        yield from _mistakes_of(annotation, item, (*path, number))


def _mistakes_of_mapping(arguments: Sequence[Any], value: Any, path: Path) -> Iterator[Mistake]:
    if not isinstance(value, Mapping):
        yield Mistake(path, f"must be keys and values, not {_shown(value)}")
        return
    for key, item in value.items():
        yield from _mistakes_of(arguments[1] if len(arguments) == 2 else str, item, (*path, key))


def _mistakes_of_class(cls: type[Any], value: Any, path: Path) -> Iterator[Mistake]:
    if attrs.has(cls):
        yield from find_mistakes(cls, value, path)
    elif cls in _WORDS:
        if not _is_plain(cls, value):
            hint = ": put it in quotes" if cls is str and isinstance(value, bool | int | float) else ""
            yield Mistake(path, f"must be {_WORDS[cls]}, not {_shown(value)}{hint}")
    elif issubclass(cls, enum.StrEnum):
        if value not in [member.value for member in cls]:
            yield Mistake(path, f"must be {_choices(member.value for member in cls)}, not {_shown(value)}")
    elif not isinstance(value, str) and not (isinstance(value, int) and issubclass(cls, enum.IntEnum)):
        yield Mistake(path, f"must be a text, not {_shown(value)}")
    elif issubclass(cls, TextFlag) or not isinstance(value, bool):
        yield from _made(cls, value, path)


def _is_plain(cls: type[Any], value: Any) -> bool:
    if cls is bool or isinstance(value, bool):
        return cls is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if cls is float else cls)


def _made(cls: type[Any], value: Any, path: Path) -> Iterator[Mistake]:
    try:
        spec_from_plain(cls, value)
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        yield Mistake(path, str(error) or f"is no {cls.__name__}")


def _choices(words: typing.Iterable[str]) -> str:
    known = [repr(word) for word in words]
    shown = known[:_MOST_CHOICES] + (["..."] if len(known) > _MOST_CHOICES else [])
    return f"one of {', '.join(shown)}" if len(shown) > 1 else "".join(shown)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case Mapping():
            return "keys and values"
        case list() | tuple():
            return "a list"
        case bool():
            return "true" if value else "false"
        case str():
            return f"{value!r:.{_MOST_SHOWN}}"
        case _:
            return f"{value!s:.{_MOST_SHOWN}}"

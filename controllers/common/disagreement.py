"""Where two values of one class contradict each other, in the words of their fields."""

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class Disagreement:
    """A field, by its path, and the two values of it."""

    field: str
    one: str
    other: str


def disagreements(
    one: T, other: T, *, leave_out: Collection[str] = (), only_where_set: bool = False
) -> tuple[Disagreement, ...]:
    """The fields in which two values of a class of attrs differ, those of structures inside included.

    With `only_where_set` a field that either value leaves empty agrees with everything.
    """
    return tuple(_differing(one, other, "", leave_out, only_where_set=only_where_set))


def _differing(
    one: Any, other: Any, prefix: str, leave_out: Collection[str], *, only_where_set: bool
) -> Iterator[Disagreement]:
    for field in attrs.fields(type(one)):
        if field.name in leave_out:
            continue
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if mine == theirs or (only_where_set and (_is_unset(mine) or _is_unset(theirs))):
            continue
        path = f"{prefix}{field.name}"
        if type(mine) is type(theirs) and attrs.has(type(mine)) and not hasattr(mine, "text"):
            yield from _differing(mine, theirs, f"{path}.", (), only_where_set=False)
        elif "private_key" in field.name or "preshared_key" in field.name:
            yield Disagreement(path, "one key", "another")
        else:
            yield Disagreement(path, _text(mine), _text(theirs))


def _is_unset(value: object) -> bool:
    return value is None or (value in (0, "", ()) and value is not False)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "text"):
        return str(value.text() or "none")
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    return str(value) if value or isinstance(value, int) else "none"

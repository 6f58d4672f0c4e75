"""The types of CEL and the values that stand for theirs.

Python's own types stand for most: `int` for int, `float` for double, `tuple` for list, `dict` for map. A uint is an int
of a class of its own, for the two do not mix.
"""

import datetime
import re
from typing import Any, Final

import attrs

from nodespan.controllers.common.cel.errors import CelValueError

LOWEST_INT, HIGHEST_INT, HIGHEST_UINT = -(2**63), 2**63 - 1, 2**64 - 1
_NANOSECONDS: Final = 10**9
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_UNITS: Final = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|us|µs|ns|m|s)")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)


@attrs.frozen
class Type:
    """A type: its name, and those of the items of a list, or the keys and values of a map."""

    name: str
    items: tuple["Type", ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.items))})" if self.items else self.name


BOOL, INT, UINT, DOUBLE = Type("bool"), Type("int"), Type("uint"), Type("double")
STRING, BYTES, NULL, TYPE, DYN = Type("string"), Type("bytes"), Type("null_type"), Type("type"), Type("dyn")
DURATION, TIMESTAMP = Type("duration"), Type("timestamp")
# Types that are named in expressions, as in `type(link.mtu) == uint`.
NAMED_TYPES: Final = ("bool", "int", "uint", "double", "string", "bytes", "null_type", "type", "list", "map")


def list_of(item: Type) -> Type:
    """A list of these."""
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    """A map of these."""
    return Type("map", (key, value))


def is_message(type: Type) -> bool:
    """Whether values of this type have fields."""
    return type.name.startswith("message ")


def fits(given: Type, expected: Type) -> bool:
    """Whether a value of the one type may stand where the other is expected; dyn is known only when it is computed."""
    if DYN in (given, expected) or given == expected:
        return True
    if given == NULL:
        return is_message(expected) or expected in (DURATION, TIMESTAMP)
    return (
        given.name == expected.name
        and bool(given.items)
        and all(fits(left, right) for left, right in zip(given.items, expected.items, strict=True))
    )


def joined(left: Type, right: Type) -> Type:
    """The type of what is one or the other."""
    if fits(left, right):
        return DYN if DYN in (left, right) else left if right == NULL else right
    return left if fits(right, left) else DYN


class UInt(int):
    """A whole number without a sign."""


@attrs.frozen(order=True)
class Duration:
    """A length of time."""

    nanoseconds: int


@attrs.frozen(order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970."""

    nanoseconds: int

    def at(self, offset: datetime.tzinfo) -> datetime.datetime:
        """The calendar's view of it."""
        return (_EPOCH + datetime.timedelta(seconds=self.nanoseconds // _NANOSECONDS)).astimezone(offset)


@attrs.frozen
class TypeValue:
    """A type as a value."""

    name: str


@attrs.frozen
class Message:
    """A message of this name; None stands for an unset one, whose fields have the values that stand for nothing."""

    name: str
    content: Any


def type_of(value: Any) -> Type:
    """The type of a value, those of items left out."""
    match value:
        case bool():
            return BOOL
        case UInt():
            return UINT
        case int():
            return INT
        case float():
            return DOUBLE
        case str():
            return STRING
        case bytes():
            return BYTES
        case None:
            return NULL
        case tuple():
            return list_of(DYN)
        case dict():
            return map_of(DYN, DYN)
        case Duration():
            return DURATION
        case Timestamp():
            return TIMESTAMP
        case TypeValue():
            return TYPE
        case Message():
            return Type(f"message {value.name}")
    raise AssertionError(f"no type for {value!r}")


def equal(left: Any, right: Any) -> bool:
    """Whether two values are equal; numbers are by value, values of other different types are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(equal(one, other) for one, other in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    return type(left) is type(right) and bool(left == right)


def int_of(number: int) -> int:
    """A number as an int."""
    if not LOWEST_INT <= number <= HIGHEST_INT:
        raise CelValueError(f"{number} does not fit into an int")
    return int(number)


def uint_of(number: int) -> UInt:
    """A number as a uint."""
    if not 0 <= number <= HIGHEST_UINT:
        raise CelValueError(f"{number} does not fit into a uint")
    return UInt(number)


def duration_of(nanoseconds: int) -> Duration:
    """A length of time."""
    return Duration(int_of(nanoseconds))


def timestamp_of(nanoseconds: int) -> Timestamp:
    """A moment of the years 1 to 9999."""
    if not -62135596800 <= nanoseconds // _NANOSECONDS <= 253402300799:
        raise CelValueError("the time is not within the years 1 to 9999")
    return Timestamp(nanoseconds)


def parse_duration(text: str) -> Duration:
    """A duration as `1h30m`, `-1.5s`."""
    body = text[1:] if text[:1] in ("+", "-") else text
    parts = _DURATION_PART.findall(body)
    if body == "0":
        return Duration(0)
    if not parts or "".join(number + unit for number, unit in parts) != body or len(body) > 100:
        raise CelValueError(f"{text!r} is not a duration")
    total = 0
    for number, unit in parts:
        whole, _, fraction = number.partition(".")
        total += int(whole or "0") * _UNITS[unit] + int(fraction or "0") * _UNITS[unit] // 10 ** len(fraction)
    return duration_of(-total if text[0] == "-" else total)


def parse_timestamp(text: str) -> Timestamp:
    """A moment as `2026-08-01T12:00:00Z`."""
    found = _TIMESTAMP.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        moment = datetime.datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    except ValueError:
        raise CelValueError(f"{text!r} is not a time") from None
    seconds = (moment - _EPOCH) // datetime.timedelta(seconds=1)
    return timestamp_of(seconds * _NANOSECONDS + int((found[2] or "").ljust(9, "0")))


def format_duration(duration: Duration) -> str:
    """Seconds with as many digits as it takes: `1.5s`."""
    whole, rest = divmod(abs(duration.nanoseconds), _NANOSECONDS)
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{'-' if duration.nanoseconds < 0 else ''}{whole}{fraction}s"


def format_timestamp(timestamp: Timestamp) -> str:
    """The notation of `parse_timestamp`, in UTC."""
    rest = timestamp.nanoseconds % _NANOSECONDS
    fraction = f".{rest:09}".rstrip("0") if rest else ""
    return f"{timestamp.at(datetime.UTC):%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f"{fraction}Z"

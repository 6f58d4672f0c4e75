"""The operators and functions, by the types of their arguments.

A name has several overloads. Those that may apply are known when an expression is parsed; where an argument is dyn, the
value decides.
"""

import datetime
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from nodespan.controllers.common.cel import values
from nodespan.controllers.common.cel.errors import CelValueError
from nodespan.controllers.common.cel.values import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Duration,
    Timestamp,
    Type,
    UInt,
    fits,
    list_of,
    map_of,
    type_of,
)
from nodespan.controllers.common.glob import matches

_SECOND: Final = 10**9
_LIST, _MAP = list_of(DYN), map_of(DYN, DYN)
_ZONE_OFFSET = re.compile(r"([+-]?)([0-9]{2}):([0-9]{2})")


@attrs.frozen
class Overload:
    """One meaning of a name."""

    arguments: tuple[Type, ...]
    result: Type
    do: Callable[..., Any]


def candidates(name: str, types: Sequence[Type], *, is_method: bool = False) -> list[Overload]:
    """The overloads that arguments of these types may select."""
    overloads = (METHODS if is_method else FUNCTIONS)[name]
    return [each for each in overloads if len(each.arguments) == len(types) and all(map(fits, types, each.arguments))]


def call(name: str, overloads: Sequence[Overload], arguments: Sequence[Any]) -> Any:
    """The result for these values. Raises CelValueError."""
    types = [type_of(argument) for argument in arguments]
    for each in overloads:
        if all(map(fits, types, each.arguments)):
            return each.do(*arguments)
    raise CelValueError(f"{name} is not for {' and '.join(map(str, types))}")


def _divided(number: int, by: int) -> int:
    if not by:
        raise CelValueError("division by zero")
    quotient = abs(number) // abs(by)
    return quotient if (number < 0) == (by < 0) else -quotient


def _rest(number: int, by: int) -> int:
    return number - _divided(number, by) * by


def _divided_doubles(number: float, by: float) -> float:
    if by:
        return number / by
    if not number or math.isnan(number):
        return math.nan
    return math.copysign(math.inf, number) * math.copysign(1, by)


def _times(left: float, right: float) -> float:
    return left * right


def _on_ints(do: Callable[..., int]) -> tuple[Overload, Overload]:
    return (
        Overload((INT, INT), INT, lambda left, right: values.int_of(do(left, right))),
        Overload((UINT, UINT), UINT, lambda left, right: values.uint_of(do(int(left), int(right)))),
    )


def _on_times(sign: int) -> Callable[[Any, Any], Any]:
    def do(left: Timestamp | Duration, right: Duration) -> Any:
        total = left.nanoseconds + sign * right.nanoseconds
        return values.timestamp_of(total) if isinstance(left, Timestamp) else values.duration_of(total)

    return do


def _ordered(do: Callable[[Any, Any], bool]) -> tuple[Overload, ...]:
    types = (BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION)
    return tuple(Overload((type, type), BOOL, do) for type in types)


def _whole(number: float, limits: Callable[[int], int]) -> int:
    if not math.isfinite(number):
        raise CelValueError(f"{number} is not a whole number")
    return limits(int(number))


def _read_int(text: str, limits: Callable[[int], int], pattern: str) -> int:
    if not re.fullmatch(pattern, text) or len(text) > 40:
        raise CelValueError(f"{text!r} is not a whole number")
    return limits(int(text))


def _read_double(text: str) -> float:
    try:
        return float(text) if "_" not in text and text == text.strip() else float("")
    except ValueError:
        raise CelValueError(f"{text!r} is not a number") from None


def _read_bool(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise CelValueError(f"{text!r} is neither true nor false")


def _read_text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise CelValueError("the bytes are not a text in UTF-8") from None


def _show_double(number: float) -> str:
    if math.isnan(number) or math.isinf(number):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(number)]
    text = repr(number)
    return text.removesuffix(".0") if "e" not in text else text


# What RE2, the originals' language of patterns, does not have, and Python's has.
_NO_RE2 = re.compile(r"(?<!\\)(?:\\\\)*(?:\(\?(?:=|!|<=|<!|>|\(|P=)|\\[1-9]|[*+?}]\+)")


def pattern_of(text: str) -> re.Pattern[str]:
    """A pattern in the syntax of RE2. Raises CelValueError."""
    if len(text) > 1000 or _NO_RE2.search(text):
        raise CelValueError("invalid pattern: no look-around, no back references, no possessive repetition")
    try:
        return re.compile(re.sub(r"\\z", r"\\Z", re.sub(r"\(\?<([A-Za-z])", r"(?P<\1", text)))
    except re.error as error:
        raise CelValueError(f"invalid pattern: {error}") from None


def _matches(text: str, pattern: str) -> bool:
    return pattern_of(pattern).search(text) is not None


def _mac(address: bytes) -> str:
    return address.hex(":")


def _zone(name: str) -> datetime.tzinfo:
    found = _ZONE_OFFSET.fullmatch(name)
    if found is not None:
        minutes = int(found[2]) * 60 + int(found[3])
        if minutes < 24 * 60:
            return datetime.timezone(datetime.timedelta(minutes=-minutes if found[1] == "-" else minutes))
    # Loaded by the few expressions that name a time zone: it takes milliseconds of every agent's start.
    import zoneinfo

    try:
        if not re.fullmatch("[A-Za-z0-9_+/-]+", name) or name.startswith("/"):
            raise ValueError
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise CelValueError(f"{name!r} is not a time zone") from None


def _calendar(read: Callable[[datetime.datetime], int]) -> tuple[Overload, Overload]:
    """A getter of a timestamp, in UTC or in a time zone."""
    return (
        Overload((TIMESTAMP,), INT, lambda moment: read(moment.at(datetime.UTC))),
        Overload((TIMESTAMP, STRING), INT, lambda moment, zone: read(moment.at(_zone(zone)))),
    )


def _milliseconds(moment: Timestamp, *_: str) -> int:
    return moment.nanoseconds % _SECOND // 10**6


def _whole_units(unit: int) -> Overload:
    return Overload((DURATION,), INT, lambda duration: _divided(duration.nanoseconds, unit))


_SIZES = tuple(Overload((type,), INT, len) for type in (STRING, BYTES, _LIST, _MAP))
_PATTERN = Overload((STRING, STRING), BOOL, _matches)

FUNCTIONS: Final[Mapping[str, Sequence[Overload]]] = {
    "+": (
        *_on_ints(operator.add),
        Overload((DOUBLE, DOUBLE), DOUBLE, operator.add),
        Overload((STRING, STRING), STRING, operator.add),
        Overload((BYTES, BYTES), BYTES, operator.add),
        Overload((_LIST, _LIST), _LIST, operator.add),
        Overload((TIMESTAMP, DURATION), TIMESTAMP, _on_times(1)),
        Overload((DURATION, TIMESTAMP), TIMESTAMP, lambda left, right: _on_times(1)(right, left)),
        Overload((DURATION, DURATION), DURATION, _on_times(1)),
    ),
    "-": (
        *_on_ints(operator.sub),
        Overload((DOUBLE, DOUBLE), DOUBLE, operator.sub),
        Overload((TIMESTAMP, DURATION), TIMESTAMP, _on_times(-1)),
        Overload((DURATION, DURATION), DURATION, _on_times(-1)),
        Overload(
            (TIMESTAMP, TIMESTAMP),
            DURATION,
            lambda left, right: values.duration_of(left.nanoseconds - right.nanoseconds),
        ),
    ),
    "*": (*_on_ints(operator.mul), Overload((DOUBLE, DOUBLE), DOUBLE, _times)),
    "/": (*_on_ints(_divided), Overload((DOUBLE, DOUBLE), DOUBLE, _divided_doubles)),
    "%": _on_ints(_rest),
    "unary -": (
        Overload((INT,), INT, lambda number: values.int_of(-number)),
        Overload((DOUBLE,), DOUBLE, operator.neg),
    ),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "mac": (Overload((BYTES,), STRING, _mac),),
    "glob": (Overload((STRING, STRING), BOOL, matches),),
    "matches": (_PATTERN,),
    "size": _SIZES,
    "bool": (Overload((BOOL,), BOOL, bool), Overload((STRING,), BOOL, _read_bool)),
    "bytes": (Overload((BYTES,), BYTES, bytes), Overload((STRING,), BYTES, str.encode)),
    "double": (
        Overload((DOUBLE,), DOUBLE, float),
        Overload((INT,), DOUBLE, float),
        Overload((UINT,), DOUBLE, float),
        Overload((STRING,), DOUBLE, _read_double),
    ),
    "duration": (
        Overload((DURATION,), DURATION, lambda duration: duration),
        Overload((STRING,), DURATION, values.parse_duration),
        Overload((INT,), DURATION, values.duration_of),
    ),
    "int": (
        Overload((INT,), INT, int),
        Overload((UINT,), INT, values.int_of),
        Overload((DOUBLE,), INT, lambda number: _whole(number, values.int_of)),
        Overload((STRING,), INT, lambda text: _read_int(text, values.int_of, "[+-]?[0-9]+")),
        Overload((TIMESTAMP,), INT, lambda moment: moment.nanoseconds // _SECOND),
        Overload((DURATION,), INT, lambda duration: duration.nanoseconds),
    ),
    "string": (
        Overload((STRING,), STRING, str),
        Overload((BOOL,), STRING, lambda value: str(value).lower()),
        Overload((INT,), STRING, str),
        Overload((UINT,), STRING, lambda number: str(int(number))),
        Overload((DOUBLE,), STRING, _show_double),
        Overload((BYTES,), STRING, _read_text),
        Overload((TIMESTAMP,), STRING, values.format_timestamp),
        Overload((DURATION,), STRING, values.format_duration),
    ),
    "timestamp": (
        Overload((TIMESTAMP,), TIMESTAMP, lambda moment: moment),
        Overload((STRING,), TIMESTAMP, values.parse_timestamp),
        Overload((INT,), TIMESTAMP, lambda seconds: values.timestamp_of(seconds * _SECOND)),
    ),
    "uint": (
        Overload((UINT,), UINT, UInt),
        Overload((INT,), UINT, values.uint_of),
        Overload((DOUBLE,), UINT, lambda number: _whole(number, values.uint_of)),
        Overload((STRING,), UINT, lambda text: _read_int(text, values.uint_of, "[0-9]+")),
    ),
    "dyn": (Overload((DYN,), DYN, lambda value: value),),
    "type": (Overload((DYN,), values.TYPE, lambda value: values.TypeValue(type_of(value).name)),),
}
METHODS: Final[Mapping[str, Sequence[Overload]]] = {
    "startsWith": (Overload((STRING, STRING), BOOL, str.startswith),),
    "endsWith": (Overload((STRING, STRING), BOOL, str.endswith),),
    "contains": (Overload((STRING, STRING), BOOL, str.__contains__),),
    "matches": (_PATTERN,),
    "size": _SIZES,
    "getFullYear": _calendar(lambda moment: moment.year),
    "getMonth": _calendar(lambda moment: moment.month - 1),
    "getDate": _calendar(lambda moment: moment.day),
    "getDayOfMonth": _calendar(lambda moment: moment.day - 1),
    "getDayOfWeek": _calendar(lambda moment: moment.isoweekday() % 7),
    "getDayOfYear": _calendar(lambda moment: moment.timetuple().tm_yday - 1),
    "getHours": (*_calendar(lambda moment: moment.hour), _whole_units(3600 * _SECOND)),
    "getMinutes": (*_calendar(lambda moment: moment.minute), _whole_units(60 * _SECOND)),
    "getSeconds": (*_calendar(lambda moment: moment.second), _whole_units(_SECOND)),
    "getMilliseconds": (
        Overload((TIMESTAMP,), INT, _milliseconds),
        Overload((TIMESTAMP, STRING), INT, _milliseconds),
        # Of a duration, those beyond its seconds.
        Overload((DURATION,), INT, lambda duration: _rest(duration.nanoseconds, _SECOND) // 10**6),
    ),
}

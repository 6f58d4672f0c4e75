"""Durations as the text that users of the originals write and read: `1h2m3.5s`, `100ms`, `0s`."""

import re
from datetime import timedelta

_UNITS = {"ns": 0.001, "us": 1, "µs": 1, "μs": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_PART = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(sorted(_UNITS, key=len, reverse=True))})")
_ONE = timedelta(microseconds=1)


def format_duration(duration: timedelta) -> str:
    """The shortest text: hours, minutes and seconds from a second up, one smaller unit below."""
    if duration < timedelta():
        return "-" + format_duration(-duration)
    microseconds = duration // _ONE
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:
        return f"{microseconds}µs"
    if microseconds < 1_000_000:
        return f"{_decimal(microseconds, 1_000)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def parse_duration(text: str) -> timedelta:
    """The duration that the text stands for, to the microsecond. Raises ValueError for other text."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return timedelta()
    if not body or _PART.sub("", body):
        raise ValueError(f"{text!r} is not a duration, write it like 1h2m3.5s")
    try:
        return sign * timedelta(microseconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(body)))
    except OverflowError as error:
        raise ValueError(f"the duration {text!r} is too long") from error


def _decimal(number: int, unit: int) -> str:
    whole, fraction = divmod(number, unit)
    digits = str(fraction).zfill(len(str(unit)) - 1).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)

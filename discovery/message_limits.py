"""How much a discovery service may send: several times a full cluster. Only a broken or lying service exceeds it.

What a service sends is counted before it is parsed, because parsing makes an object of every two bytes.
"""

from collections.abc import Iterator

from nodespan.runtime.text.escaping import bounded

MOST_BYTES = 16 << 20
MOST_AFFILIATES = 4096
MOST_ENDPOINTS = 256
# Of a name or an address in an answer, and of an error's text.
MOST_TEXT = 300
# A message has no other fields than affiliates but one.
_MOST_FIELDS = MOST_AFFILIATES + 16
_AFFILIATES = 1
# A smaller one cannot have enough endpoints to matter.
_LARGE_AFFILIATE = 16 << 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ExcessError(Exception):
    """A service sends more than it may; the text says what."""


def check_message(data: bytes) -> None:
    """Raises ExcessError for a watch response with more than it may have. The parser refuses what is malformed."""
    if len(data) > MOST_BYTES:
        raise ExcessError(f"a message has {len(data)} bytes, at most {MOST_BYTES} are read")
    affiliates = 0
    for count, (field, start, size) in enumerate(_fields(data), start=1):
        affiliates += field == _AFFILIATES
        if count > _MOST_FIELDS or affiliates > MOST_AFFILIATES:
            raise ExcessError(f"a message has more than {MOST_AFFILIATES} affiliates")
        if size > _LARGE_AFFILIATE:
            _check_affiliate(data[start : start + size])


def _check_affiliate(data: bytes) -> None:
    for count, _ in enumerate(_fields(data), start=1):
        if count > MOST_ENDPOINTS + 16:
            raise ExcessError(f"an affiliate has more than {MOST_ENDPOINTS} endpoints")


def _fields(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The number, the place and the length of each field, until the end or something that no field begins with."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        start, size = at, 0
        match tag & 7:
            case wire if wire == _VARINT:
                _, at = _varint(data, at)
            case wire if wire == _FIXED64:
                at += 8
            case wire if wire == _FIXED32:
                at += 4
            case wire if wire == _BYTES:
                size, start = _varint(data, at)
                at = start + size
            case _:
                return
        yield tag >> 3, start, size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return value, at
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            break
    return value, at


def cut(text: str) -> str:
    """A text of a service as it may be logged and shown."""
    return bounded(text, MOST_TEXT)

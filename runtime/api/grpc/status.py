"""How a call ends: codes, the error that handlers raise, and the text forms of both and of deadlines on the wire."""

import enum
import math
import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

import attrs

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_UNITS_FROM_FINE = tuple(reversed(_UNITS.items()))
_MOST_COUNT = 99_999_999
# All of printable ASCII but the percent sign stands for itself.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class Code(enum.IntEnum):
    """The status codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@attrs.frozen
class Status:
    """A code, and a text for the person at the client."""

    code: Code
    text: str = ""

    def trailers(self) -> tuple[tuple[str, str], ...]:
        """The status as header fields."""
        code = ("grpc-status", str(int(self.code)))
        return (code, ("grpc-message", encode_text(self.text))) if self.text else (code,)


class RPCError(Exception):
    """Raised by a handler: the call ends with this code and text, which the client sees."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def status(self) -> Status:
        """What the client receives."""
        return Status(self.code, str(self))


def encode_text(text: str) -> str:
    """Text as header fields can carry it: UTF-8, percent-encoded outside of printable ASCII."""
    return quote_from_bytes(text.encode("utf-8", "replace"), safe=_PLAIN)


def decode_text(field: str) -> str:
    """The inverse of `encode_text`; bytes that are not UTF-8 are replaced."""
    return unquote_to_bytes(field.encode("latin-1", "replace")).decode("utf-8", "replace")


def parse_code(field: str) -> Code:
    """The code in a `grpc-status` field; UNKNOWN for an invalid one."""
    try:
        return Code(int(field))
    except ValueError:
        return Code.UNKNOWN


def format_timeout(seconds: float) -> str:
    """A `grpc-timeout` field: the finest unit in which the time has eight digits at most, rounded up."""
    for unit, size in _UNITS_FROM_FINE:
        count = max(0, math.ceil(seconds / size))
        if count <= _MOST_COUNT:
            return f"{count}{unit}"
    return f"{_MOST_COUNT}H"


def parse_timeout(text: str) -> float:
    """The seconds that a `grpc-timeout` field stands for. Raises ValueError."""
    found = _TIMEOUT.fullmatch(text)
    if found is None:
        raise ValueError(f"grpc-timeout {text!r}: expected up to eight digits and one of H, M, S, m, u, n")
    return int(found[1]) * _UNITS[found[2]]

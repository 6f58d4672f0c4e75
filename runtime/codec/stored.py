"""Specs as they are stored: JSON of their plain data, in ASCII.

Text, so that a file can be read with other programs, and after years; in ASCII, for names may hold what is not UTF-8.
"""

import json
from typing import Any, TypeVar

from nodespan.runtime.codec.plain import spec_from_plain, spec_to_plain

T = TypeVar("T")
_encoder = json.JSONEncoder(separators=(",", ":"))


def encode_spec(spec: object) -> bytes:
    """A spec as bytes. Raises TypeError or ValueError for one that is not made of plain data."""
    return _encoder.encode(spec_to_plain(spec)).encode("ascii")


def decode_spec(cls: type[T], stored: bytes) -> T:
    """The spec that was encoded. Raises ValueError, TypeError or KeyError for anything else."""
    return spec_from_plain(cls, json.loads(stored))


def check_survives(spec: Any, stored: bytes) -> None:
    """Raise ValueError if decoding does not give back the spec."""
    cls = type(spec)
    try:
        again = decode_spec(cls, stored)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"a {cls.__name__} cannot be stored: it cannot be read back ({error})") from error
    if again != spec:
        raise ValueError(f"a {cls.__name__} cannot be stored: what is read back differs")

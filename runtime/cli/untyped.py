"""Metadata as read back from the YAML form, where every scalar is plain: text that looks like a number is one.

The originals' JSON and JSONPath show it so, because they read their own YAML back.
"""

import functools
import math
import re
from typing import Any

_WORDS: dict[str, bool | None] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0b[01]+|0o[0-7]+)")
_OLD_OCTAL = re.compile(r"[-+]?0[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LARGEST = 1 << 64


def untyped(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata (text, and lists and mappings of text) with its scalars converted."""
    return {key: _read(value) for key, value in metadata.items()}


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        return untyped(value)
    if isinstance(value, list):
        return [_read(item) for item in value]
    return read_scalar(value)


# Resources of a kind have the same owner, phase and version, and times of few seconds.
@functools.lru_cache(maxsize=256)
def read_scalar(text: str) -> str | int | float | bool | None:
    """The value of a plain YAML scalar."""
    if text in _WORDS:
        return _WORDS[text]
    digits = text.replace("_", "") if not text.startswith("_") else text
    number: float
    if _INTEGER.fullmatch(digits):
        number = int(digits, 0)
    elif _OLD_OCTAL.fullmatch(digits):
        number = int(digits, 8)
    elif _FLOAT.fullmatch(digits):
        number = float(digits)
    else:
        return text
    if not -_LARGEST < number < _LARGEST:
        number = float(digits) if _FLOAT.fullmatch(digits) else math.inf
        return number if math.isfinite(number) else text
    return int(number) if number == int(number) else number

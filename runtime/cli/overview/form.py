"""Plain data as text for programs: JSON, and YAML that needs no library to write."""

import json
from typing import Any


def to_json(value: object) -> str:
    """JSON over several lines."""
    return json.dumps(value, indent=4, ensure_ascii=False) + "\n"


def to_json_line(value: object) -> str:
    """JSON in one line."""
    return json.dumps(value, ensure_ascii=False) + "\n"


def to_yaml(value: Any, indent: int = 0) -> str:
    """Block YAML; texts are quoted as JSON quotes them, which YAML reads alike."""
    blanks = " " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{blanks}{_scalar(key)}:{_below(item, indent)}" for key, item in value.items())
    if isinstance(value, list | tuple) and value:
        return "".join(f"{blanks}-{_below(item, indent)}" for item in value)
    return f"{blanks}{_scalar(value)}\n"


def _below(value: Any, indent: int) -> str:
    if isinstance(value, dict | list | tuple) and value:
        return f"\n{to_yaml(value, indent + 4)}"
    return f" {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    # Escaped, so that no character is one that YAML forbids; a plain word as a key is easier to read.
    if isinstance(value, str) and value.isascii() and value.replace("_", "").isalpha() and value.lower() not in _WORDS:
        return value
    return json.dumps(value)


_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})

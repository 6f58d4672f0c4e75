"""JSON for people: indented, with sorted keys.

`json.dumps` does that in Python, by a generator in a generator for each level: it was most of what `get -o json` took.
"""

import json
from json.encoder import encode_basestring
from typing import Any

_INDENT = " " * 4
_encode_plainly = json.JSONEncoder(indent=4, sort_keys=True, ensure_ascii=False).encode


def to_indented_json(value: object) -> str:
    """What `json.dumps` makes of plain data with an indentation of four, sorted keys and all characters as they are.

    Raises TypeError for other data, and for keys that cannot be sorted.
    """
    return _to_json(value, "\n")


def _to_json(value: Any, line: str) -> str:
    """`line` begins a new line at the indentation of what the value stands in."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is int:
        return repr(value)
    # Loops, for a comprehension is a call of its own: the wire carries 511 levels, and Python nests 1,000 calls.
    if kind is dict and value:
        inside = line + _INDENT
        items = []
        for key in sorted(value):
            name = encode_basestring(key) if type(key) is str else _key(key)
            items.append(f"{name}: {_to_json(value[key], inside)}")
        return f"{{{inside}{f',{inside}'.join(items)}{line}}}"
    if kind is list and value:
        inside = line + _INDENT
        items = []
        for item in value:
            items.append(_to_json(item, inside))
        return f"[{inside}{f',{inside}'.join(items)}{line}]"
    # Other numbers, words, what is empty, and what is no plain data.
    return _encode_plainly(value)


def _key(key: object) -> str:
    """A key that is not text: a number or a word, which becomes one."""
    return json.dumps({key: 0})[1 : -len(": 0}")]

"""Writes plain data and resources as the originals' YAML text, exact to the last quote and blank.

Blocks only. Each level is indented to the next multiple of four, but the content of a list item is aligned behind its
dash. Text is plain where every reader of YAML 1.1 and 1.2 reads it as text; elsewhere it is quoted.
"""

import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

METADATA_KEYS = ("namespace", "type", "id", "version", "owner", "phase", "created", "updated")

_INDENT = 4
# A key before a plain colon may not be longer than 1024 characters.
_LONGEST_KEY = 1000
# Texts of so many characters are looked up first, of which so many are kept.
_SHORT = 32
_MOST_SHORT = 1024

# Text that some reader takes for null, a merge, a default value, a boolean, a number or a time.
_NOT_TEXT = re.compile(
    r"""
      | ~ | null | Null | NULL | << | =
      | true | True | TRUE | false | False | FALSE
      | y | Y | yes | Yes | YES | n | N | no | No | NO | on | On | ON | off | Off | OFF
      | [-+]? (?: 0b[01_]+ | 0o?[0-7_]+ | 0x[0-9a-fA-F_]+ )
      | [-+]? [0-9][0-9_]* (?: \.[0-9_]* )? (?: [eE][-+]?[0-9]+ )?
      | [-+]? \.[0-9_]+ (?: [eE][-+]?[0-9]+ )?
      | [-+] [0-9_]+
      | [-+]? \. (?: inf | Inf | INF | nan | NaN | NAN )
      | [-+]? [0-9][0-9_]* (?: :[0-5]?[0-9] )+ (?: \.[0-9_]* )?
      | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}
        (?: (?: [Tt] | [ ]+ ) [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2} (?: \.[0-9]* )?
            (?: [ ]* (?: Z | [-+][0-9]{1,2} (?: :?[0-9]{2} )? ) )? )?
    """,
    re.VERBOSE,
)

_NOT_PLAIN = re.compile(
    r"""
      [#,\[\]{}&*!|>'"%@`]            # begins a construct
    | [-?:] (?: [ ] | $ )
    | --- | \.\.\.
    | [ ] | .*[ ]$                    # blanks at the ends would be lost
    | .*: (?: [ ] | $ ) | .*[ ]\#     # a key, a comment
    """,
    re.VERBOSE,
)

# Characters that YAML calls unprintable, and those that some reader takes for a line break; control characters apart.
# Said the other way round, by what is printable, the patterns would take a twentieth of an agent's start to compile.
_UNPRINTABLE = r"\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff"
_SPECIAL = re.compile(rf"[\x00-\x1f{_UNPRINTABLE}]")
_SPECIAL_IN_BLOCK = re.compile(rf"[\x00-\x08\x0b-\x1f{_UNPRINTABLE}]|[ ](?:\n|\Z)")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


class AsWritten(str):
    """One line of YAML for a single value, which `dump` writes as it is: for values that keep their notation."""

    __slots__ = ()


def dump(data: object) -> str:
    """Plain data (mappings, lists, tuples, text, numbers, booleans, None) as a YAML document that ends in a newline.

    Mappings keep their order. Raises TypeError, which names the type, for other data.
    """
    if _is_nested(data):
        return _joined(_nested(data, 0))
    return _joined(_scalar(data, indent=_INDENT, parent=None))


def dump_resource(metadata: Mapping[str, Any], spec: object, *, head: Mapping[str, object] | None = None) -> str:
    """A resource as a document: the lines of `head`, then metadata, then the spec as `dump` writes it.

    The metadata keys are `METADATA_KEYS`, in that order, then labels, annotations and finalizers unless empty. Values
    here and in `head` are untyped: written plain wherever the syntax allows, so that a label `true` has no quotes and
    an empty owner leaves nothing behind its colon. Times are text already; the version None reads `undefined`. Raises
    KeyError for an absent key that is never left out.
    """
    return dump_head(metadata, head=head) + dump({"spec": spec})


def dump_head(metadata: Mapping[str, Any], *, head: Mapping[str, object] | None = None) -> str:
    """What `dump_resource` writes above the spec."""
    lines = [_untyped_pair(key, value) for key, value in (head or {}).items()]
    lines.append("metadata:")
    lines += [_untyped_pair(key, metadata[key], _INDENT) for key in METADATA_KEYS]
    for key in ("labels", "annotations"):
        if pairs := metadata.get(key):
            lines.append(f"{' ' * _INDENT}{key}:")
            lines += [_untyped_pair(name, pairs[name], 2 * _INDENT) for name in sorted(pairs)]
    if finalizers := metadata.get("finalizers"):
        lines.append(f"{' ' * _INDENT}finalizers:")
        lines += [f"{' ' * 2 * _INDENT}- {_untyped(name)}".rstrip(" ") for name in finalizers]
    return _joined(lines)


def _joined(lines: list[str] | Iterator[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _untyped_pair(key: str, value: object, indent: int = 0) -> str:
    name, text = _untyped(key) or "''", _untyped("undefined" if value is None else value)
    return f"{' ' * indent}{name}: {text}".rstrip(" ")


def _untyped(value: object) -> str:
    text = str(value)
    return _short_untyped(text) if len(text) <= _SHORT else _untyped_text(text)


def _untyped_text(text: str) -> str:
    if _SPECIAL.search(text):
        return _double_quoted(text)
    return _single_quoted(text) if _NOT_PLAIN.match(text) else text


# Resources of a kind have the same keys, and many the same values.
_short_untyped = functools.lru_cache(maxsize=_MOST_SHORT)(_untyped_text)


def _is_nested(data: object) -> bool:
    return isinstance(data, (Mapping, list, tuple)) and len(data) > 0


def _nested(data: Any, column: int) -> Iterator[str]:
    """The lines of a mapping or list that is not empty, whose keys or dashes stand in `column`."""
    pad = " " * column
    if isinstance(data, Mapping):
        inside = (column // _INDENT + 1) * _INDENT
        for key, value in data.items():
            (head,) = _scalar(key, indent=None, parent=column)
            if len(head) > _LONGEST_KEY:
                yield f"{pad}? {head}"
                head = ""
            if _is_nested(value):
                yield f"{pad}{head}:"
                yield from _nested(value, inside)
            else:
                yield from _behind(f"{pad}{head}: ", _scalar(value, indent=inside, parent=column))
    else:
        inside = column + 2
        for item in data:
            if _is_nested(item):
                lines = _nested(item, inside)
                yield f"{pad}- {next(lines)[inside:]}"
                yield from lines
            else:
                yield from _behind(f"{pad}- ", _scalar(item, indent=inside, parent=column))


def _behind(head: str, lines: list[str]) -> Iterator[str]:
    yield head + lines[0]
    yield from lines[1:]


def _scalar(data: object, *, indent: int | None, parent: int | None) -> list[str]:
    """The lines of a scalar: one, or several for text of several lines.

    `indent` is the column of a block of text, None where no block is allowed; `parent` is the column of its container.
    """
    match data:
        case None:
            return ["null"]
        case bool():
            return ["true" if data else "false"]
        case int():
            return [str(int(data))]
        case float():
            return [_number(data)]
        case AsWritten():
            return [str(data)]
        case str():
            if "\n" in data and indent is not None and (block := _block(data, indent, parent)):
                return block
            return [_text(data)]
        case Mapping():
            if not data:
                return ["{}"]
        case list() | tuple():
            if not data:
                return ["[]"]
    raise TypeError(f"a value of type {type(data).__name__} cannot be written here as YAML, only plain data can")


def _number(number: float) -> str:
    if math.isnan(number):
        return ".nan"
    if math.isinf(number):
        return ".inf" if number > 0 else "-.inf"
    mantissa, exponent, power = repr(number).partition("e")
    # Readers of YAML 1.1 see a number in 1.0e+20 but text in 1e+20.
    return mantissa + (".0" if "." not in mantissa else "") + exponent + power


def _text(text: str) -> str:
    return _short_text(text) if len(text) <= _SHORT else _typed_text(text)


def _typed_text(text: str) -> str:
    if _NOT_TEXT.fullmatch(text) or _SPECIAL.search(text):
        return _double_quoted(text)
    return _single_quoted(text) if _NOT_PLAIN.match(text) else text


_short_text = functools.lru_cache(maxsize=_MOST_SHORT)(_typed_text)


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _double_quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(char) or _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if not _SPECIAL.match(char):
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _block(text: str, indent: int, parent: int | None) -> list[str] | None:
    """The lines of text as a literal block; None if a block cannot hold it."""
    content = text.lstrip("\n")
    if not content or _SPECIAL_IN_BLOCK.search(text):
        return None
    header = "|"
    if content.startswith(" "):
        # Readers disagree on what the indentation of a whole document is relative to.
        if parent is None:
            return None
        header += str(indent - parent)
    if not text.endswith("\n"):
        header += "-"
    elif text.endswith("\n\n"):
        header += "+"
    pad = " " * indent
    return [header, *(pad + line if line else "" for line in text.removesuffix("\n").split("\n"))]

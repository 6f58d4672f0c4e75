"""From characters to tokens: names, signs, and the values that are written out."""

import re
from typing import Any, Final

import attrs

from nodespan.controllers.common.cel.errors import ExpressionError
from nodespan.controllers.common.cel.values import HIGHEST_INT, HIGHEST_UINT, UInt

# No expression that says something about a link comes near.
_MOST_TOKENS: Final = 5000
_TOKEN = re.compile(
    r"""(?:\s|//[^\n]*)*(?:
    (?P<text>(?:[rR][bB]?|[bB][rR]?)?(?:
        \"{3}(?:[^\\]|\\.)*?\"{3} | '{3}(?:[^\\]|\\.)*?'{3} | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*'))
    |(?P<double>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    |(?P<number>(?:0[xX][0-9A-Fa-f]+|[0-9]+)[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[<>!()\[\]{},.?:+*/%-])
    )""",
    re.VERBOSE | re.DOTALL,
)
_RAW_TEXT = re.compile(
    r"""(?:[rR][bB]?|[bB][rR]?)(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')""", re.DOTALL | re.VERBOSE
)
_BLANK = re.compile(r"(?:\s|//[^\n]*)*")
_ESCAPES: Final = {
    "a": 7,
    "b": 8,
    "f": 12,
    "n": 10,
    "r": 13,
    "t": 9,
    "v": 11,
    **{sign: ord(sign) for sign in "\\\"'`?"},
}
_SPELLED = re.compile(r"\\(?:[xX]([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)


@attrs.frozen
class Token:
    """`kind` is text, double, number, name, sign or end; `value` is that of the first three."""

    kind: str
    text: str
    position: int
    value: Any = None


def tokens_of(text: str) -> list[Token]:
    """The tokens, with one for the end. Raises ExpressionError."""
    tokens: list[Token] = []
    position = _end_of_blank(text, 0)
    while position < len(text):
        raw = _raw_text(text, position)
        found = raw or _TOKEN.match(text, position)
        if found is None or (raw is None and found.lastgroup is None):
            what = "this text has no end" if text[position] in "\"'" else f"{text[position]!r} has no meaning here"
            raise ExpressionError(what, position)
        kind = "text" if raw is not None else str(found.lastgroup)
        spelled = found[0] if raw is not None else found[kind]
        tokens.append(Token(kind, spelled, position, _value(kind, spelled, position)))
        if len(tokens) > _MOST_TOKENS:
            raise ExpressionError("the expression is too long", position)
        position = _end_of_blank(text, found.end())
    tokens.append(Token("end", "the end", len(text)))
    return tokens


def _end_of_blank(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    assert blank is not None  # it may be empty
    return blank.end()


def _raw_text(text: str, position: int) -> re.Match[str] | None:
    """A text in which a backslash means itself, so that it does not keep the text from ending."""
    found = _RAW_TEXT.match(text, position)
    return found if found is not None and "r" in found[0][:2].lower() else None


def _value(kind: str, text: str, position: int) -> Any:
    match kind:
        case "text":
            return _unquoted(text, position)
        case "double":
            return float(text)
        case "number":
            digits = text.rstrip("uU")
            number = int(digits, 16) if digits[:2] in ("0x", "0X") else int(digits[:40])
            # One more than the highest, for the lowest is written with a sign.
            if number > (HIGHEST_UINT if digits != text else HIGHEST_INT + 1) or len(digits) > 40:
                raise ExpressionError("the number is too large", position)
            return UInt(number) if digits != text else number
    return None


def _unquoted(text: str, position: int) -> str | bytes:
    prefix = text[: min(text.index(quote) for quote in "\"'" if quote in text)].lower()
    body = text[len(prefix) :]
    width = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    body = body[width:-width]
    start = position + len(prefix) + width
    if "b" in prefix:
        return body.encode() if "r" in prefix else _bytes(body, start)
    return body if "r" in prefix else _SPELLED.sub(lambda found: _spell(found, start), body)


def _bytes(body: str, start: int) -> bytes:
    """In bytes, what is spelled by a number is one byte, and everything else its UTF-8."""
    found: list[bytes] = []
    last = 0
    for escape in _SPELLED.finditer(body):
        found.append(body[last : escape.start()].encode())
        if escape[2] or escape[3]:
            raise ExpressionError(f"{escape[0]} is for texts, not for bytes", start + escape.start())
        found.append(bytes([_code(escape, start)]))
        last = escape.end()
    return b"".join([*found, body[last:].encode()])


def _spell(found: re.Match[str], start: int) -> str:
    code = _code(found, start)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ExpressionError(f"{found[0]} is not a character", start + found.start())
    return chr(code)


def _code(found: re.Match[str], start: int) -> int:
    for group, base in ((1, 16), (2, 16), (3, 16), (4, 8)):
        if found[group]:
            return int(found[group], base)
    if found[5] not in _ESCAPES:
        raise ExpressionError(f"\\{found[5]} has no meaning in a text", start + found.start())
    return _ESCAPES[found[5]]

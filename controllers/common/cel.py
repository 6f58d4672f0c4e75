r"""The expressions by which a LinkAliasConfig selects links: the subset of CEL for one link.

    link.driver == "virtio_net" && glob("00:1a:2b:*", mac(link.permanent_addr))

    or       and ("||" and)*
    and      relation ("&&" relation)*
    relation unary (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") unary)?
    unary    "!" unary | "-" integer | member
    member   primary ("." method "(" arguments ")")*
    primary  text | integer | "true" | "false" | link "." field | function "(" arguments ")" | "(" or ")" | "[" ... "]"

Expressions are type-checked when they are parsed: an expression is either valid for every link, or an error with a
position. Parsing creates closures, nested as the expression is.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from nodespan.controllers.common.glob import matches
from nodespan.resources.network import LinkStatusSpec

_DEEPEST = 50
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>[0-9]+)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[<>!()\[\],.-])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'", "`": "`", "?": "?"}
_SPELLED = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.)")


class ExpressionError(ValueError):
    """An invalid expression; `position` counts characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


@attrs.frozen
class _Part:
    """A part of an expression: its position, the type of its value, and a function to compute that for a link."""

    position: int
    type: str
    value: Callable[[LinkStatusSpec], Any]
    # For constants.
    is_constant: bool = False


@attrs.frozen
class Expression:
    """A parsed expression."""

    text: str
    _part: _Part = attrs.field(repr=False, eq=False)

    def matches(self, link: LinkStatusSpec) -> bool:
        """Whether it is true of a link."""
        return bool(self._part.value(link))


@attrs.frozen
class _Token:
    kind: str
    text: str
    position: int


def _texts(name: str) -> tuple[str, Callable[[LinkStatusSpec], Any]]:
    return "string", lambda link: getattr(link, name)


def _numbers(name: str) -> tuple[str, Callable[[LinkStatusSpec], Any]]:
    return "int", lambda link: getattr(link, name)


def _enumerated(name: str) -> tuple[str, Callable[[LinkStatusSpec], Any]]:
    return "int", lambda link: getattr(link, name).number


def _addresses(name: str) -> tuple[str, Callable[[LinkStatusSpec], Any]]:
    """Hardware addresses are bytes, which `mac` formats."""
    return "bytes", lambda link: getattr(link, name)


_FIELDS: Mapping[str, tuple[str, Callable[[LinkStatusSpec], Any]]] = {
    **{
        name: _texts(name)
        for name in (
            *("alias", "queue_disc", "kind", "slave_kind", "bus_path", "pci_id", "driver", "driver_version"),
            *("firmware_version", "product_id", "vendor_id", "product", "vendor"),
        )
    },
    **{name: _numbers(name) for name in ("index", "link_index", "mtu", "master_index", "speed_mbit")},
    **{name: _enumerated(name) for name in ("type", "operational_state", "port", "duplex")},
    **{name: _addresses(name) for name in ("hardware_addr", "permanent_addr", "broadcast_addr")},
    "speed_megabits": _numbers("speed_mbit"),
    "flags": ("int", lambda link: int(link.flags)),
    "link_state": ("bool", lambda link: link.link_state),
    "alt_names": ("list", lambda link: link.alt_names),
}
_Function = tuple[tuple[tuple[str, ...], ...], str, Callable[..., Any]]
# The types that each argument may have, the type of the result, and what it does.
_FUNCTIONS: Mapping[str, _Function] = {
    "mac": ((("bytes",),), "string", lambda address: address),
    "glob": ((("string",), ("string",)), "bool", matches),
    "size": ((("string", "list"),), "int", len),
}
_METHODS: Mapping[str, _Function] = {
    "startsWith": ((("string",), ("string",)), "bool", str.startswith),
    "endsWith": ((("string",), ("string",)), "bool", str.endswith),
    "contains": ((("string",), ("string",)), "bool", str.__contains__),
    "matches": ((("string",), ("string",)), "bool", lambda text, pattern: re.search(pattern, text) is not None),
    "size": ((("string", "list"),), "int", len),
}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}
_ORDERED = ("string", "int", "bool")


def parse(text: str) -> Expression:
    """Parse an expression. Raises ExpressionError."""
    reader = _Reader(text)
    part = reader.alternatives()
    end = reader.take()
    if end.kind != "end":
        raise ExpressionError(f"expected the end of the expression, found {end.text!r}", end.position)
    if part.type != "bool":
        raise ExpressionError(f"the expression must be true or false, it is of type {part.type}", part.position)
    return Expression(text, part)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            what = "this text has no end" if text[start] in "\"'" else f"{text[start]!r} has no meaning here"
            raise ExpressionError(what, start)
        tokens.append(_Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
        position = found.end()
    tokens.append(_Token("end", "the end", len(text)))
    return tokens


class _Reader:
    """A recursive descent parser: one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _peek(self, *signs: str) -> bool:
        token = self._tokens[self._next]
        return token.kind in ("sign", "name") and token.text in signs

    def _expect(self, sign: str) -> None:
        token = self.take()
        if token.text != sign or token.kind == "text":
            raise ExpressionError(f"expected {sign!r}, found {token.text!r}", token.position)

    def alternatives(self) -> _Part:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError("the expression is nested too deeply", self._tokens[self._next].position)
        parts = self._joined("||", self._conjunction)
        self._depth -= 1
        if len(parts) == 1:
            return parts[0]
        return _Part(parts[0].position, "bool", lambda link: any(part.value(link) for part in parts))

    def _conjunction(self) -> _Part:
        parts = self._joined("&&", self._relation)
        if len(parts) == 1:
            return parts[0]
        return _Part(parts[0].position, "bool", lambda link: all(part.value(link) for part in parts))

    def _joined(self, sign: str, read: Callable[[], _Part]) -> Sequence[_Part]:
        parts = [read()]
        while self._peek(sign):
            self.take()
            parts.append(read())
        if len(parts) > 1:
            for part in parts:
                _require(part, "bool", f"of {sign}")
        return tuple(parts)

    def _relation(self) -> _Part:
        left = self._unary()
        if not self._peek(*_COMPARISONS, "in"):
            return left
        sign = self.take()
        right = self._unary()
        if sign.text == "in":
            _require(right, "list", "after in")
            _require(left, "string", "before in")
            return _Part(left.position, "bool", lambda link: left.value(link) in right.value(link))
        if left.type != right.type:
            raise ExpressionError(f"cannot compare {_named(left)} with {_named(right)}", sign.position)
        if sign.text not in ("==", "!=") and left.type not in _ORDERED:
            raise ExpressionError(f"values of type {left.type} have no order", sign.position)
        compare = _COMPARISONS[sign.text]
        return _Part(left.position, "bool", lambda link: compare(left.value(link), right.value(link)))

    def _unary(self) -> _Part:
        if self._peek("!"):
            start = self.take()
            # A loop, so that a sequence of them is not nesting.
            odd = True
            while self._peek("!"):
                self.take()
                odd = not odd
            part = self._member()
            _require(part, "bool", "after !")
            return _Part(start.position, "bool", lambda link: bool(part.value(link)) != odd)
        if self._peek("-"):
            start = self.take()
            number = self.take()
            if number.kind != "number":
                raise ExpressionError("expected a number after '-'", number.position)
            return _constant(start.position, "int", -_integer(number))
        return self._member()

    def _member(self) -> _Part:
        part = self._primary()
        while self._peek("."):
            self.take()
            name = self.take()
            method = _METHODS.get(name.text) if name.kind == "name" else None
            if method is None:
                known = ", ".join(_METHODS)
                raise ExpressionError(f"{name.text!r} is no method of a {part.type}, there are {known}", name.position)
            self._expect("(")
            part = _call(name, method, (part, *self._arguments(")")))
        return part

    def _primary(self) -> _Part:
        token = self.take()
        if token.kind == "text":
            return _constant(token.position, "string", _unquote(token))
        if token.kind == "number":
            return _constant(token.position, "int", _integer(token))
        if token.kind == "name":
            return self._named(token)
        if token.text == "(" and token.kind == "sign":
            part = self.alternatives()
            self._expect(")")
            return part
        if token.text == "[" and token.kind == "sign":
            parts = self._arguments("]")
            for part in parts:
                _require(part, "string", "in a list")
            return _Part(token.position, "list", lambda link: tuple(part.value(link) for part in parts))
        raise ExpressionError(f"expected a value, found {token.text!r}", token.position)

    def _named(self, token: _Token) -> _Part:
        if token.text in ("true", "false"):
            return _constant(token.position, "bool", token.text == "true")
        if token.text == "link":
            self._expect(".")
            field = self.take()
            if field.text not in _FIELDS:
                raise ExpressionError(f"a link has no field {field.text!r}{_nearest(field.text)}", field.position)
            kind, value = _FIELDS[field.text]
            return _Part(token.position, kind, value)
        function = _FUNCTIONS.get(token.text)
        if function is None:
            known = ", ".join(f"{name}()" for name in _FUNCTIONS)
            raise ExpressionError(f"{token.text!r} is not known, there are link and {known}", token.position)
        self._expect("(")
        return _call(token, function, tuple(self._arguments(")")))

    def _arguments(self, end: str) -> Sequence[_Part]:
        parts: list[_Part] = []
        while not self._peek(end):
            if parts:
                self._expect(",")
            parts.append(self.alternatives())
        self.take()
        return parts


def _constant(position: int, type: str, value: Any) -> _Part:
    return _Part(position, type, lambda _: value, is_constant=True)


def _named(part: _Part) -> str:
    return f"{part.type} (mac() makes it a text)" if part.type == "bytes" else part.type


def _require(part: _Part, type: str, where: str) -> None:
    if part.type != type:
        raise ExpressionError(f"expected a {type} {where}, found {_named(part)}", part.position)


def _call(name: _Token, function: _Function, arguments: Sequence[_Part]) -> _Part:
    types, result, do = function
    if len(arguments) != len(types):
        raise ExpressionError(f"{name.text} takes {len(types)} values, {len(arguments)} are given", name.position)
    for argument, allowed in zip(arguments, types, strict=True):
        if argument.type not in allowed:
            raise ExpressionError(
                f"{name.text} takes a {' or '.join(allowed)} here, not {_named(argument)}", argument.position
            )
    if name.text == "matches":
        _check_pattern(arguments[-1])
    return _Part(name.position, result, lambda link: do(*(argument.value(link) for argument in arguments)))


def _check_pattern(pattern: _Part) -> None:
    if not pattern.is_constant:
        raise ExpressionError("the pattern must be written out here", pattern.position)
    try:
        re.compile(pattern.value(LinkStatusSpec()))
    except re.error as error:
        raise ExpressionError(f"invalid pattern: {error}", pattern.position) from None


def _integer(token: _Token) -> int:
    if len(token.text) > 18:
        raise ExpressionError("the number is too large", token.position)
    return int(token.text)


def _unquote(token: _Token) -> str:
    if token.text[0] in "rR":
        return token.text[2:-1]

    def spell(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "xu" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            raise ExpressionError(f"\\{code} has no meaning in a text", token.position + 1 + found.start())
        return _ESCAPES[code]

    return _SPELLED.sub(spell, token.text[1:-1])


def _nearest(text: str) -> str:
    # Users may write the field names of `nodespan get links -o yaml`.
    snake = re.sub(r"(?<=[a-z0-9])([A-Z]+)", r"_\1", text).lower()
    near = difflib.get_close_matches(snake, _FIELDS, n=1)
    return f", did you mean {near[0]!r}?" if near else f", there are {', '.join(sorted(_FIELDS))}"

r"""The expressions by which a LinkAliasConfig selects links: the subset of CEL for one link.

    link.driver == "virtio_net" && glob("00:1a:2b:*", mac(link.permanent_addr))

    choice   or ("?" choice ":" choice)?
    or       and ("||" and)*
    and      relation ("&&" relation)*
    relation unary (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") unary)?
    unary    "!" unary | "-" integer | member
    member   primary ("." (method "(" arguments ")" | macro "(" name "," choice ")"))*
    primary  text | bytes | integer | "true" | "false" | link ("." field)+ | name | function "(" arguments ")"
             | "has" "(" link ("." field)+ ")" | "(" choice ")" | "[" ... "]"

Whole numbers are of one type, whether they are written as `1500` or `1500u`: the originals tell the two apart, and what
they accept means the same here.

Expressions are type-checked when they are parsed: an expression is either valid for every link, or an error with a
position. Parsing creates closures, nested as the expression is.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from nodespan.controllers.common.glob import matches
from nodespan.resources.network import BondMaster, LinkStatusSpec

_DEEPEST = 50
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>[rRbB]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>(?:0[xX][0-9A-Fa-f]+|[0-9]+)[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[<>!()\[\],.?:-])
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
        """Whether it is true of a link. Raises ExpressionError if that cannot be computed, as for int('x')."""
        try:
            return bool(self._part.value(link))
        except ValueError as error:
            raise ExpressionError(str(error), 0) from None


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


def _own_address(link: LinkStatusSpec) -> str:
    """The hardware address; that of a member of a bond is its permanent one, for the current one is the bond's."""
    return link.permanent_addr if link.slave_kind == "bond" and link.permanent_addr else link.hardware_addr


_Field = tuple[str, Callable[[Any], Any]]


def _of(kind: str, attribute: str) -> _Field:
    """A field of a message, which may be missing: then it has the value that stands for nothing."""
    nothing: Any = {"string": "", "int": 0, "bool": False, "list": ()}[kind]
    return kind, lambda message: nothing if message is None else _plain(getattr(message, attribute))


def _plain(value: Any) -> Any:
    return getattr(value, "number", value)


_STP: Mapping[str, _Field] = {"enabled": _of("bool", "enabled")}
_BRIDGE_VLAN: Mapping[str, _Field] = {"filtering_enabled": _of("bool", "filtering_enabled")}
# The messages inside a link, and inside these, by their fields; of bonds, whichever fields there are.
_MESSAGES: Mapping[str, Mapping[str, _Field]] = {
    "vlan": {"vid": _of("int", "vlan_id"), "protocol": _of("int", "vlan_protocol")},
    "bridge_master": {
        "stp": ("message:stp", lambda bridge: None if bridge is None else bridge.stp),
        "vlan": ("message:bridge_vlan", lambda bridge: None if bridge is None else bridge.vlan),
    },
    "stp": _STP,
    "bridge_vlan": _BRIDGE_VLAN,
    "bond_master": {
        **{
            name: _of("int", attribute)
            for name, attribute in {
                **{field.name: field.name for field in attrs.fields(BondMaster)},
                "hash_policy": "xmit_hash_policy",
                "mii_mon": "miimon",
                "up_delay": "updelay",
                "down_delay": "downdelay",
                "adlacp_active": "ad_lacp_active",
            }.items()
            if attribute not in ("primary", "use_carrier", "arp_ip_targets", "ns_ip6_targets")
        },
        "primary": _of("string", "primary"),
        "use_carrier": _of("bool", "use_carrier"),
        "arpip_targets": _of("list", "arp_ip_targets"),
        "nsip6_targets": _of("list", "ns_ip6_targets"),
    },
    "vrf_master": {"table": _of("int", "table")},
    "veth": {"peer_name": _of("string", "peer_name")},
    "wireguard": {
        "public_key": _of("string", "public_key"),
        "listen_port": _of("int", "listen_port"),
        "firewall_mark": _of("int", "firewall_mark"),
    },
}


def _message(name: str) -> tuple[str, Callable[[LinkStatusSpec], Any]]:
    return f"message:{name}", lambda link: getattr(link, name)


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
    **{name: _addresses(name) for name in ("permanent_addr", "broadcast_addr")},
    "hardware_addr": ("bytes", _own_address),
    "pciid": _texts("pci_id"),
    **{name: _message(name) for name in ("vlan", "bridge_master", "bond_master", "vrf_master", "veth", "wireguard")},
    "speed_megabits": _numbers("speed_mbit"),
    "flags": ("int", lambda link: int(link.flags)),
    "link_state": ("bool", lambda link: link.link_state),
    "alt_names": ("list", lambda link: link.alt_names),
}


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_Function = tuple[tuple[tuple[str, ...], ...], str, Callable[..., Any]]
# The types that each argument may have, the type of the result, and what it does.
_FUNCTIONS: Mapping[str, _Function] = {
    "mac": ((("bytes",),), "string", lambda address: address),
    "glob": ((("string",), ("string",)), "bool", matches),
    "size": ((("string", "list", "bytes"),), "int", len),
    "int": ((("int", "string"),), "int", int),
    "uint": ((("int", "string"),), "int", int),
    "string": ((("int", "string", "bool"),), "string", _spelled),
}
_METHODS: Mapping[str, _Function] = {
    "startsWith": ((("string",), ("string",)), "bool", str.startswith),
    "endsWith": ((("string",), ("string",)), "bool", str.endswith),
    "contains": ((("string",), ("string",)), "bool", str.__contains__),
    "matches": ((("string",), ("string",)), "bool", lambda text, pattern: re.search(pattern, text) is not None),
    "size": ((("string", "list", "bytes"),), "int", len),
}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}
# What a macro makes of whether its condition holds for each item of a list, and the type of that.
_MACROS: Mapping[str, tuple[str, Callable[[Sequence[str], Sequence[Any]], Any]]] = {
    "all": ("bool", lambda _, found: all(found)),
    "exists": ("bool", lambda _, found: any(found)),
    "exists_one": ("bool", lambda _, found: sum(map(bool, found)) == 1),
    "filter": ("list", lambda items, found: tuple(item for item, keeps in zip(items, found, strict=True) if keeps)),
    "map": ("list", lambda _, found: tuple(found)),
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
        # The names that macros give to the items of lists: a place for the item at hand.
        self._variables: dict[str, list[str]] = {}

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
        found = parts[0]
        if len(parts) > 1:
            found = _Part(parts[0].position, "bool", lambda link: any(part.value(link) for part in parts))
        if self._peek("?"):
            found = self._choice(found)
        self._depth -= 1
        return found

    def _choice(self, condition: _Part) -> _Part:
        self.take()
        _require(condition, "bool", "before ?")
        chosen = self.alternatives()
        self._expect(":")
        other = self.alternatives()
        if chosen.type != other.type:
            raise ExpressionError(f"one is a {chosen.type}, the other a {other.type}", other.position)
        return _Part(
            condition.position,
            chosen.type,
            lambda link: chosen.value(link) if condition.value(link) else other.value(link),
        )

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
            if name.text in _MACROS and name.kind == "name" and part.type == "list":
                part = self._macro(name, part)
                continue
            method = _METHODS.get(name.text) if name.kind == "name" else None
            if method is None:
                known = ", ".join(_METHODS)
                raise ExpressionError(f"{name.text!r} is no method of a {part.type}, there are {known}", name.position)
            self._expect("(")
            part = _call(name, method, (part, *self._arguments(")")))
        return part

    def _macro(self, name: _Token, items: _Part) -> _Part:
        """`names.exists(name, condition)`."""
        self._expect("(")
        variable = self.take()
        if variable.kind != "name" or variable.text in (*_FUNCTIONS, "link", "true", "false", "has"):
            raise ExpressionError("expected a new name for an item of the list", variable.position)
        self._expect(",")
        item, hidden = [""], self._variables.get(variable.text)
        self._variables[variable.text] = item
        condition = self.alternatives()
        self._expect(")")
        del self._variables[variable.text]
        if hidden is not None:
            self._variables[variable.text] = hidden
        _require(condition, "string" if name.text == "map" else "bool", f"in {name.text}")
        result, combine = _MACROS[name.text]

        def value(link: LinkStatusSpec) -> Any:
            values = items.value(link)
            found = []
            for each in values:
                item[0] = each
                found.append(condition.value(link))
            return combine(values, found)

        return _Part(name.position, result, value)

    def _field(self, *, of: str) -> _Part:
        """The fields behind `link`, as far as they go; `of` is where they are read."""
        self._expect(".")
        field = self.take()
        if field.text not in _FIELDS:
            raise ExpressionError(f"a link has no field {field.text!r}{_nearest(field.text)}", field.position)
        kind, value = _FIELDS[field.text]
        while kind.startswith("message:"):
            fields = _MESSAGES[kind.removeprefix("message:")]
            if not self._peek("."):
                if of == "has":
                    break
                known = ", ".join(sorted(fields))
                raise ExpressionError(f"{field.text!r} has fields of its own: {known}", field.position)
            self.take()
            inner = self.take()
            if inner.text not in fields:
                known = ", ".join(sorted(fields))
                raise ExpressionError(f"{field.text!r} has no field {inner.text!r}, there are {known}", inner.position)
            kind, value = _composed(value, fields[inner.text])
            field = inner
        return _Part(field.position, kind, value)

    def _primary(self) -> _Part:
        token = self.take()
        if token.kind == "text" and token.text[0] in "bB":
            return _constant(token.position, "bytes", _unquote(token).encode("latin-1", "replace").hex(":"))
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
            return attrs.evolve(self._field(of="value"), position=token.position)
        if token.text in self._variables:
            item = self._variables[token.text]
            return _Part(token.position, "string", lambda _: item[0])
        if token.text == "has":
            self._expect("(")
            self._expect("link")
            part = self._field(of="has")
            self._expect(")")
            return _Part(token.position, "bool", lambda link: part.value(link) not in (None, "", 0, False, ()))
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


def _composed(outer: Callable[[Any], Any], field: _Field) -> _Field:
    kind, inner = field
    return kind, lambda link: inner(outer(link))


def _bytes_in(address: str) -> int:
    """Bytes are kept as text, `00:1a:...`."""
    return (len(address) + 1) // 3


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
    if name.text == "size" and arguments[0].type == "bytes":
        do = _bytes_in
    return _Part(name.position, result, lambda link: do(*(argument.value(link) for argument in arguments)))


def _check_pattern(pattern: _Part) -> None:
    if not pattern.is_constant:
        raise ExpressionError("the pattern must be written out here", pattern.position)
    try:
        re.compile(pattern.value(LinkStatusSpec()))
    except re.error as error:
        raise ExpressionError(f"invalid pattern: {error}", pattern.position) from None


def _integer(token: _Token) -> int:
    text = token.text.rstrip("uU")
    if len(text) > 18:
        raise ExpressionError("the number is too large", token.position)
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def _unquote(token: _Token) -> str:
    if token.text[0] in "rR":
        return token.text[2:-1]
    start = 2 if token.text[0] in "bB" else 1

    def spell(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "xu" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            raise ExpressionError(f"\\{code} has no meaning in a text", token.position + 1 + found.start())
        return _ESCAPES[code]

    return _SPELLED.sub(spell, token.text[start:-1])


def _nearest(text: str) -> str:
    # Users may write the field names of `nodespan get links -o yaml`.
    snake = re.sub(r"(?<=[a-z0-9])([A-Z]+)", r"_\1", text).lower()
    near = difflib.get_close_matches(snake, _FIELDS, n=1)
    return f", did you mean {near[0]!r}?" if near else f", there are {', '.join(sorted(_FIELDS))}"

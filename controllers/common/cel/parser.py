"""A recursive descent parser for this grammar, which checks types and compiles to closures as it reads.

    choice   or ("?" or ":" choice)?
    or       and ("||" and)*
    and      relation ("&&" relation)*
    relation sum (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") sum)*
    sum      product (("+" | "-") product)*
    product  unary (("*" | "/" | "%") unary)*
    unary    "!"* member | "-"* member
    member   primary ("." name ("(" arguments ")")? | "[" choice "]")*
    primary  "."? name ("(" arguments ")")? | text | bytes | number | "(" choice ")" | "[" ... "]" | "{" ... "}"

One operand can decide `&&` or `||`, and one item `all` or `exists`, even if others cannot be computed: without a
VLAN, `has(link.vlan) && 10u / link.vlan.vid == 1u` is false, with its operands in either order.
"""

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from nodespan.controllers.common.cel import functions, values
from nodespan.controllers.common.cel.errors import CelValueError, ExpressionError
from nodespan.controllers.common.cel.functions import FUNCTIONS, METHODS
from nodespan.controllers.common.cel.link import LINK, fields_of, is_present
from nodespan.controllers.common.cel.tokens import Token, tokens_of
from nodespan.controllers.common.cel.values import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    TYPE,
    UINT,
    Message,
    Type,
    TypeValue,
    UInt,
    equal,
    fits,
    is_message,
    joined,
    list_of,
    map_of,
    type_of,
)
from nodespan.resources.network import LinkStatusSpec

_DEEPEST: Final = 50
# How many items the macros of an expression, nested ones included, may visit for one link.
_MOST_STEPS: Final = 100_000
_ORDER: Final = ("<", "<=", ">", ">=")
_MACROS: Final = ("all", "exists", "exists_one", "existsOne", "filter", "map")
_RESERVED: Final = ("true", "false", "null", "in", "link", "has")


class _Frame:
    """What an expression is evaluated on: the link, and the current item of each macro."""

    def __init__(self, link: LinkStatusSpec, variables: int) -> None:
        self.link = Message("link", link)
        self.items: list[Any] = [None] * variables
        self.steps = 0

    def step(self) -> None:
        """Count a visited item. Raises CelValueError above the limit."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise CelValueError("it takes too many steps")


_Value = Callable[[_Frame], Any]


@attrs.frozen
class _Part:
    """A part of an expression: its position, the type of its value, and how to compute the value.

    `is_set` computes whether a field is present; only parts that `has` accepts have it. `constant` is the value of a
    literal, or of the name of a type.
    """

    position: int
    type: Type
    value: _Value
    is_set: _Value | None = None
    constant: Any = None


@attrs.frozen
class Expression:
    """A parsed expression."""

    text: str
    _part: _Part = attrs.field(repr=False, eq=False)
    _variables: int = attrs.field(repr=False, eq=False)

    def matches(self, link: LinkStatusSpec) -> bool:
        """Whether the expression is true of a link. Raises ExpressionError if it cannot be computed, like int('x')."""
        found = self._part.value(_Frame(link, self._variables))
        if not isinstance(found, bool):
            raise ExpressionError(f"the expression must be true or false, it is a {type_of(found)}", 0)
        return found


def parse(text: str) -> Expression:
    """Parse an expression. Raises ExpressionError."""
    reader = _Reader(text)
    part = reader.choice()
    end = reader.take()
    if end.kind != "end":
        raise ExpressionError(f"expected the end of the expression, found {end.text!r}", end.position)
    if not fits(part.type, BOOL):
        raise ExpressionError(f"the expression must be true or false, it is a {_named(part.type)}", part.position)
    return Expression(text, part, reader.variables)


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = tokens_of(text)
        self._next = 0
        self._depth = 0
        # By the name that a macro gives its items: the slot of the current item in the frame, and its type.
        self._names: dict[str, tuple[int, Type]] = {}
        self.variables = 0

    def take(self) -> Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _peek(self, *signs: str) -> bool:
        token = self._tokens[self._next]
        return token.kind in ("sign", "name") and token.text in signs

    def _accepts(self, sign: str) -> bool:
        if not self._peek(sign):
            return False
        self.take()
        return True

    def _expect(self, sign: str) -> None:
        token = self.take()
        if token.text != sign or token.kind not in ("sign", "name"):
            raise ExpressionError(f"expected {sign!r}, found {token.text!r}", token.position)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError("the expression is nested too deeply", self._tokens[self._next].position)

    def choice(self) -> _Part:
        self._deeper()
        condition = self._disjunction()
        if self._accepts("?"):
            _require(condition, BOOL, "before ?")
            chosen = self._disjunction()
            self._expect(":")
            other = self.choice()
            if not (fits(chosen.type, other.type) or fits(other.type, chosen.type)):
                raise ExpressionError(f"one is a {chosen.type}, the other a {other.type}", other.position)
            first = condition
            condition = _Part(
                first.position,
                joined(chosen.type, other.type),
                lambda frame: chosen.value(frame) if _truth(first, frame) else other.value(frame),
            )
        self._depth -= 1
        return condition

    def _disjunction(self) -> _Part:
        return self._joined("||", lambda: self._joined("&&", self._relation))

    def _joined(self, sign: str, read: Callable[[], _Part]) -> _Part:
        """Operands, one of which can decide the result: a true one for `||`, a false one for `&&`."""
        parts = [read()]
        while self._accepts(sign):
            parts.append(read())
        if len(parts) == 1:
            return parts[0]
        for part in parts:
            _require(part, BOOL, f"of {sign}")

        def value(frame: _Frame) -> bool:
            return _decide((functools.partial(_truth, part, frame) for part in parts), decisive=sign == "||")

        return _Part(parts[0].position, BOOL, value)

    def _relation(self) -> _Part:
        left = self._sum()
        while self._peek("==", "!=", "in", *_ORDER):
            sign = self.take()
            left = self._compared(left, sign, self._sum())
        return left

    def _compared(self, left: _Part, sign: Token, right: _Part) -> _Part:
        if sign.text == "in":
            return _contained(left, right)
        if sign.text in _ORDER:
            return _call(sign, sign.text, (left, right))
        if not (fits(left.type, right.type) or fits(right.type, left.type)):
            raise ExpressionError(_not_comparable(left, right), sign.position)
        wanted = sign.text == "=="
        return _Part(left.position, BOOL, lambda frame: equal(left.value(frame), right.value(frame)) == wanted)

    def _sum(self) -> _Part:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/", "%"), self._unary))

    def _chain(self, signs: tuple[str, ...], read: Callable[[], _Part]) -> _Part:
        """Left-associative operators of one precedence; computed in a loop, since a long sum is not nesting."""
        first = read()
        steps: list[tuple[Token, Sequence[functions.Overload], _Part]] = []
        type = first.type
        while self._peek(*signs):
            sign = self.take()
            right = read()
            overloads = functions.candidates(sign.text, (type, right.type))
            if not overloads:
                message = f"{sign.text} is not for {_named(type)} and {_named(right.type)}"
                raise ExpressionError(message, sign.position)
            steps.append((sign, overloads, right))
            type = joined(type, right.type) if overloads[0].result.name == "list" else _result(overloads)
        if not steps:
            return first

        def value(frame: _Frame) -> Any:
            found = first.value(frame)
            for sign, overloads, right in steps:
                found = _computed(sign, sign.text, overloads, (found, right.value(frame)))
            return found

        return _Part(first.position, type, value)

    def _unary(self) -> _Part:
        start = self._tokens[self._next]
        times = 0
        sign = "-" if self._peek("-") else "!"
        # A loop, so that a run of signs is not nesting.
        while self._accepts(sign):
            times += 1
        if sign == "!":
            part = self._member()
            if not times:
                return part
            _require(part, BOOL, "after !")
            return _Part(start.position, BOOL, lambda frame: _truth(part, frame) != bool(times % 2))
        return self._negated(start, times)

    def _negated(self, start: Token, times: int) -> _Part:
        literal = self._tokens[self._next]
        if literal.kind == "number" and type(literal.value) is int and times % 2:
            part = self._member(lowest=-literal.value)
            if part.constant is not None:
                return attrs.evolve(part, position=start.position)
        else:
            part = self._member()
        return part if times % 2 == 0 and fits(part.type, INT) else _call(start, "unary -", (part,))

    def _member(self, lowest: int | None = None) -> _Part:
        part = self._primary(lowest)
        depth = self._depth
        while self._peek(".", "["):
            self._deeper()
            sign = self.take()
            if sign.text == "[":
                index = self.choice()
                self._expect("]")
                part = _item(part, sign, index)
                continue
            name = self.take()
            if name.kind != "name":
                raise ExpressionError(f"expected a name after '.', found {name.text!r}", name.position)
            if not self._peek("("):
                part = _selected(part, name)
            elif name.text in _MACROS:
                part = self._macro(name, part)
            else:
                part = self._method(name, part)
        self._depth = depth
        return part

    def _method(self, name: Token, part: _Part) -> _Part:
        if name.text not in METHODS:
            known = ", ".join(method for method in METHODS if _has_method(part.type, method))
            more = f", there are {known}" if known else ""
            raise ExpressionError(f"{name.text!r} is no method of a {_named(part.type)}{more}", name.position)
        self._expect("(")
        return _call(name, name.text, (part, *self._arguments(")")), is_method=True)

    def _macro(self, name: Token, items: _Part) -> _Part:
        """A macro over items, such as `names.exists(name, condition)`."""
        if items.type.name not in ("list", "map", "dyn"):
            raise ExpressionError(f"{name.text} is for lists and maps, not for a {items.type}", items.position)
        self._expect("(")
        variable = self.take()
        if variable.kind != "name" or variable.text in (*FUNCTIONS, *_RESERVED):
            raise ExpressionError("expected a new name for an item of the list", variable.position)
        self._expect(",")
        slot, hidden = self.variables, self._names.get(variable.text)
        self.variables += 1
        self._names[variable.text] = (slot, items.type.items[0] if items.type.items else DYN)
        said = self.choice()
        mapped = self.choice() if name.text == "map" and self._accepts(",") else None
        self._expect(")")
        del self._names[variable.text]
        if hidden is not None:
            self._names[variable.text] = hidden
        if name.text != "map" or mapped is not None:
            _require(said, BOOL, f"in {name.text}")

        def each(frame: _Frame) -> Iterator[Any]:
            found = items.value(frame)
            if not isinstance(found, tuple | dict):
                raise ExpressionError(f"{name.text} is not for a {type_of(found)}", name.position)
            for given in found:
                _on(name, frame.step)
                item = given if isinstance(found, tuple) else _of_key(given)
                frame.items[slot] = item
                yield item

        def holds(frame: _Frame) -> Iterator[Callable[[], bool]]:
            """For each item, a function that computes the condition; call it before the next item is taken."""
            for _ in each(frame):
                yield lambda: _truth(said, frame)

        def kept(frame: _Frame) -> Iterator[Any]:
            return (item for item in each(frame) if _truth(said, frame))

        match name.text:
            case "all" | "exists":
                decisive = name.text == "exists"
                return _Part(name.position, BOOL, lambda frame: _decide(holds(frame), decisive=decisive))
            case "exists_one" | "existsOne":
                return _Part(name.position, BOOL, lambda frame: sum(1 for _ in kept(frame)) == 1)
            case "filter":
                item_type = items.type.items[0] if items.type.items else DYN
                return _Part(name.position, list_of(item_type), lambda frame: tuple(kept(frame)))
        if mapped is not None:
            made = mapped
            return _Part(name.position, list_of(made.type), lambda frame: tuple(made.value(frame) for _ in kept(frame)))
        return _Part(name.position, list_of(said.type), lambda frame: tuple(said.value(frame) for _ in each(frame)))

    def _primary(self, lowest: int | None) -> _Part:
        is_rooted = self._accepts(".")
        token = self.take()
        if is_rooted and token.kind != "name":
            raise ExpressionError(f"expected a name after the dot, found {token.text!r}", token.position)
        match token.kind:
            case "text":
                return _constant(token, BYTES if isinstance(token.value, bytes) else STRING, token.value)
            case "double":
                return _constant(token, DOUBLE, token.value)
            case "number":
                if isinstance(token.value, UInt):
                    return _constant(token, UINT, token.value)
                number = token.value if lowest is None else lowest
                if number > values.HIGHEST_INT:
                    raise ExpressionError("the number is too large", token.position)
                return _constant(token, INT, number)
            case "name":
                return self._name(token)
        match token.text if token.kind == "sign" else "":
            case "(":
                part = self.choice()
                self._expect(")")
                # A part in parentheses is not a field that `has` accepts, nor a literal that a sign belongs to.
                return attrs.evolve(part, is_set=None, constant=None)
            case "[":
                return _list(token, self._arguments("]"))
            case "{":
                return self._map(token)
        raise ExpressionError(f"expected a value, found {token.text!r}", token.position)

    def _map(self, token: Token) -> _Part:
        pairs: list[tuple[_Part, _Part]] = []
        while not self._peek("}"):
            if pairs:
                self._expect(",")
                if self._peek("}"):
                    break
            key = self.choice()
            if key.type not in (INT, UINT, BOOL, STRING, DYN):
                raise ExpressionError(f"a {key.type} cannot be the key of a map", key.position)
            self._expect(":")
            pairs.append((key, self.choice()))
        self.take()
        type = map_of(_common([key.type for key, _ in pairs]), _common([value.type for _, value in pairs]))

        def checked(key: _Part, frame: _Frame) -> Any:
            # What a dyn is, is known only now.
            found = key.value(frame)
            if not isinstance(found, bool | int | str):
                raise ExpressionError(f"a {type_of(found)} cannot be the key of a map", key.position)
            return _key(found)

        def value(frame: _Frame) -> dict[Any, Any]:
            found = {checked(key, frame): value.value(frame) for key, value in pairs}
            if len(found) != len(pairs):
                raise ExpressionError("a key stands in the map twice", token.position)
            return found

        return _Part(token.position, type, value)

    def _name(self, token: Token) -> _Part:
        if token.text in ("true", "false"):
            return _constant(token, BOOL, token.text == "true")
        if token.text == "null":
            return _Part(token.position, NULL, lambda _: None)
        if token.text == "has" and self._peek("("):
            return self._has(token)
        if self._peek("("):
            if token.text not in FUNCTIONS or not token.text.isalpha():
                known = ", ".join(f"{name}()" for name in FUNCTIONS if name.isalpha())
                raise ExpressionError(f"{token.text!r} is not known, there are link and {known}", token.position)
            self.take()
            return _call(token, token.text, tuple(self._arguments(")")))
        if token.text in self._names:
            slot, type = self._names[token.text]
            return _Part(token.position, type, lambda frame: frame.items[slot])
        if token.text == "link":
            return _Part(token.position, LINK, lambda frame: frame.link)
        if token.text in values.NAMED_TYPES:
            return _constant(token, TYPE, TypeValue(token.text))
        raise ExpressionError(f"{token.text!r} is not known, there is link", token.position)

    def _has(self, token: Token) -> _Part:
        self._expect("(")
        part = self.choice()
        if part.is_set is None:
            raise ExpressionError("has() is for a field, like has(link.vlan)", part.position)
        self._expect(")")
        return _Part(token.position, BOOL, part.is_set)

    def _arguments(self, end: str) -> Sequence[_Part]:
        parts: list[_Part] = []
        while not self._peek(end):
            if parts:
                self._expect(",")
                # A list may have a trailing comma.
                if end == "]" and self._peek(end):
                    break
            parts.append(self.choice())
        self.take()
        return parts


def _decide(answers: Iterable[Callable[[], bool]], *, decisive: bool) -> bool:
    """Return `decisive` if an answer equals it, else its opposite; an answer's error is raised only if none does."""
    failure: ExpressionError | None = None
    for answer in answers:
        try:
            if answer() == decisive:
                return decisive
        except ExpressionError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return not decisive


def _truth(part: _Part, frame: _Frame) -> bool:
    found = part.value(frame)
    if not isinstance(found, bool):
        raise ExpressionError(f"expected a bool, found a {type_of(found)}", part.position)
    return found


def _on(token: Token, do: Callable[[], Any]) -> Any:
    """The result of `do`; a CelValueError becomes an ExpressionError at this token."""
    try:
        return do()
    except CelValueError as fault:
        raise ExpressionError(str(fault), token.position) from None


def _computed(token: Token, name: str, overloads: Sequence[functions.Overload], arguments: Sequence[Any]) -> Any:
    return _on(token, lambda: functions.call(name.removeprefix("unary "), overloads, arguments))


def _result(overloads: Sequence[functions.Overload]) -> Type:
    results = {each.result for each in overloads}
    return results.pop() if len(results) == 1 else DYN


def _has_method(type: Type, method: str) -> bool:
    return any(fits(type, each.arguments[0]) for each in METHODS[method])


def _not_for(name: str, arguments: Sequence[_Part]) -> str:
    return (
        f"{name.removeprefix('unary ')} is not for {' and '.join(_named(part.type) for part in arguments) or 'nothing'}"
    )


def _not_comparable(left: _Part, right: _Part) -> str:
    if left.type == right.type:
        return f"values of type {left.type} have no order"
    return f"cannot compare {_named(left.type)} with {_named(right.type)}{_remedy(left, right)}"


def _remedy(left: _Part, right: _Part) -> str:
    """What to write instead, if a number has the wrong type."""
    for written, other in ((left, right), (right, left)):
        if written.type == INT and other.type == UINT and type(written.constant) is int and written.constant >= 0:
            return f": write {written.constant}u"
        if written.type == UINT and other.type == INT and isinstance(written.constant, UInt):
            return f": write {int(written.constant)}"
    return ": int() makes a uint an int" if {left.type, right.type} == {INT, UINT} else ""


def _call(
    token: Token,
    name: str,
    arguments: tuple[_Part, ...],
    *,
    is_method: bool = False,
) -> _Part:
    known = (METHODS if is_method else FUNCTIONS)[name]
    counts = sorted({len(each.arguments) for each in known})
    if len(arguments) not in counts:
        given, takes = len(arguments) - is_method, " or ".join(str(count - is_method) for count in counts)
        raise ExpressionError(f"{name} takes {takes} values, {given} are given", token.position)
    overloads = functions.candidates(name, [part.type for part in arguments], is_method=is_method)
    if not overloads:
        if name in _ORDER:
            raise ExpressionError(_not_comparable(*arguments), token.position)
        place = _wrong_argument(known, arguments) if name.isalpha() else None
        if place is None:
            raise ExpressionError(_not_for(name, arguments), token.position)
        part, allowed = place
        raise ExpressionError(f"{name} takes a {allowed} here, not {_named(part.type)}", part.position)
    if name == "matches" and arguments[-1].constant is not None:
        try:
            functions.pattern_of(arguments[-1].constant)
        except CelValueError as fault:
            raise ExpressionError(str(fault), arguments[-1].position) from None
    return _Part(
        arguments[0].position if name in _ORDER else token.position,
        _result(overloads),
        lambda frame: _computed(token, name, overloads, [part.value(frame) for part in arguments]),
    )


def _wrong_argument(known: Sequence[functions.Overload], arguments: Sequence[_Part]) -> tuple[_Part, str] | None:
    """The first argument that no overload accepts, and the types accepted there; None if each alone is accepted."""
    for index, part in enumerate(arguments):
        allowed = list(dict.fromkeys(each.arguments[index] for each in known if len(each.arguments) == len(arguments)))
        if not any(fits(part.type, type) for type in allowed):
            return part, " or ".join(type.name for type in allowed)
    return None


def _contained(left: _Part, right: _Part) -> _Part:
    if right.type.name not in ("list", "map", "dyn"):
        raise ExpressionError(f"expected a list or a map after in, found {_named(right.type)}", right.position)
    item = right.type.items[0] if right.type.items else DYN
    if not fits(left.type, item):
        raise ExpressionError(f"expected a {item} before in, found {_named(left.type)}", left.position)

    def value(frame: _Frame) -> bool:
        wanted, found = left.value(frame), right.value(frame)
        if not isinstance(found, tuple | dict):
            raise ExpressionError(f"in is not for a {type_of(found)}", right.position)
        return any(equal(wanted, each if isinstance(found, tuple) else _of_key(each)) for each in found)

    return _Part(left.position, BOOL, value)


def _key(value: Any) -> Any:
    """A map key as a dict key: a bool is tagged, since True == 1 in Python."""
    return ("bool", value) if isinstance(value, bool) else value


def _of_key(key: Any) -> Any:
    return key[1] if isinstance(key, tuple) else key


def _item(part: _Part, sign: Token, index: _Part) -> _Part:
    """An item of a list or a map: `list[number]`, `map[key]`."""
    if part.type.name not in ("list", "map", "dyn"):
        raise ExpressionError(f"a {_named(part.type)} has no items", sign.position)
    expected = DYN if part.type == DYN else INT if part.type.name == "list" else part.type.items[0]
    if not fits(index.type, expected):
        raise ExpressionError(f"expected a {expected} in brackets, found {_named(index.type)}", index.position)

    def value(frame: _Frame) -> Any:
        found, at = part.value(frame), index.value(frame)
        if isinstance(found, tuple) and isinstance(at, int) and not isinstance(at, bool) and 0 <= at < len(found):
            return found[at]
        if isinstance(found, dict) and not isinstance(at, tuple | dict) and _key(at) in found:
            return found[_key(at)]
        what = f"a {type_of(found)} has no items" if not isinstance(found, tuple | dict) else f"there is no item {at!r}"
        raise ExpressionError(what, index.position)

    return _Part(part.position, part.type.items[-1] if part.type.items else DYN, value)


def _selected(part: _Part, name: Token) -> _Part:
    """A field of a message, or the value of a map at this key."""
    if part.type == DYN or part.type.name == "map":
        if part.type.name == "map" and not fits(STRING, part.type.items[0]):
            raise ExpressionError(f"the keys of the map are {part.type.items[0]}", name.position)
        type = part.type.items[1] if part.type.items else DYN
        return _Part(
            part.position,
            type,
            lambda frame: _field(part.value(frame), name),
            lambda frame: _has_field(part.value(frame), name),
        )
    fields = fields_of(part.type)
    if fields is None:
        raise ExpressionError(f"a {_named(part.type)} has no field {name.text!r}", name.position)
    if name.text not in fields:
        what = part.type.name.removeprefix("message ")
        raise ExpressionError(f"a {what} has no field {name.text!r}{_nearest(name.text, fields)}", name.position)
    field = fields[name.text]

    def value(frame: _Frame) -> Any:
        return field.read(part.value(frame).content)

    return _Part(part.position, field.type, value, lambda frame: is_present(value(frame)))


def _has_field(found: Any, name: Token) -> bool:
    if isinstance(found, dict):
        return name.text in found
    return is_present(_field(found, name))


def _field(found: Any, name: Token) -> Any:
    if isinstance(found, dict) and name.text in found:
        return found[name.text]
    fields = fields_of(type_of(found))
    if isinstance(found, Message) and fields is not None and name.text in fields:
        return fields[name.text].read(found.content)
    raise ExpressionError(f"a {_named(type_of(found))} has no field {name.text!r}", name.position)


def _list(token: Token, parts: Sequence[_Part]) -> _Part:
    return _Part(
        token.position,
        list_of(_common([part.type for part in parts])),
        lambda frame: tuple(part.value(frame) for part in parts),
    )


def _common(types: Sequence[Type]) -> Type:
    """The common type of all, or dyn if there is none."""
    found = types[0] if types else DYN
    for type in types[1:]:
        found = joined(found, type)
    return found


def _constant(token: Token, type: Type, value: Any) -> _Part:
    return _Part(token.position, type, lambda _: value, constant=value)


def _named(type: Type) -> str:
    if is_message(type):
        return f"{type}, which has fields of its own: {', '.join(sorted(fields_of(type) or ()))}"
    return f"{type} (mac() makes it a text)" if type == BYTES else str(type)


def _require(part: _Part, type: Type, where: str) -> None:
    if not fits(part.type, type):
        raise ExpressionError(f"expected a {type} {where}, found {_named(part.type)}", part.position)


def _nearest(text: str, known: Mapping[str, Any]) -> str:
    # Users may copy the camelCase field names of `nodespan get links -o yaml`.
    snake = re.sub(r"(?<=[a-z0-9])([A-Z]+)", r"_\1", text).lower()
    snake = {"pci_id": "pciid", "speed_mbit": "speed_megabits"}.get(snake, snake)
    near = difflib.get_close_matches(snake, known, n=1)
    return f", did you mean {near[0]!r}?" if near else f", there are {', '.join(sorted(known))}"

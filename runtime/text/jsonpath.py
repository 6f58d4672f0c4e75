"""JSONPath templates in the dialect of the Kubernetes tools, for print columns and `-o jsonpath=`.

A template is text with actions in braces. An action is a path, a literal, `range` of a path, or `end`. A path is a
chain of steps, each a function from the values found so far to the values found next, so `{.a[*].b}` is three steps:

    .a  .* .name    child, all children; `\\` before a `.` makes it part of the name     ..name     at any depth
    [0]  [-1]       item of a list         [1:3]  [:]  [::2]   slice                      ['a']      child
    [0,2]  ['a','b'] union                 [?(@.k=="v")]       items that pass; == != < <= > >= =~, or mere existence

The command-line tool imports this module at every start, so the module itself imports next to nothing.
"""

import re
from collections.abc import Callable, Iterator

# From the values found so far, and whether a missing key is allowed, to the values found next.
Step = Callable[[list[object], bool], list[object]]

_SPACE = re.compile(r"\s*")
_BARE_START = (".", "[", "$", "@")
_NAME = re.compile(r"(?:\\.|[^\\\s.\[\]$@{}])+", re.DOTALL)
_NAME_IN_FILTER = re.compile(r"(?:\\.|[^\\\s.\[\]$@{}()!<>=])+", re.DOTALL)
_QUOTED = re.compile(r"""'((?:\\.|[^\\'])*)'|"((?:\\.|[^\\"])*)\"""", re.DOTALL)
_QUOTED_NAME_PART = re.compile(r"(?:\\.|[^\\.])+", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_INDEX = re.compile(r"-?[0-9]{1,18}")
_OPERATOR = re.compile(r"==|!=|<=|>=|=~|<|>")
_CONSTANTS = {"true": True, "false": False}

# Deeper than real expressions, shallow enough for the interpreter's stack.
_MAX_NESTING = 32

# In JSON, whole floats below this are written as integers.
_EXACT = 1e15

# Escaped as in the JSON of the originals, which is safe to paste into HTML.
_HTML_SAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


class JSONPathError(ValueError):
    """The expression is malformed, or the data does not fit it; the message names the expression and the position."""


class _Place:
    """A position in an expression, for the errors of the step at that position."""

    __slots__ = ("_expression", "_position")

    def __init__(self, expression: str, position: int) -> None:
        self._expression = expression
        self._position = position

    def error(self, message: str) -> JSONPathError:
        return JSONPathError(f"JSONPath {self._expression!r}, character {self._position + 1}: {message}")


class _Node:
    """Literal text, an action, or a loop over the values that a path finds."""

    __slots__ = ("body", "steps")

    def __init__(self, steps: tuple[Step, ...], body: "list[_Node] | None" = None) -> None:
        self.steps = steps
        self.body = body


class Template:
    """A compiled expression; made by `compile`."""

    __slots__ = ("_nodes", "expression")

    def __init__(self, expression: str, nodes: list[_Node]) -> None:
        self.expression = expression
        self._nodes = nodes

    def render(self, data: object, *, allow_missing: bool) -> str:
        """The text of the template for plain data; the results of one action are joined by single spaces.

        Raises JSONPathError if the data does not fit: an index or slice is out of range, or applied to a value that is
        neither a list nor null; a filter is applied to a value that is not a list, or compares several values; data is
        nested too deeply; or, unless `allow_missing`, a key is missing.
        """
        try:
            return "".join(" ".join(map(to_text, found)) for found in _evaluate(self._nodes, data, allow_missing))
        except RecursionError:
            raise _Place(self.expression, 0).error("the data is nested too deeply to be shown") from None

    def find(self, data: object, *, allow_missing: bool) -> list[object]:
        """All results in order, as values, not text; literal text is a result too. Raises as `render` does."""
        return [result for found in _evaluate(self._nodes, data, allow_missing) for result in found]

    def __repr__(self) -> str:
        return f"<Template {self.expression!r}>"


def compile(expression: str) -> Template:
    """Parse an expression; a bare path such as `.a.b` means `{.a.b}`. Raises JSONPathError."""
    return Template(expression, _Parser(expression).template())


# Evaluation


def _evaluate(nodes: list[_Node], data: object, lenient: bool) -> Iterator[list[object]]:
    for node in nodes:
        found = _walk(node.steps, [data], lenient)
        if node.body is None:
            yield found
        else:
            for value in found:
                yield from _evaluate(node.body, value, lenient)


def _walk(steps: tuple[Step, ...], values: list[object], lenient: bool) -> list[object]:
    for step in steps:
        values = step(values, lenient)
    return values


def _literal(constant: object) -> Step:
    return lambda values, _lenient: [constant for _ in values]


def _child(name: str, place: _Place) -> Step:
    def step(values: list[object], lenient: bool) -> list[object]:
        found = [value[name] for value in values if isinstance(value, dict) and name in value]
        # One item with the key is enough: items of a list often differ in their keys.
        if values and not found and not lenient:
            raise place.error(f"key {name!r} is not found")
        return found

    return step


def _children(values: list[object], _lenient: bool) -> list[object]:
    return [child for value in values for child in _children_of(value)]


def _children_of(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else []


def _descendants(values: list[object], _lenient: bool) -> list[object]:
    found = []
    pending = values[::-1]
    while pending:
        value = pending.pop()
        if children := _children_of(value):
            found.append(value)
            pending.extend(reversed(children))
    return found


def _lists(values: list[object], place: _Place) -> Iterator[list[object]]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield list(value)
        elif value is not None:
            raise place.error(f"a list is needed here, found {_kind(value)}")


def _index(index: int, place: _Place) -> Step:
    def step(values: list[object], _lenient: bool) -> list[object]:
        found = []
        for items in _lists(values, place):
            if not -len(items) <= index < len(items):
                raise place.error(f"index {index} is out of range, the list has {len(items)} items")
            found.append(items[index])
        return found

    return step


def _slice(start: int | None, stop: int | None, step_size: int | None, place: _Place) -> Step:
    def step(values: list[object], _lenient: bool) -> list[object]:
        found: list[object] = []
        for items in _lists(values, place):
            first = _from_end(start, len(items), default=0)
            last = _from_end(stop, len(items), default=len(items))
            if first == last:
                continue
            if not 0 <= first < last <= len(items):
                raise place.error(f"slice {first}:{last} is out of range, the list has {len(items)} items")
            found.extend(items[first : last : step_size or 1])
        return found

    return step


def _from_end(bound: int | None, length: int, *, default: int) -> int:
    if bound is None:
        return default
    return bound + length if bound < 0 else bound


def _union(alternatives: list[tuple[Step, ...]]) -> Step:
    def step(values: list[object], lenient: bool) -> list[object]:
        return [found for steps in alternatives for found in _walk(steps, values, lenient)]

    return step


def _filter(passes: Callable[[object], bool], place: _Place) -> Step:
    def step(values: list[object], _lenient: bool) -> list[object]:
        if any(value is None for value in values):
            raise place.error("a list is needed here, found null")
        return [item for items in _lists(values, place) for item in items if passes(item)]

    return step


def _exists(steps: tuple[Step, ...]) -> Callable[[object], bool]:
    def passes(item: object) -> bool:
        try:
            return bool(_walk(steps, [item], lenient=True))
        except JSONPathError:
            # In a test for existence, data that does not fit is not an error: nothing is found.
            return False

    return passes


def _comparison(
    left: tuple[Step, ...], right: tuple[Step, ...], holds: Callable[[object, object], bool], place: _Place
) -> Callable[[object], bool]:
    def passes(item: object) -> bool:
        lefts, rights = _walk(left, [item], lenient=True), _walk(right, [item], lenient=True)
        if len(lefts) > 1 or len(rights) > 1:
            raise place.error("a comparison takes one value on either side, found several")
        return bool(lefts and rights) and holds(lefts[0], rights[0])

    return passes


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case dict():
            return "a map"
        case list() | tuple():
            return "a list"
    return type(value).__name__


def _equal(left: object, right: object) -> bool:
    return _kind(left) == _kind(right) and left == right


def _less(left: object, right: object) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    if _kind(left) == _kind(right) == "a number":
        return left < right  # type: ignore[operator,no-any-return]  # both are numbers
    return False


def _matches(text: object, pattern: object) -> bool:
    return isinstance(text, str) and isinstance(pattern, re.Pattern) and pattern.search(text) is not None


# Values of different kinds are unequal and have no order.
_COMPARISONS: dict[str, Callable[[object, object], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _less,
    "<=": lambda left, right: _less(left, right) or _equal(left, right),
    ">": lambda left, right: _less(right, left),
    ">=": lambda left, right: _less(right, left) or _equal(left, right),
    "=~": _matches,
}


# Rendering results


def to_text(value: object) -> str:
    """A result as text."""
    match value:
        case str():
            return value
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value).removesuffix(".0")
        case int():
            return str(value)
    return _json(value)


def _json(value: object) -> str:
    import json

    text = json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"))
    return text.translate(_HTML_SAFE)


def _jsonable(value: object) -> object:
    if isinstance(value, dict):
        pairs = sorted(((to_text(key), item) for key, item in value.items()), key=lambda pair: pair[0])
        return {key: _jsonable(item) for key, item in pairs}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if hasattr(value, "isoformat"):
        return _rfc3339(value.isoformat())
    return value


def _rfc3339(time: str) -> str:
    """A date or time, as YAML parses them, in RFC 3339; without a zone it is taken as UTC."""
    if "T" not in time:
        time += "T00:00:00"
    if time.endswith("+00:00"):
        return time.removesuffix("+00:00") + "Z"
    return time if re.search(r"[+-]\d\d:\d\d$", time) else time + "Z"


# Parsing expressions


class _Parser:
    """A cursor over one expression."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._at = 0
        self._nesting = 0

    def template(self) -> list[_Node]:
        if "{" not in self._text and self._text.startswith(_BARE_START):
            steps = self._path(_NAME)
            if self._at < len(self._text):
                raise self._unexpected()
            return [_Node(steps)]

        nodes: list[_Node] = []
        open_ranges: list[tuple[_Place, list[_Node]]] = []
        while self._at < len(self._text):
            place = self._place()
            if not self._take("{"):
                nodes.append(_Node((_literal(self._until("{")),)))
                continue
            self._skip_space()
            word = self._word()
            if word == "range":
                body: list[_Node] = []
                nodes.append(_Node(self._path(_NAME), body))
                open_ranges.append((place, nodes))
                if len(open_ranges) > _MAX_NESTING:
                    raise place.error("ranges are nested too deeply")
                nodes = body
            elif word == "end":
                if not open_ranges:
                    raise place.error("`end` without a `range` before it")
                nodes = open_ranges.pop()[1]
            elif word is not None:
                nodes.append(_Node((_literal(_CONSTANTS[word]),)))
            else:
                nodes.append(_Node(self._operand(_NAME)))
            self._skip_space()
            self._expect("}")
        if open_ranges:
            raise open_ranges[-1][0].error("`range` without an `{end}` after it")
        return nodes

    def _word(self) -> str | None:
        """Read `range`, `end`, `true` or `false`; if there is no word here, return None and read nothing."""
        if (match := _WORD.match(self._text, self._at)) is None:
            return None
        word = match.group()
        if word not in ("range", "end", *_CONSTANTS):
            raise self._place().error(f"unknown word {word!r}, a key is written {'.' + word!r}")
        self._at = match.end()
        return word

    def _operand(self, name: re.Pattern[str]) -> tuple[Step, ...]:
        """A literal, or a path whose names match `name`."""
        self._skip_space()
        if match := _QUOTED.match(self._text, self._at):
            place = self._place()
            return (_literal(_unescape(self._quoted(match), place)),)
        if match := _NUMBER.match(self._text, self._at):
            self._at = match.end()
            number = match.group()
            return (_literal(float(number) if "." in number else int(number)),)
        return self._path(name)

    def _path(self, name: re.Pattern[str]) -> tuple[Step, ...]:
        steps: list[Step] = []
        while True:
            self._skip_space()
            place = self._place()
            if self._take(".."):
                if steps and steps[-1] is _descendants:
                    raise place.error("two `..` in a row")
                steps.append(_descendants)
                steps.extend(self._names(name, place))
            elif self._take("."):
                steps.extend(self._names(name, place))
            elif self._take("["):
                steps.extend(self._bracket(place))
            elif not (self._take("$") or self._take("@")):
                return tuple(steps)

    def _names(self, name: re.Pattern[str], place: _Place) -> list[Step]:
        """The step for the name at the cursor; no step after a lone dot, which is the current object."""
        if (match := name.match(self._text, self._at)) is None:
            return []
        self._at = match.end()
        return [_named(match.group(), place)]

    def _bracket(self, place: _Place) -> list[Step]:
        if self._take("?("):
            self._nesting += 1
            if self._nesting > _MAX_NESTING:
                raise place.error("filters are nested too deeply")
            step = self._filter(place)
            self._nesting -= 1
            return [step]
        alternatives = [self._element()]
        while self._take(","):
            alternatives.append(self._element())
        self._expect("]")
        return list(alternatives[0]) if len(alternatives) == 1 else [_union(alternatives)]

    def _element(self) -> tuple[Step, ...]:
        """One member of a union: `*`, a quoted name, an index or a slice."""
        self._skip_space()
        place = self._place()
        if self._take("*"):
            steps: tuple[Step, ...] = (_slice(None, None, None, place),)
        elif match := _QUOTED.match(self._text, self._at):
            # As in the originals, a dot separates names even in quotes, unless it is escaped.
            parts = _QUOTED_NAME_PART.findall(self._quoted(match))
            if not parts:
                raise place.error("an empty name")
            steps = tuple(_named(part, place) for part in parts)
        else:
            steps = (self._index_or_slice(place),)
        self._skip_space()
        return steps

    def _index_or_slice(self, place: _Place) -> Step:
        bounds = [self._integer()]
        while len(bounds) < 3 and self._take(":"):
            bounds.append(self._integer())
        if len(bounds) == 1:
            if bounds[0] is None:
                raise self._unexpected("an index, a slice, a quoted name, `*` or `?(...)`")
            return _index(bounds[0], place)
        start, stop, step_size = (*bounds, None)[:3]
        if step_size is not None and step_size < 1:
            raise place.error(f"the step of a slice must be positive, not {step_size}")
        return _slice(start, stop, step_size, place)

    def _integer(self) -> int | None:
        if (match := _INDEX.match(self._text, self._at)) is None:
            return None
        self._at = match.end()
        return int(match.group())

    def _filter(self, place: _Place) -> Step:
        left = self._filter_operand()
        if match := _OPERATOR.match(self._text, self._at):
            self._at = match.end()
            operator = match.group()
            right = self._pattern() if operator == "=~" else self._filter_operand()
            passes = _comparison(left, right, _COMPARISONS[operator], place)
        else:
            passes = _exists(left)
        self._expect(")")
        self._expect("]")
        return _filter(passes, place)

    def _filter_operand(self) -> tuple[Step, ...]:
        self._skip_space()
        start = self._at
        word = _WORD.match(self._text, self._at)
        if word and word.group() in _CONSTANTS:
            self._at = word.end()
            operand: tuple[Step, ...] = (_literal(_CONSTANTS[word.group()]),)
        else:
            operand = self._operand(_NAME_IN_FILTER)
        if self._at == start:
            raise self._unexpected("a path such as `@.key`, a quoted text, a number, true or false")
        self._skip_space()
        return operand

    def _pattern(self) -> tuple[Step, ...]:
        """The right side of `=~`: a quoted regular expression; its backslashes are left for `re` to interpret."""
        self._skip_space()
        place = self._place()
        if (match := _QUOTED.match(self._text, self._at)) is None:
            raise self._unexpected("a quoted regular expression")
        try:
            pattern = re.compile(self._quoted(match))
        except (re.error, OverflowError, RecursionError) as error:
            raise place.error(f"bad regular expression: {error}") from error
        self._skip_space()
        return (_literal(pattern),)

    def _quoted(self, match: re.Match[str]) -> str:
        self._at = match.end()
        return match.group(1) if match.group(1) is not None else match.group(2)

    def _until(self, mark: str) -> str:
        start = self._at
        end = self._text.find(mark, start)
        self._at = len(self._text) if end < 0 else end
        return self._text[start : self._at]

    def _take(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise self._unexpected(f"`{mark}`")

    def _skip_space(self) -> None:
        if match := _SPACE.match(self._text, self._at):
            self._at = match.end()

    def _unexpected(self, wanted: str = "a path") -> JSONPathError:
        here = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        return self._place().error(f"unexpected {here}, expected {wanted}")

    def _place(self) -> _Place:
        return _Place(self._text, self._at)


def _named(name: str, place: _Place) -> Step:
    return _children if name == "*" else _child(re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL), place)


def _unescape(text: str, place: _Place) -> str:
    def character(match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) > 1:
            return chr(int(code[1:], 16))
        if code.isalnum() and code not in _ESCAPES:
            raise place.error(f"unknown escape `\\{code}`")
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(character, text)

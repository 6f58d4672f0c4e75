"""Selects the resources of a list or a watch: label queries and a pattern for ids, with their text form.

A filter is a set of label queries, any of which may match (OR), and one pattern for the id; a label query is a set of
terms, all of which must match (AND). The rules are those of the COSI State service, the odd ones included: a comparison
with a missing label or an unreadable number matches nothing, even when it is inverted.
"""

import enum
import re
from collections.abc import Iterable, Mapping

import attrs

from nodespan.runtime.resource.metadata import Metadata


class Operation(enum.Enum):
    """The operation of a term on a label's value. All but IN use the first value only."""

    EXISTS = "exists"
    EQUAL = "equal"
    IN = "in"
    LT = "lt"
    LTE = "lte"
    LT_NUMERIC = "lt-numeric"
    LTE_NUMERIC = "lte-numeric"


_COMPARISONS = {Operation.LT, Operation.LTE, Operation.LT_NUMERIC, Operation.LTE_NUMERIC}
_NUMERIC = {Operation.LT_NUMERIC, Operation.LTE_NUMERIC}
_BINARY_UNITS = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40, "pi": 1 << 50}
_DECIMAL_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}


def parse_quantity(text: str) -> int | None:
    """`10kg` → 10000, `4GiB` → 4·2³⁰, None for other text. `m` is a million, never a thousandth.

    64-bit arithmetic that wraps around, as in the original.
    """
    text = text.strip()
    digits = re.match(r"[0-9-]*", text)
    assert digits is not None  # the pattern matches the empty string
    try:
        number = int(digits[0])
    except ValueError:
        return None
    if not -(1 << 63) <= number < 1 << 63:
        return None
    unit = text[digits.end() :].strip().lower()
    if not unit:
        factor: int | None = 1
    else:
        factor = _BINARY_UNITS.get(unit[:2]) or _DECIMAL_UNITS.get(unit[0])
    if factor is None:
        return None
    return (number * factor + (1 << 63)) % (1 << 64) - (1 << 63)


@attrs.frozen
class Term:
    """One condition on one label."""

    key: str
    operation: Operation = Operation.EXISTS
    values: tuple[str, ...] = ()
    invert: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels like these satisfy the condition."""
        value = labels.get(self.key)
        if value is None:
            return self.invert and self.operation not in _COMPARISONS
        return self._holds(value)

    def _holds(self, value: str) -> bool:
        first = self.values[0] if self.values else None
        match self.operation:
            case Operation.EXISTS:
                return not self.invert
            case Operation.EQUAL:
                return (value == first) != self.invert
            case Operation.IN:
                return (value in self.values) != self.invert
        if first is None:
            return self.invert
        left: str | int | None
        right: str | int | None
        if self.operation in _NUMERIC:
            left, right = parse_quantity(value), parse_quantity(first)
        else:
            left, right = value, first  # code points are in the order of their UTF-8 bytes
        if left is None or right is None:
            return False
        less = left < right  # type: ignore[operator]  # both of one type
        if self.operation in (Operation.LTE, Operation.LTE_NUMERIC):
            less = less or left == right
        return less != self.invert


@attrs.frozen
class LabelQuery:
    """Terms that must all hold; without terms it matches everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels like these satisfy every term."""
        # Loops, here and in Filter: a generator for each resource would cost as much as what it looks at.
        for term in self.terms:  # noqa: SIM110
            if not term.matches(labels):
                return False
        return True


def equal(key: str, value: str) -> LabelQuery:
    """The query for resources whose label has this value."""
    return LabelQuery((Term(key, Operation.EQUAL, (value,)),))


def exists(key: str) -> LabelQuery:
    """The query for resources with this label, whatever its value."""
    return LabelQuery((Term(key),))


@attrs.frozen
class Filter:
    """The filter of a list or watch: any of the label queries (none: all), and a pattern found in the id."""

    labels: tuple[LabelQuery, ...] = ()
    id_pattern: re.Pattern[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether everything passes."""
        return not self.labels and self.id_pattern is None

    def matches(self, metadata: Metadata) -> bool:
        """Whether a resource with this metadata passes."""
        if self.id_pattern is not None and not self.id_pattern.search(metadata.id):
            return False
        queries, labels = self.labels, metadata.labels
        for query in queries:
            if query.matches(labels):
                return True
        return not queries


EVERYTHING = Filter()


def build_filter(labels: Iterable[LabelQuery] = (), id_query: str | re.Pattern[str] | None = None) -> Filter:
    """The filter for these queries. An empty pattern matches all; a bad one raises ValueError."""
    queries = tuple(labels)
    if not id_query:
        return Filter(queries) if queries else EVERYTHING
    try:
        return Filter(queries, re.compile(id_query))
    except re.error as error:
        raise ValueError(f"id query {id_query!r} is not a regular expression: {error}") from error


# No backtracking (`*+`): a selector may be hostile, and must be refused fast.
_KEY = r'[^\s,!=<>()"]++'
_QUOTED = r'\s*+"(?:[^"\\]|\\.)*+"\s*+'
_MEMBER = rf'{_QUOTED}|[^(),"]*+'
_MEMBERS = re.compile(rf"({_MEMBER}),")
_TERM = re.compile(
    rf"""\s*+(?:
        (?P<absent>!)\s*+(?P<absent_key>{_KEY})
      | (?P<key>{_KEY})
        (?:\s++(?P<set>in|notin)\s*+\((?P<members>(?:{_MEMBER})(?:,(?:{_MEMBER}))*+)\)
         | \s*+(?P<op>==|!=|<=|>=|=|<|>)(?P<value>{_QUOTED}|[^,"]*+)
        )?
    )\s*+(?:,|$)""",
    re.VERBOSE,
)
_OPERATIONS = {
    "=": (Operation.EQUAL, False),
    "==": (Operation.EQUAL, False),
    "!=": (Operation.EQUAL, True),
    "<": (Operation.LT_NUMERIC, False),
    "<=": (Operation.LTE_NUMERIC, False),
    ">": (Operation.LTE_NUMERIC, True),
    ">=": (Operation.LT_NUMERIC, True),
}


def _unquote(text: str) -> str:
    text = text.strip()
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _members(text: str) -> tuple[str, ...]:
    return tuple(sorted({_unquote(member) for member in _MEMBERS.findall(text + ",")}))


def parse_selector(text: str) -> LabelQuery:
    """Read one selector: `app=web, tier in (a, b), !debug, weight >= 10kg`; commas mean AND.

    Values may be double-quoted with backslash escapes. Raises ValueError, which names the position.
    """
    terms = []
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise ValueError(
                f"selector {text!r} cannot be read at character {position + 1} ({text[position:]!r}): "
                "expected `key`, `!key`, `key=value`, `key!=value`, `key in (a, b)`, `key notin (a, b)` or `key < 10`"
            )
        if match["absent"]:
            terms.append(Term(match["absent_key"], invert=True))
        elif match["set"]:
            terms.append(Term(match["key"], Operation.IN, _members(match["members"]), match["set"] == "notin"))
        elif match["op"]:
            operation, invert = _OPERATIONS[match["op"]]
            terms.append(Term(match["key"], operation, (_unquote(match["value"]),), invert))
        else:
            terms.append(Term(match["key"]))
        position = match.end()
    return LabelQuery(tuple(terms))

"""The text form of label queries."""

import itertools
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.resource import LabelQuery, Operation, Term, parse_selector

EQ, IN = Operation.EQUAL, Operation.IN
LTN, LTEN = Operation.LT_NUMERIC, Operation.LTE_NUMERIC


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("k", [Term("k")]),
        ("!k", [Term("k", invert=True)]),
        ("! k", [Term("k", invert=True)]),
        ("example.com/k-1_x", [Term("example.com/k-1_x")]),
        ("k=v", [Term("k", EQ, ("v",))]),
        ("k = v", [Term("k", EQ, ("v",))]),
        ("k == v", [Term("k", EQ, ("v",))]),
        ("k!=v", [Term("k", EQ, ("v",), invert=True)]),
        ("k < 1", [Term("k", LTN, ("1",))]),
        ("k <= 1", [Term("k", LTEN, ("1",))]),
        ("k > 1", [Term("k", LTEN, ("1",), invert=True)]),
        ("k>=10kg", [Term("k", LTN, ("10kg",), invert=True)]),
        ("k in (a, b)", [Term("k", IN, ("a", "b"))]),
        ("k in (b,a,b)", [Term("k", IN, ("a", "b"))]),
        ("k notin (a)", [Term("k", IN, ("a",), invert=True)]),
        ("k in(a)", [Term("k", IN, ("a",))]),
        # What looks like a word of the syntax may be a label.
        ("in in (in)", [Term("in", IN, ("in",))]),
        ("notin", [Term("notin")]),
        # A missing value is the empty one.
        ("k=", [Term("k", EQ, ("",))]),
        ("k=,l", [Term("k", EQ, ("",)), Term("l")]),
        ("k in ()", [Term("k", IN, ("",))]),
        ("k in (a,)", [Term("k", IN, ("", "a"))]),
        ("k in (,a)", [Term("k", IN, ("", "a"))]),
        # Spaces and quotes.
        ("k = two words ", [Term("k", EQ, ("two words",))]),
        ("k in (two words, b)", [Term("k", IN, ("b", "two words"))]),
        ('k = " v, w "', [Term("k", EQ, (" v, w ",))]),
        (r'k = "a\"b\\c"', [Term("k", EQ, (r'a"b\c',))]),
        ('k in ("a, b", "c)", d)', [Term("k", IN, ("a, b", "c)", "d"))]),
        ('k in ( "a" )', [Term("k", IN, ("a",))]),
        ("  k  ,  l  ", [Term("k"), Term("l")]),
        (
            "app=web, tier in (a, b), !debug, weight >= 10kg",
            [
                Term("app", EQ, ("web",)),
                Term("tier", IN, ("a", "b")),
                Term("debug", invert=True),
                Term("weight", LTN, ("10kg",), invert=True),
            ],
        ),
    ],
)
def test_a_selector_is_a_list_of_terms(text: str, terms: list[Term]) -> None:
    assert parse_selector(text) == LabelQuery(tuple(terms))


@pytest.mark.parametrize(
    ("text", "character"),
    [
        (",", 1),
        ("=v", 1),
        ("!", 1),
        ("!k=v", 1),
        ("k l", 1),
        ("k in", 1),
        ("k in a", 1),
        ("k in (a", 1),
        ("k in (a))", 1),
        ('k in ("a"b)', 1),
        ('k in (a "b")', 1),
        ('k = "a', 1),
        ('k = "a" b', 1),
        ("k,,l", 3),
        ("k=v,l in (", 5),
    ],
)
def test_what_is_no_selector_is_refused_where_it_stops_making_sense(text: str, character: int) -> None:
    with pytest.raises(ValueError, match=f"^selector {re.escape(repr(text))} cannot be read at character {character} "):
        parse_selector(text)


@given(st.text(alphabet=st.sampled_from('kv in()notin=!<>,"\\ \n')) | st.text())
def test_any_text_is_a_selector_or_a_value_error(text: str) -> None:
    try:
        query = parse_selector(text)
    except ValueError:
        return
    assert isinstance(query, LabelQuery)


@pytest.mark.parametrize("start", ["k", "k ", "k in (", 'k in ("', "k = ", 'k = "', "!"])
def test_hostile_text_is_read_in_no_time(start: str) -> None:
    fillings = [" ", "k", "\\", ",", '"', "=", "(", "k,", '"",']
    for filling, end in itertools.product(fillings, ["", '"', ")", "!", "="]):
        with suppress(ValueError):
            parse_selector(start + filling * 20_000 + end)


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


KEYS = st.from_regex(r"[a-z][a-z0-9./-]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\n"), max_size=8)


@given(st.lists(st.tuples(KEYS, st.lists(VALUES, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_quoted_values_of_any_content_come_through(conditions: list[tuple[str, list[str]]]) -> None:
    text = ", ".join(f"{key} in ({', '.join(map(_quoted, values))})" for key, values in conditions)
    expected = [Term(key, IN, tuple(sorted(set(values)))) for key, values in conditions]
    assert parse_selector(text) == LabelQuery(tuple(expected))
    text = ", ".join(f"{key} = {_quoted(values[0])}" for key, values in conditions)
    assert parse_selector(text) == LabelQuery(tuple(Term(key, EQ, (values[0],)) for key, values in conditions))

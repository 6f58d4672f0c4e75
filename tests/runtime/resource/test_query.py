"""Which labels, numbers and ids a query matches."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.resource import EVERYTHING, Filter, LabelQuery, Metadata, Operation, Term, build_filter
from nodespan.runtime.resource.query import equal, exists, parse_quantity

E, EQ, IN = Operation.EXISTS, Operation.EQUAL, Operation.IN
LT, LTE, LTN, LTEN = Operation.LT, Operation.LTE, Operation.LT_NUMERIC, Operation.LTE_NUMERIC
COMPARISONS = [LT, LTE, LTN, LTEN]


@pytest.mark.parametrize(
    ("operation", "values", "value", "matches"),
    [
        (E, (), "x", True),
        (E, (), "", True),
        (EQ, ("x",), "x", True),
        (EQ, ("x",), "y", False),
        (EQ, ("",), "", True),
        (EQ, ("x", "y"), "y", False),
        (IN, ("x", "y"), "y", True),
        (IN, ("x", "y"), "z", False),
        (LT, ("b",), "a", True),
        (LT, ("b",), "b", False),
        (LT, ("b",), "B", True),
        (LT, ("10",), "9", False),
        (LT, ("a", "z"), "b", False),
        (LTE, ("b",), "b", True),
        (LTE, ("b",), "ba", False),
        (LTE, ("\uffff",), "\U00010000", False),
        (LTN, ("10",), "9", True),
        (LTN, ("10",), "10", False),
        (LTN, ("1k",), "999", True),
        (LTN, ("1Ki",), "1k", True),
        (LTEN, ("1000",), "1kg", True),
        (LTEN, ("1000",), "1Ki", False),
        (LTEN, ("-1",), "-2", True),
        # No values given: nothing but existence holds.
        (EQ, (), "x", False),
        (IN, (), "x", False),
        (LT, (), "x", False),
        (LTE, (), "x", False),
        (LTN, (), "1", False),
        (LTEN, (), "1", False),
    ],
)
def test_a_term_looks_at_the_value_and_inverted_says_the_opposite(
    operation: Operation, values: tuple[str, ...], value: str, matches: bool
) -> None:
    labels = {"key": value, "other": "unread"}
    assert Term("key", operation, values).matches(labels) is matches
    assert Term("key", operation, values, invert=True).matches(labels) is not matches


@pytest.mark.parametrize("operation", Operation)
def test_without_the_label_nothing_matches_but_an_inverted_test_that_is_no_comparison(operation: Operation) -> None:
    assert not Term("key", operation, ("1",)).matches({"other": "1"})
    assert Term("key", operation, ("1",), invert=True).matches({"other": "1"}) is (operation not in COMPARISONS)


@pytest.mark.parametrize("operation", [LTN, LTEN])
@pytest.mark.parametrize(("value", "given"), [("fast", "1"), ("1", "fast"), ("", "1"), ("1", ""), ("1.5", "2")])
@pytest.mark.parametrize("invert", [False, True])
def test_what_is_no_number_matches_no_numeric_comparison(
    operation: Operation, value: str, given: str, invert: bool
) -> None:
    assert not Term("key", operation, (given,), invert).matches({"key": value})


@given(st.text(), st.text())
def test_strings_compare_by_their_utf8_bytes(left: str, right: str) -> None:
    labels = {"key": left}
    assert Term("key", LT, (right,)).matches(labels) is (left.encode() < right.encode())
    assert Term("key", LTE, (right,)).matches(labels) is (left.encode() <= right.encode())


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("0", 0),
        ("10", 10),
        ("-10", -10),
        ("007", 7),
        (" 1 ", 1),
        (" 1 k", 1000),
        ("-1 k", -1000),
        ("1k", 10**3),
        ("1m", 10**6),
        ("1M", 10**6),
        ("1g", 10**9),
        ("1T", 10**12),
        ("1p", 10**15),
        ("1ki", 2**10),
        ("1Mi", 2**20),
        ("1GI", 2**30),
        ("1ti", 2**40),
        ("1Pi", 2**50),
        ("10kg", 10_000),
        ("5MB", 5_000_000),
        ("4GiB", 4 * 2**30),
        ("1 million", 2**20),  # starts with `mi`
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        # 64 bits wrap around without notice.
        ("9223372036854775807k", -1000),
        ("10000P", 10**19 - 2**64),
    ],
)
def test_quantities_are_whole_numbers_with_a_unit(text: str, quantity: int) -> None:
    assert parse_quantity(text) == quantity


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "k",
            "-",
            "1.1 k",
            "1 1",
            "1 i",
            "1i",
            "1e3",
            "+5",
            "--5",
            "5-3",
            "0x5",
            "1_000",
            "1x",
            "\u0663",
            "²",
        ),
        *("9223372036854775808", "-9223372036854775809", "9" * 5000),
    ],
)
def test_other_text_is_not_a_quantity(text: str) -> None:
    assert parse_quantity(text) is None


@given(st.text(alphabet=st.sampled_from("0123456789- kmgtpiKMGB.e+x")) | st.text())
def test_a_quantity_is_nothing_or_fits_64_bits(text: str) -> None:
    quantity = parse_quantity(text)
    assert quantity is None or -(2**63) <= quantity < 2**63


def _metadata(id: str, **labels: str) -> Metadata:
    return Metadata("default", "T", id, labels=labels)


WEB_FRONT = LabelQuery((*equal("app", "web").terms, *equal("tier", "front").terms))


@pytest.mark.parametrize(
    ("queries", "labels", "matches"),
    [
        ((), {}, True),
        ((LabelQuery(),), {}, True),
        ((WEB_FRONT,), {"app": "web", "tier": "front"}, True),
        ((WEB_FRONT,), {"app": "web"}, False),
        ((WEB_FRONT, exists("debug")), {"debug": ""}, True),
        ((WEB_FRONT, exists("debug")), {"app": "web"}, False),
    ],
)
def test_terms_must_all_hold_and_queries_need_not(
    queries: tuple[LabelQuery, ...], labels: dict[str, str], matches: bool
) -> None:
    assert build_filter(queries).matches(_metadata("id", **labels)) is matches


@pytest.mark.parametrize(
    ("pattern", "id", "matches"),
    [
        (None, "any", True),
        ("", "any", True),
        ("ath", "path", True),
        ("^path", "a/path", False),
        ("^a/.+[2-4]$", "a/path-3", True),
        ("^a/.+[2-4]$", "a/path-5", False),
    ],
)
def test_an_id_pattern_is_searched_for(pattern: str | None, id: str, matches: bool) -> None:
    assert build_filter(id_query=pattern).matches(_metadata(id)) is matches


def test_id_and_labels_must_both_match() -> None:
    filter = build_filter([exists("app")], "^a")
    assert filter.matches(_metadata("a", app=""))
    assert not filter.matches(_metadata("b", app=""))
    assert not filter.matches(_metadata("a"))


def test_a_filter_without_conditions_is_the_one_that_passes_everything() -> None:
    assert build_filter() is EVERYTHING
    assert build_filter(id_query="") is EVERYTHING
    assert EVERYTHING.is_empty
    assert not Filter(id_pattern=re.compile("a")).is_empty


def test_a_bad_id_pattern_is_refused_with_its_text() -> None:
    with pytest.raises(ValueError, match=r"id query '\(' is not a regular expression"):
        build_filter(id_query="(")

"""Patterns in which only `*` is special."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.glob import matches

CASES = [
    ("virtio_net", "virtio_net", True),
    ("virtio", "virtio_net", False),
    ("virtio*", "virtio_net", True),
    ("*net", "virtio_net", True),
    ("v*_n*t", "virtio_net", True),
    ("*", "", True),
    ("**", "", True),
    ("", "", True),
    ("", "x", False),
    ("a*a", "a", False),
    ("a*b*a", "aba", True),
    ("0*", "0000:00:03.0", True),
    ("0*", "usb-0000:00:14.0-1", False),
    ("00:1A:*", "00:1a:2b", False),
    ("e?h0", "eth0", False),
    ("[e]th0", "eth0", False),
    (r"\*", "*", False),
]


@pytest.mark.parametrize(("pattern", "text", "expected"), CASES)
def test_only_a_star_is_special(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_pattern_is_equivalent_to_a_regular_expression(pattern: str, text: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern, text) is (re.fullmatch(expression, text) is not None)

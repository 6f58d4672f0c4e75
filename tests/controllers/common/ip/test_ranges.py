"""Which addresses a match is about."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.ip.ranges import Range, everything, ranges, subtract, union

SUBNETS = st.lists(st.builds("{}.0.0.0/{}".format, st.integers(0, 255), st.integers(0, 8)), max_size=5)


@given(SUBNETS, SUBNETS, st.booleans(), st.integers(0, 255))
def test_an_address_is_in_the_ranges_as_the_match_says(
    include: list[str], exclude: list[str], invert: bool, first: int
) -> None:
    found = ranges(4, include, exclude, invert=invert)
    address = ip_address(f"{first}.1.2.3")

    def within(subnets: list[str]) -> bool:
        return any(address in ip_network(subnet, strict=False) for subnet in subnets)

    is_in = any(low <= int(address) <= high for low, high in found)
    assert is_in == ((within(include) and not within(exclude)) != invert)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(found))


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_inverted_is_everything(version: int) -> None:
    assert ranges(version, (), invert=True) == (everything(version),)
    assert ranges(version, ("0.0.0.0/0", "::/0")) == (everything(version),)
    assert ranges(version, ("0.0.0.0/0", "::/0"), invert=True) == ()


def test_what_is_removed_is_gone_and_all_else_stays() -> None:
    random = Random(7)

    def some() -> tuple[Range, ...]:
        firsts = [random.randrange(40) for _ in range(random.randrange(7))]
        return union((first, first + random.randrange(6)) for first in firsts)

    def numbers(found: Iterable[Range]) -> set[int]:
        return {number for first, last in found for number in range(first, last + 1)}

    for _ in range(500):
        given, away = some(), some()
        left = subtract(given, away)
        assert numbers(left) == numbers(given) - numbers(away), (given, away)
        assert list(left) == sorted(left)

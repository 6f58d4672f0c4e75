"""The numbers of the kernel's protocol."""

import pyroute2.netlink
import pyroute2.netlink.rtnl
import pytest

from nodespan.kernel import rtnl

NUMBERS = {name: number for name, number in vars(rtnl).items() if name.isupper()}


def test_there_are_numbers_to_compare() -> None:
    assert len(NUMBERS) > 30


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_numbers_are_those_of_another_library(name: str) -> None:
    library = pyroute2.netlink if name.startswith("NL") else pyroute2.netlink.rtnl
    assert getattr(library, name) == NUMBERS[name]

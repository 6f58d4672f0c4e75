"""The privileges of a process are read from the kernel's list of its capabilities."""

import pytest

from nodespan.kernel.privileges import has_capability

STATUS = "Name:\tnodespan\nCapInh:\t0000000000000000\nCapPrm:\tffffffffffffffff\nCapEff:\t{}\nSeccomp:\t0\n"


@pytest.mark.parametrize(
    ("effective", "granted"),
    [
        ("000001ffffffffff", True),
        ("0000000000001000", True),
        ("0000000000000fff", False),
        ("0000000000000000", False),
    ],
)
def test_the_effective_set_decides(effective: str, granted: bool) -> None:
    assert has_capability(12, STATUS.format(effective)) is granted


def test_a_status_without_the_line_grants_nothing() -> None:
    assert not has_capability(12, "Name:\tnodespan\n")

"""What a process may not do is read from the kernel's own list."""

import pytest

from nodespan.runtime.privileges import has_capability

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
def test_the_effective_set_counts(effective: str, granted: bool) -> None:
    assert has_capability(12, STATUS.format(effective)) is granted


def test_a_text_without_such_a_line_grants_nothing() -> None:
    assert not has_capability(12, "Name:\tnodespan\n")

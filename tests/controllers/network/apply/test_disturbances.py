"""What other programs undid is named, and shown for some minutes."""

import os
from pathlib import Path

import pytest

from nodespan.controllers.network.apply.disturbances import SHOWN_FOR, Disturbances, program_of
from nodespan.kernel.rtnetlink import is_foreign_port


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (312, "another program (systemd-network, process 312)"),
        (313, "another program (process 313, which has ended)"),
        # A further socket of some process.
        (0xFFFFEF00, "another program"),
        (0, "another program"),
    ],
)
def test_the_program_is_named_as_far_as_it_is_known(port: int, text: str, tmp_path: Path) -> None:
    (tmp_path / "312").mkdir()
    (tmp_path / "312" / "comm").write_text("systemd-network\n")
    assert program_of(port, tmp_path) == text


def test_what_the_kernel_does_by_itself_is_no_programs_doing() -> None:
    assert not is_foreign_port(0)
    assert is_foreign_port(os.getppid())


def test_it_is_shown_until_its_time_is_over_or_the_spec_goes() -> None:
    shown = Disturbances()
    assert shown.of("a", 0.0) == ""
    shown.add("a", "removed", 10.0)
    shown.add("b", "changed", 20.0)
    shown.forget("b")
    assert (shown.of("a", 10.0), shown.of("b", 20.0)) == ("removed", "")
    assert shown.of("a", 9.0 + SHOWN_FOR) == "removed"
    assert shown.of("a", 10.0 + SHOWN_FOR) == ""

"""Ports as a configuration writes them."""

import pytest

from nodespan.controllers.common.ports import Ports, parse_ports, sorted_ports


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", (80, 80)),
        ("0", (0, 0)),
        ("65535", (65535, 65535)),
        ("8000-8100", (8000, 8100)),
        ("80-80", (80, 80)),
        ("0080", (80, 80)),
        *(
            (text, None)
            for text in ("", "x", "-1", "1-", "-", "65536", "80-79", "1-65536", "1 - 2", "80 ", "٣", "1-2-3")
        ),
    ],
)
def test_ports_are_one_or_a_range(text: str, expected: Ports | None) -> None:
    assert parse_ports(text) == expected


def test_ports_are_sorted_and_what_is_none_is_left_out() -> None:
    assert sorted_ports(["8000-8100", "x", "80"]) == ((80, 80), (8000, 8100))

"""Metadata is read as plain YAML scalars are."""

from typing import Any

import pytest

from nodespan.runtime.cli.untyped import read_scalar, untyped

SCALARS: list[tuple[str, Any]] = [
    ("", None),
    ("~", None),
    ("null", None),
    ("true", True),
    ("FALSE", False),
    ("yes", "yes"),
    ("0", 0),
    ("10", 10),
    ("-7", -7),
    ("+7", 7),
    ("--7", "--7"),
    ("+-7", "+-7"),
    ("-", "-"),
    ("017", 15),
    ("08", 8),
    ("0x1f", 31),
    ("0b11", 3),
    ("0o17", 15),
    ("1_000", 1000),
    ("_1", "_1"),
    ("1.5", 1.5),
    ("1.0", 1),
    (".5", 0.5),
    ("1e3", 1000),
    ("18446744073709551615", 18446744073709551615),
    ("18446744073709551616", 1.8446744073709552e19),
    ("1e999", "1e999"),
    ("1.2.3", "1.2.3"),
    ("\u0663", "\u0663"),
    ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ("eth0", "eth0"),
    ("10.0.0.1/8", "10.0.0.1/8"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


def test_mappings_and_lists_are_read_inside() -> None:
    assert untyped({"id": "1", "labels": {"a": "2"}, "finalizers": ["3", "x"]}) == {
        "id": 1,
        "labels": {"a": 2},
        "finalizers": [3, "x"],
    }

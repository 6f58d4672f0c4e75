"""What users type and see of a type stays: its display name and its aliases."""

from pathlib import Path

from tests.resources import type_names

RECORDED = Path(__file__).with_name("type_names.txt")


def test_no_type_changes_its_names_unnoticed() -> None:
    assert type_names.lines() == RECORDED.read_text().splitlines(), (
        "if meant: python -m tests.resources.type_names > tests/resources/type_names.txt, and a line in CHANGELOG.md"
    )

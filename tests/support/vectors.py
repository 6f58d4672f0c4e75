"""Known answers that the originals' behaviour was written down as: one file of cases per group."""

import json
from pathlib import Path
from typing import Any

import pytest

_DIRECTORY = Path(__file__).parent.parent / "vectors"


def cases(group: str) -> list[Any]:
    """The cases of a group as parameters of a test, by name."""
    return [pytest.param(case, id=case["name"]) for case in load(group)]


def load(group: str) -> list[dict[str, Any]]:
    """The cases of a group."""
    found: list[dict[str, Any]] = json.loads((_DIRECTORY / f"{group}.json").read_text())
    return found


def each(group: str) -> pytest.MarkDecorator:
    """One test per case of a group, given as `vector`."""
    return pytest.mark.parametrize("vector", cases(group))

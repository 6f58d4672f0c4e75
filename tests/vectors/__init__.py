"""Known answers, one file per group of rules."""

import json
from pathlib import Path
from typing import Any

import pytest

_DIRECTORY = Path(__file__).parent


def load(group: str) -> list[dict[str, Any]]:
    """The answers of one group."""
    found: list[dict[str, Any]] = json.loads((_DIRECTORY / f"{group}.json").read_text())
    return found


def each(group: str) -> pytest.MarkDecorator:
    """One test per answer of a group, given as `vector`."""
    vectors = load(group)
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])

"""Reads the table of a state machine from the docstring that explains it."""

import enum
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

from nodespan.runtime.transitions import Transitions

StateT = TypeVar("StateT", bound=enum.Enum)

_ROW = re.compile(r"^    (any|[A-Z]+(?:, [A-Z]+)*)[ :]")
_TARGET = re.compile(r"-> ([A-Z]+)")


def documented_transitions(text: str | None, states: Iterable[enum.Enum]) -> dict[str, set[str]]:
    """By state, those that follow it: rows begin with states, lines indented further continue a row."""
    names = [state.name for state in states]
    found: defaultdict[str, set[str]] = defaultdict(set)
    sources: list[str] = []
    for line in (text or "").splitlines():
        if row := _ROW.match(line):
            sources = names if row[1] == "any" else row[1].split(", ")
        elif not line.startswith("     "):
            sources = []
        for source in sources:
            found[source].update(_TARGET.findall(line))
    return {source: targets - {source} for source, targets in found.items()}


def transition_names(transitions: Transitions[StateT]) -> dict[str, set[str]]:
    """The data in the same form."""
    return {
        state.name: {following.name for following in after if following != state}
        for state, after in transitions.items()
    }


def documented_rows(text: str | None, heading: str) -> list[tuple[str, ...]]:
    """The rows below the line that begins with `heading`, up to an empty line; two spaces separate columns."""
    lines = iter((text or "").splitlines())
    for line in lines:
        if line.strip().startswith(heading):
            break
    rows = []
    for line in lines:
        if not line.strip():
            break
        rows.append(tuple(re.split(r" {2,}", line.strip())))
    return rows

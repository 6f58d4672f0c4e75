"""The table in the docstring of each DHCP client, against its transitions as data."""

import enum
import re
from collections import defaultdict
from collections.abc import Iterable

import pytest

from nodespan.controllers.network.dhcp import client4, client6
from nodespan.controllers.network.dhcp.transitions import Transitions, checked_transition

_ROW = re.compile(r"^    (any|[A-Z]+(?:, [A-Z]+)*)[ :]")
_TARGET = re.compile(r"-> ([A-Z]+)")


def _documented(text: str, states: Iterable[enum.StrEnum]) -> dict[str, set[str]]:
    """By state, those that follow it: rows begin with states, lines indented further continue a row."""
    names = [state.name for state in states]
    found: defaultdict[str, set[str]] = defaultdict(set)
    sources: list[str] = []
    for line in text.splitlines():
        if row := _ROW.match(line):
            sources = names if row[1] == "any" else row[1].split(", ")
        elif not line.startswith("     "):
            sources = []
        for source in sources:
            found[source].update(_TARGET.findall(line))
    return {source: targets - {source} for source, targets in found.items()}


@pytest.mark.parametrize(
    ("text", "states", "transitions"),
    [
        (client4.__doc__, client4.State, client4.TRANSITIONS),
        (client6.__doc__, client6.State, client6.TRANSITIONS),
    ],
)
def test_the_docstring_has_the_transitions_of_the_data(
    text: str, states: type[enum.StrEnum], transitions: Transitions[enum.StrEnum]
) -> None:
    data = {
        state.name: {following.name for following in after if following != state}
        for state, after in transitions.items()
    }
    assert _documented(text, states) == data


def test_a_transition_that_the_table_does_not_have_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="from init to bound"):
        checked_transition(client4.TRANSITIONS, client4.State.INIT, client4.State.BOUND)

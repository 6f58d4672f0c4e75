"""The table in the docstring of each DHCP client, against its transitions as data."""

import enum

import pytest

from nodespan.controllers.network.dhcp import client4, client6
from nodespan.runtime.transitions import Transitions, checked_transition
from tests.support.transitions import documented_transitions, transition_names


@pytest.mark.parametrize(
    ("text", "states", "transitions"),
    [
        (client4.__doc__, client4.State, client4.TRANSITIONS),
        (client6.__doc__, client6.State, client6.TRANSITIONS),
    ],
)
def test_the_docstring_has_the_transitions_of_the_data(
    text: str, states: type[enum.StrEnum], transitions: Transitions[enum.Enum]
) -> None:
    assert documented_transitions(text, states) == transition_names(transitions)


def test_a_transition_that_the_table_does_not_have_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="from init to bound"):
        checked_transition(client4.TRANSITIONS, client4.State.INIT, client4.State.BOUND)

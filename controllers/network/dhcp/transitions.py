"""The transitions of a client's state machine as data, checked at each change of state."""

from collections.abc import Mapping
from typing import TypeVar

StateT = TypeVar("StateT")
# For each state those that may follow it. To stay in a state is always allowed.
Transitions = Mapping[StateT, frozenset[StateT]]


def checked_transition(transitions: Transitions[StateT], before: StateT, after: StateT) -> StateT:
    """The state after the transition. Raises AssertionError, a bug of the client, if the table does not have it."""
    if after != before and after not in transitions[before]:
        raise AssertionError(f"the client must not go from {before} to {after}")
    return after

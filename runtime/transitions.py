"""The transitions of a state machine as data, checked at each change of state."""

from collections.abc import Mapping
from typing import TypeVar

StateT = TypeVar("StateT")
# For each state those that may follow it. To stay in a state is always allowed.
Transitions = Mapping[StateT, frozenset[StateT]]


def checked_transition(transitions: Transitions[StateT], before: StateT, after: StateT) -> StateT:
    """The state after the transition. Raises AssertionError, a bug of the caller, if the table does not have it."""
    if after != before and after not in transitions[before]:
        raise AssertionError(f"there is no transition from {before} to {after}")
    return after

"""The table in the docstring of a session, against its transitions as data."""

from nodespan.controllers.network.vip import session
from tests.support.transitions import documented_transitions, transition_names


def test_the_docstring_has_the_transitions_of_the_data() -> None:
    found = documented_transitions(session.__doc__, session.SessionPhase)
    assert found | {"RESIGNED": set(), "ABANDONED": set()} == transition_names(session.TRANSITIONS)

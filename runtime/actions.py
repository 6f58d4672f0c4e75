"""What clients of the local socket may ask of controllers: actions, each by its name.

A controller that has an attribute `actions` offers them. An action is told what the client said, and answers with any
number of maps; it runs in a task of its own, not in a turn of the controller, and is cancelled when the client goes
away. Only the user that runs the agent, and root, may ask.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import attrs

from nodespan.runtime.state import State


class ActionError(Exception):
    """The action cannot be done as it was asked for; the text says why and what to do instead."""


@attrs.frozen(kw_only=True)
class ActionCall:
    """What an action works with: what the client said, the whole state, and a wait until nothing goes on any more.

    `settle` waits for at most so many seconds and returns whether there was such a moment.
    """

    arguments: Mapping[str, Any]
    state: State
    settle: Callable[[float], Awaitable[bool]]


Action = Callable[[ActionCall], AsyncGenerator[Mapping[str, Any], None]]


@runtime_checkable
class OffersActions(Protocol):
    """A controller that offers actions."""

    @property
    def actions(self) -> Mapping[str, Action]:
        """The actions by their names, which start with the family's: `config.apply`."""
        ...


__all__ = [
    "Action",
    "ActionCall",
    "ActionError",
    "OffersActions",
]

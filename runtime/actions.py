"""Actions: requests of clients of the local socket that a controller carries out, each by its name.

A controller that has an attribute `actions` offers them. An action gets the arguments of the request and yields any
number of maps as answers. It runs in a task of its own, not in a turn of the controller, and is cancelled when the
client disconnects. Only the user that runs the agent, and root, may request actions.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import attrs

from nodespan.runtime.state import State


class ActionError(Exception):
    """The action cannot be carried out as requested; the text says why and what to do instead."""


@attrs.frozen(kw_only=True)
class ActionCall:
    """What an action works with: the arguments of the request, the whole state, and a wait for quiescence.

    `settle` waits for at most so many seconds until no controller has work, and returns whether that came.
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

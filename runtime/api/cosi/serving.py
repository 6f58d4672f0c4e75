"""Serves the state of an agent: on a unix socket, or as methods of a larger service."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import trio

from nodespan.runtime.api.cosi.roles import Authorizer, local_roles, role_rule
from nodespan.runtime.api.cosi.service import LIMITS, StateService
from nodespan.runtime.api.grpc import Call, Method, Server, Service
from nodespan.runtime.api.local import listen
from nodespan.runtime.codec.messages import MessageType, SpecMessages
from nodespan.runtime.codec.resources import FindType
from nodespan.runtime.controller import Logger
from nodespan.runtime.state.base import State
from nodespan.runtime.state.filtered import FilteredState


def state_methods(
    state: State,
    *,
    authorize: Authorizer,
    find_type: FindType,
    messages: Iterable[MessageType[Any]],
    log: Logger,
) -> dict[str, Method]:
    """The methods of `cosi.resource.State` for clients whose roles `authorize` finds; see `roles` for what they may."""

    def visible(call: Call) -> State:
        return FilteredState(state, role_rule(state, authorize(call)))

    return StateService(visible, messages=SpecMessages(messages), find_type=find_type, log=log).methods()


async def serve_on_socket(
    path: Path,
    methods: Callable[[Authorizer], dict[str, Method]],
    *,
    log: Logger,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on a unix socket of mode 0600 until cancelled; who may connect is an administrator.

    Raises AlreadyServedError, and OSError that names the path.
    """
    server = Server(Service(methods=methods(local_roles), log=log, limits=LIMITS))
    async with listen(path) as listener:
        await server.serve([listener], task_status=task_status)


__all__ = ["serve_on_socket", "state_methods"]

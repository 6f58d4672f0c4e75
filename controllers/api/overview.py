"""`nodespan.api.NodeService`: what `status`, `describe`, `doctor` and `support` ask of other machines.

The agent answers by its local socket, on which it asks itself with the rights of the client. Checks run here, on the
node that they are about: one client at a time, for they start programs and open connections.
"""

import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from nodespan.controllers.api.roles import client_roles, require
from nodespan.controllers.api.support import SupportCollection
from nodespan.resources.wire import node_pb2 as wire
from nodespan.runtime.api import protocol
from nodespan.runtime.api.cosi.roles import ADMIN, OPERATOR, READERS
from nodespan.runtime.api.grpc import Call, Code, Method, RPCError, server_stream
from nodespan.runtime.api.local_client import AgentGoneError, RefusedRequestError, ask, asking
from nodespan.runtime.overview.check import Surroundings, UnknownCheckError, Verdict, examine, find_checks
from nodespan.runtime.paths import default_state_dir
from nodespan.runtime.plugins import AgentAccess

T = TypeVar("T")
SERVICE: Final = "nodespan.api.NodeService"
STATUS: Final = f"/{SERVICE}/Status"
CAUSES: Final = f"/{SERVICE}/Causes"
CHECK: Final = f"/{SERVICE}/Check"
# Each is made anew after a change, for as long as its client stays.
_MOST_STATUSES = 32
_DEEPEST = 64
_CODES = {
    protocol.NOT_FOUND: Code.NOT_FOUND,
    protocol.INVALID: Code.INVALID_ARGUMENT,
    protocol.DENIED: Code.PERMISSION_DENIED,
    protocol.OVERRUN: Code.ABORTED,
}


class NodeService:
    """The methods of the service for one agent, whose own directory is `state_dir`."""

    def __init__(self, agent: AgentAccess, *, state_dir: Path | None) -> None:
        self._agent = agent
        self._state_dir = Path(default_state_dir()) if state_dir is None else state_dir
        self._statuses = trio.CapacityLimiter(_MOST_STATUSES)
        # Of a client that went away in the middle of a check, the check runs to its end.
        self._checks = trio.CapacityLimiter(1)
        self._is_checking = False
        self._support = SupportCollection(agent, state_dir=self._state_dir)

    def methods(self) -> tuple[Method, ...]:
        """All methods."""
        return (
            server_stream(STATUS, wire.StatusRequest, self._status),
            server_stream(CAUSES, wire.CausesRequest, self._causes),
            server_stream(CHECK, wire.CheckRequest, self._check),
            self._support.method(),
        )

    async def _status(self, request: wire.StatusRequest, call: Call) -> None:
        require(call, READERS)
        try:
            self._statuses.acquire_on_behalf_of_nowait(call)
        except trio.WouldBlock as error:
            raise RPCError(Code.RESOURCE_EXHAUSTED, f"{_MOST_STATUSES} clients read the status already") from error
        try:
            await self._pass_on(call, {"call": "status", "watch": request.watch})
        finally:
            self._statuses.release_on_behalf_of(call)

    async def _causes(self, request: wire.CausesRequest, call: Call) -> None:
        require(call, READERS)
        asked = {"type": request.type, "id": request.id, "namespace": request.namespace}
        await self._pass_on(call, {"call": "why", **asked, "depth": min(request.depth, _DEEPEST)})

    async def _pass_on(self, call: Call, request: dict[str, Any]) -> None:
        """Send the answers of the local socket."""
        async with self._asking({**request, **_rights(call)}) as answers:
            async for answer in answers:
                await _send(call, answer)

    @asynccontextmanager
    async def _asking(self, request: dict[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        try:
            async with asking(str(self._agent.socket), request) as answers:
                yield answers
        except RefusedRequestError as error:
            raise RPCError(_CODES.get(error.code, Code.INTERNAL), str(error)) from error
        except AgentGoneError as error:
            raise RPCError(Code.UNAVAILABLE, str(error)) from error

    async def _check(self, request: wire.CheckRequest, call: Call) -> None:
        require(call, frozenset({ADMIN, OPERATOR}))
        if self._is_checking or not self._checks.available_tokens:
            raise RPCError(Code.RESOURCE_EXHAUSTED, "the checks of this node run already for another client")
        self._is_checking = True
        try:
            verdicts = await self._in_thread(partial(self._verdicts, tuple(request.only), _rights(call)))
            while (found := await self._in_thread(partial(next, verdicts, None))) is not None:
                name, verdict = found
                words = {"outcome": verdict.outcome.value, "text": verdict.text, "remedy": verdict.remedy}
                await _send(call, {"check": name, **words})
        finally:
            self._is_checking = False

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(act, limiter=self._checks, abandon_on_cancel=True)

    def _verdicts(self, only: tuple[str, ...], rights: Mapping[str, str]) -> Iterator[tuple[str, Verdict]]:
        """The verdicts of the checks with these names, all for none, made as they are taken, in a thread too.

        Blocks on imports. Raises RPCError.
        """
        try:
            checks, broken = find_checks(only)
        except UnknownCheckError as error:
            raise RPCError(Code.INVALID_ARGUMENT, str(error)) from error
        surroundings = self._surroundings(rights)
        found = (((check.name, verdict) for verdict in examine(check, surroundings)) for check in checks)
        return itertools.chain(broken, itertools.chain.from_iterable(found))

    def _surroundings(self, rights: Mapping[str, str]) -> Surroundings:
        def resources(type: str) -> list[dict[str, Any]]:
            return trio.from_thread.run(self._resources, type, rights)

        return Surroundings(
            state_dir=self._state_dir,
            agent={"version": self._agent.version, "pid": os.getpid(), "node": socket.gethostname()},
            resources=resources,
            version=self._agent.version,
        )

    async def _resources(self, type: str, rights: Mapping[str, str]) -> list[dict[str, Any]]:
        whole: dict[str, Any] = {"namespace": "", "id": None, "selectors": [], "form": "data"}
        request = {"call": "get", "type": type, **whole, **rights}
        try:
            answers = await ask(str(self._agent.socket), request)
        except RefusedRequestError:
            return []  # a type that this agent does not have, or does not show to this client
        return [answer["resource"] for answer in answers if "resource" in answer]


def _rights(call: Call) -> dict[str, str]:
    """What says to the local socket how much the client may see."""
    return {} if ADMIN in client_roles(call) else {"as": protocol.READER}


async def _send(call: Call, answer: Mapping[str, Any]) -> None:
    # Names may hold bytes that are not UTF-8; as escapes they pass.
    await call.send(wire.Answer(json=json.dumps(answer, ensure_ascii=True)))


__all__ = ["CAUSES", "CHECK", "STATUS", "NodeService"]

"""The files of `nodespan support` for a client of another machine.

They are collected by a process of its own, which takes secrets out before anything leaves it: that takes seconds, and
memory, which the agent does not give. Only administrators get them: what is taken out is what is known to be a secret.
"""

from pathlib import Path
from typing import Final

import trio

from nodespan.controllers.api.programs import pass_output
from nodespan.controllers.api.roles import require
from nodespan.resources.wire import node_pb2 as wire
from nodespan.runtime.api.cosi.roles import ADMIN
from nodespan.runtime.api.grpc import Call, Code, Method, RPCError, server_stream
from nodespan.runtime.plugins import AgentAccess
from nodespan.runtime.process.own_command import own_command

SUPPORT: Final = "/nodespan.api.NodeService/Support"
# Seconds for everything: checks are among it that wait for services.
_TIME = 300.0
# Longer than any piece.
_LONGEST_LINE = 2**20
_COLLECTOR: Final = "nodespan.runtime.cli.overview.pieces"


class SupportCollection:
    """The method for one agent, whose own directory is `state_dir`; one client at a time."""

    def __init__(self, agent: AgentAccess, *, state_dir: Path) -> None:
        self._agent = agent
        self._state_dir = state_dir
        self._is_collecting = False

    def method(self) -> Method:
        """The method."""
        return server_stream(SUPPORT, wire.SupportRequest, self._support)

    async def _support(self, _request: wire.SupportRequest, call: Call) -> None:
        require(call, frozenset({ADMIN}))
        if self._is_collecting:
            raise RPCError(Code.RESOURCE_EXHAUSTED, "another client has this node collect its files already")
        self._is_collecting = True
        try:
            with trio.fail_after(_TIME):
                await self._collect(call)
        except trio.TooSlowError as error:
            raise RPCError(Code.DEADLINE_EXCEEDED, f"the files took more than {_TIME:g} s to collect") from error
        finally:
            self._is_collecting = False

    async def _collect(self, call: Call) -> None:
        line = bytearray()

        async def take(chunk: bytes) -> None:
            *ended, rest = chunk.split(b"\n")
            for part in ended:
                await call.send(wire.Answer(json=(line + part).decode()))
                line.clear()
            line.extend(rest)
            if len(line) > _LONGEST_LINE:
                raise RPCError(Code.INTERNAL, "a line of the collected files has no end")

        command = (*own_command(_COLLECTOR), str(self._agent.socket.absolute()), str(self._state_dir.absolute()))
        status = await pass_output(command, take)
        if status:
            raise RPCError(Code.INTERNAL, f"collecting the files ended with status {status}: see the log of the node")

"""The log of the agent for clients of other machines: the original's call `Logs`, for the one log that there is here.

The log is read as `nodespan logs` reads it on the node, by a program for each client: a few at a time.
"""

import os
from typing import Final

import trio

from nodespan.controllers.api.programs import pass_output
from nodespan.controllers.api.roles import require
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.cosi.roles import READERS
from nodespan.runtime.api.grpc import Call, Code, Method, RPCError, server_stream
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview.logs import command_for

LOGS: Final = "/machine.MachineService/Logs"
# The agent, and what the original calls the log of its controllers: clients ask both for it.
_NAMES: Final = ("nodespan", "controller-runtime")
_NAMESPACES: Final = ("", "system")
_MOST_READERS = 8
# In place of all lines.
_MOST_LINES = 100_000
_LONGEST_TIME = 64


class LogReading:
    """The method for one agent."""

    def __init__(self) -> None:
        self._readers = trio.CapacityLimiter(_MOST_READERS)
        # Threads that look for the log; those that a file system holds up for ever are no more than these.
        self._threads = trio.CapacityLimiter(_MOST_READERS)

    def method(self) -> Method:
        """The method."""
        return server_stream(LOGS, wire.LogsRequest, self._logs)

    async def _logs(self, request: wire.LogsRequest, call: Call) -> None:
        require(call, READERS)
        _check(request)
        try:
            self._readers.acquire_on_behalf_of_nowait(call)
        except trio.WouldBlock as error:
            raise RPCError(Code.RESOURCE_EXHAUSTED, f"{_MOST_READERS} clients read the log already") from error

        async def send(chunk: bytes) -> None:
            await call.send(wire.Data(data=chunk))

        try:
            command = await trio.to_thread.run_sync(_command, request, abandon_on_cancel=True, limiter=self._threads)
            try:
                status = await pass_output(command, send, with_errors=True)
            except OSError as error:
                raise RPCError(Code.FAILED_PRECONDITION, f"{command[0]}: {error.strerror}") from error
        finally:
            self._readers.release_on_behalf_of(call)
        if status:
            raise RPCError(Code.INTERNAL, f"{command[0]} could not show the log: it ended with status {status}")


def _check(request: wire.LogsRequest) -> None:
    """Raises RPCError for another log than that of the agent, or what is no time."""
    if request.namespace not in _NAMESPACES:
        raise RPCError(Code.NOT_FOUND, "there are no containers here: the log of the agent is `nodespan`")
    if request.id not in _NAMES:
        raise RPCError(Code.NOT_FOUND, "the log of the agent is `nodespan`; use journalctl on the node for others")
    if len(request.since) > _LONGEST_TIME or not request.since.isprintable():
        raise RPCError(Code.INVALID_ARGUMENT, "since must be a time such as 10m, or as journalctl takes it")


def _command(request: wire.LogsRequest) -> list[str]:
    """What shows the log that a client asks for; looks at files. Raises RPCError."""
    lines = request.tail_lines
    lines = _MOST_LINES if lines < 0 else min(lines, _MOST_LINES)
    try:
        command = command_for({"pid": os.getpid()}, lines=lines, follow=request.follow, since=request.since)
    except CommandError as error:
        raise RPCError(Code.INVALID_ARGUMENT, str(error)) from error
    if command is None:
        raise RPCError(
            Code.FAILED_PRECONDITION,
            "the agent of this node writes its log neither to the journal nor to a file: start it by its unit",
        )
    return command

"""`nodespan logs` of other machines: the lines of several nodes, each behind the name of its node.

The call is the original's. Of its nodes it gets the log of the controllers, which is what an agent's log is here.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final

import trio

from nodespan.controllers.remote.nodes import NodeClient, Target, each_node, explained, in_order, run
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.text.escaping import bounded, escaped

LOGS: Final = "/machine.MachineService/Logs"
# A name that both know: this program's nodes, and those of the original.
_LOG, _NAMESPACE = "controller-runtime", "system"
_PATIENCE = 60.0
# Of one node, all of whose lines are kept until it has said all.
_MOST_BYTES = 32 * 2**20
_LONGEST_LINE = 64 * 2**10
_RECONNECT = 1.0
# How many of the last lines are read again when a node is back, and for how many seconds what was shown is looked for.
_AGAIN = 200
_LOOKING = 2.0


def logs(target: Target, options: argparse.Namespace) -> int:
    """Show the logs; with `--follow` until interrupted. Returns the exit status; raises CommandError."""
    if options.lines < 0:
        raise CommandError(f"--lines {options.lines}: give a number from 0 on")
    request = wire.LogsRequest(
        namespace=_NAMESPACE, id=_LOG, follow=options.follow, tail_lines=options.lines, since=options.since
    )
    return _follow(target, request) if options.follow else _once(target, request)


def _once(target: Target, request: wire.LogsRequest) -> int:
    kept: dict[str, list[str]] = {}

    async def one(client: NodeClient) -> None:
        # What comes before an error may say why.
        lines = kept[client.node] = []
        await _read(client, request, lines.append)

    status = run(lambda: each_node(target, one))
    for node in in_order(target, kept):
        sys.stdout.writelines(_shown(node, line) for line in kept[node])
    return status


def _follow(target: Target, request: wire.LogsRequest) -> int:
    return run(lambda: each_node(target, lambda client: follow_one(client, request)))


async def follow_one(client: NodeClient, request: wire.LogsRequest) -> None:
    """Show the lines of a node as they come; waits for the node when it was away. Raises CallError, CommandError."""
    last: str | None = None
    is_away = False

    def show(line: str) -> None:
        nonlocal last, is_away
        last, is_away = line, False
        sys.stdout.write(_shown(client.node, line))
        sys.stdout.flush()

    while True:
        reason = "the node has ended its log"
        try:
            await _read_from(client, request, show, last)
        except CallError as error:
            if error.code is not Code.UNAVAILABLE or last is None:
                raise
            reason = explained(error)
        if not is_away:
            sys.stderr.write(f"{client.node}: {reason}; trying again\n")
            is_away = True
        await trio.sleep(_RECONNECT)
        if last is not None:
            request = wire.LogsRequest(namespace=_NAMESPACE, id=_LOG, follow=True, tail_lines=_AGAIN)


async def _read_from(
    client: NodeClient, request: wire.LogsRequest, show: Callable[[str], None], last: str | None
) -> None:
    """Show a log from behind the line that was shown last. Raises CallError, CommandError."""
    fresh = Unseen(last, most=request.tail_lines)
    failure: Exception | None = None

    def take(line: str) -> None:
        for each in fresh.of(line):
            show(each)

    async def stop_looking() -> None:
        await trio.sleep(_LOOKING)
        for each in fresh.rest():
            show(each)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_looking)
        try:
            await _read(client, request, take)
        except (CallError, CommandError) as error:
            failure = error
        nursery.cancel_scope.cancel()
    for each in fresh.rest():
        show(each)
    if failure is not None:
        raise failure


class Unseen:
    """What is new of a log that is read again: its lines from behind the one that was shown last.

    The lines before it wait. If it is not found in `most` lines, or until `rest`, all that wait are new.
    """

    def __init__(self, last: str | None, *, most: int) -> None:
        self._last = last
        self._most = most
        self._waiting: list[str] | None = None if last is None else []

    def of(self, line: str) -> list[str]:
        """What is known to be new with the next line."""
        if self._waiting is None:
            return [line]
        if line == self._last:
            self._waiting = None
            return []
        self._waiting.append(line)
        return self.rest() if len(self._waiting) >= self._most else []

    def rest(self) -> list[str]:
        """What waits, which is new; from now on every line is."""
        found, self._waiting = self._waiting or [], None
        return found


class Lines:
    """Cuts bytes into lines of text. A line that is too long is several."""

    def __init__(self) -> None:
        self._begun = b""

    def of(self, data: bytes) -> list[str]:
        """The lines that end in this part."""
        *ended, rest = (self._begun + data).split(b"\n")
        while len(rest) > _LONGEST_LINE:
            ended.append(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        self._begun = rest
        return [line.decode(errors="backslashreplace") for line in ended]

    def end(self) -> list[str]:
        """The line that has no end."""
        return [self._begun.decode(errors="backslashreplace")] if self._begun else []


async def _read(client: NodeClient, request: wire.LogsRequest, take: Callable[[str], None]) -> None:
    """Give the lines of a log to `take` as they come. Raises CallError, CommandError."""
    lines, size = Lines(), 0
    within = None if request.follow else _PATIENCE
    answers: Any
    async with client.stream(LOGS, request, wire.Data.FromString, timeout=within) as answers:
        async for answer in answers:
            if answer.metadata.error:
                raise CommandError(bounded(answer.metadata.error))
            size += len(answer.data)
            if not request.follow and size > _MOST_BYTES:
                raise CommandError(f"its log has more than {_MOST_BYTES >> 20} MiB: ask for less with --lines")
            for line in lines.of(answer.data):
                take(line)
    for line in lines.end():
        take(line)


def _shown(node: str, line: str) -> str:
    return f"{escaped(node)}: {escaped(line, keep=chr(9))}\n"

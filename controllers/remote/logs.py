"""`nodespan logs` of other machines: the lines of several nodes, each behind the name of its node.

The call is the original's. Of its nodes it gets the log of the controllers, which is what an agent's log is here.
"""

import argparse
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import trio

from nodespan.controllers.remote.nodes import (
    RECONNECT,
    Absence,
    NodeClient,
    Target,
    each_node,
    explained,
    in_order,
    run,
)
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.text.escaping import bounded, escaped

LOGS: Final = "/machine.MachineService/Logs"
# A name that both know: this program's nodes, and those of the original.
_LOG, _NAMESPACE = "controller-runtime", "system"
_PATIENCE = 60.0
# Of one node, all of whose log is kept until it has said all; and of all nodes together.
_MOST_BYTES = 32 * 2**20
_MOST_OF_ALL = 256 * 2**20
# So much of what is kept is made into lines at a time.
_PART = 16 * 2**10
_LONGEST_LINE = 64 * 2**10
# How many of the last lines are read again when a node is back, and how many seconds after the first of them what was
# shown is no longer looked for.
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
    # As bytes: lines of a few characters take many times their size.
    kept: dict[str, bytearray] = {}
    size = 0

    async def one(client: NodeClient) -> None:
        # What comes before an error may say why.
        log = kept[client.node] = bytearray()

        def take(data: bytes) -> None:
            nonlocal size
            size += len(data)
            if size > _MOST_OF_ALL:
                raise CommandError(
                    f"the logs of all nodes have more than {_MOST_OF_ALL >> 20} MiB: name fewer nodes, "
                    "or ask for less with --lines"
                )
            log.extend(data)

        await _receive(client, request, take)

    status = run(lambda: each_node(target, one))
    for node in in_order(target, kept):
        sys.stdout.writelines(_shown(node, line) for line in _lines_of(kept[node]))
    return status


def _lines_of(log: bytearray) -> Iterator[str]:
    lines = Lines()
    for start in range(0, len(log), _PART):
        yield from lines.of(bytes(log[start : start + _PART]))
    yield from lines.end()


def _follow(target: Target, request: wire.LogsRequest) -> int:
    return run(lambda: each_node(target, lambda client: follow_one(client, request)))


async def follow_one(client: NodeClient, request: wire.LogsRequest) -> None:
    """Show the lines of a node as they come; waits for the node when it was away. Raises CallError, CommandError."""
    # The last lines that were shown.
    recent: deque[str] = deque(maxlen=_AGAIN)
    absence = Absence(client.node)

    def show(line: str) -> None:
        absence.is_over()
        recent.append(line)
        sys.stdout.write(_shown(client.node, line))
        sys.stdout.flush()

    while True:
        reason = "the node has ended its log"
        try:
            await _read_from(client, request, show, tuple(recent), absence.is_over)
        except CallError as error:
            if error.code is not Code.UNAVAILABLE or not recent:
                raise
            reason = explained(error)
        absence.say(reason)
        await trio.sleep(RECONNECT)
        if recent:
            request = wire.LogsRequest(namespace=_NAMESPACE, id=_LOG, follow=True, tail_lines=_AGAIN)


async def _read_from(
    client: NodeClient,
    request: wire.LogsRequest,
    show: Callable[[str], None],
    recent: Sequence[str],
    is_back: Callable[[], None],
) -> None:
    """Show a log from behind the lines that were shown last. Raises CallError, CommandError.

    `is_back` is called when the node has been there for a while, also if it has nothing new.
    """
    fresh = Unseen(recent, most=request.tail_lines)
    begun = trio.Event()
    failure: Exception | None = None

    def give(lines: Sequence[str]) -> None:
        if fresh.has_gap:
            fresh.has_gap = False
            sys.stderr.write(
                f"{client.node}: lines may be missing here: what was shown last is not among its last {_AGAIN} lines\n"
            )
        for each in lines:
            show(each)

    def take(line: str) -> None:
        begun.set()
        give(fresh.of(line))

    async def stop_looking() -> None:
        # A node may take its time to begin.
        await begun.wait()
        await trio.sleep(_LOOKING)
        is_back()
        give(fresh.rest())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_looking)
        try:
            await _read(client, request, take)
        except (CallError, CommandError) as error:
            failure = error
        nursery.cancel_scope.cancel()
    give(fresh.rest())
    if failure is not None:
        raise failure


class Unseen:
    """What is new of a log that is read again: its lines from behind those that were shown last (`shown`).

    Lines wait until the end of what was shown is found. Equal lines are told apart by those before them. If it is not
    found in `most` lines, or until `rest`, what waits behind the first line that is like the last one is new: lines
    are rather shown twice than never. Without such a line all are new, and `has_gap` says that others may be missing.
    """

    def __init__(self, shown: Sequence[str], *, most: int) -> None:
        self.has_gap = False
        self._shown = list(shown)
        self._most = most
        self._waiting: list[str] | None = [] if shown else None

    def of(self, line: str) -> list[str]:
        """What is known to be new with the next line."""
        if self._waiting is None:
            return [line]
        self._waiting.append(line)
        if self._is_met(self._waiting):
            self._waiting = None
            return []
        return self.rest() if len(self._waiting) >= self._most else []

    def _is_met(self, waiting: list[str]) -> bool:
        if waiting[-1] != self._shown[-1]:
            return False
        count = min(len(waiting), len(self._shown))
        return waiting[-count:] == self._shown[-count:]

    def rest(self) -> list[str]:
        """What is new of the lines that wait; from now on every line is."""
        found, self._waiting = self._waiting or [], None
        if not found:
            return []
        if self._shown[-1] in found:
            return found[found.index(self._shown[-1]) + 1 :]
        self.has_gap = True
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
    lines = Lines()

    def cut(data: bytes) -> None:
        for line in lines.of(data):
            take(line)

    await _receive(client, request, cut)
    for line in lines.end():
        take(line)


async def _receive(client: NodeClient, request: wire.LogsRequest, take: Callable[[bytes], None]) -> None:
    """Give a log to `take` as it comes. Raises CallError, CommandError."""
    size = 0
    within = None if request.follow else _PATIENCE
    answers: Any
    async with client.stream(LOGS, request, wire.Data.FromString, timeout=within) as answers:
        async for answer in answers:
            if answer.metadata.error:
                raise CommandError(bounded(answer.metadata.error))
            size += len(answer.data)
            if not request.follow and size > _MOST_BYTES:
                raise CommandError(f"its log has more than {_MOST_BYTES >> 20} MiB: ask for less with --lines")
            take(answer.data)


def _shown(node: str, line: str) -> str:
    return f"{escaped(node)}: {escaped(line, keep=chr(9))}\n"

"""Runs commands of the system: the one way by which the host's services are told of their files."""

import subprocess
from collections import defaultdict
from typing import Protocol

import trio

_PATIENCE = 60.0


class CommandFailedError(Exception):
    """A command could not be run, failed, or took too long. The text names it and says what it said."""


class Commands(Protocol):
    """What runs commands; tests give one of their own."""

    async def run(self, *command: str) -> None:
        """Run a command to its end. Raises CommandFailedError."""
        ...


class SystemCommands:
    """Runs them for real. A cancelled wait ends the command.

    Those of one program run one after the other: who asks systemd whether a service runs is not to find it in the
    middle of being started anew.
    """

    def __init__(self) -> None:
        self._turns: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)

    async def run(self, *command: str) -> None:
        """Run a command to its end, for at most a minute. Raises CommandFailedError."""
        async with self._turns[command[0]]:
            await self._run(*command)

    async def _run(self, *command: str) -> None:
        shown = " ".join(command)
        with trio.move_on_after(_PATIENCE):
            try:
                done = await trio.run_process(command, check=False, capture_stdout=True, stderr=subprocess.STDOUT)
            except OSError as error:
                raise CommandFailedError(f"{shown}: {error.strerror}") from error
            if done.returncode:
                said = " ".join(done.stdout.decode(errors="replace").split())
                raise CommandFailedError(f"{shown}: exit {done.returncode}: {said[-300:]}")
            return
        raise CommandFailedError(f"{shown}: it did not end within {_PATIENCE:g} s")

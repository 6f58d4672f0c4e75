"""Runs system commands: the only way the host's services are notified of changed files."""

import subprocess
from typing import Protocol

import trio

_PATIENCE = 60.0


class CommandFailedError(Exception):
    """A command could not be run, failed, or took too long. The text has the command and its output."""


class Commands(Protocol):
    """Runs commands; tests substitute their own."""

    async def run(self, *command: str) -> str:
        """Run a command to its end, and return what it printed. Raises CommandFailedError."""
        ...


class SystemCommands:
    """Runs real processes. Cancelling the wait ends the command."""

    async def run(self, *command: str) -> str:
        """Run a command to its end, for at most a minute. Raises CommandFailedError."""
        shown = " ".join(command)
        with trio.move_on_after(_PATIENCE):
            try:
                done = await trio.run_process(command, check=False, capture_stdout=True, stderr=subprocess.STDOUT)
            except OSError as error:
                raise CommandFailedError(f"{shown}: {error.strerror}") from error
            said = done.stdout.decode(errors="replace")
            if done.returncode:
                raise CommandFailedError(f"{shown}: exit {done.returncode}: {' '.join(said.split())[-300:]}")
            return said
        raise CommandFailedError(f"{shown}: it did not end within {_PATIENCE:g} s")

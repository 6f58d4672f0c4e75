"""The processes of stations: they outlive their starter, and are found by their network namespace."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from nodespan.cluster.commands import Command
from nodespan.cluster.interruption import undivided
from nodespan.cluster.plan import Station

_PATIENCE = 5.0
_POLL = 0.02
NAMESPACES = Path("/var/run/netns")


class CommandFailedError(Exception):
    """A required command failed; the text has its output."""


def run(command: Command, *, stdin: str | None = None) -> str:
    """Run a command and return its output. Blocks. Raises CommandFailedError.

    However the wait ends, the command has ended too: what it created can be removed.
    """
    pipe = subprocess.PIPE
    process: subprocess.Popen[str] | None = None
    try:
        with undivided():
            process = subprocess.Popen(command, stdin=pipe if stdin else None, stdout=pipe, stderr=pipe, text=True)
        with process:
            output, errors = process.communicate(stdin)
    except BaseException:
        # As subprocess.run does, but that does not wait for it after an interruption.
        if process is not None:
            with process:
                process.kill()
        raise
    if process.returncode != 0:
        raise CommandFailedError(f"{' '.join(command)}: exit status {process.returncode}: {errors.strip()}")
    return output


def start(station: Station, command: Command, *, log: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start a process at a station, detached from the terminal; its output goes to `log`, else the station's log."""
    with (log or station.log).open("ab") as output, undivided():
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            # The machine's proxies are not reachable from a station.
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            start_new_session=True,
        )


def pids_in(namespace: str) -> tuple[int, ...]:
    """All processes in a namespace; none if the namespace is missing."""
    if not (NAMESPACES / namespace).exists():
        return ()
    listed = subprocess.run(("ip", "netns", "pids", namespace), capture_output=True, text=True, check=False)
    return tuple(int(pid) for pid in listed.stdout.split())


def end_processes(namespaces: Iterable[str], *, but: str = "", at_once: bool = False) -> None:
    """End all processes in these namespaces, except those of one program: SIGTERM, after five seconds or at once
    SIGKILL. Blocks until they are gone.

    Raises CommandFailedError for processes that outlive SIGKILL.
    """
    names = tuple(namespaces)
    left: tuple[int, ...] = ()
    for kind in (signal.SIGKILL,) if at_once else (signal.SIGTERM, signal.SIGKILL):
        signalled: set[int] = set()
        deadline = time.monotonic() + _PATIENCE
        while left := tuple(pid for name in names for pid in pids_in(name) if not but or _program(pid) != but):
            if time.monotonic() > deadline:
                break
            for pid in set(left) - signalled:
                signalled.add(pid)
                try:
                    os.kill(pid, kind)
                except ProcessLookupError:
                    continue  # it has ended meanwhile
            time.sleep(_POLL)
    if left:
        raise CommandFailedError(f"processes {left} outlive SIGKILL: they hang in the kernel")


def _program(pid: int) -> str:
    """The name of a process's program, "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""

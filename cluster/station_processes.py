"""The processes of stations: started so that they outlive who started them, found by the namespace they are in."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from cluster.commands import Command
from cluster.plan import Station

_PATIENCE = 5.0
_POLL = 0.02
NAMESPACES = Path("/var/run/netns")


class CommandFailedError(Exception):
    """A command that had to succeed did not; the text holds its own words."""


def run(command: Command, *, stdin: str | None = None) -> str:
    """Run a command to its end and return what it printed. Blocks. Raises CommandFailedError."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailedError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def start(station: Station, command: Command) -> "subprocess.Popen[bytes]":
    """Start what runs at a station, detached from the terminal; what it says goes to the station's log."""
    with station.log.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            # Proxies of the world outside are not to be reached from in here.
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            start_new_session=True,
        )


def pids_in(namespace: str) -> tuple[int, ...]:
    """The processes in a namespace, also those that nobody started from here; none if there is no such namespace."""
    if not (NAMESPACES / namespace).exists():
        return ()
    listed = subprocess.run(("ip", "netns", "pids", namespace), capture_output=True, text=True, check=False)
    return tuple(int(pid) for pid in listed.stdout.split())


def end_processes(namespaces: Iterable[str]) -> None:
    """End all processes in these namespaces: SIGTERM, after five seconds SIGKILL. Blocks until they are gone.

    Raises CommandFailedError for processes that outlive even that.
    """
    names = tuple(namespaces)
    left: tuple[int, ...] = ()
    for kind in (signal.SIGTERM, signal.SIGKILL):
        told: set[int] = set()
        deadline = time.monotonic() + _PATIENCE
        while left := tuple(pid for name in names for pid in pids_in(name)):
            if time.monotonic() > deadline:
                break
            for pid in set(left) - told:
                told.add(pid)
                try:
                    os.kill(pid, kind)
                except ProcessLookupError:
                    continue  # it has ended meanwhile
            time.sleep(_POLL)
    if left:
        raise CommandFailedError(f"processes {left} outlive SIGKILL: the kernel does not let them go")

"""What belongs to this test run: its name, its temporary directory, and what it left behind on the machine.

Everything a test makes outside its own process carries the run's name: namespaces as a prefix of theirs, processes as
an environment variable, files by lying under the temporary directory. So a run can tell its own leftovers from anything
else on the machine, also those of a test that died half-way or of a daemon that left its parent.

A run that is killed removes nothing. So a guard beside it, `python -m tests.support.run NAME DIRECTORY`, does that as
soon as the run has ended without having removed its leftovers: wireguard-go, for one, outlives whoever started it.
"""

import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

NETNS_DIRECTORY = Path("/var/run/netns")
VARIABLE = "NODESPAN_TEST_RUN"

NAME = f"nst{secrets.token_hex(3)}"

# A process has no environment while it executes a new program: for microseconds, on a busy machine for longer.
EXECUTING = 10.0
# What killed programs leave where the machine has a place for it: the names begin with the run's.
_ELSEWHERE = (Path("/run/nodespan/clusters"), Path("/run/nodespan/nodes"))
# The name of a link, which that of the socket is made of, has room for this much of the run's.
_SOCKETS, IN_LINKS = Path("/var/run/wireguard"), -6
_DISMISSED = b"removed by the run itself"
# Fields of /proc/PID/stat, counted from the state.
_STATE, _PARENT, _STARTED = 0, 1, 19


def begin() -> Path:
    """Give the run its temporary directory, make it the default for this process and its children, and return it."""
    # pytest keeps the directories of tmp_path on purpose, for a look after a failure: those stay where they always are.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    directory = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    tempfile.tempdir = os.environ["TMPDIR"] = str(directory)
    # The guard has not the variable of the run, or it would be one of its leftovers.
    _guards.append(_Guard(directory))
    os.environ[VARIABLE] = NAME
    return directory


class _Guard:
    """A process that removes what the run left behind if the run ends before `leftovers` did."""

    def __init__(self, directory: Path) -> None:
        # Without site-packages, of which it needs nothing. A session of its own: what is sent to the run's group, as by
        # a terminal, is not for it. Its input ends with the run, for nobody else has the other end.
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-m", __name__, NAME, str(directory)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its number: it is a child of the run, but none of its leftovers."""
        return self._process.pid

    def dismiss(self) -> None:
        """End it, and wait for that: the run itself has removed its leftovers."""
        self._process.communicate(_DISMISSED)


# One, while the run lasts.
_guards: list[_Guard] = []


def guard(name: str, directory: Path) -> None:
    """Wait until the run of this name has ended, and remove what it left unless it did so. Blocks."""
    global NAME
    NAME = name
    if sys.stdin.buffer.read() == _DISMISSED:
        return
    # Nobody reads what it has to say. So what cannot be removed keeps it from nothing else.
    each_step = contextlib.suppress(OSError, subprocess.CalledProcessError)
    _remove(directory, each_step)
    for path in (each for place in _ELSEWHERE for each in place.glob(f"{name}*")):
        with each_step:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in _SOCKETS.glob(f"{name[IN_LINKS:]}*.sock"):
        with each_step:
            path.unlink()


def leftovers(directory: Path) -> tuple[str, ...]:
    """Remove what the run left on the machine and say, one line each, what that was."""
    found = _remove(directory, contextlib.nullcontext())
    # Last: a run that is killed while it removes leaves the rest to it.
    while _guards:
        _guards.pop().dismiss()
    return found


def _remove(directory: Path, each_step: AbstractContextManager[None]) -> tuple[str, ...]:
    found = []
    with each_step:
        for pid, command in _end_processes().items():
            found.append(f"process {pid}: {command}")
    for name in _namespaces():
        found.append(f"network namespace {name}")
        with each_step:
            subprocess.run(["ip", "netns", "delete", name], check=True)
    for path in sorted(directory.rglob("*"), reverse=True):
        found.append(f"file {path}")
        with each_step:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
    with each_step:
        directory.rmdir()
    return tuple(found)


def _namespaces() -> tuple[str, ...]:
    if not NETNS_DIRECTORY.is_dir():
        return ()
    # Of a test, and of a cluster that bears the run's name.
    ours = (NAME, f"nodespan-{NAME}")
    return tuple(sorted(entry.name for entry in NETNS_DIRECTORY.iterdir() if entry.name.startswith(ours)))


def _end_processes() -> dict[int, str]:
    """Kill the run's processes and return their commands; looks again until a look finds no further one.

    They have ended then: one that was sent a signal may still make files.
    """
    ended: dict[int, str] = {}
    while further := {pid: command for pid, command in _processes() if pid not in ended}:
        with contextlib.ExitStack() as stack:
            killed = [process for pid in further if (process := _killed(pid, stack)) is not None]
            for process in killed:
                # Readable once it has ended, also while nobody has waited for it. One in a call of the kernel that does
                # not return is not waited for any longer.
                ending = select.poll()
                ending.register(process, select.POLLIN)
                ending.poll(EXECUTING * 1000)
        ended |= further
    return ended


def _killed(pid: int, stack: contextlib.ExitStack) -> int | None:
    """Kill a process; returns its pidfd, which the stack closes, or None if it has gone."""
    try:
        process = os.pidfd_open(pid)
        stack.callback(os.close, process)
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return process


def _processes() -> Iterator[tuple[int, str]]:
    own = {os.getpid(), *(each.pid for each in _guards)}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) in own:
            continue
        try:
            command = command_if_ours(entry)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended meanwhile, or belongs to another user
        if command is not None:
            yield int(entry.name), command


def command_if_ours(entry: Path) -> str | None:
    """The command of the process of a directory in /proc, None if it is not of this run.

    A process in the middle of execve shows neither environment nor arguments. Blocks until it shows both.
    """
    stat = _stat(entry)
    if int(stat[_STARTED]) < int(_stat(Path("/proc/self"))[_STARTED]):
        return None
    is_child = int(stat[_PARENT]) == os.getpid()
    if stat[_STATE] == "Z":
        return f"({_name(entry)} has ended, and its parent did not wait for it)" if is_child else None
    deadline = time.monotonic() + EXECUTING
    while True:
        environment = (entry / "environ").read_bytes()
        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        is_kernel_thread = (entry / "statm").read_text().split()[0] == "0"
        if (environment and command) or is_kernel_thread or time.monotonic() > deadline:
            break
        time.sleep(0.001)
    ours = is_child or f"{VARIABLE}={NAME}".encode() in environment.split(b"\0")
    return (command or _name(entry)) if ours else None


def _name(entry: Path) -> str:
    return (entry / "comm").read_text().strip()


def _stat(entry: Path) -> list[str]:
    return (entry / "stat").read_text().rpartition(") ")[2].split()


if __name__ == "__main__":
    guard(sys.argv[1], Path(sys.argv[2]))

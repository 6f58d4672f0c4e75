"""What belongs to this test run: its name, its temporary directory, and what it left behind on the machine.

Everything a test makes outside its own process carries the run's name: namespaces as a prefix of theirs, processes as
an environment variable, files by lying under the temporary directory. So a run can tell its own leftovers from anything
else on the machine, also those of a test that died half-way or of a daemon that left its parent.
"""

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

NETNS_DIRECTORY = Path("/var/run/netns")
VARIABLE = "NODESPAN_TEST_RUN"

NAME = f"nst{secrets.token_hex(3)}"


def begin() -> Path:
    """Give the run its temporary directory, make it the default for this process and its children, and return it."""
    # pytest keeps the directories of tmp_path on purpose, for a look after a failure: those stay where they always are.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    directory = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    tempfile.tempdir = os.environ["TMPDIR"] = str(directory)
    os.environ[VARIABLE] = NAME
    return directory


def leftovers(directory: Path) -> tuple[str, ...]:
    """Remove what the run left on the machine and say, one line each, what that was."""
    found = []
    for pid, command in _processes():
        found.append(f"process {pid}: {command}")
        os.kill(pid, signal.SIGKILL)
    for name in _namespaces():
        found.append(f"network namespace {name}")
        subprocess.run(["ip", "netns", "delete", name], check=True)
    for path in sorted(directory.rglob("*"), reverse=True):
        found.append(f"file {path}")
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    directory.rmdir()
    return tuple(found)


def _namespaces() -> tuple[str, ...]:
    if not NETNS_DIRECTORY.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in NETNS_DIRECTORY.iterdir() if entry.name.startswith(NAME)))


def _processes() -> Iterator[tuple[int, str]]:
    marker = f"{VARIABLE}={NAME}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(") ")[2].split()[:2]
            ours = int(parent) == os.getpid() or marker in (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended meanwhile, or belongs to somebody else
        if ours:
            yield int(entry.name), command or f"(state {state}: it has ended, nobody waited for it)"

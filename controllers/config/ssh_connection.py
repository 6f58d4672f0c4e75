"""The SSH connection that a command was typed into, which must not be cut off by what the command does."""

import os
from pathlib import Path

_VARIABLE = "SSH_CONNECTION"
_LARGEST = 1 << 20
# Between the command and the shell of the connection there may be sudo, make, a script.
_MOST_PARENTS = 32


def ssh_connection(proc: Path = Path("/proc")) -> str:
    """What sshd says of the connection: address and port of both ends; "" without one.

    sudo takes the variable away, so it is looked for in the processes above, as far as these may be read.
    """
    if found := os.environ.get(_VARIABLE):
        return found
    pid = os.getppid()
    for _ in range(_MOST_PARENTS):
        try:
            if found := _of_process(proc / str(pid)):
                return found
            pid = _parent(proc / str(pid))
        except (OSError, ValueError):
            # Of another user, or gone: nothing is known of those above it, either.
            return ""
        if pid <= 1:
            return ""
    return ""


def caller_argument(ssh_connection: str) -> list[object] | None:
    """What sshd says of a connection (both ends, address and port each), as the request names it; None if nothing."""
    parts = ssh_connection.split()
    if len(parts) != 4 or not parts[3].isdecimal():
        return None
    return [parts[0], parts[2], int(parts[3])]


def _of_process(directory: Path) -> str:
    with (directory / "environ").open("rb") as file:
        content = file.read(_LARGEST)
    start = f"{_VARIABLE}=".encode()
    values = (each[len(start) :] for each in content.split(b"\0") if each.startswith(start))
    return next(values, b"").decode("ascii", "replace")


def _parent(directory: Path) -> int:
    """The number of the parent; the name of the process before it may hold anything. Raises ValueError."""
    line = (directory / "stat").read_text(errors="replace")
    return int(line.rpartition(")")[2].split()[1])

"""`nodespan logs`: the log of the agent, from the journal of systemd, or from the file that the agent writes it to."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError

_UNIT = "nodespan.service"
_SERVICE = re.compile(r"[\w@:.\\-]+\.service")
_OUR_SERVICE = re.compile(r"nodespan[\w@:.\\-]*\.service")
_USER_MANAGER = re.compile(r"user@\d+\.service")
_MANY_LINES = 5000
_PATIENCE = 20.0
_MOST_BYTES = 8 * 2**20
_BEGIN_OF_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_END_OF_KEY = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----")
# More than a key of 16,384 bits has.
_LINES_OF_KEY = 250


def logs(socket_path: str, *, lines: int, follow: bool, since: str) -> int:
    """Show the log; returns the exit status of the program that does. Raises CommandError."""
    try:
        agent = ask(socket_path, {"call": "version"})[0]
    except CommandError:
        agent = None
    command = command_for(agent, lines=lines, follow=follow, since=since)
    if command is None:
        reason = "no agent runs" if agent is None else "the agent writes it to a terminal or a pipe"
        raise CommandError(
            f"the log is not found: {reason}, and the journal of systemd has no {_UNIT}; "
            "start the agent by its unit, or with 2>FILE"
        )
    try:
        return subprocess.call(command)
    except FileNotFoundError as error:
        raise CommandError(f"{command[0]} is not installed, which shows the log") from error


def command_for(
    agent: dict[str, Any] | None, *, lines: int, follow: bool, since: str, root: Path = Path("/")
) -> list[str] | None:
    """What shows the log: of the unit that the agent is part of, of the file behind its stderr, or of our unit."""
    pid = None if agent is None else agent["pid"]
    unit = None if pid is None else unit_of(pid, root)
    file = None if pid is None else log_file_of(pid, root)
    if file is not None:
        if since:
            raise CommandError(f"--since is for the journal; the log of this agent is the file {file}")
        return ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", file]
    if unit is None and pid is None and has_unit(root):
        unit = _UNIT
    if unit is None or shutil.which("journalctl") is None:
        return None
    since_options = ["--since", _journal_time(since)] if since else []
    return [
        "journalctl",
        "--unit",
        unit,
        "--lines",
        str(lines),
        "--no-pager",
        *since_options,
        *(["-f"] if follow else []),
    ]


def _journal_time(since: str) -> str:
    """`10m` as journalctl writes it."""
    return f"-{since}" if re.fullmatch(r"\d+[smhdw]", since) else since


def unit_of(pid: int, root: Path = Path("/")) -> str | None:
    """The service of systemd that a process is, and whose log is therefore its own.

    A process that somebody started by hand is below a service too: that of a whole session, a shell, a terminal, with
    the logs of everything that its user runs.
    """
    try:
        text = (root / f"proc/{pid}/cgroup").read_text(errors="replace")
    except OSError:
        return None
    if not _may_log_to_journal(pid, root):
        return None
    for line in text.splitlines():
        # A path may have colons, the fields before it have none that count: `1:name=systemd:/a.slice/b.service`.
        *above, last = line.split(":", 2)[-1].split("/")
        if any(_USER_MANAGER.fullmatch(each) for each in (*above, last)):
            continue
        if _SERVICE.fullmatch(last):
            return last
        # A group of ours below our own unit, as with Delegate=.
        if above and _OUR_SERVICE.fullmatch(above[-1]):
            return above[-1]
    return None


def _may_log_to_journal(pid: int, root: Path) -> bool:
    """Whether a process's stderr is a socket, as services have it of systemd; yes if that may not be seen."""
    try:
        return os.readlink(root / f"proc/{pid}/fd/2").startswith("socket:")
    except OSError:
        return True


def log_file_of(pid: int, root: Path = Path("/")) -> str | None:
    """The regular file that is a process's stderr."""
    link = root / f"proc/{pid}/fd/2"
    try:
        target = os.readlink(link)
        return target if target.startswith("/") and Path(target).is_file() else None
    except OSError:
        return None


def has_unit(root: Path = Path("/")) -> bool:
    """Whether our unit is installed."""
    return any((root / place / _UNIT).exists() for place in ("etc/systemd/system", "lib/systemd/system"))


def log_of_agent(agent: dict[str, Any] | None) -> str:
    """The end of the log as a text, or why there is none."""
    command = command_for(agent, lines=_MANY_LINES, follow=False, since="")
    if command is None:
        return "the log is not found\n"
    return without_cut_secret(_output(command))


def without_cut_secret(log: str) -> str:
    """The end of a log without the rest of a private key at its beginning, which nothing would recognise."""
    end = _END_OF_KEY.search(log)
    if end is None or _BEGIN_OF_KEY.search(log, 0, end.start()) or log.count("\n", 0, end.start()) > _LINES_OF_KEY:
        return log
    return log[end.end() :].partition("\n")[2]


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}\n"
    output = done.stdout
    if len(output) > _MOST_BYTES:
        # A part of a line may be a part of a secret.
        output = output[-_MOST_BYTES:].partition(b"\n")[2]
    return output.decode(errors="backslashreplace")

"""The machine as the host controllers see it: the root of its files, and a runner for its commands."""

import os
import stat
from collections import deque
from pathlib import Path

import attrs

from nodespan.controllers.host.commands import Commands, SystemCommands

_NAMED_NAMESPACES = "run/netns"
_MOST_LINKS = 40
_PROGRAM_DIRECTORIES = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")


class HostError(Exception):
    """Part of the machine cannot be changed. The text says what, why, and what to do."""


@attrs.frozen(kw_only=True)
class Host:
    """The machine. `commands` is None where none may be run, as below a root other than this system's.

    `refusal` says why it must not be changed, "" if it may.
    """

    root: Path = Path("/")
    commands: Commands | None = None
    refusal: str = ""

    def resolve(self, path: str) -> Path:
        """Where an absolute path leads below the root, symbolic links followed as if the root were /. Blocks.

        The file need not exist. Raises HostError for a path that is not absolute, or that leads in circles.
        """
        if not path.startswith("/"):
            raise HostError(f"{path!r} is not an absolute path: begin it with /")
        at, ahead, links = self.root, deque(path.split("/")), 0
        while ahead:
            part = ahead.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                at = at.parent if at != self.root else at
                continue
            step = at / part
            if not step.is_symlink():
                at = step
                continue
            links += 1
            if links > _MOST_LINKS:
                raise HostError(f"{path} leads through too many symbolic links")
            target = os.readlink(step)
            at = self.root if target.startswith("/") else at
            ahead.extendleft(reversed(target.split("/")))
        return at

    def shown(self, path: Path) -> str:
        """A path below the root as seen from inside that root."""
        return f"/{path.relative_to(self.root)}"

    def exists(self, path: str) -> bool:
        """Whether there is something at an absolute path. Blocks."""
        return self.resolve(path).exists()

    def has_program(self, name: str) -> bool:
        """Whether a program is installed. Blocks."""
        return any(os.access(self.resolve(f"{place}/{name}"), os.X_OK) for place in _PROGRAM_DIRECTORIES)

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs this system and may be queried. Blocks."""
        return self.commands is not None and self.exists("/run/systemd/system")


def this_host(root: Path | None) -> Host:
    """The machine the agent manages: all of it, only the files below a root, or nothing. Blocks.

    An agent in a named network namespace does not manage the names, files and services of the machine, unless the
    root is explicitly set to /.
    """
    if root is not None:
        resolved = root.resolve()
        return Host(root=resolved, commands=SystemCommands() if resolved == Path("/") else None)
    name = _own_namespace(Path("/"))
    if name:
        return Host(
            refusal=f"the agent runs in the network namespace {name}, and the machine's files, names and services are "
            "not its own: start it with --root DIR to have files written below DIR, --root / for the machine's"
        )
    return Host(commands=SystemCommands())


def _own_namespace(root: Path) -> str:
    """The name of the network namespace that this process is in, "" if it has none."""
    own = os.stat("/proc/self/ns/net")
    try:
        entries = list((root / _NAMED_NAMESPACES).iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
    for entry in entries:
        try:
            found = entry.stat()
        except OSError:
            continue  # it is being created or removed
        if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
            return entry.name
    return ""

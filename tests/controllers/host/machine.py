"""A machine to test with: a directory for its files, and commands that are only noted."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.managed_files import SETTLED, ManagedFiles

ACTIVE = "ActiveState=active\nJob=\n"
RESTS = "ActiveState=inactive\nJob=\n"
FAILED = "ActiveState=failed\nJob=\n"


@attrs.define
class NotedCommands:
    """Commands that were asked for. `failing` are those, by their beginnings, that fail.

    `states` are what systemd shows of units other than that they are active.
    """

    asked: list[str] = attrs.field(factory=list)
    # Questions to systemd, which change nothing.
    looks: list[str] = attrs.field(factory=list)
    failing: set[str] = attrs.field(factory=set)
    states: dict[str, str] = attrs.field(factory=dict)
    # What commands print, by their whole line.
    printed: dict[str, str] = attrs.field(factory=dict)

    async def run(self, *command: str) -> str:
        """Note it, and answer for systemd. Raises CommandFailedError for one that is to fail."""
        line = " ".join(command)
        if command[:2] == ("systemctl", "show"):
            self.looks.append(command[-1])
            return self.states.get(command[-1], ACTIVE)
        self.asked.append(line)
        if line.startswith(tuple(self.failing)):
            raise CommandFailedError(f"{line}: exit 1: it is to fail")
        return self.printed.get(line, "")

    def changes(self) -> list[str]:
        """Those that change something, and forget them."""
        found = self.asked.copy()
        self.asked.clear()
        return found


@attrs.frozen
class Machine:
    """The machine. Paths are as it sees them itself."""

    directory: Path
    commands: NotedCommands = attrs.field(factory=NotedCommands)

    @property
    def host(self) -> Host:
        """As controllers see it."""
        return Host(root=self.directory / "root", commands=self.commands)

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps its files."""
        return self.directory / "state"

    def managed_files(self) -> ManagedFiles:
        """As a new process sees them."""
        return ManagedFiles(self.host, self.state_dir / "originals")

    def path(self, path: str) -> Path:
        """A file for the test itself."""
        return self.directory / "root" / path.lstrip("/")

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """What another program did a while ago; the file never has a part of it."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.new")
        new.write_text(content)
        new.chmod(mode)
        before = time.time() - 10 * SETTLED
        os.utime(new, (before, before))
        new.replace(file)

    def read(self, path: str) -> str | None:
        """What is there."""
        try:
            return self.path(path).read_text()
        except FileNotFoundError:
            return None

    def run_systemd(self) -> None:
        """Systemd runs from now on."""
        self.path("/run/systemd/system").mkdir(parents=True)
        self.path("/etc/systemd").mkdir(parents=True)

    def tree(self) -> dict[str, tuple[str, int]]:
        """All files with their contents and modes."""
        root = self.directory / "root"
        while True:
            files = [file for file in root.rglob("*") if file.is_file() or file.is_symlink()]
            try:
                return {
                    str(file.relative_to(root)): (
                        str(file.readlink()) if file.is_symlink() else file.read_text(),
                        file.lstat().st_mode & 0o7777,
                    )
                    for file in files
                }
            except FileNotFoundError:
                # A worker replaces files atomically: a temporary file that was listed has been renamed since.
                continue

    def kept(self) -> list[str]:
        """The records of what is to be taken back."""
        directory = self.state_dir / "originals"
        return sorted(file.name for file in directory.iterdir()) if directory.is_dir() else []


def machine(directory: Path) -> Machine:
    """A machine without any files."""
    made = Machine(directory)
    (directory / "root").mkdir()
    made.state_dir.mkdir(mode=0o700)
    return made


@contextmanager
def unchanged(of: Machine) -> Iterator[None]:
    """Whatever the block does, it takes back."""
    before = of.tree()
    yield
    assert of.tree() == before
    assert of.kept() == []

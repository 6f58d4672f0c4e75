"""A machine with systemd for tests: a real one, as process 1 of namespaces, on a view of this machine's files.

What is changed there lies in memory and goes with it. Its network has nothing but lo, and nobody there may set the
clock, which it shares with this machine.
"""

import contextlib
import functools
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import trio

from tests.support.inside import Inside
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually, running

PROJECT = Path(__file__).parents[2]
ARCHIVES = PROJECT / ".cache" / "packages"
_PROGRAM = Path("/lib/systemd/systemd")
_BOOT = Path(__file__).with_name("boot.sh")
# In a group of its own, so that systemd has none but its own processes to look after; and without the right to set the
# clock, which no namespace divides.
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec setpriv --bounding-set -sys_time "$@"'
_UNSHARE = ("unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")


@attrs.frozen
class Booted(Inside):
    """The machine, which runs for as long as the block that made it: its first process, and its network."""

    pid: int
    network: Namespace

    @property
    def programs(self) -> tuple[str, ...]:
        """What to put before a command to have it see the machine's files, and be elsewhere otherwise."""
        return ("nsenter", f"--target={self.pid}", "--mount", "--")

    def runs(self, unit: str) -> bool:
        """Whether systemd says that a unit is active."""
        return self.succeeds("systemctl", "is-active", "--quiet", unit)

    def configure(self, path: str, text: str) -> None:
        """Write a file there, as somebody other than the agent."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$0")" && printf %s "$1" > "$0"', path, text)


@functools.cache
def no_systemd(*, archives: bool = True) -> str | None:
    """Why there can be no such machine here."""
    if not _PROGRAM.exists():
        return "systemd is not installed"
    if archives and not any(ARCHIVES.glob("*.deb")):
        return f"{ARCHIVES} has no packages: `make test-mesh` fetches them"
    group = _own_group()
    if group is None or not os.access(group, os.W_OK):
        return "no control groups of version 2 can be made here"
    return None


@contextlib.asynccontextmanager
async def booted(directory: Path, *, root: Path = Path("/"), archives: bool = True) -> AsyncIterator[Booted]:
    """Boot one; `directory`, seen inside as it is, is the test's own.

    `root` is the root directory of another machine than this one. With `archives` it has the fetched packages.
    """
    over = directory / "over"
    over.mkdir()
    own = (str(PROJECT), sys.prefix, sys.base_prefix) if root == Path("/") else ()
    elsewhere = (path for path in own if not _is_of_root(path))
    boot = ("sh", str(_BOOT), str(over), str(root), str(ARCHIVES) if archives else "", str(directory), *elsewhere)
    with namespace("machine") as network:
        async with (
            _group(network.name) as group,
            running("sh", "-c", _ENTER, str(group), *_UNSHARE, *boot, namespace=network) as process,
        ):

            def first_process() -> int:
                assert process.returncode is None, "the machine did not come up"
                return int((over / "pid").read_text() or 0) if (over / "pid").exists() else 0

            pid = await eventually(first_process)
            to_there = ("nsenter", f"--target={pid}", "--all", "--", "env", "--unset=TMPDIR")
            machine = Booted(to_there, pid, network)
            try:
                await eventually(lambda: machine.runs("basic.target"))
                yield machine
            finally:
                os.kill(pid, signal.SIGKILL)


def _is_of_root(path: str) -> bool:
    """Whether it is seen in a view of / anyway."""
    return os.stat(path).st_dev == os.stat("/").st_dev and not path.startswith("/tmp/")


@contextlib.asynccontextmanager
async def _group(name: str) -> AsyncIterator[Path]:
    """A control group, which is removed when the last of its processes is gone."""
    parent = _own_group()
    assert parent is not None
    group = parent / name
    group.mkdir()
    try:
        yield group
    finally:
        with trio.CancelScope(shield=True):
            await eventually(lambda: "populated 0" in (group / "cgroup.events").read_text())
            for inner in sorted(group.rglob("*/"), reverse=True):
                inner.rmdir()
            group.rmdir()


def _own_group() -> Path | None:
    """The directory of the control group that this process is in, None if it cannot be told."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        if tail.startswith("cgroup2 "):
            own = next(entry for entry in Path("/proc/self/cgroup").read_text().splitlines() if entry[:3] == "0::")
            return Path(head.split()[4]) / own[3:].strip("/")
    return None

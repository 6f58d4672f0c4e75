"""A copy of this machine: a mount and UTS namespace in which /etc and /usr/local are overlaid.

What is done in it reaches neither the files of the machine itself nor its host name.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs

from tests.support.netns import execute
from tests.support.process import eventually, running

_SCRIPT = """\
mount -t tmpfs none "$0" &&
for place in /etc /usr/local; do
    mkdir -p "$0$place/upper" "$0$place/work" &&
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$0$place/upper,workdir=$0$place/work" "$place" || exit 1
done
[ -z "$1" ] || mount --bind "$1" /etc || exit 1
echo before > /proc/sys/kernel/hostname
# A few authorities will do, for no keystores with the time in them, and as the tool would leave everything itself.
rm -f /etc/ca-certificates/update.d/*
if [ -s /etc/ca-certificates.conf ]; then
    head -n 9 /etc/ca-certificates.conf > "$0/few" && cp "$0/few" /etc/ca-certificates.conf &&
    update-ca-certificates --fresh > /dev/null || exit 1
fi
touch "$0/ready" && exec sleep 600
"""
# Every file and link that is within reach of the tests.
_TREE = """\
import hashlib, json, os
found = {}
for place in ("/etc", "/usr/local/share/ca-certificates"):
    for directory, _, names in os.walk(place):
        for name in names:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else ""
            if os.path.isfile(path) and not content:
                content = hashlib.sha256(open(path, "rb").read()).hexdigest()
            found[path] = [content, status.st_mode, status.st_uid, status.st_gid]
print(json.dumps(found))
"""


@attrs.frozen
class Copy:
    """The copy of the machine, which lives as long as the process that holds it."""

    pid: int
    over: Path

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What to put before a command to have it run there. What it leaves half done is not seen outside."""
        return ("nsenter", f"--target={self.pid}", "--mount", "--uts", "--", "env", f"TMPDIR={self.over}")

    def run(self, *command: str) -> str:
        """What a command prints there."""
        return execute(*self.wrapper, *command)

    def succeeds(self, *command: str) -> bool:
        """Whether a command succeeds there."""
        return subprocess.run((*self.wrapper, *command), capture_output=True).returncode == 0

    def read(self, path: str) -> str:
        """A file there."""
        return self.run("cat", path)

    def tree(self) -> dict[str, list[object]]:
        """Every file that the agent might change."""
        found: dict[str, list[object]] = json.loads(self.run(sys.executable, "-c", _TREE))
        return found


@contextlib.asynccontextmanager
async def copy(directory: Path, *, etc: Path | None = None, patience: float = 15.0) -> AsyncIterator[Copy]:
    """A copy that is there for as long as the block lasts; what is changed in it is kept below the directory.

    `etc` is a directory that is its /etc, instead of one that is like the machine's. It is given `patience` seconds.
    """
    over = directory / "over"
    over.mkdir()
    async with running("unshare", "--mount", "--uts", "sh", "-c", _SCRIPT, str(over), str(etc or "")) as process:
        made = Copy(process.pid, over)
        await eventually(lambda: made.succeeds("test", "-e", f"{over}/ready"), within=patience)
        yield made

"""A copy of this machine: a mount and UTS namespace in which /etc is a copy and /usr/local overlaid.

What is done in it reaches neither the files of the machine itself nor its host name.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.inside import FEW_AUTHORITIES, Inside
from tests.support.process import eventually, running

# /etc is copied as it is now: an overlay shows what becomes of it, and packages for other tests are being installed,
# whose temporary files may go while they are copied.
_SCRIPT = f"""\
mount -t tmpfs none "$0" &&
mkdir -p "$0/upper" "$0/work" "$0/etc" &&
mount -t overlay overlay -o "lowerdir=/usr/local,upperdir=$0/upper,workdir=$0/work" /usr/local || exit 1
etc=$1
if [ -z "$etc" ]; then
    etc=$0/etc
    cp -a /etc/. "$0/etc" 2>/dev/null || [ -s "$0/etc/passwd" ] || exit 1
fi
mount --bind "$etc" /etc || exit 1
echo before > /proc/sys/kernel/hostname
{FEW_AUTHORITIES}
touch "$0/ready" && exec sleep 600
"""


@contextlib.asynccontextmanager
async def copy(directory: Path, *, etc: Path | None = None) -> AsyncIterator[Inside]:
    """A copy that is there for as long as the block lasts; what is changed in it is kept below the directory.

    `etc` is a directory that is its /etc, instead of one that is like the machine's.
    """
    over = directory / "over"
    over.mkdir()
    async with running("unshare", "--mount", "--uts", "sh", "-c", _SCRIPT, str(over), str(etc or "")) as process:
        # What is left half done there is not seen outside.
        wrapper = ("nsenter", f"--target={process.pid}", "--mount", "--uts", "--", "env", f"TMPDIR={over}")
        made = Inside(wrapper, process=process.pid, variables={"TMPDIR": str(over)})
        await eventually(lambda: made.succeeds("test", "-e", f"{over}/ready"))
        yield made

"""Whether anything happens in a namespace: what `ip monitor` prints while a block runs."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.support.netns import Namespace
from tests.support.process import eventually, running

_LOOPBACK = ": lo: "


@contextlib.asynccontextmanager
async def watching(inside: Namespace, *objects: str) -> AsyncIterator[Callable[[], str]]:
    """Watch links and these kinds of objects while the block lasts; after it the function tells what was printed.

    Before and after, lo is given another MTU, so that the monitor is known to have listened; lines about lo do not
    count. Addresses of IPv6 that were added before are waited for: the kernel reports them again when it has made sure
    that no neighbour has them.
    """
    await eventually(lambda: not inside.run("ip", "-6", "address", "show", "tentative"))
    with tempfile.NamedTemporaryFile() as file:
        printed = Path(file.name)
        text = ""
        command = ("sh", "-c", 'exec ip -oneline monitor link "$@" >"$0"', file.name, *objects)
        async with running(*command, namespace=inside):
            await eventually(lambda: _notices(inside, 65001, printed))
            yield lambda: text
            await eventually(lambda: _notices(inside, 65002, printed))
            text = _without_loopback(printed)


def _notices(inside: Namespace, mtu: int, printed: Path) -> bool:
    inside.run("ip", "link", "set", "dev", "lo", "mtu", "65000")
    inside.run("ip", "link", "set", "dev", "lo", "mtu", str(mtu))
    return f"mtu {mtu} " in printed.read_text()


def _without_loopback(printed: Path) -> str:
    return "".join(line for line in printed.read_text().splitlines(keepends=True) if _LOOPBACK not in line)

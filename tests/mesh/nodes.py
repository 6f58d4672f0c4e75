"""Agents of several nodes on one machine: each has sockets of wireguard-go, and a host name, of its own."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tests.support.agent import AgentProcess, agent
from tests.support.inside import Inside
from tests.support.netns import Namespace

_ENTER = """\
mkdir -p "$0/wg" /var/run/wireguard && mount --bind "$0/wg" /var/run/wireguard && echo && exec sleep infinity
"""


@contextlib.asynccontextmanager
async def node(directory: Path, name: str, *options: str, namespace: Namespace) -> AsyncIterator[AgentProcess]:
    """The agent of a node, for as long as the block lasts."""
    with _machine(directory) as machine:
        async with agent(directory, *options, namespace=namespace, machine=machine, hostname=name) as served:
            yield served


@contextlib.contextmanager
def _machine(directory: Path) -> Iterator[Inside]:
    """A mount namespace with a place of its own for the sockets of wireguard-go."""
    holder = subprocess.Popen(
        ("unshare", "--mount", "--uts", "sh", "-c", _ENTER, str(directory)), stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n", "the machine cannot be made"
        yield Inside(("nsenter", f"--target={holder.pid}", "--mount", "--uts"), process=holder.pid)
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()

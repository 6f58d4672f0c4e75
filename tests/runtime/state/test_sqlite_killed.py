"""A process that is killed in the middle of its writes: what it was told is written, is there."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodespan.runtime.state.sqlite import open_sqlite
from nodespan.runtime.testing.state_suite import Path as PathType

Server = subprocess.Popen[str]
# Reported versions of each resource; 0 once it was destroyed.
Acknowledged = dict[str, int]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    command = [sys.executable, "-m", "tests.runtime.state.killed_writer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _write_until_killed(server: Server, path: Path, after: int) -> Acknowledged:
    """Let a process write, and kill it right after so many reports."""
    assert server.stdin is not None
    assert server.stdout is not None
    print(path, file=server.stdin, flush=True)
    acknowledged: Acknowledged = {}
    reports, pid = 0, 0
    for line in server.stdout:
        if line == "ended\n":
            return acknowledged
        first, second = line.split()
        if first == "started":
            pid = int(second)
            continue
        acknowledged[first] = int(second)
        reports += 1
        if reports == after:
            os.kill(pid, signal.SIGKILL)
    raise AssertionError("the server ended")


async def _check(path: Path, known: Acknowledged) -> None:
    """Everything acknowledged is there, or what one more write made of it; and everything is whole."""
    async with open_sqlite(path, types=[PathType]) as state:
        found = {resource.id: resource for resource in state.list(PathType)}
        for id in known.keys() | found.keys():
            least = known.get(id, 0)
            resource = found.get(id)
            if resource is None:
                continue  # destroyed: acknowledged, or the write under way, checked below
            version = resource.metadata.version
            assert version is not None
            # At most one write of a resource was under way.
            assert version in (least, least + 1), (id, least, version)
            if version > 1:
                assert resource.metadata.labels == {"of": f"version {version - 1}"}
        missing = [id for id, version in known.items() if version and id not in found]
        # A writer has one write under way, which may have been the destruction.
        assert len({id.partition("-")[0] for id in missing}) == len(missing), missing
        known.clear()
        known.update({id: resource.metadata.version or 0 for id, resource in found.items()})


async def _kill_again_and_again(server: Server, path: Path, times: int) -> None:
    choice = random.Random(times)
    known: Acknowledged = {}
    for _ in range(times):
        known |= _write_until_killed(server, path, choice.randrange(1, 120))
        await _check(path, known)


async def test_no_acknowledged_write_is_lost_by_kill_9(server: Server, tmp_path: Path) -> None:
    await _kill_again_and_again(server, tmp_path / "state.db", 5)


@pytest.mark.soak
async def test_no_acknowledged_write_is_lost_by_kill_9_many_times(server: Server, tmp_path: Path) -> None:
    await _kill_again_and_again(server, tmp_path / "state.db", 200)

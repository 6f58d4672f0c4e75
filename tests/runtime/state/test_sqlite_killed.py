"""A process that is killed in the middle of its writes: what it was told is written, is there."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodespan.runtime.state.sqlite import open_sqlite
from nodespan.runtime.testing.state_suite import Path as PathType
from tests.runtime.state.killing import Acknowledged, Server, check, write_until_killed, writers


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with writers() as process:
        yield process


async def _kill_again_and_again(server: Server, path: Path, times: int) -> None:
    choice = random.Random(times)
    known: Acknowledged = {}
    for _ in range(times):
        known |= write_until_killed(server, f"sqlite:{path}", choice.randrange(1, 120))
        async with open_sqlite(path, types=[PathType]) as state:
            check(state, known)


async def test_no_acknowledged_write_is_lost_by_kill_9(server: Server, tmp_path: Path) -> None:
    await _kill_again_and_again(server, tmp_path / "state.db", 5)


@pytest.mark.soak
async def test_no_acknowledged_write_is_lost_by_kill_9_many_times(server: Server, tmp_path: Path) -> None:
    await _kill_again_and_again(server, tmp_path / "state.db", 200)

"""The state in a SQLite file passes the conformance suites, crashes included."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from nodespan.runtime.state import State
from nodespan.runtime.state.sqlite import open_sqlite
from nodespan.runtime.testing.engine_suite import SUITE_TYPES, EngineSuite
from nodespan.runtime.testing.state_model import StateModelSuite, World
from nodespan.runtime.testing.state_suite import Path as PathType
from nodespan.runtime.testing.state_suite import StateSuite

# Nothing here is about power cuts, and a disk may take its time for each commit.


class TestSqliteState(StateSuite):
    """With a file for each test."""

    # A commit may take long on a busy disk.
    patience = 30.0

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        with tempfile.TemporaryDirectory() as directory:
            async with open_sqlite(Path(directory, "state.db"), types=[PathType], synchronous="NORMAL") as state:
                yield state


class TestEngineOnSqlite(EngineSuite):
    """Controllers on a file."""

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        with tempfile.TemporaryDirectory() as directory:
            async with open_sqlite(Path(directory, "state.db"), types=SUITE_TYPES, synchronous="NORMAL") as state:
                yield state


class _Files(World):
    """A crash leaves the files as they are at that moment: the state goes on with a copy of them."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._crashes = 0
        self._path = directory / "0" / "state.db"

    async def open(self) -> None:
        self.state = await self._stack.enter_async_context(
            open_sqlite(self._path, types=[PathType], synchronous="NORMAL")
        )

    async def crash(self) -> None:
        self._crashes += 1
        new = self._directory / str(self._crashes)
        new.mkdir()
        for suffix in ("", "-wal"):
            if (source := Path(f"{self._path}{suffix}")).exists():
                shutil.copyfile(source, new / source.name)
        self._path = new / "state.db"
        await self.open()


class TestSqliteModel(StateModelSuite):
    """Any writes, and crashes anywhere."""

    @asynccontextmanager
    async def open_world(self) -> AsyncIterator[World]:
        with tempfile.TemporaryDirectory() as directory:
            async with AsyncExitStack() as stack:
                world = _Files(Path(directory), stack)
                await world.open()
                yield world

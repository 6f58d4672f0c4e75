"""Namespaces on states of their own: one interface, and each outage is its namespace's alone."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nodespan.runtime.errors import StateOpenError
from nodespan.runtime.resource import Kind
from nodespan.runtime.state import MemoryState, State
from nodespan.runtime.state.mounted import MountedState
from nodespan.runtime.state.opening import StateOptions, check_url, open_state
from nodespan.runtime.state.sqlite import SqliteState, open_sqlite
from nodespan.runtime.testing.state_suite import Path as PathType
from nodespan.runtime.testing.state_suite import PathSpec, StateSuite
from tests.runtime.state.paths import path


class TestMountedState(StateSuite):
    """On a namespace that is mounted on a file; others are beside it in memory."""

    patience = 30.0

    def namespace(self) -> str:
        return "on-file"

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "state.db")
            async with open_sqlite(file, types=[PathType], synchronous="NORMAL") as state:
                mounted = MountedState(MemoryState())
                mounted.mount("on-file", state)
                mounted.mount("elsewhere", MemoryState())
                yield mounted


async def test_each_namespace_is_on_its_own_state() -> None:
    default, team = MemoryState(), MemoryState()
    mounted = MountedState(default)
    mounted.mount("team", team)
    mine: Kind[PathSpec] = PathType.within("team")
    await team.create(path("not mounted"))
    await mounted.create(path("here"))
    await mounted.create(PathType.new("there", PathSpec(), namespace="team"))
    assert [found.id for found in default.list(PathType)] == [found.id for found in mounted.list(PathType)] == ["here"]
    assert [found.id for found in team.list(mine)] == [found.id for found in mounted.list(mine)] == ["there"]
    assert sorted(mounted.kinds()) == [PathType.kind, mine]
    assert mounted.mounts == {"team": team}
    with pytest.raises(ValueError, match="'team' is mounted already"):
        mounted.mount("team", default)


async def test_an_outage_is_that_of_its_namespace_alone(tmp_path: Path) -> None:
    mounted = MountedState(MemoryState())
    async with open_sqlite(tmp_path / "state.db", types=[PathType]) as state:
        mounted.mount("team", state)
        assert mounted.outage("team") is None
    outage = mounted.outage("team")
    assert outage is not None
    assert outage.is_loaded
    assert mounted.outage("default") is None
    await mounted.until_available("default")


async def test_states_are_opened_by_url(tmp_path: Path) -> None:
    options = StateOptions(state_dir=tmp_path, settings={"synchronous": "NORMAL"}, max_history=10)
    async with open_state("memory:", options) as memory, open_state("sqlite:a.db", options) as file:
        assert isinstance(memory, MemoryState)
        assert isinstance(file, SqliteState)
        assert file.path == tmp_path / "a.db"
    with pytest.raises(StateOpenError, match="did you mean 'sqlite'"):
        open_state("sqlit:a.db", options)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("memory:", ""),
        ("sqlite:x", ""),
        ("sqlite:", "is missing"),
        ("x", "it begins with"),
        ("y:z", "memory:, sqlite:"),
    ],
)
def test_a_url_is_checked_without_opening_anything(url: str, wrong: str) -> None:
    found = check_url(url)
    assert wrong in found
    assert bool(found) is bool(wrong)

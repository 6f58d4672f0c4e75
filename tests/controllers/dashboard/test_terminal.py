"""The dashboard on the terminal, by the pilot of its library; the agent is in another thread, apart from asyncio."""

import asyncio
import datetime
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.from_thread

from nodespan.resources.kubespan import PeerState
from nodespan.runtime.events import Event, EventSpec, Severity
from tests.controllers.dashboard.rig import Rig, rig

pytest.importorskip("textual", reason="textual is not installed: pip install -e .[tui]")

from textual.pilot import Pilot
from textual.widgets import DataTable, Static, TabbedContent

from nodespan.controllers.dashboard.terminal import DashboardApp, Traffic, plain
from tests.support.deadlines import PATIENCE

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
HOSTILE = "[red]a[/red]\x1b[2J\u202e"


@attrs.frozen
class Elsewhere:
    """A rig that lives in another thread."""

    rig: Rig
    token: trio.lowlevel.TrioToken

    def do(self, function: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run a function of the rig there. Blocks."""
        trio.from_thread.run(function, *arguments, trio_token=self.token)


@contextmanager
def agent(directory: Path) -> Iterator[Elsewhere]:
    """An agent's state and socket, in a thread of their own."""
    found: list[Elsewhere] = []
    is_there, is_over = threading.Event(), trio.Event()

    async def main() -> None:
        async with rig(directory) as served:
            found.append(Elsewhere(served, trio.lowlevel.current_trio_token()))
            is_there.set()
            await is_over.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert is_there.wait(PATIENCE)
    try:
        yield found[0]
    finally:
        trio.from_thread.run_sync(is_over.set, trio_token=found[0].token)
        thread.join()


def on_terminal(socket: Path, check: Callable[[DashboardApp, "Pilot[None]"], Awaitable[None]]) -> None:
    """Run the dashboard with a pilot at its keys."""

    async def main() -> None:
        app = DashboardApp(str(socket))
        async with asyncio.timeout(PATIENCE), app.run_test(size=(120, 40)) as pilot:
            await check(app, pilot)

    asyncio.run(main())


async def until(pilot: "Pilot[None]", condition: Callable[[], bool]) -> None:
    """Wait for a condition, for as long as the test may take."""
    while not condition():
        await pilot.pause(0.05)


def cells(app: DashboardApp, table: str) -> list[list[str]]:
    """The texts of a table."""
    found = app.query_one(table, DataTable)
    return [[str(cell) for cell in found.get_row(key)] for key in found.rows]


@pytest.mark.slow
def test_peers_and_events_are_shown_as_they_change(tmp_path: Path) -> None:
    with agent(tmp_path) as elsewhere:
        elsewhere.do(elsewhere.rig.peer, HOSTILE)
        elsewhere.do(elsewhere.rig.peer, "one")
        for id, text in (("1", "first"), ("2", "second")):
            spec = EventSpec(time=NOW, severity=Severity.INFO, kind="peer", text=text, namespace="", type="", id="")
            elsewhere.do(elsewhere.rig.put, Event, id, spec)

        async def check(app: DashboardApp, pilot: "Pilot[None]") -> None:
            await until(pilot, lambda: len(cells(app, "#peers")) == 2)
            await pilot.press("2")
            assert app.query_one(TabbedContent).active == "mesh"
            # What comes from elsewhere is neither markup nor control characters.
            shown = [row[:2] for row in cells(app, "#peers")]
            assert shown == [["● up", "[red]a[/red]\\x1b[2J\\u202e"], ["● up", "one"]]
            await asyncio.to_thread(elsewhere.do, elsewhere.rig.peer, "one", PeerState.DOWN)
            await until(pilot, lambda: cells(app, "#peers")[0][:2] == ["● down", "one"])
            await pilot.press("slash", "o", "n", "e")
            await until(pilot, lambda: [row[1] for row in cells(app, "#peers")] == ["one"])
            # The latest first.
            await until(pilot, lambda: [row[2] for row in cells(app, "#log")] == ["second", "first"])

        on_terminal(elsewhere.rig.socket, check)


@pytest.mark.slow
def test_resources_are_found_and_explained_and_the_agent_is_waited_for(tmp_path: Path) -> None:
    with agent(tmp_path) as elsewhere:
        elsewhere.do(elsewhere.rig.peer, "one")

        async def check(app: DashboardApp, pilot: "Pilot[None]") -> None:
            await until(pilot, lambda: len(cells(app, "#kinds")) > 3)
            await pilot.press("4", "slash", *"peerstatus")
            await until(pilot, lambda: len(cells(app, "#kinds")) == 1)
            await pilot.press("enter", "enter")
            await until(pilot, lambda: len(cells(app, "#found")) == 1)
            await pilot.press("enter")
            detail = app.query_one("#detail", Static)
            await until(pilot, lambda: "Why" in str(detail.render()))
            assert "label: one" in str(detail.render())
            app.show_detail("machineconfigs.config.talos.dev", "v1alpha1")
            await until(pilot, lambda: "is sensitive" in str(detail.render()))
            await asyncio.to_thread(elsewhere.do, elsewhere.rig.drop_clients)
            await until(pilot, lambda: app.sub_title == "the agent is away")
            assert len(cells(app, "#found")) == 1

        on_terminal(elsewhere.rig.socket, check)


def test_traffic_is_shown_in_bars() -> None:
    traffic = Traffic()
    for second, count in enumerate((0, 100, 300, 300)):
        traffic.take(float(second), count)
    assert traffic.bars() == "▅█▁"
    assert Traffic().bars() == ""
    assert str(plain("a\nb\x00")) == "a\nb\\x00"

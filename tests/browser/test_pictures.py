"""The pictures of the dashboard in the documents: made of the scene, and so of nobody's machine.

`make pictures` writes them to docs/pictures; otherwise they are made to see that they can be.
"""

import asyncio
import datetime
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from nodespan.runtime.events import Event, EventSpec, Severity
from tests.browser.scene import ADDRESS, PEERS, hold, put_scene, traffic, wake
from tests.controllers.dashboard.rig import Rig, rig
from tests.support.browser import Browser, Page

PNG = b"\x89PNG\r\n"


async def put_events(served: Rig, now: datetime.datetime) -> None:
    """What has happened in the scene."""
    told = [
        (240, "vip", Severity.INFO, f"{ADDRESS} is held by control-2"),
        (190, "peer", Severity.INFO, "edge-porto is up, by 198.51.100.23:51820"),
        (150, "peer", Severity.WARNING, "rack-b-5 is down"),
        (110, "vip", Severity.INFO, f"{ADDRESS} is held by control-1"),
        (40, "vip", Severity.INFO, f"{ADDRESS} is held by this node"),
        (20, "problem", Severity.ERROR, "RouteSpecs inet4/10.9.0.0/16: network is unreachable"),
    ]
    for number, (before, kind, severity, text) in enumerate(told):
        time = now - datetime.timedelta(seconds=before)
        spec = EventSpec(time=time, severity=severity, kind=kind, text=text, namespace="", type="", id="")
        await served.put(Event, f"{number:016}", spec)


# What the page has seen in ten minutes: a sample each 15 seconds, a wave for each peer.
TEN_MINUTES = """(async () => {
    const { app } = await import('/static/app.js');
    const now = Date.now() / 1000;
    const fill = (series, number, times) => {
        for (const list of [series.times, series.received, series.sent]) list.length = 0;
        for (let sample = 40; sample > 0; sample -= 1) {
            const wave = 1.3 + Math.sin(sample / (2 + number % 5) + number) + 0.3 * Math.sin(sample * number);
            series.push(now - sample * 15, times * 400e3 * Math.abs(wave), times * 150e3 * Math.abs(wave - 0.4));
        }
    };
    [...app.history.peers.values()].forEach((series, number) => fill(series, number, 1));
    fill(app.history.total, 3, app.history.peers.size);
    app.view.update(new Set(app.live.kinds.values()), true);
})()"""


async def play(served: Rig, page: Page) -> None:
    """Let the cluster live while the page looks on: traffic, and a virtual IP that moves."""
    now = datetime.datetime.now(datetime.UTC)
    await put_events(served, now)
    for leader, seconds in (("control-2", 240), ("control-1", 110), ("control-0", 40)):
        await hold(served, leader, now - datetime.timedelta(seconds=seconds))
        # Each has to be seen before the next one holds it: what the page has missed is no span.
        spans = "[...app.history.vips.values()][0]?.at(-1).leader"
        app = "(async () => { const { app } = await import('/static/app.js'); return " + spans + "; })()"
        await page.until(f"{app}.then((found) => found === {leader!r})")
    for number, name in enumerate(PEERS, start=1):
        await traffic(served, number, name, 40)
    last = "import('/static/app.js').then(({ app }) => app.history.peers.get('edge-porto').last.received > 9e6)"
    await page.until(last)
    await page.evaluate(TEN_MINUTES)


async def test_the_pictures_of_the_documents(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "control-0")
    target = Path(os.environ.get("NODESPAN_PICTURES", tmp_path))
    await trio.Path(target).mkdir(parents=True, exist_ok=True)
    views: dict[str, tuple[tuple[str, ...], str, dict[str, Any]]] = {
        "mesh": (("mesh", "rack-a-2"), "document.querySelector('.detail canvas')", {"dark": True}),
        "vips": (("vips",), "document.querySelectorAll('.span').length === 3", {"height": 560}),
        "resources": (
            ("resources", "KubeSpanPeerSpecs.kubespan.talos.dev", "rack-a-2"),
            "document.querySelector('.source')?.textContent.includes('rack-a-2')",
            {},
        ),
        "graph": (("graph", "kubespan.PeerController"), "document.querySelector('.graph-view .empty').hidden", {}),
        "phone": (("mesh",), "document.querySelector('.map canvas')", {"width": 390, "height": 780, "phone": True}),
    }
    async with rig(tmp_path, is_installed=True) as served:
        await put_scene(served)
        url = await served.serve()
        async with browser.page() as page:
            await page.open(url)
            await page.until("document.querySelectorAll('.peer').length > 3")
            await play(served, page)
            for name, (place, ready, look) in views.items():
                size: dict[str, Any] = {"width": 1280, "height": 800, **look}
                await page.look(**size)
                await page.evaluate(f"location.hash = '#/' + {list(place)!r}.map(encodeURIComponent).join('/')")
                await page.until(ready)
                if name == "graph":
                    await wake(served, 30)
                    await page.until("document.querySelector('.busy a')")
                # Two frames, so that canvases are drawn at this size.
                await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
                path = target / f"dashboard-{name}.png"
                await page.screenshot(path)
                assert (await trio.Path(path).read_bytes()).startswith(PNG)


async def test_the_picture_of_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = pytest.importorskip("nodespan.controllers.dashboard.terminal", reason="textual is not installed")
    monkeypatch.setattr(socket, "gethostname", lambda: "control-0")
    target = Path(os.environ.get("NODESPAN_PICTURES", tmp_path))

    async def show() -> str:
        app = terminal.DashboardApp(str(tmp_path / "agent.sock"))
        async with app.run_test(size=(116, 34)) as pilot:
            while len(app.query_one("#peers").rows) < len(PEERS):
                await pilot.pause(0.05)
            await pilot.press("2")
            await pilot.pause()
            picture: str = app.export_screenshot(title="nodespan dashboard --tui")
            return picture

    async with rig(tmp_path) as served:
        await put_scene(served)
        picture = await trio.to_thread.run_sync(lambda: asyncio.run(show()))
    assert "rack-a-2" in picture
    await trio.Path(target).mkdir(parents=True, exist_ok=True)
    await trio.Path(target / "dashboard-terminal.svg").write_text(picture)

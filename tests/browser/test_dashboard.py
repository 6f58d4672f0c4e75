"""The dashboard as its users see it, in a real browser: what is shown, how soon, and what is not."""

import contextlib
import datetime
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from nodespan.controllers.dashboard.command import open_browser
from nodespan.resources.kubespan import PeerState
from nodespan.resources.network import NetworkProblem, NetworkProblemSpec
from nodespan.runtime.api.browser.door import Rights
from tests.browser.scene import ADDRESS, DOWN, PEERS, hold, put_scene, wake
from tests.controllers.config.samples import SECRET
from tests.controllers.dashboard.rig import Rig, rig
from tests.support.browser import Browser, Page

VIEWS = ("mesh", "vips", "problems", "events", "resources", "graph", "config")
PEER_ROWS = "document.querySelectorAll('.peer:not([hidden])').length"
ENTER = {"code": 13, "text": "\r"}


@asynccontextmanager
async def shown(
    browser: Browser,
    directory: Path,
    rights: Rights = Rights.ALL,
    *,
    scene: bool = True,
    graph: bool = False,
    **look: Any,
) -> AsyncIterator[tuple[Rig, Page]]:
    """The scene, and a page that shows it. At the end the page has complained of nothing and asked nobody else."""
    async with rig(directory, is_installed=graph) as served:
        if scene:
            await put_scene(served)
        url = await served.serve(rights)
        async with browser.page(**look) as page:
            await page.open(url)
            await page.until("document.querySelector('#link')?.textContent === 'live'")
            if scene:
                await page.until(f"{PEER_ROWS} > 3")
            yield served, page
            assert page.complaints() == []
            origin = url.partition("/?")[0]
            assert [asked for asked in page.requests() if not asked.startswith((origin, "data:"))] == []


async def go(page: Page, *place: str) -> None:
    await page.evaluate(f"location.hash = '#/' + {list(place)!r}.map(encodeURIComponent).join('/')")


async def test_the_file_that_the_browser_is_given_leads_to_the_page(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    async with rig(tmp_path) as served:
        url = await served.serve()
        with contextlib.ExitStack() as kept:
            await trio.to_thread.run_sync(open_browser, url, kept)
            async with browser.page() as page:
                await page.open(opened[0])
                await page.until("document.querySelector('#link')?.textContent === 'live'")
                assert await page.evaluate("location.search") == ""


async def test_every_view_loads_under_the_strict_policy(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path) as (_, page):
        seen = {
            "mesh": "rack-a-1",
            "vips": ADDRESS,
            "problems": "network is unreachable",
            "resources": "KubeSpanPeerStatuses",
            "graph": "Woken lately",
            "config": "One of three control-plane nodes",
        }
        for view, text in seen.items():
            await go(page, view)
            await page.until(f"document.querySelector('main').innerText.includes({text!r})")
        policy = await page.evaluate("fetch('/').then((answer) => answer.headers.get('content-security-policy'))")
        assert "unsafe" not in policy
        # The token is not in the address any more, and scripts do not see the session.
        assert await page.evaluate("[location.search, document.cookie]") == ["", ""]


async def test_a_peer_that_dies_turns_red_at_once(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path) as (served, page):
        count = 'document.querySelector("#nav [href=\\"#/problems\\"] .count").textContent'
        color = "getComputedStyle([...document.querySelectorAll('.peer:not([hidden])')]"
        color += ".find((row) => row.innerText.includes('edge-porto')).querySelector('.dot')).backgroundColor"
        map_class = "(await import('/static/app.js')).app.view.map.cy.getElementById('edge-porto').classes().join(' ')"
        await page.evaluate("document.querySelector('input[type=search]').value = 'edge-porto'")
        await page.evaluate("document.querySelector('input[type=search]').dispatchEvent(new Event('input'))")
        before = await page.until(color)
        assert "up" in await page.evaluate(f"(async () => {map_class})()")
        down = await page.evaluate(
            "(() => { const i = document.createElement('i'); i.style.color = 'var(--down)'; document.body.append(i);"
            " const found = getComputedStyle(i).color; i.remove(); return found; })()"
        )
        assert before != down
        # What is asserted is that it comes; how soon is in the document, for machines differ.
        await served.peer("edge-porto", PeerState.DOWN)
        await page.until(f"{color} === {down!r}")
        assert "down" in await page.evaluate(f"(async () => {map_class})()")
        await page.until(f"{count} === '3'")
        await served.remove(NetworkProblem, "RouteSpecs/inet4/10.9.0.0/16")
        await page.until(f"{count} === '2'")


async def test_a_reader_sees_nothing_sensitive(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path, Rights.READER) as (_, page):
        page.forget()
        await go(page, "config")
        await page.until("document.querySelector('main').innerText.includes('sensitive')")
        assert "control-plane nodes" not in await page.text()
        await go(page, "resources", "MachineConfigs.config.talos.dev")
        await page.until("document.querySelector('main').innerText.includes('is sensitive')")
        # What was refused is the only complaint: the browser logs the status.
        assert all("403" in complaint and "/api/config" in complaint for complaint in page.complaints())
        page.forget()


async def test_secrets_do_not_reach_the_browser_at_all(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path) as (_, page):
        await go(page, "config")
        await page.until("document.querySelector('.source').innerText.includes('secret: ***')")
        await go(page, "resources", "MachineConfigs.config.talos.dev", "v1alpha1")
        await page.until("document.querySelector('main').innerText.includes('Sensitive')")
        html = await page.evaluate("document.documentElement.outerHTML")
        assert SECRET not in html


async def test_names_from_elsewhere_are_text(browser: Browser, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202egpj.\u0007"
    async with shown(browser, tmp_path) as (served, page):
        await served.peer(hostile, PeerState.DOWN, endpoint="\"'><script>alert(1)</script>")
        await served.put(NetworkProblem, "a/b", NetworkProblemSpec(type="x", id="javascript:alert(1)", message=hostile))
        await page.until("document.querySelector('main').innerText.includes('<img src=x')")
        assert "\\u202egpj.\\u0007" in await page.text()
        for view in VIEWS:
            await go(page, view)
            await page.until("document.querySelector('main').innerText.length > 20")
        await go(page, "mesh", hostile)
        await page.until("!document.querySelector('.detail').hidden")
        assert await page.evaluate("document.querySelectorAll('main img, main script, [onerror]').length") == 0
        assert await page.evaluate("[...document.links].filter((link) => link.protocol === 'javascript:').length") == 0


async def test_the_keyboard_is_enough(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path) as (_, page):
        await page.press("4")
        await page.press("5")
        await page.until("document.querySelector('main').dataset.view === 'resources'")
        await page.press("/")
        await page.until("document.activeElement.type === 'search'")
        await page.call("Input.insertText", text="peerstatuses")
        await page.until("document.querySelectorAll('.type:not([hidden])').length === 1")
        await page.evaluate("document.querySelector('.types-card .list').focus()")
        await page.press("ArrowDown", code=40)
        await page.until("document.querySelectorAll('.item:not([hidden])').length > 3")
        await page.evaluate("document.querySelectorAll('.list')[1].focus()")
        await page.press("End", code=35)
        await page.until("document.querySelector('.item[aria-selected=true]')")
        last = await page.evaluate("document.querySelector('.item[aria-selected=true]').innerText")
        assert sorted(PEERS)[-1] in last or "rack-b-8" in last
        await page.until("document.querySelector('.tree [role=treeitem]')")
        # Everything that can be clicked has a name, and can be reached.
        nameless = await page.evaluate(
            "[...document.querySelectorAll('button, a, input, select')].filter((each) => !each.hidden &&"
            " !(each.innerText.trim() || each.getAttribute('aria-label') || each.title)).map((each) => each.outerHTML)"
        )
        assert nameless == []


async def test_it_is_dark_and_light_as_the_reader_likes(browser: Browser, tmp_path: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    async with shown(browser, tmp_path, dark=True) as (_, page):
        dark = await page.evaluate(background)
        await page.look(1280, 800)
        light = await page.until(f"{background} !== {dark!r} && {background}")
        await page.evaluate("document.querySelector('#theme').click()")
        await page.until(f"{background} === {dark!r}")
        await page.evaluate("document.querySelector('#theme').click()")
        await page.until(f"{background} === {light!r}")
        # Text can be told from what is behind it (WCAG AA).
        for scheme in ("light", "dark"):
            await page.evaluate(f"document.documentElement.dataset.theme = {scheme!r}")
            for name in ("text", "muted", "accent", "up", "down", "unknown"):
                assert await page.evaluate(CONTRAST % name) >= 4.5, (scheme, name)


CONTRAST = """(() => {
    const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const light = (name) => {
        const text = getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
        const [r, g, b] = [1, 3, 5].map((at) => channel(parseInt(text.slice(at, at + 2), 16)));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [a, b] = [light('%s'), light('card')].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
})()"""


async def test_it_fits_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path, width=390, height=780, phone=True) as (_, page):
        for view in VIEWS:
            await go(page, view)
            await page.until(f"document.querySelector('main').dataset.view === {view!r}")
            wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, view
        await go(page, "resources", "Members.cluster.talos.dev", "rack-a-1")
        await page.until("document.querySelector('.source')?.innerText.includes('rack-a-1')")
        await page.evaluate("document.querySelector('.back').click()")
        await page.until("document.querySelectorAll('.item:not([hidden])').length > 3")


async def test_a_thousand_nodes_are_a_few_elements(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path, scene=False) as (served, page):
        for number in range(1000):
            await served.peer(f"node-{number}", PeerState.UP if number % 50 else PeerState.DOWN)
        await page.until("document.querySelector('.tile-value').textContent === '980 of 1000'")
        assert await page.evaluate("document.querySelectorAll('.peer').length") < 60
        assert (
            await page.evaluate("(async () => (await import('/static/app.js')).app.view.map.cy.nodes().length)()")
            == 1001
        )
        # A change of all of them is shown by few frames, not by a thousand.
        await page.evaluate(
            "(async () => { const { app } = await import('/static/app.js'); window.draws = 0;"
            " const update = app.update; app.update = (kinds) => { window.draws += 1; update.call(app, kinds); }; })()"
        )
        for number in range(1000):
            await served.peer(f"node-{number}", PeerState.UP, received=number)
        await page.until("document.querySelector('.tile-value').textContent === '1000 of 1000'")
        assert await page.evaluate("window.draws") < 300
        await page.evaluate("document.querySelector('.list').focus()")
        await page.press("End", code=35)
        await page.until(
            "[...document.querySelectorAll('.peer:not([hidden])')].some((row) => row.innerText.includes('node-999'))"
        )


async def test_hand_overs_are_on_the_time_line(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path) as (served, page):
        await go(page, "vips")
        await page.until("document.querySelectorAll('.span').length === 1")
        await hold(served, "control-0", datetime.datetime.now(datetime.UTC))
        await page.until("document.querySelectorAll('.span').length === 2")
        assert "held here" in await page.text()


async def test_controllers_light_up_as_they_wake(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path, graph=True) as (served, page):
        await go(page, "graph", "kubespan.PeerController")
        await page.until("document.querySelector('.graph-detail h2')?.innerText")
        await wake(served, 5)
        await page.until("document.querySelector('.busy').innerText.includes('kubespan.PeerController')")


async def test_the_dashboard_outlives_its_agent(browser: Browser, tmp_path: Path) -> None:
    async with rig(tmp_path / "agent") as served:
        await served.peer("first")
        async with rig(tmp_path / "other") as other:
            await other.peer("second", PeerState.DOWN)
            url = await served.serve()
            async with browser.page() as page:
                await page.open(url)
                await page.until("document.querySelector('main')?.innerText.includes('first')")
                served.socket.rename(tmp_path / "away")
                await served.drop_clients()
                await page.until("document.querySelector('#link').textContent === 'agent is away'")
                other.socket.rename(served.socket)
                await page.until("document.querySelector('#link').textContent === 'live'")
                await page.until("document.querySelector('.list-card').innerText.includes('second')")
                assert "first" not in await page.evaluate("document.querySelector('.list-card').innerText")
                assert DOWN not in await page.text()


async def test_without_the_token_there_is_only_help(browser: Browser, tmp_path: Path) -> None:
    async with rig(tmp_path) as served:
        url = await served.serve()
        async with browser.page() as page:
            await page.open(url.partition("?")[0])
            await page.until("document.body.innerText.includes('nodespan dashboard')")
            assert await page.evaluate("fetch('/api/node').then((answer) => answer.status)") == 401


async def test_the_whole_graph_is_laid_out_beside_the_page(browser: Browser, tmp_path: Path) -> None:
    async with shown(browser, tmp_path, graph=True) as (_, page):
        await go(page, "graph")
        await page.until("document.querySelectorAll('.graph-view option').length > 5")
        await page.evaluate(
            "(() => { const family = document.querySelector('.graph-view select'); family.value = '';"
            " family.dispatchEvent(new Event('change')); })()"
        )
        count = "(await import('/static/app.js')).app.view.cy?.nodes().length"
        await page.until("document.querySelector('.graph-view .empty').hidden")
        assert await page.evaluate(f"(async () => {count})()") > 100

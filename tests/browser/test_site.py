"""The documentation site in a browser: search, versions, and nothing from elsewhere, served and from a folder."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from deploy.site.build import build
from tests.support.browser import Browser, Page
from tests.support.deadlines import PATIENCE

PAGES = {
    "index.md": "# nodespan\n\nThe first page: see [the other one](other.md#a-section).\n",
    "other.md": "# Another page\n\n## A section\n\nHere stands fencingclock.\n\n```console\n$ nodespan status\n```\n",
}
RESULTS = "[...document.querySelectorAll('.md-search-result__link')].map((link) => link.href)"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    for version in ("0.1.0", "0.2.0"):
        build(directory / "work", directory / "out", pages=PAGES, version=version)
    return directory / "out"


@pytest.fixture(scope="module")
def origin(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def search(page: Page, words: str) -> list[str]:
    """The links of what is found. What is typed before the index is there is not looked for, so it is typed again."""
    typed = f"""(() => {{
        const field = document.querySelector('.md-search__input');
        for (const words of ['', {words!r}]) {{
            field.value = words;
            field.dispatchEvent(new KeyboardEvent('keyup', {{bubbles: true}}));
        }}
        return {RESULTS}.length > 0 && {RESULTS};
    }})()"""
    await page.until("document.readyState === 'complete'")
    await page.evaluate("document.querySelector('.md-search__input').focus()")
    found: list[str] = await page.until(typed)
    return found


async def test_the_site_searches_offers_versions_and_asks_nobody_else(browser: Browser, origin: str) -> None:
    with trio.fail_after(PATIENCE):
        async with browser.page() as page:
            await page.open(f"{origin}/")
            await page.until("document.title.includes('nodespan') && location.pathname === '/0.2.0/index.html'")
            offered = "[...document.querySelectorAll('.md-version__link')].map((link) => link.textContent.trim())"
            assert await page.until(f"{offered}.length > 0 && {offered}") == ["0.2.0", "0.1.0"]
            found = await search(page, "fencingclock")
            assert {link.partition("?")[0] for link in found} == {f"{origin}/0.2.0/other.html"}
            assert [asked for asked in page.requests() if not asked.startswith((origin, "data:"))] == []
            assert page.complaints() == []


async def test_the_site_searches_from_a_folder_too(browser: Browser, site: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with browser.page() as page:
            await page.open(f"file://{site}/0.1.0/index.html")
            found = await search(page, "fencingclock")
            assert {link.partition("?")[0] for link in found} == {f"file://{site}/0.1.0/other.html"}
            assert [asked for asked in page.requests() if not asked.startswith(("file:", "data:", "blob:"))] == []

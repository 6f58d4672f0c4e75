"""The paths of a site: what is answered to whom, and what every answer carries."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio

from nodespan.runtime.api.browser.assets import load_assets
from nodespan.runtime.api.browser.door import Rights, TokenDoor
from nodespan.runtime.api.browser.feeds import MOST_KINDS, MOST_READERS, open_feeds
from nodespan.runtime.api.browser.serving import ListenError, check_listen
from nodespan.runtime.api.browser.site import POLICY, Question, Site
from nodespan.runtime.api.local import LocalServer, listen
from nodespan.runtime.api.pages import Page, Request, Streamed
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.meta import register_types


@attrs.frozen(kw_only=True)
class ThingSpec:
    text: str = ""


Thing = ResourceType("Things.test.dev", ThingSpec, namespace="test")
Secret = ResourceType("Secrets.test.dev", ThingSpec, namespace="test", sensitive=True)


async def greet(question: Question) -> object:
    return {"rights": question.rights.value, "query": dict(question.query)}


@asynccontextmanager
async def site(directory: Path, rights: Rights = Rights.ALL, *, has_agent: bool = True) -> AsyncIterator[Site]:
    """A site about an agent with two resources."""
    state = MemoryState()
    await register_types(state, [Thing, Secret])
    await state.create(Thing.new("a", ThingSpec(text="seen")))
    await state.create(Secret.new("b", ThingSpec(text="hidden")))
    files = directory / "files"
    (files / "sub").mkdir(parents=True)
    (files / "index.html").write_text("<!doctype html>the page")
    (files / "sub/app.js").write_text("run()")
    (files / "notes.json").write_text("{}")
    path = directory / "agent.sock"
    async with listen(path) as listener, open_feeds(str(path)) as feeds, trio.open_nursery() as nursery:
        if has_agent:
            nursery.start_soon(LocalServer(state, Engine(state), structlog.get_logger(), version="1").serve, listener)
        yield Site(
            socket=str(path if has_agent else directory / "none.sock"),
            door=TokenDoor(token="right", rights_given=rights),
            feeds=feeds,
            assets=load_assets(files),
            handlers={"greet": greet},
        )
        nursery.cancel_scope.cancel()


async def get(site: Site, target: str, method: str = "GET", *, token: str = "right", **headers: str) -> Page | Streamed:
    fields = {"host": "localhost:9080", "authorization": f"Bearer {token}", **headers}
    named = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return await site.answer(Request(method=method, target=target, headers=named))


async def status(site: Site, target: str, method: str = "GET", **headers: str) -> int:
    return (await get(site, target, method, **headers)).status


async def answer(site: Site, target: str) -> Any:
    page = await get(site, target)
    assert isinstance(page, Page)
    return json.loads(page.body)


async def test_who_has_no_token_sees_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as open_site:
        paths = ("/", "/api/node", "/api/watch?type=things", "/api/graph", "/api/why?type=things&id=a", "/api/greet")
        for target in paths:
            found = await get(open_site, target, token="wrong")
            assert found.status == 401, target
            assert isinstance(found, Page)
            assert b"the page" not in found.body
        # What everybody has who has the package.
        assert await status(open_site, "/static/sub/app.js", token="wrong") == 200


async def test_a_token_in_the_url_becomes_a_cookie_and_leaves_the_url(tmp_path: Path) -> None:
    async with site(tmp_path) as open_site:
        welcome = await get(open_site, "/?token=right", token="")
        assert isinstance(welcome, Page)
        cookie = dict(welcome.headers)["set-cookie"].partition(";")[0]
        assert b"right" not in welcome.body
        assert b"url=/" in welcome.body
        page = await get(open_site, "/", token="", cookie=cookie)
        assert isinstance(page, Page)
        assert page.body == b"<!doctype html>the page"


async def test_every_answer_forbids_what_is_not_of_this_server(tmp_path: Path) -> None:
    async with site(tmp_path) as open_site:
        for target in ("/", "/static/sub/app.js", "/api/node", "/none", "/api/watch?type=things", "/api/none"):
            for host in ("localhost", "evil.example"):
                found = dict((await get(open_site, target, host=host)).headers)
                assert found["content-security-policy"] == POLICY
                assert found["x-content-type-options"] == "nosniff"
                assert found["referrer-policy"] == "no-referrer"
                assert not any(name.startswith("access-control") for name in found)
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY


async def test_other_names_methods_and_sites_are_refused(tmp_path: Path) -> None:
    async with site(tmp_path) as open_site:
        assert await status(open_site, "/", host="evil.example") == 421
        assert await status(open_site, "/static/sub/app.js", host="evil.example") == 421
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert await status(open_site, "/api/node", method) == 405
        assert await status(open_site, "/api/node", sec_fetch_site="cross-site") == 403
        assert await status(open_site, "/api/node", sec_fetch_site="same-origin") == 200


async def test_only_files_of_the_site_are_there(tmp_path: Path) -> None:
    async with site(tmp_path) as open_site:
        for target in (
            "/static/notes.json",
            "/static/../agent.sock",
            "/static/sub/",
            "/static/%2e%2e/x",
            "/index.html",
        ):
            assert await status(open_site, target) == 404
        first = await get(open_site, "/static/sub/app.js")
        assert isinstance(first, Page)
        assert first.content_type == "text/javascript; charset=utf-8"
        again = await get(open_site, "/static/sub/app.js", if_none_match=dict(first.headers)["etag"])
        assert isinstance(again, Page)
        assert (again.status, again.body) == (304, b"")


async def test_questions_are_answered_with_the_rights_of_the_client(tmp_path: Path) -> None:
    async with site(tmp_path, Rights.READER) as open_site:
        assert (await answer(open_site, "/api/node"))["rights"] == "reader"
        assert await answer(open_site, "/api/greet?a=1") == {"rights": "reader", "query": {"a": "1"}}
        assert await status(open_site, "/api/why?type=secrets&id=b") == 403
    async with site(tmp_path / "all") as open_site:
        (cause,) = await answer(open_site, "/api/why?type=secrets&id=b")
        assert (cause["id"], "hidden" in str(cause)) == ("b", False)


@pytest.mark.parametrize("rights", list(Rights))
async def test_nobody_gets_the_contents_of_a_sensitive_resource(rights: Rights, tmp_path: Path) -> None:
    async with site(tmp_path, rights) as open_site:
        assert "seen" in (await answer(open_site, "/api/yaml?type=things&id=a"))["yaml"]
        refused = await get(open_site, "/api/yaml?type=secrets&id=b")
        assert isinstance(refused, Page)
        assert refused.status == 403
        assert b"hidden" not in refused.body


async def test_mistakes_are_told(tmp_path: Path) -> None:
    async with site(tmp_path) as open_site:
        assert await status(open_site, "/api/why?type=things&id=none") == 404
        assert await status(open_site, "/api/why?type=things&id=a&depth=x") == 400
        assert await status(open_site, "/api/why?type=things&id=a&depth=999") == 400
        assert await status(open_site, "/api/watch") == 400
        assert await status(open_site, "/api/watch?" + "type=x&" * (MOST_KINDS + 1)) == 400
        assert await status(open_site, "/api/none") == 404
    async with site(tmp_path / "none", has_agent=False) as open_site:
        assert await status(open_site, "/api/graph") == 503


async def test_readers_have_places_before_anything_is_sent_to_them(tmp_path: Path) -> None:
    async with site(tmp_path) as open_site:
        found = [await get(open_site, "/api/watch?type=things") for _ in range(MOST_READERS)]
        assert {page.status for page in found} == {200}
        assert await status(open_site, "/api/watch?type=things") == 503
        assert isinstance(found[0], Streamed)
        found[0].end()
        assert await status(open_site, "/api/watch?type=things") == 200
        assert await status(open_site, "/api/watch?type=things") == 503


@pytest.mark.parametrize(
    ("host", "has_tls"), [("127.0.0.1", False), ("::1", False), ("127.9.9.9", False), ("0.0.0.0", True)]
)
def test_the_loopback_needs_no_tls(host: str, has_tls: bool) -> None:
    check_listen(host, has_tls=has_tls)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost", ""])
def test_other_addresses_need_mutual_tls(host: str) -> None:
    with pytest.raises(ListenError):
        check_listen(host, has_tls=False)

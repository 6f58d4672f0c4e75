"""The pages that people can open."""

import json

import pytest

from nodespan.discovery.service.status_pages import StatusPages
from tests.discovery.service.house import open_house


@pytest.mark.virtual_clock
async def test_pages_show_the_records_and_escape_everything_in_them() -> None:
    async with open_house() as house:
        await house.update("<script>&", b"\x01\xff", (b"\xaa",), cluster='"><b>')
        pages = StatusPages(house.clusters, lambda: 0.0)
        assert b'href="/inspect"' in pages.respond("/").body
        page = pages.respond("/inspect?clusterID=%22%3E%3Cb%3E").body.decode()
        assert "&lt;script&gt;&amp;" in page
        assert 'value="&quot;&gt;&lt;b&gt;"' in page
        assert ("01ff" in page, "aa" in page) == (True, True)
        assert "<script>" not in page
        assert "There are no records" in pages.respond("/inspect?clusterID=x").body.decode()
        assert "There are no records" not in pages.respond("/inspect").body.decode()
        assert house.clusters.find("x") is None
        assert pages.respond("/other").status == 404


@pytest.mark.virtual_clock
async def test_the_public_totals_are_updated_once_an_hour() -> None:
    now = 0.0
    async with open_house() as house:
        pages = StatusPages(house.clusters, lambda: now)
        await house.update("a")
        page = pages.respond("/stats")
        assert json.loads(page.body) == {"affiliates": 1}
        assert ("access-control-allow-origin", "*") in page.fields()
        await house.update("b")
        now = 3599
        assert json.loads(pages.respond("/stats").body) == {"affiliates": 1}
        now = 3600
        assert json.loads(pages.respond("/stats").body) == {"affiliates": 2}


@pytest.mark.virtual_clock
async def test_a_page_is_made_once_for_all_who_ask_until_something_is_announced() -> None:
    async with open_house() as house:
        pages = StatusPages(house.clusters, lambda: 0.0)
        for cluster in ("c", "d"):
            await house.update("a", b"data", cluster=cluster)
        page = pages.respond("/inspect?clusterID=c").body
        other = pages.respond("/inspect?clusterID=d").body
        await house.update("a", b"", cluster="c")
        assert pages.respond("/inspect?clusterID=c").body is page
        await house.update("a", b"more", cluster="c")
        assert b"more".hex().encode() in pages.respond("/inspect?clusterID=c").body
        assert pages.respond("/inspect?clusterID=d").body is other
        await house.delete("a", cluster="c")
        assert b"There are no records" in pages.respond("/inspect?clusterID=c").body


@pytest.mark.virtual_clock
async def test_few_pages_are_kept() -> None:
    async with open_house() as house:
        pages = StatusPages(house.clusters, lambda: 0.0)
        for number in range(9):
            await house.update("a", b"data", cluster=str(number))
        first = pages.respond("/inspect?clusterID=0").body
        for number in range(1, 9):
            pages.respond(f"/inspect?clusterID={number}")
        assert pages.respond("/inspect?clusterID=0").body is not first

"""The pages that people can open."""

import json

import pytest

from nodespan.discovery.service.status_pages import StatusPages
from tests.discovery.service.house import open_house


@pytest.mark.virtual_clock
async def test_pages_show_what_is_kept_and_nothing_in_them_is_taken_for_markup() -> None:
    async with open_house() as house:
        await house.update("<script>&", b"\x01\xff", (b"\xaa",), cluster='"><b>')
        pages = StatusPages(house.clusters, lambda: 0.0)
        assert b'href="/inspect"' in pages.respond("/").body
        page = pages.respond("/inspect?clusterID=%22%3E%3Cb%3E").body.decode()
        assert "&lt;script&gt;&amp;" in page
        assert 'value="&quot;&gt;&lt;b&gt;"' in page
        assert ("01ff" in page, "aa" in page) == (True, True)
        assert "<script>" not in page
        assert "Nothing is kept" in pages.respond("/inspect?clusterID=x").body.decode()
        assert "Nothing is kept" not in pages.respond("/inspect").body.decode()
        assert house.clusters.find("x") is None
        assert pages.respond("/other").status == 404


@pytest.mark.virtual_clock
async def test_the_public_number_is_counted_once_an_hour() -> None:
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

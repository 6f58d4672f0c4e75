"""Conditions that cannot hold, as no host has such a name."""

import pytest

from nodespan.controllers.network.vip.conditions.checks import CheckFailedError, check
from nodespan.resources.config.vip_condition import VipCondition


@pytest.mark.parametrize("host", ["a..b", ".a.com", f"{'x' * 64}.example", "ü..b", f"{'ü' * 64}.example", "a\x00b"])
async def test_a_host_that_cannot_be_is_a_failed_check(host: str) -> None:
    with pytest.raises(CheckFailedError, match="no connection"):
        await check(VipCondition(tcp=f"{host}:80"))
    for scheme in ("http", "https"):
        with pytest.raises(CheckFailedError, match="no answer"):
            await check(VipCondition(http=f"{scheme}://{host}/"))

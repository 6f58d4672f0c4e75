"""Conditions that cannot hold, as no host has such a name, or no certificates are in the file of the authority."""

import os
from pathlib import Path

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


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "this is a pipe, and must be a file"),
        ("none", "No such file or directory"),
        ("cut", "line 1 is cut off"),
    ],
)
async def test_an_authority_that_cannot_be_read_is_a_failed_check(tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / "ca.pem"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "cut":
        path.write_text("-----BEGIN CERT")
    with pytest.raises(CheckFailedError, match=f"the CA file {path} cannot be used: {reason}"):
        await check(VipCondition(http="https://127.0.0.1:1/", ca=str(path)))

"""Writes of users over the local socket, and what it says of a namespace that can only be read."""

import time
from pathlib import Path
from typing import Any

import pytest

from nodespan.runtime.api import local, protocol
from nodespan.runtime.api.local import Peer
from nodespan.runtime.cli.get import Follower, TableOutput
from nodespan.runtime.process.boot_time import boot_time_ns
from nodespan.runtime.state import Outage
from tests.runtime.api.test_local import GET, serving

WRITE: dict[str, Any] = {"call": "write", "verb": "create", "text": "metadata: {type: thing, id: a}", "file": "f"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({**WRITE, "verb": "smash"}, "unknown way to write: 'smash'"),
        ({**WRITE, "text": 7}, "the request's 'text' must be text, not 7"),
        (WRITE, "f:1:18: metadata.type: Thing is not for users to write"),
        (
            {"call": "write", "verb": "label", "type": "thing", "id": "a", "labels": {"a": 7}},
            "the request's 'labels' must be a map of texts, None to remove one",
        ),
        ({"call": "write", "verb": "delete", "type": "thing", "id": "a"}, "Thing is not for users to write"),
    ],
)
async def test_a_write_that_cannot_be_is_refused_with_the_reason(
    request_: dict[str, Any], message: str, tmp_path: Path
) -> None:
    async with serving(tmp_path) as served:
        (answer,) = await served.ask(request_)
        assert answer["error"] == protocol.INVALID
        assert message in answer["message"]


async def test_only_the_user_of_the_agent_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_peer_of", lambda _stream: Peer(1, 99999))
    async with serving(tmp_path) as served:
        (answer,) = await served.ask(WRITE)
        assert answer["error"] == protocol.DENIED


async def test_a_namespace_out_of_reach_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path) as served:
        await served.put("a", "x")
        (head, *_) = await served.ask(GET)
        assert head["outage"] is None
        for is_loaded, said in ((True, "what is shown is of that time"), (False, "nothing was read of it yet")):
            # Half a second later, so that no rounding shows another second.
            age = time.time_ns() - 1_767_322_983_500_000_000
            outage = Outage(boot_time_ns() - age, "the cable", is_loaded)
            monkeypatch.setattr(served.state, "outage", lambda _namespace, outage=outage: outage)
            answers = await served.ask(GET)
            Follower(TableOutput("node", watch=True), of_one=False).follow(
                [*answers[:-1], {"event": protocol.BOOTSTRAPPED}]
            )
            shown = capsys.readouterr()
            assert shown.err == (
                f"namespace test is out of reach since 2026-01-02T03:03:03Z and can only be read, {said}: the cable\n"
            )
            assert "Thing" in shown.out

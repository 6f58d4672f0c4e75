"""Whether a node has arrived, and what is said on the way."""

import io
import itertools
from typing import Any

import pytest

from nodespan.controllers.membership.arrival import Goal, Seen, missing, progress, wait

CONNECTED = {"endpoint": "https://d.example.org/", "state": "connected"}
REFUSED = {**CONNECTED, "state": "disconnected", "stage": "tcp", "message": "Connection refused"}


def peer(label: str, state: str, endpoint: str = "192.0.2.2:51820") -> dict[str, Any]:
    return {"label": label, "state": state, "endpoint": endpoint}


HERE = Seen(agent=True, services=[CONNECTED], peers=[peer("db", "up")], has_api=True)
ALL = Goal(peers=True, api=True)


@pytest.mark.parametrize(
    ("seen", "goal", "said"),
    [
        (HERE, ALL, []),
        (Seen(), ALL, ["does not answer"]),
        (Seen(agent=True), Goal(), ["no discovery service is in use yet"]),
        (Seen(agent=True, services=[REFUSED]), Goal(), ["disconnected: tcp: Connection refused"]),
        (Seen(agent=True, services=[REFUSED, CONNECTED]), Goal(), []),
        (Seen(agent=True, services=[CONNECTED]), Goal(api=True), ["no certificate"]),
        (Seen(agent=True, services=[CONNECTED]), Goal(peers=True), ["no other node"]),
        (
            Seen(agent=True, services=[CONNECTED], peers=[peer("db", "down"), peer("web", "up")]),
            Goal(peers=True),
            ["db is down, tried at 192.0.2.2:51820: is its UDP port open"],
        ),
    ],
)
def test_what_blocks_is_named(seen: Seen, goal: Goal, said: list[str]) -> None:
    found = missing(seen, goal)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_progress_says_each_change_once() -> None:
    steps = [Seen(), Seen(agent=True, services=[REFUSED]), Seen(agent=True, services=[REFUSED]), HERE, HERE]
    lines = [list(progress(before, after)) for before, after in itertools.pairwise(steps)]
    assert lines[1] == lines[3] == []
    assert lines[0][0] == "the agent runs"
    assert "Connection refused" in lines[0][1]
    assert lines[2] == ["the discovery service https://d.example.org/ answers", "db is up at 192.0.2.2:51820"]


def test_names_of_others_cannot_write_on_the_terminal() -> None:
    seen = Seen(agent=True, services=[CONNECTED], peers=[peer("\x1b[2Jdb", "down")])
    assert "\x1b" not in "".join(missing(seen, ALL))


def test_waiting_ends_with_the_mesh_or_with_the_time() -> None:
    now = [0.0]
    views = iter([Seen(), Seen(agent=True), HERE])

    def sleep(seconds: float) -> None:
        now[0] += seconds

    shown = io.StringIO()
    assert wait("", ALL, timeout=60, out=shown, look=lambda _: next(views), clock=lambda: now[0], sleep=sleep) == []
    assert shown.getvalue().splitlines()[-1] == "  0.4 s  db is up at 192.0.2.2:51820"
    left = wait("", ALL, timeout=60, out=shown, look=lambda _: Seen(), clock=lambda: now[0], sleep=sleep)
    assert left == ["the agent does not answer yet"]
    assert 60 <= now[0] < 61

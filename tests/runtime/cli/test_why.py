"""What `nodespan why` prints."""

from pathlib import Path
from typing import Any

import pytest

from nodespan.runtime.cli.why import brief, draw
from tests.support.agent import agent, nodespan


def cause(depth: int, id: str, *, version: int | None = 1, owner: str = "", note: str = "") -> dict[str, Any]:
    return {
        "depth": depth,
        "namespace": "network",
        "type": "Thing",
        "id": id,
        "version": version,
        "owner": owner,
        "note": note,
    }


@pytest.mark.parametrize(
    ("causes", "lines"),
    [
        ([cause(0, "a")], ["Thing network/a version 1"]),
        (
            [
                cause(0, "a", version=4, owner="test.A"),
                cause(1, "b", owner="test.B", note="is at version 2 now"),
                cause(2, "c"),
                cause(3, "d", version=None, note="was not there"),
                cause(2, "e"),
                cause(1, "f"),
                cause(2, "", version=None, note="and 7 others"),
            ],
            [
                "Thing network/a version 4 by test.A",
                "├─ Thing network/b version 1 by test.B (is at version 2 now)",
                "│  ├─ Thing network/c version 1",
                "│  │  └─ Thing network/d (was not there)",
                "│  └─ Thing network/e version 1",
                "└─ Thing network/f version 1",
                "   └─ Thing network/... (and 7 others)",
            ],
        ),
    ],
)
def test_causes_are_drawn_as_a_tree(causes: list[dict[str, Any]], lines: list[str]) -> None:
    assert list(draw(causes)) == lines


def repeated(depth: int, id: str) -> dict[str, Any]:
    return {**cause(depth, id, note="see above"), "repeated": True}


def test_what_was_shown_is_counted_in_the_brief_tree() -> None:
    causes = [
        cause(0, "a"),
        cause(1, "b", note="is at version 2 now"),
        cause(2, "c"),
        repeated(2, "a"),
        cause(1, "d"),
        repeated(2, "b"),
        repeated(2, "c"),
        repeated(1, "c"),
        cause(1, "e"),
    ]
    assert list(draw(brief(causes))) == [
        "Thing network/a version 1 (1 input shown above)",
        "├─ Thing network/b version 1 (is at version 2 now; 1 input shown above)",
        "│  └─ Thing network/c version 1",
        "├─ Thing network/d version 1 (2 inputs shown above)",
        "└─ Thing network/e version 1",
    ]
    assert len(list(draw(causes))) == len(causes)


async def test_the_node_address_goes_back_to_what_the_kernel_shows(tmp_path: Path) -> None:
    async with agent(tmp_path) as served:
        first, *others = served.run("why", "nodeaddress", "current").splitlines()
        assert first.startswith("NodeAddress network/current version ")
        assert first.endswith(" by network.NodeAddressController")
        assert any("─ LinkStatus network/lo version " in line for line in others)
        assert "see above" not in "".join(others)
        assert len(served.run("why", "nodeaddress", "current", "--verbose").splitlines()) > len(others)
        assert served.run("why", "nodeaddress", "current", "--depth", "0").splitlines()[1:] == []
        refused = nodespan("why", "nodeaddress", "nowhere", directory=tmp_path)
        assert refused.returncode == 1
        assert "nowhere) doesn't exist" in refused.stderr

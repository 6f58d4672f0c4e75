"""What `nodespan why` prints."""

from pathlib import Path
from typing import Any

import pytest

from nodespan.runtime.cli.why import draw
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


async def test_the_node_address_goes_back_to_what_the_kernel_shows(tmp_path: Path) -> None:
    async with agent(tmp_path) as served:
        first, *others = served.run("why", "nodeaddress", "current").splitlines()
        assert first.startswith("NodeAddress network/current version ")
        assert first.endswith(" by network.NodeAddressController")
        assert any("─ LinkStatus network/lo version " in line for line in others)
        assert served.run("why", "nodeaddress", "current", "--depth", "0").splitlines()[1:] == []
        refused = nodespan("why", "nodeaddress", "nowhere", directory=tmp_path)
        assert refused.returncode == 1
        assert "nowhere) doesn't exist" in refused.stderr

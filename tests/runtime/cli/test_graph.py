"""`nodespan graph`: as declared and as it runs."""

from pathlib import Path

import pytest

from nodespan.runtime.cli.graph import _live, draw
from nodespan.runtime.graph import Edge, EdgeKind
from nodespan.runtime.text.drawing import dot, mermaid
from tests.support.agent import agent, nodespan

EDGES = [
    Edge("c.One", "ns", "Things.test.dev", "", EdgeKind.OUTPUT_EXCLUSIVE),
    Edge("c.Two", "ns", "Things.test.dev", "id", EdgeKind.INPUT_STRONG),
    Edge("c.Two", "ns", "Others.test.dev", "", EdgeKind.INPUT_WEAK),
    Edge("c.Two", "ns", "Others.test.dev", "", EdgeKind.OUTPUT_SHARED),
]


def test_inputs_lead_to_controllers_and_outputs_away_from_them() -> None:
    drawing = draw(["c.Two", "c.One"], EDGES)
    assert [node.key for node in drawing.controllers] == ["c.One", "c.Two"]
    assert [node.key for node in drawing.types] == ["Others.test.dev", "Things.test.dev"]
    assert [(arrow.source, arrow.target, arrow.style, arrow.label) for arrow in drawing.edges] == [
        ("c.One", "Things.test.dev", "exclusive", ""),
        ("Things.test.dev", "c.Two", "strong", "id"),
        ("Others.test.dev", "c.Two", "weak", ""),
        ("c.Two", "Others.test.dev", "shared", ""),
    ]


@pytest.mark.parametrize("kind", EdgeKind)
def test_every_kind_of_edge_can_be_drawn(kind: EdgeKind) -> None:
    assert dot(draw(["c.One"], [Edge("c.One", "ns", "Things.test.dev", "", kind)]))


def test_a_running_graph_shows_counts() -> None:
    drawing = _live(
        {
            "controllers": {
                "c.One": {"wakeups": 1200, "crashes": 0},
                "c.Two": {"wakeups": 1, "crashes": 3},
                "c.Idle": {"wakeups": 0, "crashes": 0},
            },
            "edges": [[edge.controller, edge.namespace, edge.type, edge.id, int(edge.kind)] for edge in EDGES],
            "resources": {"Things.test.dev": 12000, "Others.test.dev": 0},
        }
    )
    text = mermaid(drawing)
    for note in ("1,200 wake-ups", "1 wake-ups, 3 crashes", "12,000 resources", "0 resources", "c.Idle"):
        assert note in text


@pytest.mark.parametrize(("form", "start"), [("dot", "digraph  {\n"), ("mermaid", "flowchart")])
def test_the_declared_graph_needs_no_agent(tmp_path: Path, form: str, start: str) -> None:
    done = nodespan("graph", "-o", form, directory=tmp_path)
    assert done.stderr == ""
    assert done.stdout.startswith(start)
    for name in ("network.LinkStatusController", "LinkStatuses.net.talos.dev", "runtime.KernelCmdlineController"):
        assert name in done.stdout


def test_controllers_of_ones_own_are_drawn_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from nodespan.runtime.controller import Controller\n"
        "class MyController(Controller):\n"
        "    name = 'my.Controller'\n"
        "    async def run(self, ctx): pass\n"
    )
    done = nodespan("graph", "--controllers", "mine:MyController", directory=tmp_path)
    assert 'label="my.Controller"' in done.stdout
    done = nodespan("graph", "--controllers", "mine:NoController", directory=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("nodespan: --controllers 'mine:NoController': module 'mine' has no attribute")


async def test_the_running_graph_is_that_of_the_agent(tmp_path: Path) -> None:
    async with agent(tmp_path) as served:
        text = served.run("graph", "--live", "-o", "mermaid")
        assert "network.LinkStatusController" in text
        assert "wake-ups" in text
        assert "resources" in text

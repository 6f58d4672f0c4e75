"""The dependency graph as text of Graphviz and of Mermaid."""

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.text.drawing import Arrow, Drawing, Node, Style, dot, mermaid

STYLES: tuple[Style, ...] = get_args(Style)
EMPTY = Drawing(controllers=(), types=(), edges=())
LINKS = Drawing(
    controllers=(Node("c1", "network.LinkConfigController", "12 runs"), Node("c2", "network.LinkSpecController")),
    types=(Node("t1", "LinkSpecs", "3 resources"), Node("t2", "LinkStatuses"), Node("t3", "MachineConfigs")),
    edges=(
        Arrow("c1", "t1", "shared"),
        Arrow("c2", "t2", "exclusive"),
        Arrow("t1", "c2", "strong"),
        Arrow("t2", "c1", "weak"),
        Arrow("t3", "c1", "weak", "v1alpha1"),
        Arrow("t1", "c1", "destroy-ready"),
        Arrow("t2", "c2", "primary"),
        Arrow("t3", "c2", "mapped"),
    ),
)
HOSTILE = '<b>"quoted" & \\back\n\x1b[31m\ufffe\ud800 ]]> `*_#1;'
HOSTILE_DRAWING = Drawing(
    controllers=(Node("c", HOSTILE, HOSTILE),),
    types=(Node("t", HOSTILE, HOSTILE),),
    edges=(Arrow("c", "t", "exclusive"), Arrow("t", "c", "weak", HOSTILE)),
)


def test_graphviz_text_is_that_of_the_originals() -> None:
    assert dot(LINKS) == "\n".join(
        [
            "digraph  {",
            r'	n1[label="network.LinkConfigController\n12 runs",shape="box"];',
            '	n2[label="network.LinkSpecController",shape="box"];',
            r'	n3[fillcolor="azure2",label="LinkSpecs\n3 resources",shape="note",style="filled"];',
            '	n4[fillcolor="azure2",label="LinkStatuses",shape="note",style="filled"];',
            '	n5[fillcolor="azure2",label="MachineConfigs",shape="note",style="filled"];',
            '	n1->n3[style="solid"];',
            '	n2->n4[style="bold"];',
            '	n3->n2[style="solid"];',
            '	n4->n1[style="dotted"];',
            '	n5->n1[label="v1alpha1",style="dotted"];',
            '	n4->n2[style="solid"];',
            '	n5->n2[style="dashed"];',
            "}",
            "",
        ]
    )
    assert dot(EMPTY) == "digraph  {\n}\n"


def test_graphviz_text_quotes_what_would_end_a_label() -> None:
    drawing = Drawing(controllers=(Node("c", 'a"b\\&lt;', "x\ny"),), types=(), edges=())
    assert r'n1[label="a\"b\\&amp;lt;\nx\\ny",shape="box"];' in dot(drawing)


def test_mermaid_text_draws_a_flow_chart() -> None:
    assert mermaid(LINKS) == "\n".join(
        [
            "flowchart LR",
            '    n1["network.LinkConfigController<br/><small>12 runs</small>"]',
            '    n2["network.LinkSpecController"]',
            '    n3(["LinkSpecs<br/><small>3 resources</small>"]):::type',
            '    n4(["LinkStatuses"]):::type',
            '    n5(["MachineConfigs"]):::type',
            "    n1 --> n3",
            "    n2 ==> n4",
            "    n3 --> n2",
            "    n4 -.-> n1",
            '    n5 -.->|"v1alpha1"| n1',
            "    n4 --> n2",
            "    n5 -.-> n2",
            "    classDef type fill:#e0eeee,stroke:#5b8a8a,color:#1d2b36",
            "",
        ]
    )
    assert mermaid(EMPTY) == "flowchart LR\n"


def test_mermaid_text_holds_nothing_that_ends_a_label_or_is_markup() -> None:
    text = mermaid(HOSTILE_DRAWING)
    labels = re.findall(r'"([^"]*)"', text)
    assert len(labels) == 3
    for label in labels:
        plain = label.replace("<br/><small>", "").replace("</small>", "")
        assert re.fullmatch(r"(?:[^#&<>\"'`*_\\\n]|#\d+;)+", plain)
    assert mermaid(Drawing(controllers=(Node("c", ""),), types=(), edges=())) == 'flowchart LR\n    n1[" "]\n'


def test_an_arrow_to_no_node_and_a_key_used_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="no node has the key 'nowhere'"):
        Drawing(controllers=(Node("c", "c"),), types=(), edges=(Arrow("c", "nowhere", "shared"),))
    with pytest.raises(ValueError, match="two nodes have the key 'c'"):
        Drawing(controllers=(Node("c", "c"),), types=(Node("c", "c"),), edges=())


LABELS = st.text(max_size=12)


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    controllers = [Node(f"c{i}", draw(LABELS), draw(LABELS)) for i in range(draw(st.integers(0, 6)))]
    types = [Node(f"t{i}", draw(LABELS), draw(LABELS)) for i in range(draw(st.integers(0, 6)))]
    keys = [node.key for node in (*controllers, *types)]
    arrows: list[Arrow] = []
    if keys:
        key = st.sampled_from(keys)
        arrows = draw(st.lists(st.builds(Arrow, key, key, st.sampled_from(STYLES), LABELS), max_size=20))
    return Drawing(controllers=tuple(controllers), types=tuple(types), edges=tuple(arrows))


@given(drawings())
def test_any_graph_is_written_completely(drawing: Drawing) -> None:
    text = dot(drawing)
    text.encode()
    assert len(re.findall(r"^\tn\d+\[", text, re.MULTILINE)) == len(drawing.nodes)
    assert len(re.findall(r"^\tn\d+->n\d+\[", text, re.MULTILINE)) == len(drawing.arrows)
    text = mermaid(drawing)
    text.encode()
    assert len(re.findall(r"^    n\d+(?:\[|\(\[)", text, re.MULTILINE)) == len(drawing.nodes)
    assert len(re.findall(r"^    n\d+ (?:==|--|-\.-)>", text, re.MULTILINE)) == len(drawing.arrows)

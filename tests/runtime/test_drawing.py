"""The dependency graph as Graphviz text, as Mermaid text and as an image."""

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.drawing import Arrow, Drawing, Node, Style, dot, mermaid, svg
from nodespan.runtime.layered import layout

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
SVG = "{http://www.w3.org/2000/svg}"


def elements(image: str, tag: str, class_: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(image).iter(SVG + tag) if class_ in element.get("class", "").split()]


def texts(element: ET.Element) -> list[str]:
    return [text.text or "" for text in element.iter(SVG + "text")]


def titles(image: str, tag: str, class_: str) -> list[str | None]:
    return [element.findtext(SVG + "title") for element in elements(image, tag, class_)]


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
    drawing = Drawing(controllers=(Node("c", 'a"b\\', "x\ny"),), types=(), edges=())
    assert r'n1[label="a\"b\\\nx\\ny",shape="box"];' in dot(drawing)


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


def test_the_image_shows_every_node_with_its_note() -> None:
    image = svg(LINKS)
    assert [texts(node) for node in elements(image, "g", "controller")] == [
        ["network.LinkConfigController", "12 runs"],
        ["network.LinkSpecController"],
    ]
    assert [texts(node) for node in elements(image, "g", "type")] == [
        ["LinkSpecs", "3 resources"],
        ["LinkStatuses"],
        ["MachineConfigs"],
    ]
    assert titles(image, "g", "type") == ["LinkSpecs: 3 resources", "LinkStatuses", "MachineConfigs"]


def test_the_image_shows_every_arrow_but_the_destroy_ready_ones() -> None:
    image = svg(LINKS)
    assert titles(image, "path", "arrow") == [
        "network.LinkConfigController → LinkSpecs (output, shared)",
        "network.LinkSpecController → LinkStatuses (output, exclusive)",
        "LinkSpecs → network.LinkSpecController (input, strong)",
        "LinkStatuses → network.LinkConfigController (input, weak)",
        "MachineConfigs → network.LinkConfigController (input, weak, v1alpha1)",
        "LinkStatuses → network.LinkSpecController (input, primary)",
        "MachineConfigs → network.LinkSpecController (input, mapped)",
    ]
    assert "v1alpha1" in texts(ET.fromstring(image))


def test_the_legend_names_the_styles_that_occur() -> None:
    assert len(elements(svg(LINKS), "path", "legend")) == 6
    assert {"output, exclusive", "input, mapped"} <= set(texts(ET.fromstring(svg(LINKS))))
    one = Drawing(controllers=(Node("c", "c"),), types=(Node("t", "t"),), edges=(Arrow("c", "t", "shared"),))
    assert len(elements(svg(one), "path", "legend")) == 1


def test_an_empty_graph_is_an_empty_image() -> None:
    root = ET.fromstring(svg(EMPTY))
    assert root.get("width") == root.get("height") == "40"
    assert texts(root) == []


def test_the_image_has_a_background_of_its_own_and_loads_nothing() -> None:
    image = svg(LINKS)
    root = ET.fromstring(image)
    (background,) = elements(image, "rect", "background")
    assert (background.get("width"), background.get("height")) == (root.get("width"), root.get("height"))
    assert "href" not in image
    assert "<style" not in image
    assert set(re.findall(r"url\(([^)]*)\)", image)) <= {"#arrow-output", "#arrow-input"}


def test_hostile_names_stay_text() -> None:
    shown = '<b>"quoted" & \\back\\n\\x1b[31m\\ufffe\\ud800 ]]> `*_#1;'
    image = svg(HOSTILE_DRAWING)
    assert [texts(node) for node in elements(image, "g", "controller")] == [[shown, shown]]
    assert titles(image, "path", "arrow")[1] == f"{shown} → {shown} (input, weak, {shown})"
    image.encode()
    dot(HOSTILE_DRAWING).encode()


def test_an_arrow_points_at_the_side_of_its_target() -> None:
    sizes = {"a": (100.0, 30.0), "b": (60.0, 40.0)}
    plan = layout(sizes, [("a", "b"), ("b", "a")])
    a, b = plan.boxes["a"], plan.boxes["b"]
    assert a.x + a.width < b.x
    there, back = plan.routes
    assert (there[0][0], there[-1][0]) == (a.x + a.width, b.x)
    assert (back[0][0], back[-1][0]) == (b.x, a.x + a.width)


def test_a_chain_runs_from_left_to_right_in_one_line() -> None:
    plan = layout(dict.fromkeys("abcd", (50.0, 30.0)), [("b", "c"), ("a", "b"), ("c", "d")])
    boxes = [plan.boxes[name] for name in "abcd"]
    assert [box.x for box in boxes] == sorted({box.x for box in boxes})
    assert {round(box.y, 6) for box in boxes} == {0.0}


def test_lines_of_a_tree_do_not_cross() -> None:
    plan = layout(
        dict.fromkeys(["x", "y", "x1", "y1", "x2", "y2"], (50.0, 30.0)),
        [("y", "y1"), ("x", "x1"), ("y", "y2"), ("x", "x2")],
    )
    left = sorted("xy", key=lambda name: plan.boxes[name].y)
    right = sorted(["x1", "x2", "y1", "y2"], key=lambda name: plan.boxes[name].y)
    assert [name[0] for name in right] == [name for name in left for _ in range(2)]


def test_an_arrow_to_no_node_and_a_key_used_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="no node has the key 'nowhere'"):
        Drawing(controllers=(Node("c", "c"),), types=(), edges=(Arrow("c", "nowhere", "shared"),))
    with pytest.raises(ValueError, match="two nodes have the key 'c'"):
        Drawing(controllers=(Node("c", "c"),), types=(Node("c", "c"),), edges=())


def test_a_new_process_draws_the_same_image() -> None:
    names = [f"n{index}" for index in range(12)]
    edges = [(names[a], names[b]) for a, b in itertools.product(range(12), repeat=2) if (a * 7 + b * 3) % 5 == 0]
    script = (
        "from nodespan.runtime.drawing import *\n"
        f"names, edges = {names!r}, {edges!r}\n"
        "drawing = Drawing(controllers=tuple(Node(n, n) for n in names), types=(),"
        " edges=tuple(Arrow(a, b, 'weak') for a, b in edges))\n"
        "print(svg(drawing), end='')"
    )
    images = {
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=env).stdout
        for env in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    }
    assert len(images) == 1


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
def test_any_graph_is_drawn_completely_and_always_the_same(drawing: Drawing) -> None:
    image = svg(drawing)
    assert image == svg(drawing)
    assert len(elements(image, "g", "controller")) == len(drawing.controllers)
    assert len(elements(image, "g", "type")) == len(drawing.types)
    assert len(elements(image, "path", "arrow")) == len(drawing.arrows)
    assert len(re.findall(r"^\tn\d+->n\d+\[", dot(drawing), re.MULTILINE)) == len(drawing.arrows)
    assert len(re.findall(r"^    n\d+ (?:==|--|-\.-)>", mermaid(drawing), re.MULTILINE)) == len(drawing.arrows)


SIZES = st.tuples(st.floats(20, 300), st.floats(20, 140))


@given(
    st.lists(SIZES, min_size=1, max_size=9).flatmap(
        lambda sizes: st.tuples(
            st.just({f"n{index}": size for index, size in enumerate(sizes)}),
            st.lists(st.tuples(*[st.sampled_from([f"n{index}" for index in range(len(sizes))])] * 2), max_size=16),
        )
    )
)
def test_boxes_do_not_overlap_and_no_line_runs_through_one(
    graph: tuple[dict[str, tuple[float, float]], list[tuple[str, str]]],
) -> None:
    sizes, edges = graph
    plan = layout(sizes, edges)
    for name, box in plan.boxes.items():
        assert (box.width, box.height) == sizes[name]
        assert box.x >= 0
        assert box.y >= -1e-6
        assert box.x + box.width <= plan.width
        assert box.y + box.height <= plan.height + 1e-6
    for a, b in itertools.combinations(plan.boxes.values(), 2):
        apart_in_x = a.x + a.width <= b.x or b.x + b.width <= a.x
        apart_in_y = a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart_in_x or apart_in_y
    for (source, target), route in zip(edges, plan.routes, strict=True):
        assert route[0][0] in (plan.boxes[source].x, plan.boxes[source].x + plan.boxes[source].width)
        assert route[-1][0] in (plan.boxes[target].x, plan.boxes[target].x + plan.boxes[target].width)
        assert len(route) % 2 == 0
        for (from_x, from_y), (to_x, to_y) in itertools.pairwise(route):
            left, right = sorted((from_x, to_x))
            top, bottom = sorted((from_y, to_y))
            for box in plan.boxes.values():
                inside_x = left < box.x + box.width and right > box.x
                inside_y = top < box.y + box.height and bottom > box.y
                assert not (inside_x and inside_y)

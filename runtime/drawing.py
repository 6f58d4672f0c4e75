"""Draws the dependency graph of controllers and resource types: as Graphviz text, as Mermaid text, as an SVG image.

An output leads from a controller to a type, an input from a type to a controller. Destroy-ready inputs are left out
everywhere: they say when a controller wakes up, not what it knows.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal
from xml.sax.saxutils import escape

import attrs

from nodespan.runtime.escaping import escaped
from nodespan.runtime.layered import Box, Point, layout

Style = Literal["exclusive", "shared", "strong", "weak", "destroy-ready", "primary", "mapped"]


@attrs.frozen
class Node:
    """A controller or a type: a key of its own, the name shown, and a small note under it such as live counts."""

    key: str
    label: str
    note: str = ""


@attrs.frozen
class Arrow:
    """An output or an input, between the keys of two nodes; the label is the resource's id where there is one."""

    source: str
    target: str
    style: Style
    label: str = ""


@attrs.frozen(kw_only=True)
class Drawing:
    """What is to be drawn. Raises ValueError for a key that two nodes have, or an arrow to a key that none has."""

    controllers: tuple[Node, ...]
    types: tuple[Node, ...]
    edges: tuple[Arrow, ...]

    def __attrs_post_init__(self) -> None:
        keys: set[str] = set()
        for node in self.nodes:
            if node.key in keys:
                raise ValueError(f"two nodes have the key {node.key!r}, each needs its own")
            keys.add(node.key)
        for edge in self.edges:
            if missing := {edge.source, edge.target} - keys:
                raise ValueError(f"{edge} leads to no node: no node has the key {min(missing)!r}")

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Controllers, then types."""
        return self.controllers + self.types

    @property
    def arrows(self) -> tuple[Arrow, ...]:
        """The edges that are drawn."""
        return tuple(edge for edge in self.edges if edge.style != "destroy-ready")


def _numbered(drawing: Drawing) -> dict[str, str]:
    return {node.key: f"n{index}" for index, node in enumerate(drawing.nodes, 1)}


# Graphviz

_DOT_STYLES: dict[Style, str] = {
    "exclusive": "bold",
    "shared": "solid",
    "strong": "solid",
    "weak": "dotted",
    "primary": "solid",
    "mapped": "dashed",
}


def dot(drawing: Drawing) -> str:
    """The graph in Graphviz' language, as the originals' tools write it."""
    names = _numbered(drawing)
    lines = ["digraph  {"]
    for node in drawing.controllers:
        lines.append(f'\t{names[node.key]}[label={_dot_label(node)},shape="box"];')
    for node in drawing.types:
        lines.append(f'\t{names[node.key]}[fillcolor="azure2",label={_dot_label(node)},shape="note",style="filled"];')
    for arrow in drawing.arrows:
        label = f"label={_dot_quoted(arrow.label)}," if arrow.label else ""
        style = _DOT_STYLES[arrow.style]
        lines.append(f'\t{names[arrow.source]}->{names[arrow.target]}[{label}style="{style}"];')
    return "\n".join([*lines, "}", ""])


def _dot_label(node: Node) -> str:
    label = _dot_quoted(node.label)
    return label[:-1] + r"\n" + _dot_quoted(node.note)[1:] if node.note else label


def _dot_quoted(text: str) -> str:
    return '"' + escaped(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


# Mermaid

_MERMAID_LINES: dict[Style, str] = {
    "exclusive": "==>",
    "shared": "-->",
    "strong": "-->",
    "weak": "-.->",
    "primary": "-->",
    "mapped": "-.->",
}
# Inside quotes Mermaid still reads entities, HTML and Markdown.
_MERMAID_ENTITIES = {ord(char): f"#{ord(char)};" for char in "#&<>\"'`*_\\"}


def mermaid(drawing: Drawing) -> str:
    """The graph in Mermaid's language."""
    names = _numbered(drawing)
    lines = ["flowchart LR"]
    lines += [f'    {names[node.key]}["{_mermaid_label(node)}"]' for node in drawing.controllers]
    lines += [f'    {names[node.key]}(["{_mermaid_label(node)}"]):::type' for node in drawing.types]
    for arrow in drawing.arrows:
        label = f'|"{_mermaid_text(arrow.label)}"|' if arrow.label else ""
        lines.append(f"    {names[arrow.source]} {_MERMAID_LINES[arrow.style]}{label} {names[arrow.target]}")
    if drawing.types:
        lines.append("    classDef type fill:#e0eeee,stroke:#5b8a8a,color:#1d2b36")
    return "\n".join([*lines, ""])


def _mermaid_label(node: Node) -> str:
    note = f"<br/><small>{_mermaid_text(node.note)}</small>" if node.note else ""
    return _mermaid_text(node.label) + note


def _mermaid_text(text: str) -> str:
    # An empty label is a syntax error there.
    return escaped(text).translate(_MERMAID_ENTITIES) or " "


# SVG

_BACKGROUND = "#fbfcfd"
_INK = "#1d2b36"
_FADED = "#5d6f7e"
_OUTPUT = "#2563a8"
_INPUT = "#61707d"

# Stroke colour, width and dashes, and what the legend says.
_LINES: dict[Style, tuple[str, float, str, str]] = {
    "exclusive": (_OUTPUT, 2.4, "", "output, exclusive"),
    "shared": (_OUTPUT, 1.3, "", "output, shared"),
    "strong": (_INPUT, 1.3, "", "input, strong"),
    "weak": (_INPUT, 1.9, "0.1 4.5", "input, weak"),
    "primary": (_INPUT, 1.3, "", "input, primary"),
    "mapped": (_INPUT, 1.3, "6 4", "input, mapped"),
}
_MARKERS = {_OUTPUT: "output", _INPUT: "input"}
_HEAD = 8.0

_FONT = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_LABEL_SIZE = 12.5
_NOTE_SIZE = 10.0
_PADDING = 12.0
_FOLD = 9.0
_ARROW_ROOM = 14.0
_TALLEST = 140.0
_MARGIN = 20.0
_LEGEND_HEIGHT = 34.0
_LEGEND_SAMPLE = 34.0


def svg(drawing: Drawing) -> str:
    """The graph as a self-contained image on a background of its own, sized to what it shows."""
    controllers = {node.key for node in drawing.controllers}
    crowd = Counter([arrow.source for arrow in drawing.arrows]) | Counter([arrow.target for arrow in drawing.arrows])
    plan = layout(
        {node.key: _size(node, crowd[node.key]) for node in drawing.nodes},
        [(arrow.source, arrow.target) for arrow in drawing.arrows],
    )
    styles = [style for style in _LINES if any(arrow.style == style for arrow in drawing.arrows)]
    legend_width = sum(_legend_step(style) for style in styles)
    width = max(plan.width, legend_width) + 2 * _MARGIN
    height = plan.height + 2 * _MARGIN + (_LEGEND_HEIGHT if styles else 0)
    names = {node.key: node.label for node in drawing.nodes}

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {_area(width, height)} viewBox="0 0 {_n(width)} {_n(height)}"',
        f'  role="img" aria-label="Dependency graph of controllers and types" font-family="{_FONT}">',
        *(_marker(color, name) for color, name in _MARKERS.items()),
        f'<rect class="background" {_area(width, height)} rx="8" fill="{_BACKGROUND}"/>',
        f'<g transform="translate({_n(_MARGIN)} {_n(_MARGIN)})">',
        *(_arrow(arrow, route, names) for arrow, route in zip(drawing.arrows, plan.routes, strict=True)),
        *(_node(node, plan.boxes[node.key], is_type=node.key not in controllers) for node in drawing.nodes),
        *(_arrow_label(arrow, route) for arrow, route in zip(drawing.arrows, plan.routes, strict=True) if arrow.label),
        "</g>",
        *_legend(styles, height - _MARGIN),
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _area(width: float, height: float) -> str:
    return f'width="{_n(width)}" height="{_n(height)}"'


def _xml(text: str) -> str:
    return escape(escaped(text), {'"': "&quot;"})


def _text_width(text: str, size: float) -> float:
    """Enough room for the text in the widest of the usual fonts."""
    return size * sum(_EMS.get(char) or _em(char) for char in escaped(text))


_EMS = {
    **dict.fromkeys("ijl.,:;|!'I", 0.36),
    **dict.fromkeys("frt-()[]/ ", 0.42),
    **dict.fromkeys("mwMW@%", 0.96),
}


def _em(char: str) -> float:
    if unicodedata.east_asian_width(char) in "WF":
        return 1.05
    return 0.72 if char.isupper() else 0.62


def _size(node: Node, arrows: int) -> tuple[float, float]:
    """Width and height, with room for this many arrows on one side."""
    width = max(_text_width(node.label, _LABEL_SIZE), _text_width(node.note, _NOTE_SIZE)) + 2 * _PADDING
    return width, max(44.0 if node.note else 32.0, min(arrows * _ARROW_ROOM, _TALLEST))


def _marker(color: str, name: str) -> str:
    return (
        f'<marker id="arrow-{name}" viewBox="0 0 8 8" refX="0" refY="4" markerWidth="{_n(_HEAD)}" '
        f'markerHeight="{_n(_HEAD)}" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0.5L8 4L0 7.5Z" fill="{color}"/></marker>'
    )


def _node(node: Node, box: Box, *, is_type: bool) -> str:
    left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    if is_type:
        outline = (
            f'<path d="M{_n(left)} {_n(top)}H{_n(right - _FOLD)}L{_n(right)} {_n(top + _FOLD)}V{_n(bottom)}'
            f'H{_n(left)}Z" fill="#e0eeee" stroke="#5b8a8a"/>'
            f'<path d="M{_n(right - _FOLD)} {_n(top)}V{_n(top + _FOLD)}H{_n(right)}" fill="none" stroke="#5b8a8a"/>'
        )
    else:
        outline = (
            f'<rect x="{_n(left)}" y="{_n(top)}" {_area(box.width, box.height)} rx="7" fill="#ffffff" stroke="{_INK}"/>'
        )
    middle = (left + right) / 2
    baseline = top + box.height / 2 + (-3.0 if node.note else _LABEL_SIZE * 0.35)
    title = f"{node.label}: {node.note}" if node.note else node.label
    note = (
        f'<text x="{_n(middle)}" y="{_n(baseline + 14)}" font-size="{_n(_NOTE_SIZE)}" fill="{_FADED}" '
        f'text-anchor="middle">{_xml(node.note)}</text>'
        if node.note
        else ""
    )
    return (
        f'<g class="{"type" if is_type else "controller"}"><title>{_xml(title)}</title>{outline}'
        f'<text x="{_n(middle)}" y="{_n(baseline)}" font-size="{_n(_LABEL_SIZE)}" fill="{_INK}" '
        f'text-anchor="middle">{_xml(node.label)}</text>{note}</g>'
    )


def _arrow(arrow: Arrow, route: tuple[Point, ...], names: Mapping[str, str]) -> str:
    meaning = _LINES[arrow.style][3] + (f", {arrow.label}" if arrow.label else "")
    title = f"{names[arrow.source]} → {names[arrow.target]} ({meaning})"
    return (
        f'<path class="arrow {arrow.style}" d="{_path(_shortened(route))}" {_stroke(arrow.style)}>'
        f"<title>{_xml(title)}</title></path>"
    )


def _stroke(style: Style) -> str:
    color, width, dashes, _ = _LINES[style]
    dashed = f' stroke-dasharray="{dashes}" stroke-linecap="round"' if dashes else ""
    return f'fill="none" stroke="{color}" stroke-width="{_n(width)}"{dashed} marker-end="url(#arrow-{_MARKERS[color]})"'


def _shortened(route: tuple[Point, ...]) -> tuple[Point, ...]:
    """Without the piece that the arrowhead covers."""
    (before, _), (end, height) = route[-2:]
    return (*route[:-1], (end - _HEAD if end > before else end + _HEAD, height))


def _path(route: tuple[Point, ...]) -> str:
    (x, y), *rest = route
    pieces = [f"M{_n(x)} {_n(y)}"]
    for index, (next_x, next_y) in enumerate(rest):
        if index % 2 == 0 or next_y == y:
            pieces.append(f"H{_n(next_x)}")
        else:
            middle = (x + next_x) / 2
            pieces.append(f"C{_n(middle)} {_n(y)} {_n(middle)} {_n(next_y)} {_n(next_x)} {_n(next_y)}")
        x, y = next_x, next_y
    return "".join(pieces)


def _arrow_label(arrow: Arrow, route: tuple[Point, ...]) -> str:
    (before, _), (end, height) = route[-2:]
    side, anchor = (-1, "end") if end > before else (1, "start")
    return (
        f'<text x="{_n(end + side * (_HEAD + 4))}" y="{_n(height - 3)}" font-size="{_n(_NOTE_SIZE)}" fill="{_FADED}" '
        f'text-anchor="{anchor}" stroke="{_BACKGROUND}" stroke-width="3" paint-order="stroke">'
        f"{_xml(arrow.label)}</text>"
    )


def _legend_step(style: Style) -> float:
    return _LEGEND_SAMPLE + 8 + _text_width(_LINES[style][3], _NOTE_SIZE) + 18


def _legend(styles: list[Style], y: float) -> Iterator[str]:
    x = _MARGIN
    for style in styles:
        yield f'<path class="legend" d="M{_n(x)} {_n(y)}H{_n(x + _LEGEND_SAMPLE - _HEAD)}" {_stroke(style)}/>'
        yield (
            f'<text x="{_n(x + _LEGEND_SAMPLE + 8)}" y="{_n(y + 3.5)}" font-size="{_n(_NOTE_SIZE)}" '
            f'fill="{_FADED}">{_xml(_LINES[style][3])}</text>'
        )
        x += _legend_step(style)

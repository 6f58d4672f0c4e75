"""The dependency graph of controllers and resource types as text: in Graphviz's language and in Mermaid's.

An output leads from a controller to a type, an input from a type to a controller. Destroy-ready inputs are left out
everywhere: they say when a controller wakes, not what it knows.
"""

from typing import Literal

import attrs

from nodespan.runtime.text.escaping import escaped

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
    """A graph to draw. Raises ValueError for a key that two nodes have, or an arrow to a key that none has."""

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
                raise ValueError(f"{edge}: no node has the key {min(missing)!r}")

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
    """The graph in Graphviz's language, as the originals' tools write it."""
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
    # Graphviz reads entities, and backslashes as escapes.
    return '"' + escaped(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') + '"'


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

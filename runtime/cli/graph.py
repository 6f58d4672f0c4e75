"""`nodespan graph`: the dependency graph, as declared or of the running agent, as text or as an image."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.graphviz import render
from nodespan.runtime.cli.options import socket_of
from nodespan.runtime.controller import Controller, QueueController
from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.graph import Edge, EdgeKind, Graph
from nodespan.runtime.text.drawing import Arrow, Drawing, Node, Style, dot, mermaid

_LANGUAGES = {"dot": dot, "mermaid": mermaid}
_STYLES: dict[EdgeKind, Style] = {
    EdgeKind.OUTPUT_EXCLUSIVE: "exclusive",
    EdgeKind.OUTPUT_SHARED: "shared",
    EdgeKind.INPUT_STRONG: "strong",
    EdgeKind.INPUT_WEAK: "weak",
    EdgeKind.INPUT_DESTROY_READY: "destroy-ready",
    EdgeKind.INPUT_PRIMARY: "primary",
    EdgeKind.INPUT_MAPPED: "mapped",
    EdgeKind.INPUT_MAPPED_DESTROY_READY: "destroy-ready",
}


def graph(options: argparse.Namespace) -> int:
    """Print the graph that the options ask for."""
    if options.output == "png" and sys.stdout.isatty():
        raise CommandError("a terminal shows no PNG: write it to a file, nodespan graph -o png > graph.png")
    if options.live:
        (answer,) = ask(socket_of(options), {"call": "graph"})
        drawing = _live(answer, tuple(options.only))
    else:
        drawing = draw(*_declared(options.controllers), only=tuple(options.only))
    if write := _LANGUAGES.get(options.output):
        sys.stdout.write(write(drawing))
    else:
        sys.stdout.buffer.write(render(dot(drawing), options.output))
    return 0


def _declared(references: list[str]) -> tuple[list[str], list[Edge]]:
    """The names and declarations of the controllers that an agent would run; none is run here."""
    from nodespan.runtime.plugins import Settings, load_installed, load_named, named
    from nodespan.runtime.process.logs import plain_logger

    log = plain_logger()
    declared = Graph()
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(state_dir=Path(scratch))
        for controller in load_installed(settings, log):
            try:
                _declare(declared, controller)
            except RegistrationError as error:
                log.warning("a controller of an installed package cannot be registered", error=str(error))
        try:
            for reference in references:
                for controller in load_named(reference, settings):
                    with named(f"--controllers {reference!r}", f"cannot register {type(controller).__qualname__}"):
                        _declare(declared, controller)
        except RegistrationError as error:
            raise CommandError(str(error)) from error
    return list(declared.controllers), list(declared.edges)


def _declare(declared: Graph, controller: Controller | QueueController) -> None:
    is_queue = isinstance(controller, QueueController)
    declared.add(controller.name, controller.inputs, controller.outputs, is_queue=is_queue)


def _live(answer: dict[str, Any], only: tuple[str, ...] = ()) -> Drawing:
    edges = [
        Edge(controller, namespace, type, id, EdgeKind(kind))
        for controller, namespace, type, id, kind in answer["edges"]
    ]
    notes = {type: f"{count:,} resources" for type, count in answer["resources"].items()}
    for name, counts in answer["controllers"].items():
        crashes = f", {counts['crashes']:,} crashes" if counts["crashes"] else ""
        notes[name] = f"{counts['wakeups']:,} wake-ups{crashes}"
    return draw(list(answer["controllers"]), edges, notes, only=only)


def draw(
    controllers: list[str],
    edges: list[Edge],
    notes: dict[str, str] | None = None,
    *,
    only: tuple[str, ...] = (),
) -> Drawing:
    """The drawing of a graph; `notes` are shown with the controller or type of that name.

    `only` leaves the controllers whose names begin with one of these, and what they read and write.
    """
    notes = notes or {}
    if only:
        controllers = [name for name in controllers if name.startswith(only)]
        edges = [edge for edge in edges if edge.controller in controllers]
    types = sorted({edge.type for edge in edges})
    arrows = [
        Arrow(edge.controller, edge.type, _STYLES[edge.kind], edge.id)
        if edge.is_output
        else Arrow(edge.type, edge.controller, _STYLES[edge.kind], edge.id)
        for edge in edges
    ]
    return Drawing(
        controllers=tuple(Node(name, name, notes.get(name, "")) for name in sorted(controllers)),
        types=tuple(Node(name, name, notes.get(name, "")) for name in types),
        edges=tuple(arrows),
    )

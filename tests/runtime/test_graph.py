"""The dependency graph: what contradicts it is refused by name, what it holds is exported in the original's order."""

from collections.abc import Callable
from typing import Any

import pytest

from nodespan.runtime.controller import (
    Input,
    Output,
    destroy_ready,
    exclusive,
    mapped,
    mapped_destroy_ready,
    primary,
    shared,
    strong,
    weak,
)
from nodespan.runtime.controller.declarations import InputMode
from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.graph import Edge, EdgeKind, Graph
from nodespan.runtime.resource import Kind

A: Kind[Any] = Kind("a", "As.test")
A2: Kind[Any] = Kind("b", "As.test")
B: Kind[Any] = Kind("a", "Bs.test")
EXCLUSIVE = 'resource "As.test" is already managed in exclusive mode by "C"'
SHARED = 'resource "As.test" is already managed in shared mode by "C"'


def graph_of(*controllers: tuple[str, list[Input], list[Output]]) -> Graph:
    graph = Graph()
    for name, inputs, outputs in controllers:
        graph.add(name, inputs, outputs, is_queue=any(input.mode.is_for_queues for input in inputs))
    return graph


@pytest.mark.parametrize(
    ("there", "name", "inputs", "outputs", "is_queue", "text"),
    [
        ([("C", [], [exclusive(A)])], "D", [], [exclusive(A)], False, EXCLUSIVE),
        ([("C", [], [exclusive(A)])], "D", [], [shared(A2)], False, EXCLUSIVE),
        ([], "C", [], [exclusive(A), exclusive(A)], False, EXCLUSIVE),
        ([], "C", [], [exclusive(A), shared(A)], False, EXCLUSIVE),
        ([("E", [], [shared(A)]), ("C", [], [shared(A)])], "D", [], [exclusive(A)], False, SHARED),
        ([], "C", [], [shared(A), exclusive(A)], False, SHARED),
        ([], "C", [], [shared(A), shared(A2)], False, 'duplicate shared controller output: "As.test" -> "C"'),
        ([], "C", [weak(A), weak(A)], [], False, 'duplicate controller input: As.test(a) -> "C"'),
        ([], "C", [weak(A), strong(A)], [], False, 'duplicate controller input: As.test(a) -> "C"'),
        ([], "C", [weak(A, "x"), strong(A, "x")], [], False, 'duplicate controller input: As.test(a/x) -> "C"'),
        ([], "C", [primary(A), mapped(A)], [], True, 'duplicate controller input: As.test(a) -> "C"'),
        ([], "C", [primary(A)], [], False, 'invalid input kind 3 (primary) for controller "C"'),
        ([], "C", [mapped(A)], [], False, 'invalid input kind 4 (mapped) for controller "C"'),
        ([], "C", [mapped_destroy_ready(A)], [], False, 'invalid input kind 5 (mapped_destroy_ready) for'),
        ([], "C", [weak(A)], [], True, 'invalid input kind 0 (weak) for queue controller "C"'),
        ([], "C", [strong(A)], [], True, 'invalid input kind 1 (strong) for queue controller "C"'),
        ([], "C", [destroy_ready(A)], [], True, 'invalid input kind 2 (destroy_ready) for queue controller "C"'),
        ([("C", [primary(A)], [])], "C", [], [], False, 'controller "C" already registered'),
        ([], "", [], [], False, "a controller has no name"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused_and_leaves_the_graph_unchanged(
    there: list[tuple[str, list[Input], list[Output]]],
    name: str,
    inputs: list[Input],
    outputs: list[Output],
    is_queue: bool,
    text: str,
) -> None:
    graph = graph_of(*there)
    before = graph.edges, graph.controllers
    with pytest.raises(RegistrationError) as raised:
        graph.add(name, inputs, outputs, is_queue=is_queue)
    assert str(raised.value).startswith(text)
    assert (graph.edges, graph.controllers) == before


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([weak(A), weak(A, "x"), strong(A, "y")], []),
        ([weak(A), strong(A2)], []),
        ([strong(A)], [shared(A), exclusive(B)]),
    ],
)
def test_declarations_without_a_contradiction_are_accepted(inputs: list[Input], outputs: list[Output]) -> None:
    graph = graph_of(("B", [weak(A)], [shared(A)]) if shared(A) in outputs else ("B", [], []))
    graph.add("C", inputs, outputs, is_queue=False)
    assert graph.controllers == ("B", "C")


def test_inputs_are_replaced_as_a_whole_or_not_at_all() -> None:
    graph = graph_of(("C", [weak(A), weak(B)], []))
    graph.set_inputs("C", (strong(A),))
    assert graph.edges == (Edge("C", "a", "As.test", "", EdgeKind.INPUT_STRONG),)
    with pytest.raises(RegistrationError):
        graph.set_inputs("C", (weak(A), primary(B)))
    assert graph.edges == (Edge("C", "a", "As.test", "", EdgeKind.INPUT_STRONG),)


def test_a_controller_that_is_removed_leaves_its_outputs_to_others() -> None:
    graph = graph_of(("C", [weak(A)], [exclusive(B)]))
    graph.remove("C")
    assert graph.edges == ()
    graph.add("D", [], [exclusive(B)], is_queue=False)
    graph.add("C", [], [], is_queue=False)


def test_edges_are_exported_outputs_first_then_all_inputs_by_controller_namespace_type_and_id() -> None:
    graph = graph_of(
        ("b", [strong(B), weak(A2, "y"), weak(A2), destroy_ready(A)], [shared("Ss.test"), exclusive("Ys.test")]),
        ("a", [mapped_destroy_ready(B), primary(A), mapped(A2, "x")], [shared("Ss.test"), shared("Rs.test")]),
        ("c", [], [exclusive("Xs.test")]),
    )
    assert graph.edges == (
        Edge("b", "", "Ys.test", "", EdgeKind.OUTPUT_EXCLUSIVE),
        Edge("c", "", "Xs.test", "", EdgeKind.OUTPUT_EXCLUSIVE),
        Edge("a", "", "Rs.test", "", EdgeKind.OUTPUT_SHARED),
        Edge("a", "", "Ss.test", "", EdgeKind.OUTPUT_SHARED),
        Edge("b", "", "Ss.test", "", EdgeKind.OUTPUT_SHARED),
        Edge("a", "a", "As.test", "", EdgeKind.INPUT_PRIMARY),
        Edge("a", "a", "Bs.test", "", EdgeKind.INPUT_MAPPED_DESTROY_READY),
        Edge("a", "b", "As.test", "x", EdgeKind.INPUT_MAPPED),
        Edge("b", "a", "As.test", "", EdgeKind.INPUT_DESTROY_READY),
        Edge("b", "a", "Bs.test", "", EdgeKind.INPUT_STRONG),
        Edge("b", "b", "As.test", "", EdgeKind.INPUT_WEAK),
        Edge("b", "b", "As.test", "y", EdgeKind.INPUT_WEAK),
    )


@pytest.mark.parametrize(
    ("make", "mode", "wakes_on_all", "finalizers", "for_queues"),
    [
        (weak, 0, True, False, False),
        (strong, 1, True, True, False),
        (destroy_ready, 2, False, False, False),
        (primary, 3, True, True, True),
        (mapped, 4, True, True, True),
        (mapped_destroy_ready, 5, False, False, True),
    ],
)
def test_the_modes_of_inputs_have_the_originals_numbers_and_rights(
    make: Callable[[Kind[Any]], Input], mode: int, wakes_on_all: bool, finalizers: bool, for_queues: bool
) -> None:
    declared = make(A).mode
    assert declared is InputMode(mode)
    assert (not declared.only_destroy_ready, declared.grants_finalizers, declared.is_for_queues) == (
        wakes_on_all,
        finalizers,
        for_queues,
    )

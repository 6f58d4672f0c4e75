"""The dependency graph: which controller reads and writes which type.

It is kept while controllers are registered and change their inputs; a contradiction is refused with the names of both
sides. `nodespan.runtime.text.drawing` draws its edges.
"""

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from nodespan.runtime.controller import Input, InputMode, Output, OutputMode
from nodespan.runtime.errors import RegistrationError


class EdgeKind(enum.IntEnum):
    """How a controller uses a type; the numbers are those of the original's export."""

    OUTPUT_EXCLUSIVE = 0
    OUTPUT_SHARED = 1
    INPUT_STRONG = 2
    INPUT_WEAK = 3
    INPUT_DESTROY_READY = 4
    INPUT_PRIMARY = 5
    INPUT_MAPPED = 6
    INPUT_MAPPED_DESTROY_READY = 7


_INPUT_EDGES = {
    InputMode.STRONG: EdgeKind.INPUT_STRONG,
    InputMode.WEAK: EdgeKind.INPUT_WEAK,
    InputMode.DESTROY_READY: EdgeKind.INPUT_DESTROY_READY,
    InputMode.PRIMARY: EdgeKind.INPUT_PRIMARY,
    InputMode.MAPPED: EdgeKind.INPUT_MAPPED,
    InputMode.MAPPED_DESTROY_READY: EdgeKind.INPUT_MAPPED_DESTROY_READY,
}


@attrs.frozen
class Edge:
    """One input or output. Outputs have neither namespace nor id, and an input of a whole kind has no id ("")."""

    controller: str
    namespace: str
    type: str
    id: str
    kind: EdgeKind

    @property
    def is_output(self) -> bool:
        """Whether the controller writes the type."""
        return self.kind <= EdgeKind.OUTPUT_SHARED

    @property
    def sort_key(self) -> tuple[int, str, str, str, str]:
        """Exclusive outputs, then shared ones, then all inputs; within these by controller, namespace, type, id."""
        return (min(self.kind, EdgeKind.INPUT_STRONG), self.controller, self.namespace, self.type, self.id)


class Graph:
    """The declarations of all controllers, free of contradictions."""

    def __init__(self) -> None:
        self._inputs: dict[str, tuple[Input, ...]] = {}
        self._writers: dict[str, dict[str, OutputMode]] = {}

    def add(self, name: str, inputs: Iterable[Input], outputs: Iterable[Output], *, is_queue: bool) -> None:
        """Add a controller, or raise RegistrationError and leave everything as it was."""
        inputs, outputs = tuple(inputs), tuple(outputs)
        if not name:
            raise RegistrationError("a controller has no name: set `name` on its class")
        if name in self._inputs:
            raise RegistrationError(f'controller "{name}" already registered')
        _check_inputs(name, inputs, is_queue=is_queue)
        claimed: dict[str, OutputMode] = {}
        for output in outputs:
            own = claimed.get(output.type_name)
            if own is output.mode is OutputMode.SHARED:
                raise RegistrationError(f'duplicate shared controller output: "{output.type_name}" -> "{name}"')
            writers = self._writers.get(output.type_name, {})
            _check_output(name, output, writers if own is None else {**writers, name: own})
            claimed[output.type_name] = output.mode
        self._inputs[name] = inputs
        for output in outputs:
            self._writers.setdefault(output.type_name, {})[name] = output.mode

    def remove(self, name: str) -> None:
        """Forget a controller."""
        del self._inputs[name]
        for writers in self._writers.values():
            writers.pop(name, None)

    def set_inputs(self, name: str, inputs: tuple[Input, ...]) -> None:
        """Replace the inputs of a controller, or raise RegistrationError and leave them as they were."""
        _check_inputs(name, inputs, is_queue=False)
        self._inputs[name] = inputs

    @property
    def controllers(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(sorted(self._inputs))

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Every input and output, in the original's order."""
        edges = [
            Edge(name, "", type, "", EdgeKind(mode))
            for type, writers in self._writers.items()
            for name, mode in writers.items()
        ]
        for name, inputs in self._inputs.items():
            edges += [
                Edge(name, input.kind.namespace, input.kind.type, input.id or "", _INPUT_EDGES[input.mode])
                for input in inputs
            ]
        return tuple(sorted(edges, key=lambda edge: edge.sort_key))


def _check_output(name: str, output: Output, writers: Mapping[str, OutputMode]) -> None:
    for writer, mode in sorted(writers.items()):
        if OutputMode.EXCLUSIVE in (mode, output.mode):
            raise RegistrationError(
                f'resource "{output.type_name}" is already managed in {mode.name.lower()} mode by "{writer}", '
                f'"{name}" cannot declare it as {output.mode.name.lower()} output'
            )


def _check_inputs(name: str, inputs: tuple[Input, ...], *, is_queue: bool) -> None:
    seen: dict[tuple[Any, str | None], Input] = {}
    for input in inputs:
        if input.mode.is_for_queues != is_queue:
            shape = "queue controller" if is_queue else "controller"
            makers = "primary() or mapped()" if is_queue else "weak() or strong()"
            raise RegistrationError(
                f'invalid input kind {input.mode:d} ({input.mode.name.lower()}) for {shape} "{name}": {input.kind}: '
                f"declare it by {makers}"
            )
        if (input.kind, input.id) in seen:
            what = input.kind if input.id is None else input.kind.pointer(input.id)
            raise RegistrationError(f'duplicate controller input: {what} -> "{name}"')
        seen[input.kind, input.id] = input

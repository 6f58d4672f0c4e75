"""Registering controllers: what is refused leaves everything as it was, what is taken is known to clients."""

from typing import Any

import attrs
import pytest

from nodespan.runtime.controller import (
    Controller,
    ControllerContext,
    Input,
    Output,
    QueueController,
    exclusive,
    primary,
    shared,
    weak,
)
from nodespan.runtime.controller.declarations import InputMode
from nodespan.runtime.engine import ControllerStatus, Engine
from nodespan.runtime.errors import ConflictError, RegistrationError
from nodespan.runtime.resource import Kind, Namespace, Resource, ResourceDefinition, ResourceType, kind_of
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.engine_suite import Integer, Text
from nodespan.runtime.testing.kit import running
from tests.runtime.parts import Jobs, Routine, Turns, integer


class Nameless(Controller):
    async def run(self, ctx: ControllerContext) -> None:
        """Never called."""


def routine(name: str, inputs: Any = (), outputs: Any = ()) -> Controller:
    async def run(ctx: ControllerContext) -> None:
        """Never called."""

    controller = Routine(name, run)
    controller.inputs, controller.outputs = inputs, outputs
    return controller


def jobs(name: str, *inputs: Input, concurrency: int = 1) -> QueueController:
    return Jobs(name, *inputs, concurrency=concurrency)


@pytest.mark.parametrize(
    ("controller", "text"),
    [
        (routine("C", outputs=[exclusive(Text)]), f'resource "{Text.name}" is already managed in shared mode by "A"'),
        (routine("A"), 'controller "A" already registered'),
        (jobs("A", primary(Integer)), 'controller "A" already registered'),
        (jobs("C", primary(Integer), concurrency=0), "controller 'C' has concurrency 0"),
        (jobs("C", Input(kind_of(Integer), "one", InputMode.PRIMARY)), "controller 'C': a primary input is"),
        (Nameless(), "a Nameless has no name"),
        (routine(""), "a Routine has no name"),
        (routine("C", inputs=weak(Integer)), "the inputs of controller 'C' must be a tuple of what weak()"),
        (routine("C", inputs=(Integer,)), "the inputs of controller 'C' must be a tuple of what weak()"),
        (routine("C", outputs=exclusive(Integer)), "the outputs of controller 'C' must be a tuple of what exclusive()"),
        (routine("C", outputs=[weak(Integer)]), "the outputs of controller 'C' must be a tuple of what exclusive()"),
        (object(), "<object object at"),
    ],
)  # fmt: skip
async def test_a_wrong_controller_is_refused_and_nothing_is_changed(controller: Any, text: str) -> None:
    state = MemoryState()
    engine = Engine(state)
    await engine.register(routine("B", outputs=[shared(Text)]))
    await engine.register(routine("A", outputs=[shared(Text)]))
    before = engine.graph.edges, tuple(engine.runners), state.list(ResourceDefinition)
    with pytest.raises(RegistrationError) as raised:
        await engine.register(controller)
    assert str(raised.value).startswith(text)
    assert (engine.graph.edges, tuple(engine.runners), state.list(ResourceDefinition)) == before


async def test_the_types_that_a_controller_declares_become_known_with_their_namespaces() -> None:
    state = MemoryState()
    await Engine(state).register(routine("A", inputs=[weak(Integer)], outputs=[exclusive(Text)]))
    known = {definition.spec.type for definition in state.list(ResourceDefinition)}
    assert known >= {Integer.name, Text.name, ResourceDefinition.name, Namespace.name}
    assert state.find(Namespace, "default") is not None


@attrs.frozen
class OtherSpec:
    """Of another type with the same name."""


async def test_a_type_that_is_known_by_another_definition_is_refused() -> None:
    state = MemoryState()
    engine = Engine(state)
    await engine.register(routine("A", inputs=[weak(Integer)]))
    other = ResourceType(Integer.name, OtherSpec, namespace="elsewhere")
    with pytest.raises(RegistrationError, match="already registered with another definition"):
        await engine.register(routine("B", outputs=[exclusive(other)]))
    assert engine.graph.controllers == ("A",)


class RefusingState(MemoryState):
    """Cannot write definitions, as a state elsewhere may be unable to."""

    async def create(self, resource: Resource[Any], *, owner: str = "") -> Resource[Any]:
        if resource.kind == ResourceDefinition.kind and resource.id.startswith("texts"):
            raise ConflictError("not today")
        return await super().create(resource, owner=owner)


async def test_a_registration_that_the_state_fails_leaves_no_trace_in_the_graph() -> None:
    engine = Engine(RefusingState())
    with pytest.raises(ConflictError):
        await engine.register(routine("A", outputs=[exclusive(Text)]))
    assert engine.graph.edges == ()
    assert not engine.runners
    await engine.register(routine("A", outputs=[exclusive(Integer)]))


async def test_declarations_may_be_iterators() -> None:
    state = MemoryState()
    kinds: list[Kind[Any]] = [kind_of(Integer), kind_of(Text)]
    turns = Turns("A")
    turns.inputs = (weak(kind) for kind in kinds)  # an author may do so
    async with running(turns, state=state) as node:
        assert len(node.engine.graph.edges) == 2
        await node.settled()
        await node.create(integer(Integer.kind, "one"))
        await node.settled()
        assert turns.turns == 2


async def test_a_controller_that_is_registered_while_the_engine_runs_starts_at_once() -> None:
    state = MemoryState()
    async with running(state=state) as node:
        await node.settled()
        turns, job = Turns("A", weak(Integer)), Jobs("B", primary(Integer))
        await node.create(integer(Integer.kind, "one"))
        await node.engine.register(turns)
        await node.engine.register(job)
        await node.settled()
        assert (turns.turns, job.done) == (1, ["one"])
        assert {status.id for status in state.list(ControllerStatus)} == {"A", "B"}


async def test_an_engine_runs_once() -> None:
    async with running() as node:
        with pytest.raises(RuntimeError, match="started already"):
            await node.engine.run()


async def test_outputs_are_of_a_type_in_all_namespaces() -> None:
    engine = Engine(MemoryState())
    first: Output = exclusive(Integer.within("one"))
    await engine.register(routine("A", outputs=[first]))
    with pytest.raises(RegistrationError):
        await engine.register(routine("B", outputs=[exclusive(Integer.within("two"))]))

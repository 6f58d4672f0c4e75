"""The generic cleanup controller: what others depend on stays until they are gone."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from nodespan.runtime.controller import Access, Input, Output, SkipReconcile, destroy_ready, shared, weak
from nodespan.runtime.controller.cleanup import CleanupController, CleanupHandler, Combined, HasNoOutputs, RemoveOutputs
from nodespan.runtime.graph import EdgeKind
from nodespan.runtime.resource import KindLike, LabelQuery, Resource
from nodespan.runtime.resource.query import equal
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Sentence, Text
from nodespan.runtime.testing.kit import Node, running
from tests.runtime.parts import integer, text

pytestmark = pytest.mark.virtual_clock

NAME = "test.Cleanup"


def of(input: Resource[Any]) -> LabelQuery:
    return equal("of", input.id)


class Handler:
    """Returns or raises as configured."""

    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], BaseException]] = {}
        self.asked: list[str] = []

    async def __call__(self, ctx: Access, input: Resource[IntegerSpec]) -> None:
        self.asked.append(input.id)
        if input.id in self.answers:
            raise self.answers[input.id]()


@asynccontextmanager
async def cleaning(handler: CleanupHandler[IntegerSpec], *, allow_crashes: bool = False) -> AsyncIterator[Node]:
    controller = CleanupController(NAME, input=Integer, handler=handler)
    async with running(controller, allow_crashes=allow_crashes) as node:
        for id in ("one", "two"):
            await node.create(integer(Integer.kind, id))
        await node.settled()
        yield node


async def depend(node: Node, id: str, on: str, *, kind: KindLike[Any] = Text, owner: str = "") -> None:
    dependent = text(Text.kind, id, labels={"of": on})
    if kind is Sentence:
        dependent = Sentence.new(id, Sentence.spec_class(""), labels={"of": on})  # type: ignore[assignment]
    await node.create(dependent, owner=owner)


def held(node: Node, id: str) -> bool:
    return NAME in node.state.get(Integer, id).metadata.finalizers


async def test_running_inputs_are_held_and_torn_down_ones_are_handled() -> None:
    handler = Handler()
    async with cleaning(handler) as node:
        assert held(node, "one")
        assert held(node, "two")
        assert handler.asked == []
        await node.teardown(Integer, "one")
        await node.settled()
        assert not held(node, "one")
        assert held(node, "two")
        assert handler.asked == ["one"]
        await node.destroy(Integer, "one")


async def test_the_handler_is_not_called_for_an_input_without_the_finalizer() -> None:
    handler = Handler()
    async with cleaning(handler) as node:
        await node.create(integer(Integer.kind, "three", finalizers=("other",)))
        await node.teardown(Integer, "three")
        await node.settled()
        assert handler.asked == []
        assert not held(node, "three")


async def test_a_skip_waits_for_the_next_change_and_an_error_is_tried_again_beside_the_others() -> None:
    handler = Handler()
    handler.answers = {"one": lambda: ValueError("not yet")}
    async with cleaning(handler, allow_crashes=True) as node:
        await node.teardown(Integer, "one")
        await node.teardown(Integer, "two")
        await trio.sleep(10)
        assert held(node, "one")
        assert not held(node, "two")
        assert len(node.crashes) > 2
        handler.answers = {"one": SkipReconcile}
        await trio.sleep(60)
        crashes, asked = len(node.crashes), len(handler.asked)
        await trio.sleep(600)
        assert (len(node.crashes), len(handler.asked)) == (crashes, asked)
        handler.answers = {}
        await node.create(integer(Integer.kind, "three"))
        await node.settled()
        assert not held(node, "one")


async def test_has_no_outputs_waits_until_others_removed_the_dependents() -> None:
    async with cleaning(HasNoOutputs(Text, of)) as node:
        await depend(node, "a", on="one", owner="other")
        await depend(node, "b", on="one")
        await depend(node, "c", on="two")
        await node.teardown(Integer, "one")
        await node.settled()
        assert held(node, "one")
        await node.destroy(Text, "a", owner="other")
        await node.settled()
        assert held(node, "one")
        await node.destroy(Text, "b")
        await node.settled()
        assert not held(node, "one")
        assert held(node, "two")
        assert node.state.find(Text, "c") is not None


async def test_remove_outputs_removes_unowned_outputs_and_waits_for_their_finalizers() -> None:
    async with cleaning(RemoveOutputs(Text, of)) as node:
        await depend(node, "a", on="one")
        await depend(node, "b", on="one")
        await depend(node, "c", on="two")
        await depend(node, "owned", on="one", owner="other")
        await node.state.add_finalizer(Text, "b", "holder")
        await node.settled()
        assert len(node.state.list(Text)) == 4
        await node.teardown(Integer, "one")
        await node.settled()
        assert [it.id for it in node.state.list(Text)] == ["b", "c", "owned"]
        assert node.state.get(Text, "b").metadata.is_tearing_down
        assert not node.state.get(Text, "owned").metadata.is_tearing_down
        assert held(node, "one")
        await node.state.remove_finalizer(Text, "b", "holder")
        await node.settled()
        # What belongs to others does not keep the input.
        assert [it.id for it in node.state.list(Text)] == ["c", "owned"]
        assert not held(node, "one")


async def test_remove_outputs_removes_what_the_given_owners_own() -> None:
    async with cleaning(RemoveOutputs(Text, of, owners=["friend"])) as node:
        for owner in ("friend", "other", ""):
            await depend(node, f"of {owner}", on="one", owner=owner)
        await node.teardown(Integer, "one")
        await node.settled()
        assert [it.id for it in node.state.list(Text)] == ["of other"]
        assert not held(node, "one")


async def test_combined_handlers_are_called_in_order_until_one_keeps_the_input() -> None:
    first, last = Handler(), Handler()
    async with cleaning(Combined(first, RemoveOutputs(Text, of), HasNoOutputs(Sentence, of), last)) as node:
        await depend(node, "a", on="one")
        await depend(node, "b", on="one", kind=Sentence)
        first.answers = {"one": SkipReconcile}
        await node.teardown(Integer, "one")
        await node.settled()
        assert node.state.find(Text, "a") is not None
        first.answers = {}
        await node.put(Integer, "two", IntegerSpec(2))
        await node.settled()
        assert node.state.find(Text, "a") is None
        assert last.asked == []
        assert held(node, "one")
        await node.destroy(Sentence, "b")
        await node.settled()
        assert last.asked == ["one"]
        assert not held(node, "one")


def test_combined_handlers_declare_what_they_do_together() -> None:
    combined: Combined[Any] = Combined(RemoveOutputs(Text, of), RemoveOutputs(Text, of), HasNoOutputs(Sentence, of))
    assert combined.inputs == (destroy_ready(Text), weak(Sentence))
    assert combined.outputs == (shared(Text),)
    with pytest.raises(ValueError, match="inputs of different modes"):
        Combined(RemoveOutputs(Text, of), HasNoOutputs(Text, of))
    with pytest.raises(ValueError, match="at least one handler"):
        Combined()


async def test_its_declarations_are_those_of_the_original() -> None:
    async with cleaning(RemoveOutputs(Text, of)) as node:
        assert [(edge.type, edge.kind) for edge in node.engine.graph.edges] == [
            (Text.name, EdgeKind.OUTPUT_SHARED),
            (Integer.name, EdgeKind.INPUT_STRONG),
            (Text.name, EdgeKind.INPUT_DESTROY_READY),
        ]
    async with cleaning(HasNoOutputs(Text, of)) as node:
        assert [edge.kind for edge in node.engine.graph.edges] == [EdgeKind.INPUT_STRONG, EdgeKind.INPUT_WEAK]

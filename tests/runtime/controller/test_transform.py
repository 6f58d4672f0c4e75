"""The generic transform: one output per input, gone with it, whatever goes wrong in between."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from nodespan.runtime.controller import Access, SkipReconcile, weak
from nodespan.runtime.controller.transform import Draft, Transform
from nodespan.runtime.engine import ControllerStatus
from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.graph import EdgeKind
from nodespan.runtime.resource import LabelQuery, Resource, Term
from nodespan.runtime.testing.engine_suite import (
    Integer,
    IntegerSpec,
    Sentence,
    SentenceSpec,
    Text,
    TextSpec,
    in_digits,
)
from nodespan.runtime.testing.kit import Node, running
from tests.runtime.parts import integer, text

pytestmark = pytest.mark.virtual_clock

NAME = "test.Transform"
NUMBERS = Integer.kind


def digits(_ctx: Access, number: Resource[IntegerSpec]) -> TextSpec:
    return in_digits(number.spec)


def let_go(_ctx: Access, _input: Resource[Any]) -> None:
    """Releases every input."""


@asynccontextmanager
async def transforming(*, allow_crashes: bool = False, **options: Any) -> AsyncIterator[Node]:
    settings: dict[str, Any] = {"input": Integer, "output": Text, "transform": digits} | options
    async with running(Transform(NAME, **settings), allow_crashes=allow_crashes) as node:
        yield node


def texts(node: Node) -> dict[str, str]:
    return {resource.id: resource.spec.value for resource in node.state.list(Text)}


def finalizers(node: Node, id: str) -> tuple[str, ...]:
    return node.state.get(Integer, id).metadata.finalizers


async def test_inputs_become_outputs_follow_updates_and_go_with_them() -> None:
    async with transforming() as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.create(integer(NUMBERS, "two", 2))
        await node.settled()
        assert texts(node) == {"one": "1", "two": "2"}
        assert node.state.get(Text, "one").metadata.owner == NAME
        await node.put(Integer, "one", IntegerSpec(11))
        await node.settled()
        assert texts(node) == {"one": "11", "two": "2"}
        await node.destroy(Integer, "one")
        await node.settled()
        assert texts(node) == {"two": "2"}
        await node.teardown(Integer, "two")
        await node.settled()
        assert texts(node) == {}
        assert finalizers(node, "two") == ()


async def test_an_output_has_the_id_that_it_is_given_and_none_where_there_is_none() -> None:
    def even(number: Resource[IntegerSpec]) -> str | None:
        return None if number.spec.value % 2 else f"even {number.id}"

    async with transforming(output_id=even) as node:
        for id, value in (("one", 1), ("two", 2), ("four", 4)):
            await node.create(integer(NUMBERS, id, value))
        await node.settled()
        assert texts(node) == {"even two": "2", "even four": "4"}
        await node.put(Integer, "two", IntegerSpec(3))
        await node.settled()
        assert texts(node) == {"even four": "4"}


async def in_a_moment(_ctx: Access, number: Resource[IntegerSpec]) -> TextSpec:
    await trio.sleep(1)
    return in_digits(number.spec)


async def test_the_transform_may_take_its_time() -> None:
    async with transforming(transform=in_a_moment) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.eventually(Text, "one", spec=TextSpec("1"))


def labelled(_ctx: Access, number: Resource[IntegerSpec]) -> Draft[TextSpec]:
    return Draft(in_digits(number.spec), labels={"parity": str(number.spec.value % 2)}, annotations={"by": "test"})


async def test_an_output_may_have_labels_and_annotations() -> None:
    async with transforming(transform=labelled) as node:
        await node.create(integer(NUMBERS, "one", 1))
        output = await node.eventually(Text, "one")
        assert (output.metadata.labels, output.metadata.annotations) == ({"parity": "1"}, {"by": "test"})
        await node.put(Integer, "one", IntegerSpec(2))
        await node.eventually(Text, "one", lambda it: it.metadata.labels == {"parity": "0"})


async def test_only_inputs_that_pass_the_queries_have_outputs() -> None:
    query = LabelQuery((Term("wanted"),))
    async with transforming(labels=[query], id_query="^t") as node:
        for id, labels in (("two", {"wanted": ""}), ("three", {}), ("four", {"wanted": ""})):
            await node.create(integer(NUMBERS, id, 7, labels=labels))
        await node.settled()
        assert texts(node) == {"two": "7"}


def fails_on_13(_ctx: Access, number: Resource[IntegerSpec]) -> TextSpec:
    if number.spec.value == 13:
        raise ValueError(f"{number.id} is unlucky")
    return in_digits(number.spec)


async def test_an_error_in_one_input_blocks_no_other_and_destroys_nothing() -> None:
    async with transforming(transform=fails_on_13, allow_crashes=True) as node:
        for id, value in (("a", 1), ("b", 2), ("c", 3)):
            await node.create(integer(NUMBERS, id, value))
        await node.settled()
        for id in ("a", "c"):
            await node.put(Integer, id, IntegerSpec(13))
        await node.put(Integer, "b", IntegerSpec(5))
        await node.destroy(Integer, "a")
        await trio.sleep(5)
        assert texts(node) == {"b": "5", "c": "3"}
        assert len(node.crashes) > 1
        error = node.crashes[0].error
        assert isinstance(error, ExceptionGroup)
        assert [str(each) for each in error.exceptions] == ["c is unlucky"]
        await node.put(Integer, "c", IntegerSpec(6))
        await node.eventually(Text, "c", spec=TextSpec("6"), within=120)


def skips_13(_ctx: Access, number: Resource[IntegerSpec]) -> TextSpec:
    if number.spec.value == 13:
        raise SkipReconcile
    return in_digits(number.spec)


async def test_an_input_that_is_skipped_keeps_its_output() -> None:
    async with transforming(transform=skips_13) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.put(Integer, "one", IntegerSpec(13))
        await node.create(integer(NUMBERS, "two", 13))
        await node.settled()
        assert texts(node) == {"one": "1"}


async def test_an_output_with_a_finalizer_stays_until_it_is_removed() -> None:
    async with transforming() as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.state.add_finalizer(Text, "one", "holder")
        await node.destroy(Integer, "one")
        await node.settled()
        assert node.state.get(Text, "one").metadata.is_tearing_down
        await node.state.remove_finalizer(Text, "one", "holder")
        await node.gone(Text, "one")


async def test_a_recreated_input_gets_its_output_when_the_old_one_is_gone() -> None:
    async with transforming() as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.state.add_finalizer(Text, "one", "holder")
        await node.destroy(Integer, "one")
        await node.settled()
        await node.create(integer(NUMBERS, "one", 2))
        await node.settled()
        old = node.state.get(Text, "one")
        assert (old.metadata.is_tearing_down, old.spec) == (True, TextSpec("1"))
        await node.state.remove_finalizer(Text, "one", "holder")
        new = await node.eventually(Text, "one", spec=TextSpec("2"))
        assert (new.metadata.is_tearing_down, new.metadata.version) == (False, 1)


async def test_an_output_that_others_tear_down_is_created_again() -> None:
    async with transforming() as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.teardown(Text, "one", owner=NAME)
        await node.settled()
        assert node.state.get(Text, "one").metadata.version == 1
        assert not node.state.get(Text, "one").metadata.is_tearing_down


async def test_an_output_of_another_owner_is_left_alone() -> None:
    async with transforming(finalize=let_go) as node:
        await node.create(text(Text.kind, "one", "foreign"), owner="other")
        await node.create(integer(NUMBERS, "one", 1))
        await node.create(integer(NUMBERS, "two", 2))
        await node.settled()
        assert texts(node) == {"one": "foreign", "two": "2"}
        # As long as it is there the input is held: who knows what the other one made it from.
        await node.teardown(Integer, "one")
        await node.settled()
        assert texts(node) == {"one": "foreign", "two": "2"}
        assert finalizers(node, "one") == (NAME,)


async def test_a_finalizer_holds_the_input_until_its_output_is_gone() -> None:
    async with transforming(finalize=let_go) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        assert finalizers(node, "one") == (NAME,)
        await node.state.add_finalizer(Text, "one", "holder")
        assert not await node.teardown(Integer, "one")
        await node.settled()
        assert node.state.get(Text, "one").metadata.is_tearing_down
        assert finalizers(node, "one") == (NAME,)
        await node.state.remove_finalizer(Text, "one", "holder")
        await node.settled()
        assert texts(node) == {}
        assert finalizers(node, "one") == ()
        await node.destroy(Integer, "one")


async def test_an_input_that_never_had_an_output_is_let_go_at_once() -> None:
    async with transforming(finalize=let_go) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.state.teardown(Integer, "one")
        await node.settled()
        assert (texts(node), finalizers(node, "one")) == ({}, ())


class Gate:
    """Keeps inputs as long as it has an answer for them."""

    def __init__(self) -> None:
        self.answer: Callable[[], BaseException] | None = None
        self.asked = 0

    async def __call__(self, ctx: Access, input: Resource[IntegerSpec]) -> None:
        self.asked += 1
        # The output is there as long as the input is kept.
        assert ctx.find(Text, input.id) is not None
        if self.answer is not None:
            raise self.answer()


@pytest.mark.parametrize(("answer", "crashes"), [(SkipReconcile, False), (lambda: ValueError("not yet"), True)])
async def test_the_input_and_its_output_stay_until_finalizing_succeeds(
    answer: Callable[[], BaseException], crashes: bool
) -> None:
    gate = Gate()
    gate.answer = answer
    async with transforming(finalize=gate, allow_crashes=crashes) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.create(integer(NUMBERS, "two", 2))
        await node.settled()
        assert gate.asked == 0
        await node.teardown(Integer, "one")
        await trio.sleep(10)
        assert texts(node) == {"one": "1", "two": "2"}
        assert finalizers(node, "one") == (NAME,)
        assert bool(node.crashes) is crashes
        gate.answer = None
        await node.put(Integer, "two", IntegerSpec(22))
        await trio.sleep(60)
        assert texts(node) == {"two": "22"}
        assert finalizers(node, "one") == ()


async def test_ignoring_teardown_keeps_the_output_until_the_input_is_destroyed() -> None:
    async with transforming(ignore_tearing_down=True) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.teardown(Integer, "one")
        await node.settled()
        assert texts(node) == {"one": "1"}
        await node.destroy(Integer, "one")
        await node.settled()
        assert texts(node) == {}


async def test_an_event_source_has_turns_too_and_stops_with_the_controller() -> None:
    value = 0
    stopped = trio.Event()

    async def every_second(wake: Callable[[], None]) -> None:
        nonlocal value
        try:
            while True:
                await trio.sleep(1)
                value += 1
                wake()
        finally:
            stopped.set()

    async with transforming(transform=lambda _ctx, _input: TextSpec(str(value)), events=every_second) as node:
        await node.create(integer(NUMBERS, "one"))
        await node.eventually(Text, "one", spec=TextSpec("3"))
    assert stopped.is_set()


async def test_an_event_source_that_fails_restarts_the_controller() -> None:
    starts = 0

    async def fails_at_first(_wake: Callable[[], None]) -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise ValueError("no source")

    async with transforming(events=fails_at_first) as node:
        await node.crashed(NAME)
        await node.create(integer(NUMBERS, "one", 1))
        await node.eventually(Text, "one")
        status = await node.eventually(ControllerStatus, NAME, lambda it: it.spec.crashes == 1)
        assert (starts, status.spec.last_error) == (2, "ValueError: no source")


async def test_the_shutdown_callback_is_called_when_the_routine_ends() -> None:
    calls: list[str] = []
    async with transforming(shutdown=lambda: calls.append("shutdown")) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        assert calls == []
    assert calls == ["shutdown"]


async def test_hooks_are_called_once_a_turn_and_three_inputs_are_at_most_two_turns() -> None:
    calls: list[str] = []

    def before(ctx: Access) -> None:
        calls.append(f"before {len(ctx.list(Text))}")

    async def after(ctx: Access) -> None:
        calls.append(f"after {len(ctx.list(Text))}")

    async with transforming(before=before, after=after) as node:
        for id in ("one", "two", "three"):
            await node.create(integer(NUMBERS, id))
        await node.settled()
        assert calls in (["before 0", "after 3"], ["before 0", "after 0", "before 0", "after 3"])


@pytest.mark.parametrize("hook", ["before", "after"])
async def test_a_hook_that_fails_ends_the_turn(hook: str) -> None:
    async def fail(_ctx: Access) -> None:
        raise ValueError("hook")

    async with transforming(allow_crashes=True, **{hook: fail}) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        assert str(node.crashes[0].error) == "hook"
        assert texts(node) == ({} if hook == "before" else {"one": "1"})


async def test_a_shared_output_is_written_by_many_who_each_keep_to_their_own() -> None:
    def named(prefix: str) -> Callable[[Resource[Any]], str]:
        return lambda resource: f"{prefix} {resource.id}"

    def shouted(_ctx: Access, sentence: Resource[SentenceSpec]) -> Awaitable[TextSpec] | TextSpec:
        return TextSpec(sentence.spec.value.upper())

    one = Transform("one", input=Integer, output=Text, transform=digits, output_id=named("n"), shared_output=True)
    other = Transform("other", input=Sentence, output=Text, transform=shouted, output_id=named("s"), shared_output=True)
    async with running(one, other) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.put(Sentence, "two", SentenceSpec("two"))
        await node.settled()
        assert texts(node) == {"n one": "1", "s two": "TWO"}
        await node.destroy(Integer, "one")
        await node.settled()
        assert texts(node) == {"s two": "TWO"}


async def test_input_and_output_may_be_of_one_kind() -> None:
    def copy(number: Resource[IntegerSpec]) -> str | None:
        return None if number.id.startswith("copy") else f"copy of {number.id}"

    def same(_ctx: Access, number: Resource[IntegerSpec]) -> IntegerSpec:
        return number.spec

    doubling = Transform("C", input=Integer, output=Integer, transform=same, output_id=copy)
    async with running(doubling) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.eventually(Integer, "copy of one", spec=IntegerSpec(1))
        await node.destroy(Integer, "one")
        await node.gone(Integer, "copy of one")


async def test_extra_inputs_wake_it_too() -> None:
    def with_factor(ctx: Access, number: Resource[IntegerSpec]) -> TextSpec:
        factor = ctx.find(Sentence, "factor")
        return TextSpec(f"{factor.spec.value if factor else ''}{number.spec.value}")

    async with transforming(transform=with_factor, extra_inputs=[weak(Sentence, "factor")]) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.put(Sentence, "factor", SentenceSpec("#"))
        await node.eventually(Text, "one", spec=TextSpec("#1"))


def test_finalizing_inputs_whose_teardown_is_ignored_is_a_mistake_of_construction() -> None:
    with pytest.raises(ValueError, match="give one or the other"):
        Transform(NAME, input=Integer, output=Text, transform=digits, finalize=let_go, ignore_tearing_down=True)


async def test_its_declarations_are_those_of_the_original() -> None:
    async with transforming(finalize=let_go) as node:
        kinds = [edge.kind for edge in node.engine.graph.edges]
        assert kinds == [EdgeKind.OUTPUT_EXCLUSIVE, EdgeKind.INPUT_STRONG, EdgeKind.INPUT_DESTROY_READY]
        with pytest.raises(RegistrationError, match="exclusive mode"):
            await node.engine.register(Transform("other", input=Integer, output=Text, transform=digits))
    async with transforming(shared_output=True) as node:
        kinds = [edge.kind for edge in node.engine.graph.edges]
        assert kinds == [EdgeKind.OUTPUT_SHARED, EdgeKind.INPUT_WEAK, EdgeKind.INPUT_DESTROY_READY]

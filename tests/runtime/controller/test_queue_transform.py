"""The generic queue transform: item by item one output per input, and finalizers so that nothing is forgotten."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from nodespan.runtime.controller import Access, Requeue, SkipReconcile, mapped
from nodespan.runtime.controller.queue_transform import (
    DestroyOutput,
    QueueTransform,
    map_by_label,
    map_resource,
    map_to_nothing,
    map_to_same_id,
)
from nodespan.runtime.controller.transform import Draft
from nodespan.runtime.engine.queue_runner import QueueRunner
from nodespan.runtime.graph import EdgeKind
from nodespan.runtime.resource import LabelQuery, Resource, Term
from nodespan.runtime.state import ANY_PHASE
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

NAME = "test.QueueTransform"
NUMBERS = Integer.kind


class Transforming:
    """Makes digits of numbers; some numbers it treats in a way of their own."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[int, Callable[[], BaseException]] = {}

    def __call__(self, _ctx: Access, number: Resource[IntegerSpec]) -> TextSpec:
        self.calls.append(number.id)
        if number.spec.value in self.answers:
            raise self.answers[number.spec.value]()
        return in_digits(number.spec)


@asynccontextmanager
async def transforming(*, allow_crashes: bool = False, **options: Any) -> AsyncIterator[Node]:
    settings: dict[str, Any] = {"input": Integer, "output": Text, "transform": Transforming()} | options
    async with running(QueueTransform(NAME, **settings), allow_crashes=allow_crashes) as node:
        yield node


def texts(node: Node) -> dict[str, str]:
    return {resource.id: resource.spec.value for resource in node.state.list(Text)}


def finalizers(node: Node, id: str) -> tuple[str, ...]:
    return node.state.get(Integer, id).metadata.finalizers


def jobs(node: Node) -> Any:
    runner = node.engine.runners[NAME]
    assert isinstance(runner, QueueRunner)
    return runner.jobs


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_inputs_become_outputs_follow_updates_and_are_held_until_their_outputs_are_gone(concurrency: int) -> None:
    async with transforming(concurrency=concurrency) as node:
        for id in range(10):
            await node.create(integer(NUMBERS, str(id), id))
        await node.settled()
        assert texts(node) == {str(id): str(id) for id in range(10)}
        assert finalizers(node, "3") == (NAME,)
        await node.put(Integer, "3", IntegerSpec(33))
        await node.settled()
        assert texts(node)["3"] == "33"
        assert not await node.teardown(Integer, "3")
        await node.settled()
        assert "3" not in texts(node)
        assert finalizers(node, "3") == ()
        await node.destroy(Integer, "3")
        await node.settled()
        assert len(texts(node)) == 9


async def test_only_changed_items_are_reconciled() -> None:
    transform = Transforming()
    async with transforming(transform=transform) as node:
        for id in range(100):
            await node.create(integer(NUMBERS, str(id), id))
        await node.settled()
        transform.calls.clear()
        await node.put(Integer, "7", IntegerSpec(77))
        await node.settled()
        assert transform.calls == ["7"]


async def test_an_output_with_a_finalizer_holds_the_input_until_it_is_removed() -> None:
    async with transforming() as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.state.add_finalizer(Text, "one", "holder")
        await node.teardown(Integer, "one")
        await node.settled()
        assert node.state.get(Text, "one").metadata.is_tearing_down
        assert finalizers(node, "one") == (NAME,)
        await node.state.remove_finalizer(Text, "one", "holder")
        await node.settled()
        assert (texts(node), finalizers(node, "one")) == ({}, ())


async def test_an_output_that_others_tear_down_is_created_again_once_it_has_no_finalizers() -> None:
    async with transforming() as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.state.add_finalizer(Text, "one", "holder")
        await node.teardown(Text, "one", owner=NAME)
        await node.put(Integer, "one", IntegerSpec(2))
        await node.settled()
        assert texts(node) == {"one": "1"}
        await node.state.remove_finalizer(Text, "one", "holder")
        await node.settled()
        output = node.state.get(Text, "one")
        assert (output.spec, output.metadata.version, output.metadata.is_tearing_down) == (TextSpec("2"), 1, False)


@pytest.mark.parametrize("torn_down", [False, True])
async def test_an_output_of_another_owner_is_left_alone_until_it_is_gone(torn_down: bool) -> None:
    async with transforming() as node:
        await node.create(text(Text.kind, "one", "foreign"), owner="other")
        if torn_down:
            await node.teardown(Text, "one", owner="other")
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        assert texts(node) == {"one": "foreign"}


async def test_ids_may_differ_and_an_input_may_have_no_output() -> None:
    def even(number: Resource[IntegerSpec]) -> str | None:
        return None if number.spec.value % 2 else f"even {number.id}"

    async with transforming(output_id=even, input_id=lambda it: it.id.removeprefix("even ")) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.create(integer(NUMBERS, "two", 2))
        await node.settled()
        assert texts(node) == {"even two": "2"}
        assert finalizers(node, "one") == ()
        await node.state.add_finalizer(Text, "even two", "holder")
        await node.teardown(Integer, "two")
        await node.settled()
        await node.state.remove_finalizer(Text, "even two", "holder")
        await node.settled()
        assert (texts(node), finalizers(node, "two")) == ({}, ())


async def test_an_error_in_one_item_keeps_no_other_waiting() -> None:
    transform = Transforming()
    transform.answers[13] = lambda: ValueError("unlucky")
    async with transforming(transform=transform, allow_crashes=True) as node:
        await node.create(integer(NUMBERS, "bad", 13))
        await node.create(integer(NUMBERS, "good", 1))
        await node.settled()
        assert texts(node) == {"good": "1"}
        await trio.sleep(10)
        assert len(node.crashes) > 2
        await node.put(Integer, "bad", IntegerSpec(2))
        await node.settled()
        assert texts(node) == {"bad": "2", "good": "1"}


async def test_a_requeue_without_error_writes_first_and_is_called_again() -> None:
    value = 0

    def count(_ctx: Access, _number: Resource[IntegerSpec]) -> Draft[TextSpec]:
        nonlocal value
        value += 1
        return Draft(TextSpec(str(value)), labels={"n": str(value)}, requeue_after=10.0 if value < 6 else None)

    async with transforming(transform=count) as node:
        await node.create(integer(NUMBERS, "one"))
        await node.settled()
        first = value
        assert texts(node) == {"one": str(first)}
        await trio.sleep(10.5)
        assert texts(node) == {"one": str(first + 1)}
        await trio.sleep(1000)
        assert texts(node) == {"one": "6"}
        assert node.state.get(Text, "one").metadata.labels == {"n": "6"}


@pytest.mark.parametrize("with_error", [False, True])
async def test_a_requeue_that_is_raised_writes_nothing_and_is_called_again(with_error: bool) -> None:
    calls = 0

    async def later(_ctx: Access, number: Resource[IntegerSpec]) -> TextSpec:
        nonlocal calls
        calls += 1
        if trio.current_time() < started + 25:
            raise Requeue(10.0) from (ValueError("not yet") if with_error else None)
        return in_digits(number.spec)

    started = trio.current_time()
    async with transforming(transform=later, allow_crashes=with_error) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await trio.sleep(20)
        assert texts(node) == {}
        await node.eventually(Text, "one", within=20)
        assert 30 <= trio.current_time() - started < 31
        assert bool(node.crashes) is with_error
        assert jobs(node).requeues == (0 if with_error else calls - 1)


async def test_a_skip_is_counted_and_no_more() -> None:
    transform = Transforming()
    transform.answers[13] = SkipReconcile
    async with transforming(transform=transform) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.put(Integer, "one", IntegerSpec(13))
        await trio.sleep(600)
        assert texts(node) == {"one": "1"}
        assert jobs(node).skips == 1


async def test_an_output_that_is_no_longer_desired_is_destroyed_without_a_crash() -> None:
    transform = Transforming()
    transform.answers[13] = DestroyOutput
    async with transforming(transform=transform) as node:
        await node.create(integer(NUMBERS, "never", 13))
        await node.create(integer(NUMBERS, "one", 1))
        await node.create(integer(NUMBERS, "held", 1))
        await node.settled()
        assert texts(node) == {"one": "1", "held": "1"}
        await node.state.add_finalizer(Text, "held", "holder")
        for id in ("one", "held"):
            await node.put(Integer, id, IntegerSpec(13))
        await node.settled()
        assert texts(node) == {"held": "1"}
        await node.state.remove_finalizer(Text, "held", "holder")
        await node.settled()
        assert texts(node) == {}
        await node.put(Integer, "one", IntegerSpec(2))
        await node.settled()
        assert texts(node) == {"one": "2"}


class Gate:
    """Keeps inputs as long as it is closed."""

    def __init__(self) -> None:
        self.closed = True
        self.asked = 0

    async def __call__(self, _ctx: Access, _input: Resource[IntegerSpec]) -> None:
        self.asked += 1
        if self.closed:
            raise ValueError("not yet")


async def test_the_input_and_its_output_stay_until_finalizing_succeeds() -> None:
    gate = Gate()
    async with transforming(finalize=gate, allow_crashes=True) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        assert gate.asked == 0
        await node.teardown(Integer, "one")
        await trio.sleep(10)
        assert gate.asked > 2
        assert (texts(node), finalizers(node, "one")) == ({"one": "1"}, (NAME,))
        gate.closed = False
        await trio.sleep(60)
        assert (texts(node), finalizers(node, "one")) == ({}, ())


@pytest.mark.parametrize(
    ("options", "others", "live"),
    [
        # Treated as running while any of these is on the input:
        ({"ignore_teardown_while": ["a", "b"]}, [], False),
        ({"ignore_teardown_while": ["a", "b"]}, ["a"], True),
        ({"ignore_teardown_while": ["a", "b"]}, ["b", "x"], True),
        ({"ignore_teardown_while": ["a", "b"]}, ["x"], False),
        # Treated as running until only ours and these are left:
        ({"ignore_teardown_until": ["a"]}, [], False),
        ({"ignore_teardown_until": ["a"]}, ["a"], False),
        ({"ignore_teardown_until": ["a"]}, ["a", "x"], True),
        ({"ignore_teardown_until": ["a"]}, ["x"], True),
        # To be the last one out:
        ({"ignore_teardown_until": []}, [], False),
        ({"ignore_teardown_until": []}, ["x"], True),
        # Either may defer:
        ({"ignore_teardown_while": ["a"], "ignore_teardown_until": ["a"]}, ["a"], True),
        ({"ignore_teardown_while": ["b"], "ignore_teardown_until": ["a"]}, ["a"], False),
        ({"ignore_teardown_while": ["b"], "ignore_teardown_until": ["a"]}, ["x"], True),
        ({}, ["x"], False),
    ],
)
async def test_what_defers_a_teardown(options: dict[str, Any], others: list[str], live: bool) -> None:
    async with transforming(**options) as node:
        await node.create(integer(NUMBERS, "one", 1, finalizers=tuple(others)))
        await node.settled()
        await node.teardown(Integer, "one")
        await node.settled()
        if live:
            assert texts(node) == {"one": "1"}
            await node.state.update_with_conflicts(
                Integer, "one", lambda it: it.with_spec(IntegerSpec(2)), expected_phase=ANY_PHASE
            )
            await node.settled()
            assert texts(node) == {"one": "2"}
            assert NAME in finalizers(node, "one")
            await node.state.remove_finalizer(Integer, "one", *others)
            await node.settled()
        assert texts(node) == {}
        assert NAME not in finalizers(node, "one")


async def test_a_deferred_teardown_does_not_hold_an_input_that_was_not_held() -> None:
    async with transforming(ignore_teardown_while=["a"]) as node:
        await node.create(integer(NUMBERS, "one", 1, finalizers=("a",)))
        await node.teardown(Integer, "one")
        await node.settled()
        assert (texts(node), finalizers(node, "one")) == ({"one": "1"}, ("a",))


@pytest.mark.parametrize("holder", [(), ("b",)])
async def test_the_output_of_an_input_that_was_not_held_goes_when_the_input_is_gone(holder: tuple[str, ...]) -> None:
    async with transforming(ignore_teardown_while=["a"]) as node:
        await node.create(integer(NUMBERS, "one", 1, finalizers=("a",)))
        await node.teardown(Integer, "one")
        await node.settled()
        if holder:
            await node.state.add_finalizer(Text, "one", *holder)
        await node.state.remove_finalizer(Integer, "one", "a")
        await node.state.destroy(Integer, "one")
        await node.settled()
        if holder:
            assert texts(node) == {"one": "1"}
            await node.state.remove_finalizer(Text, "one", *holder)
            await node.settled()
        assert texts(node) == {}


def with_words(ctx: Access, number: Resource[IntegerSpec]) -> TextSpec:
    words = [it.spec.value for it in ctx.list(Sentence)]
    return TextSpec(f"{number.spec.value} {' '.join(words)}".strip())


WANTED = LabelQuery((Term("wanted"),))


@pytest.mark.parametrize(
    ("mapper", "id", "labels", "woken"),
    [
        (map_to_same_id, "one", {}, True),
        (map_to_same_id, "other", {}, False),
        (map_by_label("number"), "any", {"number": "one"}, True),
        (map_by_label("number"), "any", {"number": "other"}, False),
        (map_by_label("number"), "any", {}, False),
        (map_by_label("number", where=WANTED), "any", {"number": "one", "wanted": ""}, True),
        (map_by_label("number", where=WANTED), "any", {"number": "one"}, False),
        (map_to_nothing, "one", {}, False),
        (map_resource(Sentence, lambda it: [it.spec.value]), "any", {}, True),
    ],
)
async def test_extra_inputs_are_mapped_to_the_inputs_that_they_concern(
    mapper: Any, id: str, labels: dict[str, str], woken: bool
) -> None:
    async with transforming(transform=with_words, extra_inputs={mapped(Sentence): mapper}) as node:
        await node.create(integer(NUMBERS, "one", 1))
        await node.settled()
        await node.put(Sentence, id, SentenceSpec("one"), labels=labels)
        await node.settled()
        assert texts(node) == {"one": "1 one" if woken else "1"}
        await node.destroy(Sentence, id)
        await node.settled()
        # A resource that is gone cannot be looked at; by its id and its labels it is known still.
        forgotten = woken and mapper is not map_to_same_id and not labels
        assert texts(node) == {"one": "1 one" if forgotten else "1"}


def test_a_kind_has_one_mapper() -> None:
    for extra in ({mapped(Integer): map_to_same_id}, {mapped(Text): map_to_same_id},
                  {mapped(Sentence): map_to_same_id, mapped(Sentence, "x"): map_to_nothing}):  # fmt: skip
        with pytest.raises(ValueError, match="has a mapper already"):
            QueueTransform(NAME, input=Integer, output=Text, transform=Transforming(), extra_inputs=extra)


async def test_its_declarations_are_those_of_the_original() -> None:
    async with transforming(extra_inputs={mapped(Sentence): map_to_nothing}) as node:
        assert [edge.kind for edge in node.engine.graph.edges] == [
            EdgeKind.OUTPUT_EXCLUSIVE,
            EdgeKind.INPUT_PRIMARY,
            EdgeKind.INPUT_MAPPED,
            EdgeKind.INPUT_MAPPED_DESTROY_READY,
        ]
    async with transforming(shared_output=True) as node:
        assert node.engine.graph.edges[0].kind is EdgeKind.OUTPUT_SHARED


async def test_what_was_half_done_before_a_restart_is_finished() -> None:
    async with transforming() as node:
        await node.create(integer(NUMBERS, "gone meanwhile", 1))
        await node.create(integer(NUMBERS, "changed meanwhile", 2))
        await node.settled()
    state = node.state
    await state.teardown(Integer, "gone meanwhile")
    await node.put(Integer, "changed meanwhile", IntegerSpec(22))
    async with running(QueueTransform(NAME, input=Integer, output=Text, transform=Transforming()), state=state) as node:
        await node.settled()
        assert texts(node) == {"changed meanwhile": "22"}
        assert finalizers(node, "gone meanwhile") == ()

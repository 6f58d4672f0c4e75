"""The engine conformance suite: tests that the engine must pass on every kind of state.

A test module defines a subclass that opens a state, and pytest collects it:

    class TestEngineOnMyState(EngineSuite):
        @asynccontextmanager
        async def open_state(self) -> AsyncIterator[State]:
            async with MyState.connect(...) as state:
                yield state

The tests are coroutines: a pytest plugin or hook must run them on trio. Some wait for restarts or sleeping controllers,
for a few seconds in all; a state without real I/O may be tested on a virtual clock. A state that decodes what it stores
must know `SUITE_TYPES`.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

import attrs
import pytest
import trio

from nodespan.runtime.controller import (
    Controller,
    ControllerContext,
    QueueContext,
    QueueController,
    Requeue,
    destroy_ready,
    exclusive,
    mapped_destroy_ready,
    primary,
    shared,
    strong,
    weak,
)
from nodespan.runtime.errors import NotFoundError
from nodespan.runtime.resource import Kind, LabelQuery, Metadata, Operation, Pointer, Resource, ResourceType, Term
from nodespan.runtime.state import State
from nodespan.runtime.testing.kit import PATIENCE, Crash, Node, running

S = TypeVar("S")
T = TypeVar("T")


@attrs.frozen
class IntegerSpec:
    """A number."""

    value: int


@attrs.frozen
class TextSpec:
    """A number, written in digits."""

    value: str


@attrs.frozen
class SentenceSpec:
    """A number, written in digits, with a word after it."""

    value: str


Integer = ResourceType("Integers.test.nodespan.dev", IntegerSpec, namespace="default")
Text = ResourceType("Texts.test.nodespan.dev", TextSpec, namespace="default")
Sentence = ResourceType("Sentences.test.nodespan.dev", SentenceSpec, namespace="default")

SUITE_TYPES: tuple[ResourceType[Any], ...] = (Integer, Text, Sentence)


def in_digits(integer: IntegerSpec) -> TextSpec:
    """The number as text."""
    return TextSpec(str(integer.value))


def in_words(text: TextSpec) -> SentenceSpec:
    """The text as a sentence."""
    return SentenceSpec(f"{text.value} sentence")


async def _remove(ctx: ControllerContext | QueueContext, kind: Kind[Any], id: str) -> bool:
    """Tear an output down and destroy it if it has no finalizers; returns whether it is gone."""
    try:
        if not await ctx.teardown(kind, id):
            return False
        await ctx.destroy(kind, id)
    except NotFoundError:
        return True
    return True


async def _count(ctx: ControllerContext, kind: Kind[IntegerSpec], id: str, change: Callable[[int], int]) -> None:
    """Change a number that is an output, starting from 0."""
    await ctx.modify(
        Resource(Metadata(kind.namespace, kind.type, id), IntegerSpec(0)),
        lambda resource: resource.with_spec(IntegerSpec(change(resource.spec.value))),
    )


class Converter(Controller, Generic[S, T]):
    """Makes one output per input, passes its labels on, and holds the input while the output exists."""

    def __init__(
        self,
        name: str,
        source: Kind[S],
        target: Kind[T],
        convert: Callable[[S], T],
        *,
        output: ResourceType[T],
        late_inputs: bool = False,
    ) -> None:
        self.name = name
        self._source, self._target, self._convert = source, target, convert
        self._late_inputs = (strong(source), destroy_ready(target)) if late_inputs else ()
        self.inputs = () if late_inputs else (strong(source), destroy_ready(target))
        self.outputs = (exclusive(output),)

    async def run(self, ctx: ControllerContext) -> None:
        if self._late_inputs:
            ctx.set_inputs(self._late_inputs)
        async for _ in ctx:
            for input in ctx.list(self._source):
                if input.metadata.is_tearing_down:
                    if await _remove(ctx, self._target, input.id):
                        await ctx.remove_finalizer(self._source, input.id)
                else:
                    await ctx.add_finalizer(self._source, input.id)
                    labels = input.metadata.labels
                    await ctx.put(self._target, input.id, self._convert(input.spec), labels=labels)


class Sum(Controller):
    """Adds up the numbers of a namespace that pass the label queries; sets its input only at run time."""

    def __init__(
        self,
        name: str,
        source: Kind[IntegerSpec],
        target: Kind[IntegerSpec],
        id: str,
        *,
        labels: Iterable[LabelQuery] = (),
    ) -> None:
        self.name = name
        self.outputs = (shared(Integer),)
        self._source, self._target, self._id, self._labels = source, target, id, tuple(labels)

    async def run(self, ctx: ControllerContext) -> None:
        ctx.set_inputs([weak(self._source)])
        async for _ in ctx:
            total = sum(number.spec.value for number in ctx.list(self._source, labels=self._labels))
            await ctx.put(self._target, self._id, IntegerSpec(total))


class Stumbling(Controller):
    """Fails in its first run, and counts its runs in an output."""

    def __init__(self, target: Kind[IntegerSpec], error: BaseException) -> None:
        self.name = "suite.Stumbling"
        self.outputs = (exclusive(Integer),)
        self._target, self._error = target, error

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            await _count(ctx, self._target, "runs", lambda runs: runs + 1)
            if ctx.get(self._target, "runs").spec.value == 1:
                raise self._error


class Doubler(Controller):
    """Doubles numbers into another namespace, and destroys doubles whose number is gone."""

    def __init__(self, source: Kind[IntegerSpec], target: Kind[IntegerSpec]) -> None:
        self.name = "suite.Doubler"
        self.inputs = (weak(source),)
        self.outputs = (shared(Integer),)
        self._source, self._target = source, target

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            async with ctx.tracked_outputs(self._target):
                for number in ctx.list(self._source):
                    await ctx.put(self._target, number.id, IntegerSpec(2 * number.spec.value))


class Modifier(Controller):
    """Writes with `modify`, and records what it returns."""

    def __init__(self, source: Kind[IntegerSpec], target: Kind[TextSpec]) -> None:
        self.name = "suite.Modifier"
        self.inputs = (weak(source),)
        self.outputs = (exclusive(Text),)
        self.returned: list[Resource[TextSpec]] = []
        self._source, self._target = source, target

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            for number in ctx.list(self._source):
                stored = await self._write(ctx, number.id, in_digits(number.spec))
                assert stored == ctx.get(self._target, number.id)
                self.returned.append(stored)

    async def _write(self, ctx: ControllerContext, id: str, spec: TextSpec) -> Resource[TextSpec]:
        initial = Resource(Metadata(self._target.namespace, self._target.type, id), TextSpec(""))
        return await ctx.modify(initial, lambda resource: resource.with_spec(spec))


class Measured(Controller):
    """In its first turn lists, modifies and destroys; fails in later turns, after listing."""

    def __init__(self, source: Kind[IntegerSpec], target: Kind[TextSpec]) -> None:
        self.name = "suite.Measured"
        self.inputs = (weak(source),)
        self.outputs = (exclusive(Text),)
        self._source, self._target = source, target
        self._turns = 0

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            self._turns += 1
            ctx.list(self._source)
            if self._turns > 1:
                raise RuntimeError("the second turn fails")
            initial = Resource(Metadata(self._target.namespace, self._target.type, "one"), TextSpec(""))
            await ctx.modify(initial, lambda resource: resource.with_spec(TextSpec("1")))
            with pytest.raises(NotFoundError):
                await ctx.destroy(self._target, "missing")


class QueueConverter(QueueController):
    """Converts as `Converter` does, item by item, without labels; its run hook fails once, then writes periodically."""

    name = "suite.QueueConverter"
    concurrency = 4

    def __init__(self, source: Kind[IntegerSpec], target: Kind[TextSpec]) -> None:
        self.inputs = (primary(source), mapped_destroy_ready(target))
        self.outputs = (exclusive(Text),)
        self.hook_runs = 0
        self.shutdowns = 0
        self._source, self._target = source, target

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        input = ctx.find(self._source, item.id)
        if input is None:
            return
        if input.metadata.is_tearing_down:
            if await _remove(ctx, self._target, item.id):
                await ctx.remove_finalizer(self._source, item.id)
        else:
            await ctx.add_finalizer(self._source, item.id)
            await ctx.put(self._target, item.id, in_digits(input.spec))

    def map_input(self, _ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        return (self._source.pointer(changed.id),)

    async def run(self, ctx: QueueContext) -> None:
        self.hook_runs += 1
        if self.hook_runs == 1:
            raise RuntimeError("the hook fails once")
        for beat in range(1_000_000):
            await ctx.put(self._target, "beat", TextSpec(str(beat)))
            await trio.sleep(0.05)

    async def shutdown(self, _ctx: QueueContext) -> None:
        self.shutdowns += 1


class QueueStumbler(QueueController):
    """Fails on some numbers, each in its own way, and writes the others."""

    name = "suite.QueueStumbler"

    def __init__(self, source: Kind[IntegerSpec], target: Kind[TextSpec]) -> None:
        self.inputs = (primary(source),)
        self.outputs = (exclusive(Text),)
        self._source, self._target = source, target

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        input = ctx.find(self._source, item.id)
        if input is None:
            return
        match input.spec.value:
            case 1001:
                raise RuntimeError("this number fails")
            case 1002:
                raise SystemExit("this number wants to end the process")
            case 1003:
                raise Requeue(0.1)
            case 1004:
                raise Requeue(0.1) from RuntimeError("this number fails and is wanted again")
        await ctx.put(self._target, item.id, in_digits(input.spec))


class QueueSleeper(QueueController):
    """Sleeps for as many seconds as the number's value, then writes; its teardown interrupts the sleep."""

    name = "suite.QueueSleeper"

    def __init__(self, source: Kind[IntegerSpec], target: Kind[TextSpec]) -> None:
        self.inputs = (primary(source),)
        self.outputs = (exclusive(Text),)
        self._source, self._target = source, target

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        input = ctx.find(self._source, item.id)
        if input is None:
            return
        if input.metadata.is_tearing_down:
            if await _remove(ctx, self._target, item.id):
                await ctx.remove_finalizer(self._source, item.id)
            return
        await ctx.add_finalizer(self._source, item.id)
        with ctx.while_running(self._source, item.id) as scope:
            await trio.sleep(input.spec.value)
        if not scope.cancelled_caught:
            await ctx.put(self._target, item.id, in_digits(input.spec))


class EngineSuite(ABC):
    """The engine conformance suite. Its tests are independent: they may share one state or open a new one each."""

    # The limit on each controller's writes per second (None: no limit), and how many may come at once.
    change_rate: float | None = None
    change_burst = 1

    @abstractmethod
    def open_state(self) -> AbstractAsyncContextManager[State]:
        """Open the state to run controllers on; it is usable within the block."""

    def namespace(self) -> str:
        """A namespace that no other test uses; override it if the state allows only certain ones."""
        return f"suite-{secrets.token_hex(4)}"

    @asynccontextmanager
    async def running(
        self, state: State, *controllers: Controller | QueueController, allow_crashes: bool = False
    ) -> AsyncIterator[Node]:
        """Run the controllers on the state within the block."""
        async with running(
            *controllers,
            state=state,
            allow_crashes=allow_crashes,
            change_rate=self.change_rate,
            change_burst=self.change_burst,
        ) as node:
            yield node

    # Controllers.

    async def test_no_controllers(self) -> None:
        """An engine without controllers runs and stops."""
        async with self.open_state() as state, self.running(state) as node:
            await node.settled()
            assert node.engine.graph.edges == ()

    async def test_int_to_str(self) -> None:
        """Inputs from before and after the start get outputs that follow updates, and are held until these are gone."""
        namespace = self.namespace()
        integers, texts = Integer.within(namespace), Text.within(namespace)
        async with self.open_state() as state:
            await state.create(number(integers, "one", 1))
            converter = Converter("suite.IntToStr", integers, texts, in_digits, output=Text)
            async with self.running(state, converter) as node:
                await node.eventually(texts, "one", spec=TextSpec("1"))
                await node.create(number(integers, "two", 2))
                await node.eventually(texts, "two", spec=TextSpec("2"))
                await self._set(state, integers, "two", 22)
                text = await node.eventually(texts, "two", spec=TextSpec("22"))
                assert text.metadata.owner == converter.name
                assert state.get(integers, "two").metadata.finalizers == (converter.name,)

                assert not await node.teardown(integers, "one")
                await node.gone(texts, "one")
                await node.eventually(integers, "one", _is_free)
                await node.destroy(integers, "one")
                assert state.get(texts, "two").spec == TextSpec("22")

    async def test_int_to_str_to_sentence(self) -> None:
        """In a chain of two controllers, teardown travels to the far end and back; labels are passed on."""
        namespace = self.namespace()
        integers, texts, sentences = (type.within(namespace) for type in SUITE_TYPES)
        async with self.open_state() as state:
            first = Converter("suite.IntToStr", integers, texts, in_digits, output=Text)
            second = Converter("suite.StrToSentence", texts, sentences, in_words, output=Sentence, late_inputs=True)
            async with self.running(state, first, second) as node:
                await node.create(number(integers, "one", 1).with_labels({"app": "suite"}))
                await node.create(number(integers, "two", 2))
                sentence = await node.eventually(sentences, "one", spec=SentenceSpec("1 sentence"))
                assert sentence.metadata.labels == {"app": "suite"}
                await node.eventually(sentences, "two", spec=SentenceSpec("2 sentence"))
                await self._set(state, integers, "two", 22)
                await node.eventually(sentences, "two", spec=SentenceSpec("22 sentence"))
                assert state.get(texts, "one").metadata.finalizers == (second.name,)

                # A finalizer holds the far end: nothing before it may be destroyed.
                await state.add_finalizer(sentences, "one", "holder")
                await node.teardown(integers, "one")
                await node.eventually(sentences, "one", lambda resource: resource.metadata.is_tearing_down)
                await node.settled()
                assert state.get(texts, "one").metadata.is_tearing_down
                assert state.get(integers, "one").metadata.finalizers == (first.name,)
                await state.remove_finalizer(sentences, "one", "holder")
                await node.gone(sentences, "one")
                await node.gone(texts, "one")
                await node.eventually(integers, "one", _is_free)
                await node.destroy(integers, "one")
                assert state.get(sentences, "two").spec == SentenceSpec("22 sentence")

    async def test_sum(self) -> None:
        """An input set at run time wakes on creations and plain destructions; there is a turn even without items."""
        source, target = Integer.within(self.namespace()), Integer.within(self.namespace())
        async with self.open_state() as state, self.running(state, Sum("suite.Sum", source, target, "sum")) as node:
            await node.eventually(target, "sum", spec=IntegerSpec(0))
            await node.create(number(source, "one", 1))
            await node.create(number(source, "two", 2))
            await node.eventually(target, "sum", spec=IntegerSpec(3))
            await node.destroy(source, "one")
            await node.eventually(target, "sum", spec=IntegerSpec(2))
            await node.destroy(source, "two")
            await node.eventually(target, "sum", spec=IntegerSpec(0))

    async def test_sum_filtered(self) -> None:
        """A list by labels contains only resources that satisfy every term."""
        source, target = Integer.within(self.namespace()), Integer.within(self.namespace())
        query = LabelQuery((Term("summed"), Term("app", Operation.EQUAL, ("suite",))))
        summing = Sum("suite.Sum", source, target, "sum", labels=[query])
        async with self.open_state() as state, self.running(state, summing) as node:
            await node.create(number(source, "both", 1).with_labels({"summed": "", "app": "suite"}))
            await node.create(number(source, "other", 10).with_labels({"summed": "", "app": "other"}))
            await node.create(number(source, "one", 100).with_labels({"app": "suite"}))
            await node.create(number(source, "none", 1000))
            await node.create(number(source, "more", 2).with_labels({"summed": "yes", "app": "suite", "tier": "a"}))
            await node.eventually(target, "sum", spec=IntegerSpec(3))
            await node.settled()
            assert state.get(target, "sum").spec == IntegerSpec(3)

    async def test_cascading_sums(self) -> None:
        """Controllers that share an output type, registered while the engine runs, feed each other."""
        source, middle, target = (Integer.within(self.namespace()) for _ in range(3))
        async with self.open_state() as state, self.running(state) as node:
            await node.engine.register(Sum("suite.Left", source, middle, "left"))
            await node.engine.register(Sum("suite.Right", source, middle, "right"))
            await node.engine.register(Sum("suite.Total", middle, target, "total"))
            await node.create(number(source, "one", 1))
            await node.create(number(source, "two", 2))
            await node.eventually(target, "total", spec=IntegerSpec(6))
            await node.destroy(source, "one")
            await node.eventually(target, "total", spec=IntegerSpec(4))

    async def test_failing_controller(self) -> None:
        """A controller that fails is restarted within five seconds."""
        await self._check_restart(RuntimeError("stumbled"))

    async def test_panicking_controller(self) -> None:
        """A controller that raises a BaseException is restarted too, and does not end the engine."""
        await self._check_restart(SystemExit("wants to end the process"))

    async def _check_restart(self, error: BaseException) -> None:
        target = Integer.within(self.namespace())
        async with self.open_state() as state, self.running(state, Stumbling(target, error)) as node:
            assert await node.crashed("suite.Stumbling") is error
            await node.eventually(target, "runs", spec=IntegerSpec(2), within=5.0)

    async def test_int_doubler(self) -> None:
        """Own outputs that a turn does not write again are destroyed at its end; resources of others are kept."""
        source, target = Integer.within(self.namespace()), Integer.within(self.namespace())
        async with self.open_state() as state, self.running(state, Doubler(source, target)) as node:
            await node.create(number(target, "foreign", 7))
            for value in (1, 2, 3):
                await node.create(number(source, str(value), value))
            for value in (1, 2, 3):
                await node.eventually(target, str(value), spec=IntegerSpec(2 * value))
            await node.destroy(source, "2")
            await node.gone(target, "2")
            await node.settled()
            assert [resource.id for resource in state.list(target)] == ["1", "3", "foreign"]

    async def test_modify_with_result(self) -> None:
        """`modify` returns what was stored, on creation and on update."""
        namespace = self.namespace()
        integers, texts = Integer.within(namespace), Text.within(namespace)
        modifier = Modifier(integers, texts)
        async with self.open_state() as state, self.running(state, modifier) as node:
            await node.create(number(integers, "one", 1))
            created = await node.eventually(texts, "one", spec=TextSpec("1"))
            await self._set(state, integers, "one", 11)
            updated = await node.eventually(texts, "one", spec=TextSpec("11"))
            await node.settled()
            assert (created.metadata.version, updated.metadata.version) == (1, 2)
            assert created in modifier.returned
            assert modifier.returned[-1] == updated

    async def test_controller_metrics(self) -> None:
        """Wake-ups, reads, writes and crashes are counted."""
        namespace = self.namespace()
        integers, texts = Integer.within(namespace), Text.within(namespace)
        async with self.open_state() as state:
            await state.create(number(integers, "one", 1))
            measured = Measured(integers, texts)
            async with self.running(state) as node:
                await node.engine.register(measured)
                counters = node.engine.runners[measured.name].access.counters
                assert (counters.wakeups, counters.crashes) == (1, 0)
                await node.eventually(texts, "one", spec=TextSpec("1"))
                await node.settled()
                assert (counters.wakeups, counters.reads, counters.writes, counters.crashes) == (1, 2, 2, 0)
                await self._set(state, integers, "one", 11)
                await node.crashed(measured.name)
                assert (counters.wakeups, counters.reads, counters.writes, counters.crashes) == (2, 3, 2, 1)

    # Queue controllers.

    async def test_queue_int_to_str(self) -> None:
        """Covers items from before and after the start, updates, teardown while others hold the output, and hooks."""
        namespace = self.namespace()
        integers, texts = Integer.within(namespace), Text.within(namespace)
        converter = QueueConverter(integers, texts)
        async with self.open_state() as state:
            await state.create(number(integers, "one", 1))
            async with self.running(state, converter) as node:
                await node.crashed(converter.name)
                await node.eventually(texts, "one", spec=TextSpec("1"))
                await node.create(number(integers, "two", 2))
                await node.create(number(integers, "three", 3))
                await node.eventually(texts, "two", spec=TextSpec("2"))
                await node.eventually(texts, "three", spec=TextSpec("3"))
                await self._set(state, integers, "two", 22)
                await node.eventually(texts, "two", spec=TextSpec("22"))

                await node.teardown(integers, "one")
                await node.gone(texts, "one")
                await node.eventually(integers, "one", _is_free)
                await node.destroy(integers, "one")

                await state.add_finalizer(texts, "two", "holder")
                await node.teardown(integers, "two")
                await node.eventually(texts, "two", lambda resource: resource.metadata.is_tearing_down)
                await node.settled()
                assert state.get(integers, "two").metadata.finalizers == (converter.name,)
                await state.remove_finalizer(texts, "two", "holder")
                await node.gone(texts, "two")
                await node.eventually(integers, "two", _is_free)

                await node.eventually(texts, "beat", lambda resource: int(resource.spec.value) >= 3)
                assert converter.shutdowns == 0
            assert (converter.hook_runs, converter.shutdowns) == (2, 1)

    async def test_queue_failing(self) -> None:
        """Items that fail do not block others, are retried, and succeed once their input is valid."""
        namespace = self.namespace()
        integers, texts = Integer.within(namespace), Text.within(namespace)
        stumbler = QueueStumbler(integers, texts)
        failing = {"fails": 1001, "exits": 1002, "requeues": 1003, "fails-and-requeues": 1004}
        async with self.open_state() as state, self.running(state, stumbler, allow_crashes=True) as node:
            for id, value in failing.items():
                await node.create(number(integers, id, value))
            for value in (1, 2, 3):
                await node.create(number(integers, str(value), value))
            for value in (1, 2, 3):
                await node.eventually(texts, str(value), spec=TextSpec(str(value)))
            # Each item that fails is tried more than once.
            with trio.fail_after(PATIENCE):
                while len(counts := _counts(node.crashes)) < 3 or min(counts.values()) < 2:  # noqa: ASYNC110 (a list)
                    await trio.sleep(0.05)
            assert len(counts) == 3, counts
            assert [resource.id for resource in state.list(texts)] == ["1", "2", "3"]
            for id in failing:
                await self._set(state, integers, id, 5)
                await node.eventually(texts, id, spec=TextSpec("5"))

    async def test_queue_sleeping(self) -> None:
        """With one worker, a slow item blocks the others until its teardown interrupts it."""
        namespace = self.namespace()
        integers, texts = Integer.within(namespace), Text.within(namespace)
        async with self.open_state() as state, self.running(state, QueueSleeper(integers, texts)) as node:
            await node.create(number(integers, "quick", 0))
            await node.eventually(texts, "quick")
            await node.create(number(integers, "slow", 1_000_000))
            await node.eventually(integers, "slow", lambda resource: not _is_free(resource))
            await node.create(number(integers, "blocked", 0))
            await node.create(number(integers, "blocked too", 0))
            await trio.sleep(0.2)
            assert [resource.id for resource in state.list(texts)] == ["quick"]
            await node.teardown(integers, "slow")
            await node.eventually(texts, "blocked")
            await node.eventually(texts, "blocked too")
            await node.eventually(integers, "slow", _is_free)
            assert state.find(texts, "slow") is None

    async def _set(self, state: State, kind: Kind[IntegerSpec], id: str, value: int) -> None:
        await state.update_with_conflicts(kind, id, lambda resource: resource.with_spec(IntegerSpec(value)))


def number(kind: Kind[IntegerSpec], id: str, value: int) -> Resource[IntegerSpec]:
    """A number that is not stored yet."""
    return Resource(Metadata(kind.namespace, kind.type, id), IntegerSpec(value))


def _counts(crashes: Iterable[Crash]) -> dict[str, int]:
    """How often each error was raised."""
    counts: dict[str, int] = {}
    for crash in crashes:
        counts[str(crash.error)] = counts.get(str(crash.error), 0) + 1
    return counts


def _is_free(resource: Resource[Any]) -> bool:
    return not resource.metadata.finalizers


__all__ = [
    "EngineSuite",
]

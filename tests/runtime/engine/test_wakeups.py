"""What wakes a controller: what it declared, once for any number of changes, and nothing else."""

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from nodespan.runtime.controller import (
    ControllerContext,
    Input,
    QueueContext,
    QueueController,
    destroy_ready,
    mapped,
    mapped_destroy_ready,
    primary,
    shared,
    strong,
    weak,
)
from nodespan.runtime.errors import AccessError, RegistrationError
from nodespan.runtime.resource import Kind, Metadata, Pointer, ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Text
from nodespan.runtime.testing.kit import Node, running
from tests.runtime.parts import Jobs, Routine, Turns, integer, spell, text

pytestmark = pytest.mark.virtual_clock

HERE, THERE = Integer.within("here"), Integer.within("there")


async def create_running(node: Node) -> None:
    await node.create(integer(HERE, "new"))


async def create_elsewhere(node: Node) -> None:
    await node.create(integer(THERE, "new"))


async def update_other(node: Node) -> None:
    await node.state.update_with_conflicts(HERE, "two", lambda resource: resource.with_spec(IntegerSpec(9)))


async def update(node: Node) -> None:
    await node.state.update_with_conflicts(HERE, "one", lambda resource: resource.with_spec(IntegerSpec(9)))


async def change_nothing(node: Node) -> None:
    await node.state.update_with_conflicts(HERE, "one", lambda resource: resource)


async def hold(node: Node) -> None:
    await node.state.add_finalizer(HERE, "one", "holder")


async def teardown(node: Node) -> None:
    await node.teardown(HERE, "one")


async def teardown_held(node: Node) -> None:
    await node.teardown(HERE, "held")


async def destroy_running(node: Node) -> None:
    await node.destroy(HERE, "one")


async def destroy_torn_down(node: Node) -> None:
    await node.destroy(HERE, "torn down")


async def let_go(node: Node) -> None:
    await node.state.remove_finalizer(HERE, "held and torn down", "holder")


Change = Callable[[Node], Awaitable[None]]
CHANGES: list[Change] = [
    create_running,
    update,
    update_other,
    hold,
    teardown,
    teardown_held,
    destroy_running,
    destroy_torn_down,
    let_go,
    create_elsewhere,
    change_nothing,
]
ANY = set(CHANGES) - {create_elsewhere, change_nothing}
OF_ONE: set[Change] = {update, hold, teardown, destroy_running}
READY: set[Change] = {teardown, destroy_torn_down, let_go}


async def fill(state: MemoryState) -> None:
    for kind in (HERE, THERE):
        for id in ("one", "two", "held", "torn down", "held and torn down"):
            await state.create(integer(kind, id))
            if id.startswith("held"):
                await state.add_finalizer(kind, id, "holder")
            if id.endswith("torn down"):
                await state.teardown(kind, id)


@pytest.mark.parametrize(
    ("inputs", "waking"),
    [
        ([weak(HERE)], ANY),
        ([strong(HERE)], ANY),
        ([destroy_ready(HERE)], READY),
        ([weak(HERE, "one")], OF_ONE),
        ([strong(HERE, "one"), weak(HERE, "two")], OF_ONE | {update_other}),
        ([destroy_ready(HERE, "one")], {teardown}),
        # Not as in the original: one input does not change what another of the same kind wakes on.
        ([destroy_ready(HERE), weak(HERE, "one")], READY | OF_ONE),
        ([], set()),
    ],
    ids=spell,
)
async def test_a_change_wakes_a_controller_once_if_any_of_its_inputs_is_about_it(
    inputs: list[Input], waking: set[Change]
) -> None:
    for change in CHANGES:
        state = MemoryState()
        await fill(state)
        turns = Turns("C", *inputs)
        async with running(turns, state=state) as node:
            await node.settled()
            assert turns.turns == 1
            await change(node)
            await node.settled()
            assert turns.turns == (2 if change in waking else 1), change.__name__


@pytest.mark.parametrize(
    ("input", "waking"),
    [
        (primary(HERE), ANY),
        (mapped(HERE), ANY),
        (mapped_destroy_ready(HERE), READY),
        (mapped(HERE, "one"), OF_ONE),
        (mapped_destroy_ready(HERE, "one"), {teardown}),
    ],
    ids=spell,
)
async def test_a_change_is_one_job_of_a_queue_controller_if_its_input_is_about_it(
    input: Input, waking: set[Change]
) -> None:
    for change in CHANGES:
        state = MemoryState()
        await fill(state)
        jobs = Jobs("C", input)
        async with running(jobs, state=state) as node:
            await node.settled()
            before = sorted(jobs.done)
            # Only what is primary is worked on to begin with.
            assert before == (sorted(resource.id for resource in state.list(HERE)) if input == primary(HERE) else [])
            assert jobs.mapped == []
            jobs.done.clear()
            await change(node)
            await node.settled()
            assert len(jobs.done) + len(jobs.mapped) == (1 if change in waking else 0), change.__name__


async def test_what_a_mapping_yields_is_worked_on_whether_or_not_it_exists() -> None:
    def both(changed: Metadata) -> list[Pointer[IntegerSpec]]:
        return [HERE.pointer(changed.id), HERE.pointer("missing")]

    jobs = Jobs("C", primary(HERE), mapped(Text), map_input=both)
    async with running(jobs) as node:
        await node.create(text(Text.kind, "one"))
        await node.settled()
        assert (jobs.mapped, sorted(jobs.done)) == (["one"], ["missing", "one"])


async def test_the_same_id_of_two_primary_kinds_is_two_items() -> None:
    jobs = Jobs("C", primary(HERE), primary(THERE))
    async with running(jobs) as node:
        await node.create(integer(HERE, "one"))
        await node.create(integer(THERE, "one"))
        await node.settled()
        assert jobs.done == ["one", "one"]


async def test_a_mapping_to_a_kind_that_is_not_primary_fails() -> None:
    jobs = Jobs("C", primary(HERE), mapped(Text), map_input=lambda changed: [THERE.pointer(changed.id)])
    async with running(jobs) as node:
        await node.create(text(Text.kind, "one"))
        error = await node.crashed("C")
        assert "which is not of a primary kind" in str(error)
        assert jobs.done == []


async def test_mapped_inputs_without_a_mapping_say_so() -> None:
    class Forgetful(QueueController):
        name = "C"
        inputs = (primary(HERE), mapped(Text))

        async def reconcile(self, ctx: QueueContext, item: Pointer[object]) -> None:
            """Never called."""

    async with running(Forgetful()) as node:
        await node.create(text(Text.kind, "one"))
        assert "does not map" in str(await node.crashed("C"))


async def test_a_burst_between_two_turns_is_one_wakeup_and_one_item_each() -> None:
    turns = Turns("A", weak(HERE))
    jobs = Jobs("B", primary(HERE))
    async with running(turns, jobs) as node:
        await node.settled()
        runner = node.engine.runners["B"]
        for id in range(10):
            await node.create(integer(HERE, str(id)))
        for change in range(10_000):
            for id in range(10):
                resource = node.state.get(HERE, str(id))
                await node.state.update(resource.with_spec(IntegerSpec(change)))
        assert runner.queue_length == 10
        await node.settled()
        assert turns.turns == 2
        assert sorted(jobs.done) == [str(id) for id in range(10)]
        assert runner.queue_length == 0


async def test_the_engine_keeps_nothing_of_a_burst_but_its_items() -> None:
    jobs = Jobs("B", primary(HERE))

    def specs() -> int:
        gc.collect()
        return sum(isinstance(it, IntegerSpec) for it in gc.get_objects())

    async with running(jobs, Turns("A", weak(HERE))) as node:
        await node.settled()
        before = specs()
        await node.create(integer(HERE, "one"))
        for value in range(1_000):
            await node.state.update(node.state.get(HERE, "one").with_spec(IntegerSpec(value)))
        # The state's history is a hundred changes, each with the state before.
        assert specs() - before <= 110
        assert node.engine.runners["B"].queue_length == 1


async def test_a_slow_controller_ends_up_with_the_latest_versions() -> None:
    seen: dict[str, int] = {}

    async def run(ctx: ControllerContext) -> None:
        async for _ in ctx:
            now = {resource.id: resource.spec.value for resource in ctx.list(HERE)}
            await trio.sleep(5)
            seen.clear()
            seen.update(now)

    async with running(Routine("slow", run, [weak(HERE)])) as node:
        for change in range(100):
            await node.put(Integer, str(change % 7), IntegerSpec(change))
            await node.state.modify(integer(HERE, str(change % 7)), lambda it, n=change: it.with_spec(IntegerSpec(n)))  # type: ignore[misc]
            await trio.sleep(0.3)
        await node.settled(within=60)
        assert seen == {resource.id: resource.spec.value for resource in node.state.list(HERE)}
        assert max(seen.values()) == 99


async def test_a_controller_may_wake_itself_and_changes_during_a_turn_are_one_more_turn() -> None:
    turns: list[int] = []

    async def run(ctx: ControllerContext) -> None:
        async for _ in ctx:
            turns.append(len(turns))
            if len(turns) == 1:
                ctx.wake()
                ctx.wake()
                for id in ("a", "b", "c"):
                    await ctx.put(HERE, id, IntegerSpec(0))

    async with running(Routine("C", run, [weak(HERE)], [shared(Integer)])) as node:
        await node.settled()
        assert turns == [0, 1]
        assert node.engine.runners["C"].access.counters.wakeups == 2


# What a reader does not read.


@attrs.frozen
class MeterSpec:
    state: str = ""
    count: int = 0


Meter = ResourceType("Meters.tests.nodespan.dev", MeterSpec, namespace="here")


async def only_count(node: Node) -> None:
    await node.put(Meter, "one", MeterSpec("up", 2))


async def another_state(node: Node) -> None:
    await node.put(Meter, "one", MeterSpec("down", 1))


async def both(node: Node) -> None:
    await node.put(Meter, "one", MeterSpec("down", 2))


async def label(node: Node) -> None:
    await node.state.modify(Meter.new("one", MeterSpec()), lambda it: it.with_labels({"rack": "7"}))


async def hold_meter(node: Node) -> None:
    await node.state.add_finalizer(Meter, "one", "holder")


async def teardown_meter(node: Node) -> None:
    await node.teardown(Meter, "one")


async def destroy_meter(node: Node) -> None:
    await node.destroy(Meter, "one")


async def create_meter(node: Node) -> None:
    await node.create(Meter.new("two", MeterSpec()))


@pytest.mark.parametrize("input", [weak, strong, primary, mapped])
@pytest.mark.parametrize(
    "change", [only_count, another_state, both, label, hold_meter, teardown_meter, destroy_meter, create_meter]
)
async def test_a_change_of_nothing_but_what_a_reader_ignores_does_not_wake_it(
    input: Callable[..., Input], change: Change
) -> None:
    is_for_queues = input in (primary, mapped)
    some, all = (input(Meter, ignoring=ignoring) for ignoring in (("count",), ()))
    readers = [Jobs(name, it) if is_for_queues else Turns(name, it) for name, it in (("some", some), ("all", all))]
    async with running(*readers) as node:
        await node.create(Meter.new("one", MeterSpec("up", 1)))
        await node.settled()
        before = [node.engine.runners[reader.name].access.counters.wakeups for reader in readers]
        await change(node)
        await node.settled()
        after = [node.engine.runners[reader.name].access.counters.wakeups for reader in readers]
        assert [now - then for now, then in zip(after, before, strict=True)] == [change is not only_count, 1]


@pytest.mark.parametrize(
    ("kind", "ignoring"),
    [(Meter, ["speed"]), (Meter, ["count", "speed"]), (Meter, ["state", "count"]), (Meter.kind, ["count"])],
)
def test_what_is_ignored_must_be_some_of_the_fields(kind: Any, ignoring: list[str]) -> None:
    with pytest.raises(RegistrationError, match="name some of its fields"):
        weak(kind, ignoring=ignoring)


# Inputs that change while running.


class Switching(Routine):
    """Sets the given inputs in the next turn."""

    def __init__(self, *inputs: Input) -> None:
        super().__init__("C", self._turn, inputs)
        self.next: list[Input] | None = None
        self.turns = 0
        self.fail = False

    async def _turn(self, ctx: ControllerContext) -> None:
        self.ctx = ctx
        async for _ in ctx:
            self.turns += 1
            if self.fail:
                self.fail = False
                raise RuntimeError("asked to fail")
            if self.next is not None:
                wanted, self.next = self.next, None
                ctx.set_inputs(wanted)


async def switch(node: Node, controller: Switching, *inputs: Input) -> None:
    controller.next = list(inputs)
    controller.ctx.wake()
    await node.settled()
    controller.turns = 0


async def touch(node: Node, kind: Kind[IntegerSpec], id: str = "one") -> None:
    await node.state.modify(
        integer(kind, id), lambda resource: resource.with_spec(IntegerSpec(resource.spec.value + 1))
    )
    await node.settled()


async def test_new_inputs_wake_dropped_ones_do_not_and_the_change_itself_wakes_nothing() -> None:
    controller = Switching(weak(HERE))
    async with running(controller) as node:
        await node.settled()
        await switch(node, controller, weak(THERE))
        assert controller.turns == 0
        await touch(node, HERE)
        assert controller.turns == 0
        await touch(node, THERE)
        assert controller.turns == 1


async def test_an_input_that_stays_is_not_doubled_and_one_that_changes_its_mode_is_replaced() -> None:
    controller = Switching(weak(HERE), weak(THERE))
    async with running(controller) as node:
        await node.settled()
        await switch(node, controller, weak(HERE), destroy_ready(THERE))
        await touch(node, HERE)
        assert controller.turns == 1
        await touch(node, THERE)
        assert controller.turns == 1
        await node.teardown(THERE, "one")
        await node.settled()
        assert controller.turns == 2
        assert [(edge.namespace, edge.kind.name) for edge in node.engine.graph.edges] == [
            ("here", "INPUT_WEAK"),
            ("there", "INPUT_DESTROY_READY"),
        ]


async def test_rights_follow_the_inputs() -> None:
    controller = Switching(strong(HERE))
    async with running(controller) as node:
        await node.create(integer(HERE, "one"))
        await node.create(integer(THERE, "one"))
        await node.settled()
        ctx = controller.ctx
        assert len(ctx.list(HERE)) == 1
        await switch(node, controller, weak(THERE))
        assert len(ctx.list(THERE)) == 1
        for refused in (lambda: ctx.find(HERE, "one"), lambda: ctx.list(HERE)):
            with pytest.raises(AccessError):
                refused()
        for kind in (HERE, THERE):
            with pytest.raises(AccessError):
                await ctx.add_finalizer(kind, "one")


async def test_wrong_inputs_are_refused_and_the_old_ones_stay() -> None:
    controller = Switching(weak(HERE))
    async with running(controller) as node:
        await node.settled()
        for wrong in ([primary(THERE)], [weak(THERE), strong(THERE)]):
            with pytest.raises(RegistrationError):
                controller.ctx.set_inputs(wrong)
        controller.turns = 0
        await touch(node, THERE)
        assert controller.turns == 0
        await touch(node, HERE)
        assert controller.turns == 1
        assert [edge.namespace for edge in node.engine.graph.edges] == ["here"]


async def test_a_restarted_controller_keeps_the_inputs_that_it_set() -> None:
    controller = Switching(weak(HERE))
    async with running(controller) as node:
        await node.settled()
        await switch(node, controller, weak(THERE))
        controller.fail = True
        controller.ctx.wake()
        await node.crashed("C")
        await trio.sleep(2)
        controller.turns = 0
        await touch(node, HERE)
        assert controller.turns == 0
        await touch(node, THERE)
        assert controller.turns == 1


async def test_a_change_while_a_controller_waits_to_be_restarted_is_not_lost() -> None:
    seen: list[int] = []
    fail = True

    async def run(ctx: ControllerContext) -> None:
        nonlocal fail
        async for _ in ctx:
            if fail:
                fail = False
                raise RuntimeError("once")
            seen.append(len(ctx.list(HERE)))

    async with running(Routine("C", run, [weak(HERE)])) as node:
        await node.crashed("C")
        await node.create(integer(HERE, "one"))
        await trio.sleep(2)
        await node.settled()
        assert seen == [1]

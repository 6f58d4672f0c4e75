"""What resources were made from, as far as their controllers had read it."""

from typing import Any

import pytest
import trio

from nodespan.runtime.controller import ControllerContext, QueueContext, exclusive, mapped, primary, weak
from nodespan.runtime.engine.causes import MOST_SHOWN, find_causes
from nodespan.runtime.errors import NotFoundError
from nodespan.runtime.resource import Pointer, ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.engine_suite import IntegerSpec, TextSpec
from nodespan.runtime.testing.kit import Node, running
from tests.runtime.parts import Jobs, Routine

Number = ResourceType("Numbers.test.dev", IntegerSpec, namespace="test")
Setting = ResourceType("Settings.test.dev", TextSpec, namespace="test")
Sum = ResourceType("Sums.test.dev", IntegerSpec, namespace="test")
Text = ResourceType("Texts.test.dev", TextSpec, namespace="test")

pytestmark = pytest.mark.virtual_clock


async def add(ctx: ControllerContext) -> None:
    """Sums of all numbers, by a setting that may be missing."""
    async for _ in ctx:
        ctx.find(Setting, "how")
        await ctx.put(Sum, "all", IntegerSpec(value=sum(each.spec.value for each in ctx.list(Number))))


async def write(ctx: ControllerContext) -> None:
    """The sum in words."""
    async for _ in ctx:
        if found := ctx.find(Sum, "all"):
            await ctx.put(Text, "all", TextSpec(value=str(found.spec.value)))


ADDER = Routine("test.Adder", add, (weak(Number), weak(Setting)), (exclusive(Sum),))
WRITER = Routine("test.Writer", write, (weak(Sum),), (exclusive(Text),))


def causes_of(node: Node, type: ResourceType[Any], id: str, *, depth: int = 16) -> list[tuple[int, str, object, str]]:
    """Depth, type and id, version and note of each cause."""
    causes = find_causes(node.state, node.engine.runners, type.kind.pointer(id), depth=depth)
    return [
        (each.depth, f"{each.pointer.type.partition('.')[0]}/{each.pointer.id}", each.version, each.note)
        for each in causes
    ]


async def becomes(node: Node, text: str) -> None:
    await node.eventually(Text, "all", lambda found: found.spec.value == text)
    await node.settled()


OUTSIDE = "not made by a controller of this agent"


async def test_the_causes_go_back_to_resources_without_a_recorded_origin() -> None:
    async with running(ADDER, WRITER) as node:
        await becomes(node, "0")
        await node.put(Number, "a", IntegerSpec(value=1))
        await becomes(node, "1")
        await node.put(Number, "b", IntegerSpec(value=2))
        await becomes(node, "3")
        assert causes_of(node, Text, "all") == [
            (0, "Texts/all", 3, ""),
            (1, "Sums/all", 3, ""),
            (2, "Settings/how", None, "was not there"),
            (2, "Numbers/a", 1, OUTSIDE),
            (2, "Numbers/b", 1, OUTSIDE),
        ]
        assert causes_of(node, Text, "all", depth=1) == [(0, "Texts/all", 3, ""), (1, "Sums/all", 3, "")]
        (first, *_) = find_causes(node.state, node.engine.runners, Text.kind.pointer("all"), depth=0)
        assert first.owner == "test.Writer"
        with pytest.raises(NotFoundError):
            find_causes(node.state, node.engine.runners, Text.kind.pointer("none"), depth=1)


async def test_what_became_of_an_input_since_is_said() -> None:
    async with running(ADDER) as node:
        await node.put(Setting, "how", TextSpec(value="fast"))
        await node.put(Number, "a", IntegerSpec(value=1))
        await node.eventually(Sum, "all", lambda found: found.spec.value == 1)
        # The sum is the same, so nothing is written.
        await node.put(Setting, "how", TextSpec(value="slowly"))
        await node.put(Number, "b", IntegerSpec(value=0))
        await node.settled()
        assert causes_of(node, Sum, "all")[1:] == [
            (1, "Settings/how", 1, f"is at version 2 now; {OUTSIDE}"),
            (1, "Numbers/a", 1, OUTSIDE),
            (1, "Numbers/b", 1, f"has changed since; {OUTSIDE}"),
        ]
        await node.destroy(Setting, "how")
        assert causes_of(node, Sum, "all")[1] == (1, "Settings/how", 1, "is gone since")


@pytest.mark.parametrize("step", [0, 3600, -3600])
async def test_what_has_changed_since_does_not_depend_on_the_wall_clock(step: int) -> None:
    wall = [1_700_000_000 * 10**9]
    async with running(ADDER, state=MemoryState(now=lambda: wall[0])) as node:
        for id in ("a", "b", "c"):
            await node.put(Number, id, IntegerSpec(value=1))
        await node.eventually(Sum, "all", lambda found: found.spec.value == 3)
        wall[0] += step * 10**9
        # The sums stay the same, so they are not written again.
        await node.put(Number, "zero", IntegerSpec(value=0))
        await node.destroy(Number, "c")
        await node.put(Number, "c", IntegerSpec(value=1))
        await node.settled()
        notes = {each[1]: each[3].removesuffix(OUTSIDE) for each in causes_of(node, Sum, "all")[2:]}
        since = "has changed since; "
        assert notes == {"Numbers/a": "", "Numbers/b": "", "Numbers/c": since, "Numbers/zero": since}


async def test_what_the_history_does_not_reach_back_to_may_have_changed() -> None:
    async with running(ADDER, state=MemoryState(max_capacity=10)) as node:
        for id in ("a", "b"):
            await node.put(Number, id, IntegerSpec(value=1))
        await node.eventually(Sum, "all", lambda found: found.spec.value == 2)
        for number in range(20):
            await node.put(Number, "zero", IntegerSpec(value=0), labels={"turn": str(number)})
        await node.settled()
        notes = {each[1]: each[3].removesuffix(OUTSIDE) for each in causes_of(node, Sum, "all")[2:]}
        unknown = "may have changed since; "
        assert notes == {"Numbers/a": unknown, "Numbers/b": unknown, "Numbers/zero": "has changed since; "}


async def test_of_many_those_are_shown_whose_ids_are_alike() -> None:
    async def sum_up(ctx: ControllerContext) -> None:
        async for _ in ctx:
            for id in ("eth1", "eth2"):
                await ctx.put(Sum, f"{id}/sum", IntegerSpec(value=len(ctx.list(Number))))

    async with running(Routine("test.Adder", sum_up, (weak(Number),), (exclusive(Sum),))) as node:
        count = MOST_SHOWN + 3
        for number in range(count):
            await node.put(Number, f"eth{number}/10.0.0.1", IntegerSpec(value=number))
        await node.eventually(Sum, "eth1/sum", lambda found: found.spec.value == count)
        assert causes_of(node, Sum, "eth1/sum")[1:] == [
            (1, "Numbers/eth1/10.0.0.1", 1, OUTSIDE),
            (1, "Numbers/", None, f"and {count - 1} others"),
        ]


async def test_an_answer_ends_after_so_many_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.runtime.engine.causes.MOST_FOLLOWED", 1)
    async with running(ADDER, WRITER) as node:
        await node.put(Number, "a", IntegerSpec(value=1))
        await becomes(node, "1")
        found = causes_of(node, Text, "all")
        assert [(depth, id, note) for depth, id, _, note in found] == [
            (0, "Texts/all", ""),
            (1, "Sums/all", "its inputs are left out: the answer is long"),
        ]


async def test_each_item_of_a_queue_has_its_own_causes_also_where_several_are_worked_on() -> None:
    both = trio.Event()

    async def copy(ctx: QueueContext, item: Pointer[Any]) -> None:
        found = ctx.find(Number, item.id)
        if found is None:
            return
        if item.id == "b":
            both.set()
        # Both items have been read by now, and neither is written.
        await both.wait()
        ctx.find(Setting, item.id)
        await ctx.put(Sum, item.id, found.spec)

    inputs = (primary(Number), mapped(Setting))
    jobs = Jobs("test.Copier", *inputs, outputs=(exclusive(Sum),), reconcile=copy, concurrency=2)
    async with running(jobs) as node:
        for id in ("a", "b"):
            await node.put(Number, id, IntegerSpec(value=1))
        for id in ("a", "b"):
            await node.eventually(Sum, id)
            assert causes_of(node, Sum, id)[1:] == [
                (1, f"Numbers/{id}", 1, OUTSIDE),
                (1, f"Settings/{id}", None, "was not there"),
            ]


async def test_a_cycle_of_causes_is_shown_once() -> None:
    async def mirror(ctx: ControllerContext) -> None:
        async for _ in ctx:
            if found := ctx.find(Text, "all"):
                await ctx.put(Number, "echo", IntegerSpec(value=len(found.spec.value)))

    mirroring = Routine("test.Mirror", mirror, (weak(Text),), (exclusive(Number),))
    async with running(ADDER, WRITER, mirroring) as node:
        await node.eventually(Number, "echo")
        await node.settled()
        causes = causes_of(node, Text, "all")
        assert [each[:2] for each in causes] == [
            (0, "Texts/all"),
            (1, "Sums/all"),
            (2, "Settings/how"),
            (2, "Numbers/echo"),
            (3, "Texts/all"),
        ]
        assert causes[-1][3].endswith("see above")


async def test_what_is_gone_is_forgotten_no_matter_who_removed_it() -> None:
    async def follow(ctx: ControllerContext) -> None:
        async for _ in ctx:
            for number in ctx.list(Number):
                await ctx.put(Sum, number.id, number.spec)

    async with running(Routine("test.Adder", follow, (weak(Number),), (exclusive(Sum),))) as node:
        for number in range(300):
            await node.put(Number, "one", IntegerSpec(value=number))
            await node.put(Number, f"n{number}", IntegerSpec(value=number))
            await node.eventually(Sum, f"n{number}")
            await node.destroy(Number, f"n{number}")
            await node.settled()
            await node.destroy(Sum, f"n{number}", owner="test.Adder")
        assert len(node.engine.runners["test.Adder"].access.origins) < 150
        assert causes_of(node, Sum, "one")[1:] == [(1, "Numbers/one", 300, OUTSIDE)]


async def test_no_more_is_noted_of_a_turn_than_is_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.runtime.controller.context.MOST_READS", 3)

    async def look(ctx: ControllerContext) -> None:
        async for _ in ctx:
            for number in range(5):
                ctx.find(Number, f"n{number}")
            await ctx.put(Sum, "all", IntegerSpec(value=0))

    async with running(Routine("test.Adder", look, (weak(Number),), (exclusive(Sum),))) as node:
        await node.eventually(Sum, "all")
        assert [each[1] for each in causes_of(node, Sum, "all")] == [
            "Sums/all",
            "Numbers/n0",
            "Numbers/n1",
            "Numbers/n2",
        ]

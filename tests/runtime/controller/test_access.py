"""What a controller may touch: exactly what it declared, call by call."""

from collections.abc import Awaitable, Callable

import pytest

from nodespan.runtime.controller import (
    Access,
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
from nodespan.runtime.errors import AccessError, NotFoundError, OwnerConflictError, PhaseConflictError
from nodespan.runtime.resource import Kind, LabelQuery, Phase, Term
from nodespan.runtime.state import ANY_PHASE, MemoryState
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec
from tests.runtime.parts import access, integer, spell

HERE, THERE = Integer.within("here"), Integer.within("there")


async def find(ctx: Access) -> None:
    ctx.find(HERE, "one")


async def get(ctx: Access) -> None:
    ctx.get(HERE, "one")


async def while_running(ctx: Access) -> None:
    with ctx.while_running(HERE, "one"):
        pass


async def list_(ctx: Access) -> None:
    ctx.list(HERE)


async def list_filtered(ctx: Access) -> None:
    ctx.list(HERE, labels=[LabelQuery((Term("x"),))], id_query="o")


async def create(ctx: Access) -> None:
    await ctx.create(integer(HERE, "new"))


async def update(ctx: Access) -> None:
    await ctx.update(integer(HERE, "one", 2, version=1, owner=ctx.name))


async def modify(ctx: Access) -> None:
    await ctx.modify(integer(HERE, "one"), lambda resource: resource.with_spec(IntegerSpec(2)))


async def put(ctx: Access) -> None:
    await ctx.put(HERE, "one", IntegerSpec(2))


async def teardown(ctx: Access) -> None:
    await ctx.teardown(HERE, "one")


async def destroy(ctx: Access) -> None:
    await ctx.destroy(HERE, "one")


async def teardown_and_destroy(ctx: Access) -> None:
    await ctx.teardown_and_destroy(HERE, "one")


async def add_finalizer(ctx: Access) -> None:
    await ctx.add_finalizer(HERE, "one")


async def remove_finalizer(ctx: Access) -> None:
    await ctx.remove_finalizer(HERE, "one")


Call = Callable[[Access], Awaitable[None]]
READ: list[Call] = [find, get, while_running]
LIST: list[Call] = [list_, list_filtered]
WRITE: list[Call] = [create, update, modify, put, teardown, destroy, teardown_and_destroy]
FINALIZE: list[Call] = [add_finalizer, remove_finalizer]
CALLS = [*READ, *LIST, *WRITE, *FINALIZE]


@pytest.mark.parametrize(
    ("inputs", "outputs", "allowed"),
    [
        ([], [], []),
        ([], [exclusive(HERE)], [READ, LIST, WRITE]),
        ([], [shared(HERE)], [READ, LIST, WRITE]),
        ([], [exclusive(THERE)], [READ, LIST, WRITE]),
        ([weak(HERE)], [], [READ, LIST]),
        ([destroy_ready(HERE)], [], [READ, LIST]),
        ([mapped_destroy_ready(HERE)], [], [READ, LIST]),
        ([strong(HERE)], [], [READ, LIST, FINALIZE]),
        ([primary(HERE)], [], [READ, LIST, FINALIZE]),
        ([mapped(HERE)], [], [READ, LIST, FINALIZE]),
        ([weak(HERE, "one")], [], [READ]),
        ([strong(HERE, "one")], [], [READ, FINALIZE]),
        ([mapped(HERE, "one")], [], [READ, FINALIZE]),
        ([strong(HERE, "two")], [], []),
        ([strong(THERE)], [], []),
        ([weak(HERE), strong(HERE, "one")], [], [READ, LIST, FINALIZE]),
        ([weak(HERE, "two"), weak(HERE, "one")], [], [READ]),
        ([strong(HERE)], [shared(HERE)], [READ, LIST, WRITE, FINALIZE]),
    ],
    ids=spell,
)
async def test_a_call_goes_through_exactly_where_the_declarations_allow_it(
    inputs: list[Input], outputs: list[Output], allowed: list[list[Call]]
) -> None:
    for call in CALLS:
        state = MemoryState()
        ctx = access(state, *inputs, outputs=outputs)
        for kind in (HERE, THERE):
            await state.create(integer(kind, "one", 1), owner=ctx.name)
        if any(call in calls for calls in allowed):
            await call(ctx)
        else:
            before = state.list(HERE)
            refusal = await _refusal(call, ctx)
            assert refusal is not None, call.__name__
            assert "test.Controller" in str(refusal), call.__name__
            assert refusal.concerns(namespace="here", type=Integer.name), call.__name__
            assert state.list(HERE) == before, call.__name__


async def _refusal(call: Call, ctx: Access) -> AccessError | None:
    try:
        await call(ctx)
    except AccessError as error:
        return error
    return None


async def test_a_refused_read_stays_refused_after_an_allowed_one_of_the_same_kind() -> None:
    state = MemoryState()
    ctx = access(state, weak(HERE, "one"))
    ctx.find(HERE, "one")
    with pytest.raises(AccessError):
        ctx.find(HERE, "two")
    with pytest.raises(AccessError):
        ctx.list(HERE)


async def test_a_type_stands_for_its_default_namespace() -> None:
    state = MemoryState()
    ctx = access(state, weak(Integer))
    stored = await state.create(integer(Kind("default", Integer.name), "one"))
    assert ctx.get(Integer, "one") is stored
    assert ctx.get(Integer.kind, "one") is stored
    with pytest.raises(NotFoundError):
        ctx.get(Integer, "two")
    with pytest.raises(AccessError):
        ctx.get(HERE, "one")


async def test_writes_have_the_controller_as_owner_unless_another_is_given() -> None:
    state = MemoryState()
    ctx = access(state, outputs=[exclusive(HERE)])
    assert (await ctx.create(integer(HERE, "created"))).metadata.owner == ctx.name
    assert (await ctx.put(HERE, "put", IntegerSpec(1))).metadata.owner == ctx.name
    assert (await ctx.modify(integer(HERE, "modified"), lambda it: it)).metadata.owner == ctx.name
    assert (await ctx.create(integer(HERE, "free"), owned=False)).metadata.owner == ""
    assert (await ctx.modify(integer(HERE, "free too"), lambda it: it, owned=False)).metadata.owner == ""
    await state.create(integer(HERE, "foreign"), owner="other")
    for write in (
        ctx.put(HERE, "foreign", IntegerSpec(5)),
        ctx.modify(integer(HERE, "foreign"), lambda it: it.with_spec(IntegerSpec(5))),
        ctx.teardown(HERE, "foreign"),
        ctx.destroy(HERE, "foreign"),
    ):
        with pytest.raises(OwnerConflictError):
            await write
    assert await ctx.teardown(HERE, "foreign", owner="other")
    await ctx.destroy(HERE, "foreign", owner="other")


async def test_an_output_that_is_tearing_down_is_written_only_on_request() -> None:
    state = MemoryState()
    ctx = access(state, outputs=[exclusive(HERE)])
    await ctx.put(HERE, "one", IntegerSpec(1))
    await ctx.teardown(HERE, "one")
    with pytest.raises(PhaseConflictError):
        await ctx.put(HERE, "one", IntegerSpec(2))
    with pytest.raises(PhaseConflictError):
        await ctx.modify(integer(HERE, "one"), lambda it: it.with_spec(IntegerSpec(2)))
    for phase in (Phase.TEARING_DOWN, ANY_PHASE):
        await ctx.modify(integer(HERE, "one"), lambda it: it.with_labels({"x": ""}), expected_phase=phase)


async def test_a_put_that_changes_nothing_writes_nothing_and_leaves_what_it_does_not_name() -> None:
    state = MemoryState()
    ctx = access(state, outputs=[exclusive(HERE)])
    first = await ctx.put(HERE, "one", IntegerSpec(1), labels={"a": "1"}, annotations={"b": "2"})
    assert await ctx.put(HERE, "one", IntegerSpec(1)) is first
    assert await ctx.put(HERE, "one", IntegerSpec(1), labels={"a": "1"}, annotations={"b": "2"}) is first
    second = await ctx.put(HERE, "one", IntegerSpec(2))
    assert (second.metadata.version, second.metadata.labels, second.metadata.annotations) == (2, {"a": "1"}, {"b": "2"})
    third = await ctx.put(HERE, "one", IntegerSpec(2), labels={})
    assert (third.metadata.version, third.metadata.labels, third.metadata.annotations) == (3, {}, {"b": "2"})
    assert ctx.counters.writes == 3


async def test_a_finalizer_is_the_controllers_name_and_its_removal_from_a_missing_resource_is_not_an_error() -> None:
    state = MemoryState()
    ctx = access(state, strong(HERE))
    await state.create(integer(HERE, "one"), owner="other")
    await ctx.add_finalizer(HERE, "one")
    await ctx.add_finalizer(HERE, "one", "more", "again")
    assert state.get(HERE, "one").metadata.finalizers == (ctx.name, "more", "again")
    await ctx.remove_finalizer(HERE, "one")
    await ctx.remove_finalizer(HERE, "one", "more", "again")
    assert state.get(HERE, "one").metadata.finalizers == ()
    await ctx.remove_finalizer(HERE, "missing")
    with pytest.raises(NotFoundError):
        await ctx.add_finalizer(HERE, "missing")

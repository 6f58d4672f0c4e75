"""Mistakes of those who write controllers: refused where they are made, with the remedy in the error."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pytest
import structlog.testing
import trio

from nodespan.runtime.controller import ControllerContext, QueueContext, exclusive, primary, shared, strong, weak
from nodespan.runtime.engine import ControllerState, ControllerStatus, Engine
from nodespan.runtime.errors import AccessError, NotFoundError, OwnerConflictError, RegistrationError, SpecError
from nodespan.runtime.resource import Pointer, Resource, ResourceDefinition, ResourceType
from nodespan.runtime.resource.definition import named_definitions
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.meta import register_types
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Text, TextSpec
from nodespan.runtime.testing.kit import running
from tests.runtime.parts import Jobs, Routine, integer

pytestmark = pytest.mark.virtual_clock


async def rests(_ctx: ControllerContext) -> None:
    await trio.sleep_forever()


async def _failure(
    act: Callable[[ControllerContext], Any],
    *,
    inputs: Iterable[Any] = (weak(Integer),),
    outputs: Iterable[Any] = (exclusive(Text),),
) -> str:
    """What the status says of a controller that does this once."""

    async def turns(ctx: ControllerContext) -> None:
        async for _ in ctx:
            await act(ctx)

    async with running(Routine("mistaken", turns, tuple(inputs), tuple(outputs)), allow_crashes=True) as node:
        status = await node.eventually(ControllerStatus, "mistaken", lambda found: found.spec.crashes > 0)
        assert status.spec.state is not ControllerState.FINISHED
        return status.spec.last_error


# Specs.


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"value": "a"}, "the spec of"),
        (IntegerSpec(1), "must be a TextSpec, not IntegerSpec"),
        (TextSpec(17), "TextSpec.value of"),  # type: ignore[arg-type]
        (TextSpec(None), "TextSpec.value of"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("way", ["put", "put again", "create", "modify", "update"])
async def test_a_wrong_spec_is_refused_by_every_way_to_write_it(way: str, spec: Any, text: str) -> None:
    async def act(ctx: ControllerContext) -> None:
        if way == "put":
            await ctx.put(Text, "x", spec)
        elif way == "create":
            await ctx.create(Text.new("x", spec))
        elif way == "modify":
            await ctx.modify(Text.new("x", TextSpec("a")), lambda known: known.with_spec(spec))
        else:
            known = await ctx.put(Text, "x", TextSpec("a"))
            if way == "update":
                await ctx.update(known.with_spec(spec))
            await ctx.put(Text, "x", spec)

    error = await _failure(act)
    assert error.startswith("SpecError: ")
    assert text in error


async def test_the_state_has_nothing_of_a_wrong_spec() -> None:
    async def act(ctx: ControllerContext) -> None:
        with pytest.raises(SpecError):
            await ctx.put(Text, "x", TextSpec(17))  # type: ignore[arg-type]
        assert ctx.find(Text, "x") is None
        await ctx.put(Text.within("elsewhere"), "x", TextSpec("right"))

    async def turns(ctx: ControllerContext) -> None:
        async for _ in ctx:
            await act(ctx)

    async with running(Routine("careful", turns, (weak(Integer),), (exclusive(Text),))) as node:
        await node.eventually(Text.within("elsewhere"), "x")


# Declarations.


@pytest.mark.parametrize(
    ("inputs", "act", "text"),
    [
        ((weak(Integer, "one"),), lambda ctx: ctx.list(Integer), "only 'one' is declared as an input: find() them"),
        (
            (weak(Integer, "one"), strong(Integer, "two")),
            lambda ctx: ctx.find(Integer, "three"),
            "only 'one', 'two' is declared as an input: add weak(",
        ),
        ((), lambda ctx: ctx.list(Integer), "neither declared as an input nor as an output: add weak("),
        ((weak(Integer),), lambda ctx: ctx.list(Integer.within("other")), "only: add weak("),
    ],
    ids=["a list of one", "another one", "nothing", "another namespace"],
)
async def test_a_refused_read_says_what_is_declared_and_what_to_declare(
    inputs: tuple[Any, ...], act: Callable[[ControllerContext], Any], text: str
) -> None:
    async def read(ctx: ControllerContext) -> None:
        act(ctx)

    error = await _failure(read, inputs=inputs)
    assert error.startswith("AccessError: ")
    assert text in error


async def test_a_refused_write_says_what_to_declare() -> None:
    async def write(ctx: ControllerContext) -> None:
        with pytest.raises(AccessError, match=r"declare strong\("):
            await ctx.add_finalizer(Integer, "one")
        await ctx.put(Integer, "one", IntegerSpec(1))

    assert "add exclusive(" in await _failure(write)


@pytest.mark.parametrize(
    ("controller", "text"),
    [
        (Jobs("queue", weak(Integer)), r"declare it by primary\(\) or mapped\(\)"),
        (Routine("routine", rests, (primary(Integer),), ()), r"declare it by weak\(\) or strong\(\)"),
    ],
)
async def test_an_input_of_the_other_shape_is_refused_with_the_right_one(controller: Any, text: str) -> None:
    with pytest.raises(RegistrationError, match=text):
        await Engine(MemoryState()).register(controller)


# Types.


@attrs.frozen
class PartSpec:
    size: int = 0


@attrs.frozen
class WholeSpec:
    first_part: PartSpec = attrs.field(factory=PartSpec)
    parts: tuple[PartSpec, ...] = ()


@pytest.mark.parametrize("path", [".firstPart", ".firstPart.size", "{.parts[*].size}", "{.parts[:]}", ""])
def test_columns_of_fields_are_accepted(path: str) -> None:
    ResourceType("Wholes.example.dev", WholeSpec, namespace="example", columns={"Column": path})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".firstpart", "WholeSpec has no field firstpart: did you mean firstPart"),
        ("{.first_part}", "has no field first_part"),
        (".firstPart.sizes", "PartSpec has no field sizes: did you mean size"),
        (".zzz", "did you mean firstPart or parts"),
    ],
)
def test_a_column_that_names_no_field_is_refused(path: str, text: str) -> None:
    with pytest.raises(RegistrationError, match=text):
        ResourceType("Wholes.example.dev", WholeSpec, namespace="example", columns={"Column": path})


def _type(name: str, *aliases: str, **named: Any) -> ResourceType[WholeSpec]:
    return ResourceType(name, WholeSpec, namespace="example", aliases=aliases, **named)


@pytest.mark.parametrize(
    ("new", "name"),
    [
        (_type("Gadgets.other.dev", "links"), "links"),
        (_type("Gadgets.other.dev", "link"), "link"),
        (_type("Gadgets.other.dev", "LINK"), "link"),
        (_type("Links.other.dev"), "link"),
        (_type("Gadgets.other.dev", "lp"), "lp"),
        (_type("Gadgets.example.dev", "links"), "links"),
    ],
)
async def test_a_type_that_would_make_another_ones_name_ambiguous_is_refused(new: ResourceType[Any], name: str) -> None:
    state = MemoryState()
    await register_types(state, [_type("Links.example.dev", "links"), _type("LinkParts.example.dev")])
    with pytest.raises(RegistrationError, match=f"would be called '{name}', and so is"):
        await register_types(state, [new])


async def test_initials_of_another_organization_take_nothing_away() -> None:
    state = MemoryState()
    first = [_type("LinkParts.example.dev"), _type("LastPages.example.dev")]
    await register_types(state, first)
    await register_types(state, [_type("LongPoles.other.dev")])
    definitions = state.list(ResourceDefinition)
    assert {found.type for found in named_definitions(definitions, "lp")} == {each.name for each in first}
    assert [found.type for found in named_definitions(definitions, "LongPole")] == ["LongPoles.other.dev"]


async def test_a_chosen_name_goes_before_initials() -> None:
    state = MemoryState()
    await register_types(state, [_type("LinkParts.example.dev"), _type("Pages.example.dev", "lp")])
    found = named_definitions(state.list(ResourceDefinition), "LP")
    assert [each.type for each in found] == ["Pages.example.dev"]


# Code.


async def test_a_loop_over_turns_says_that_it_has_to_be_asynchronous() -> None:
    async def run(ctx: ControllerContext) -> None:
        for _ in ctx:
            pass

    async with running(Routine("mistaken", run, (weak(Integer),), ()), allow_crashes=True) as node:
        status = await node.eventually(ControllerStatus, "mistaken", lambda found: found.spec.crashes > 0)
        assert "async for _ in ctx" in status.spec.last_error


@pytest.mark.parametrize("call", [lambda: asyncio.sleep(1), lambda: asyncio.to_thread(int)])
async def test_asyncio_in_a_controller_is_answered_with_trio(call: Callable[[], Any]) -> None:
    async def act(_ctx: ControllerContext) -> None:
        await call()

    assert "controllers run on trio: use trio.sleep" in await _failure(act)


async def test_a_forgotten_await_is_the_failure_of_its_controller() -> None:
    async def act(ctx: ControllerContext) -> None:
        ctx.put(Text, "x", TextSpec("a"))  # type: ignore[unused-coroutine]

    assert await _failure(act) == (
        "ForgottenAwaitError: put() was called without await and did nothing: write `await ...put(...)`"
    )


async def test_a_forgotten_await_of_a_job_is_the_failure_of_the_job() -> None:
    class Forgetful(Jobs):
        async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
            ctx.teardown(Text, item.id)  # type: ignore[unused-coroutine]

    controller = Forgetful("forgetful", primary(Integer), outputs=(shared(Text),))
    async with running(controller, allow_crashes=True) as node:
        await node.create(integer(Integer.kind, "one", 1))
        status = await node.eventually(ControllerStatus, "forgetful", lambda found: found.spec.crashes > 0)
        assert "teardown() was called without await" in status.spec.last_error


async def test_a_forgotten_await_elsewhere_stays_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    async with running() as node:
        rests(node)  # type: ignore[unused-coroutine, arg-type]
    assert [warning.category for warning in recwarn.list] == [RuntimeWarning]


# Stopping.


async def test_a_controller_that_swallows_its_cancellation_is_named_and_given_up() -> None:
    given_up: list[list[str]] = []
    has_ended = trio.Event()

    async def swallows(_ctx: ControllerContext) -> None:
        while not given_up:
            try:
                await trio.sleep(1)
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)

    engine = Engine(MemoryState(), give_up=given_up.append)
    await engine.register(Routine("swallower", swallows, (), ()))
    await engine.register(Routine("good", rests, (), ()))

    async def run(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            await engine.run()
        has_ended.set()

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            scope = await nursery.start(run)
            await trio.sleep(5)
            stopped = trio.current_time()
            scope.cancel()
            await has_ended.wait()
    assert 30 <= trio.current_time() - stopped < 33
    assert given_up == [["swallower"]]
    named = [log for log in logs if "controllers" in log]
    assert [log["controllers"] for log in named] == [["swallower"]] * 2
    assert "trio.Cancelled" in named[0]["event"]


async def test_an_engine_that_stops_in_time_is_not_watched_any_longer() -> None:
    with structlog.testing.capture_logs() as logs:
        async with running(Routine("good", rests, (), ())):
            await trio.sleep(100)
        await trio.sleep(100)
    assert not [log for log in logs if "controllers" in log]


# Errors that are documented.


async def test_tearing_down_raises_what_its_documentation_says() -> None:
    async def act(ctx: ControllerContext) -> None:
        with pytest.raises(NotFoundError):
            await ctx.teardown_and_destroy(Text, "missing")
        with pytest.raises(OwnerConflictError):
            await ctx.teardown_and_destroy(Text, "foreign")
        await ctx.put(Text, "done", TextSpec("a"))

    async def turns(ctx: ControllerContext) -> None:
        async for _ in ctx:
            await act(ctx)

    state = MemoryState()
    foreign: Resource[TextSpec] = Text.new("foreign", TextSpec("a"))
    await state.create(foreign, owner="another")
    async with running(Routine("tidy", turns, (), (shared(Text),)), state=state) as node:
        await node.eventually(Text, "done")

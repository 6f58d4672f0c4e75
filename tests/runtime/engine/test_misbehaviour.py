"""Controllers that misbehave: the others go on, and the status names who it is and what is wrong."""

import itertools
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
import structlog
import trio

from nodespan.runtime.controller import ControllerContext, QueueContext, exclusive, primary, strong, weak
from nodespan.runtime.engine import (
    ControllerState,
    ControllerStatus,
    ControllerStatusSpec,
    Engine,
    engine,
    loop_monitor,
)
from nodespan.runtime.engine.runner import BUSY_WAKEUPS, describe, failure_in
from nodespan.runtime.errors import AccessError, ConflictError
from nodespan.runtime.resource import Pointer, Resource
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Text, TextSpec
from nodespan.runtime.testing.kit import Node, running
from tests.runtime.parts import Jobs, Routine, Turns, integer
from tests.support.deadlines import PATIENCE


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1)


async def raises_error(_ctx: ControllerContext) -> None:
    raise ValueError("first line\nsecond line")


async def raises_system_exit(_ctx: ControllerContext) -> None:
    raise SystemExit(3)


async def raises_group(_ctx: ControllerContext) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises_error, _ctx)
        nursery.start_soon(trio.sleep_forever)


async def recurses(_ctx: ControllerContext) -> None:
    recurse()


async def goes_beyond_its_declarations(ctx: ControllerContext) -> None:
    await ctx.put(Text, "one", TextSpec(""))


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even that")


async def raises_the_unspeakable(_ctx: ControllerContext) -> None:
    raise UnspeakableError


async def leaks_a_cancellation(_ctx: ControllerContext) -> None:
    caught: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            caught.append(cancelled)
            raise
    raise caught[0]


async def leaks_a_cancellation_in_a_group(ctx: ControllerContext) -> None:
    try:
        await leaks_a_cancellation(ctx)
    except trio.Cancelled as cancelled:
        raise BaseExceptionGroup("leaked", [cancelled]) from None


FAILURES: list[tuple[Callable[[ControllerContext], Awaitable[None]], str]] = [
    (raises_error, "ValueError: first line"),
    (raises_system_exit, "SystemExit: 3"),
    (raises_group, "ValueError: first line"),
    (recurses, "RecursionError: maximum recursion depth exceeded"),
    (goes_beyond_its_declarations, "AccessError: controller 'bad' may not write"),
    (raises_the_unspeakable, "UnspeakableError: (an error whose text cannot be made)"),
    (leaks_a_cancellation, "Cancelled: "),
    (leaks_a_cancellation_in_a_group, "Cancelled: "),
]


def status_of(node: Node, name: str) -> ControllerStatusSpec:
    return node.state.get(ControllerStatus, name).spec


@pytest.mark.virtual_clock
@pytest.mark.parametrize(("run", "error"), FAILURES)
async def test_a_controller_that_always_fails_is_restarted_without_end_and_affects_no_other(
    run: Callable[[ControllerContext], Awaitable[None]], error: str
) -> None:
    turns = Turns("good", weak(Integer))
    async with running(Routine("bad", run), turns, allow_crashes=True) as node:
        await node.settled()
        for count in range(10):
            await node.create(integer(Integer.kind, str(count)))
            await trio.sleep(60)
        assert turns.turns == 11
        status = status_of(node, "bad")
        assert status.last_error.startswith(error)
        # Ten minutes are some 8 s of short delays and then a minute each, give or take a half.
        assert 12 <= status.crashes <= 40
        await trio.sleep(3600)
        assert 40 <= status_of(node, "bad").crashes - status.crashes <= 120
        assert status_of(node, "bad").state is ControllerState.BACKOFF
        assert status_of(node, "good").crashes == 0


@pytest.mark.virtual_clock
@pytest.mark.parametrize(("run", "error"), FAILURES)
async def test_an_item_that_fails_for_ever_disturbs_no_other(run: Callable[[Any], Awaitable[None]], error: str) -> None:
    async def reconcile(ctx: QueueContext, item: Pointer[Any]) -> None:
        if item.id == "bad":
            await run(ctx)

    jobs = Jobs("bad", primary(Integer), reconcile=reconcile)
    async with running(jobs, allow_crashes=True) as node:
        await node.create(integer(Integer.kind, "bad"))
        for count in range(10):
            await node.create(integer(Integer.kind, str(count)))
            await trio.sleep(1)
        assert set(jobs.done) == {"bad", *(str(count) for count in range(10))}
        assert jobs.done.count("bad") > 2
        assert status_of(node, "bad").last_error.startswith(error)


@pytest.mark.virtual_clock
async def test_the_delay_of_restarts_grows_until_a_turn_succeeds() -> None:
    starts: list[float] = []
    good = {11}

    async def run(ctx: ControllerContext) -> None:
        starts.append(trio.current_time())
        async for _ in ctx:
            if len(starts) not in good:
                raise ValueError("fails")
            good.clear()
            ctx.wake()

    async with running(Routine("C", run), allow_crashes=True):
        await trio.sleep(300)
    delays = [after - before for before, after in itertools.pairwise(starts)]
    assert delays[0] <= 0.75
    assert delays[9] >= 0.5 * 19.2
    assert delays[10] <= 0.75


@pytest.mark.virtual_clock
async def test_the_status_follows_a_controller_through_its_life() -> None:
    ends = trio.Event()

    async def run(ctx: ControllerContext) -> None:
        async for _ in ctx:
            if len(node.crashes) == 0:
                raise ValueError("once")
            await ctx.put(Text, "one", TextSpec(""))
            await ends.wait()
            return

    async with running(Routine("C", run, outputs=[exclusive(Text)]), allow_crashes=True) as node:
        await node.eventually(ControllerStatus, "C", lambda status: status.spec.state is ControllerState.BACKOFF)
        await node.eventually(ControllerStatus, "C", lambda status: status.spec.state is ControllerState.RUNNING)
        ends.set()
        done = await node.eventually(
            ControllerStatus, "C", lambda status: status.spec.state is ControllerState.FINISHED
        )
        assert (done.spec.crashes, done.spec.writes, done.spec.wakeups) == (1, 1, 2)
        assert done.spec.last_error == "ValueError: once"


@pytest.mark.virtual_clock
async def test_a_controller_that_returns_is_done_whatever_changes() -> None:
    runs = 0

    async def run(ctx: ControllerContext) -> None:
        nonlocal runs
        runs += 1

    async with running(Routine("C", run, [weak(Integer)])) as node:
        for count in range(5):
            await node.create(integer(Integer.kind, str(count)))
            await trio.sleep(60)
        assert runs == 1
        assert status_of(node, "C").state is ControllerState.FINISHED


@pytest.mark.virtual_clock
async def test_who_reads_statuses_is_not_woken_by_its_own_without_end() -> None:
    turns = Turns("C", weak(ControllerStatus))
    async with running(turns) as node:
        await node.settled()
        await trio.sleep(600)
        # At most once per interval, for its own wake-ups are what its status counts.
        assert turns.turns <= 600 / engine.STATUS_INTERVAL + 5


async def test_who_writes_what_it_reads_leaves_the_others_their_turns_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "STATUS_INTERVAL", 0.1)

    async def run(ctx: ControllerContext) -> None:
        async for _ in ctx:
            current = ctx.find(Integer, "count")
            await ctx.put(Integer, "count", IntegerSpec(0 if current is None else current.spec.value + 1))

    turns = Turns("good", weak(Text))
    async with running(Routine("bad", run, [strong(Integer)], [exclusive(Integer)]), turns) as node:
        await node.put(Text, "one", TextSpec(""))
        status = await node.eventually(ControllerStatus, "bad", lambda status: bool(status.spec.notice))
        assert "does it write what it reads?" in status.spec.notice
        assert status.spec.state is ControllerState.RUNNING
        before = turns.turns
        await node.put(Text, "two", TextSpec(""))
        await trio.sleep(0.01)
        assert turns.turns == before + 1
        assert status_of(node, "good").notice == ""


@pytest.mark.virtual_clock
async def test_who_is_woken_by_others_is_not_accused_of_waking_itself() -> None:
    """Many links or routes that come at once wake who reads them, and may be a write for each turn, and pass."""

    async def copy(ctx: ControllerContext) -> None:
        async for _ in ctx:
            for number in ctx.list(Integer):
                await ctx.put(Text, "copy", TextSpec(str(number.spec.value)))

    values = itertools.count()
    turns = Turns("reads", weak(Integer))
    async with running(turns, Routine("writes", copy, [weak(Integer)], [exclusive(Text)])) as node:

        async def flood(intervals: int) -> tuple[str, str]:
            for _ in range(intervals):
                for _ in range(round(engine.STATUS_INTERVAL * BUSY_WAKEUPS) + 50):
                    await node.put(Integer, "count", IntegerSpec(next(values)))
                    await node.settled()
                await trio.sleep(engine.STATUS_INTERVAL)
            return status_of(node, "reads").notice, status_of(node, "writes").notice

        await trio.sleep(engine.STATUS_INTERVAL / 3)  # not at the moment of a report
        assert await flood(2) == ("", "")
        reads, writes = await flood(3)
        assert (reads, "does it write what it reads?" in writes) == ("", True)
        assert turns.turns > 5 * engine.STATUS_INTERVAL * BUSY_WAKEUPS
        await trio.sleep(2 * engine.STATUS_INTERVAL)
        assert status_of(node, "writes").notice == ""


async def test_who_does_not_await_is_named() -> None:
    async def run(ctx: ControllerContext) -> None:
        async for _ in ctx:
            if ctx.list(Integer):
                time.sleep(0.2)  # noqa: ASYNC251  # what a controller must not do

    slow, turns = Routine("slow", run, [weak(Integer)]), Turns("good", weak(Integer))
    async with running(slow, turns, monitor_loop=True) as node:
        await node.settled()
        await node.create(integer(Integer.kind, "one"))
        status = await node.eventually(ControllerStatus, "slow", lambda status: bool(status.spec.notice))
        assert 190 <= status.spec.longest_step_ms < 5000
        assert status.spec.notice == f"kept everything waiting for {status.spec.longest_step_ms} ms"
        await node.settled()
        assert (turns.turns, status_of(node, "good").longest_step_ms) == (2, 0)


def keeping(lines: list[dict[str, Any]]) -> Any:
    """A logger that records its calls."""

    def keep(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        lines.append(dict(event))
        raise structlog.DropEvent

    return structlog.wrap_logger(structlog.PrintLogger(), processors=[keep])


async def test_where_a_stuck_controller_stands_is_logged_while_it_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_monitor, "STUCK_STEP", 0.04)
    monkeypatch.setattr(loop_monitor, "LOOK_INTERVAL", 0.02)
    lines: list[dict[str, Any]] = []

    async def stuck(ctx: ControllerContext) -> None:
        deadline = time.monotonic() + PATIENCE
        while not lines and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251  # what a controller must not do

    test_engine = Engine(MemoryState(), log=keeping(lines), monitor_loop=True)
    await test_engine.register(Routine("C", stuck))
    async with trio.open_nursery() as nursery:
        await nursery.start(test_engine.run)
        while not lines:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert lines[0]["controller"] == "C"
    assert "does not await" in lines[0]["event"]
    assert "in stuck" in lines[0]["stack"]


async def test_who_does_not_await_from_the_very_start_is_named_too() -> None:
    async def run(ctx: ControllerContext) -> None:
        time.sleep(0.15)  # noqa: ASYNC251  # what a controller must not do

    async with running(Routine("slow", run), monitor_loop=True) as node:
        await node.eventually(ControllerStatus, "slow", lambda status: status.spec.longest_step_ms >= 150)


class ForgetfulState(MemoryState):
    """Cannot write statuses, as a state elsewhere may be unable to."""

    async def create(self, resource: Resource[Any], *, owner: str = "") -> Resource[Any]:
        if resource.kind == ControllerStatus.kind:
            raise ConflictError("not today")
        return await super().create(resource, owner=owner)


@pytest.mark.virtual_clock
async def test_statuses_that_cannot_be_written_stop_no_controller() -> None:
    turns = Turns("C", weak(Integer))
    async with running(turns, state=ForgetfulState()) as node:
        await trio.sleep(60)
        await node.create(integer(Integer.kind, "one"))
        await node.settled()
        assert turns.turns == 2


async def test_an_interruption_by_the_user_is_not_a_failure() -> None:
    async def run(ctx: ControllerContext) -> None:
        raise KeyboardInterrupt

    test_engine = Engine(MemoryState())
    await test_engine.register(Routine("C", run))
    interrupted = False
    try:
        await test_engine.run()
    except* KeyboardInterrupt:
        interrupted = True
    assert interrupted
    assert test_engine.runners["C"].access.counters.crashes == 0


async def cancelled_error() -> trio.Cancelled:
    caught: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            caught.append(cancelled)
            raise
    return caught[0]


async def test_what_of_an_error_is_a_failure_depends_on_whether_its_task_was_cancelled() -> None:
    cancelled, error = await cancelled_error(), ValueError("it")
    both, only = BaseExceptionGroup("", [cancelled, error]), BaseExceptionGroup("", [cancelled])
    interrupted = BaseExceptionGroup("", [error, KeyboardInterrupt()])

    for leaked in (error, cancelled, only, both):
        assert failure_in(leaked) is leaked
    assert failure_in(KeyboardInterrupt()) is None
    assert failure_in(interrupted) is None

    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        finally:
            assert failure_in(error) is error
            for none in (cancelled, only, KeyboardInterrupt(), interrupted):
                assert failure_in(none) is None
            rest = failure_in(both)
            assert isinstance(rest, ExceptionGroup)
            assert rest.exceptions == (error,)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("text"), "ValueError: text"),
        (ValueError(), "ValueError"),
        (ValueError("one\ntwo"), "ValueError: one"),
        (ExceptionGroup("", [ExceptionGroup("", [ValueError("first"), KeyError("second")])]), "ValueError: first"),
        (AccessError("no"), "AccessError: no"),
    ],
)  # fmt: skip
def test_a_status_has_one_line_for_an_error(error: BaseException, text: str) -> None:
    assert describe(error) == text


@pytest.mark.virtual_clock
async def test_the_same_failure_shows_its_traceback_once() -> None:
    lines: list[dict[str, Any]] = []
    test_engine = Engine(MemoryState(), log=keeping(lines))
    await test_engine.register(Routine("C", raises_error))
    with trio.move_on_after(60):
        await test_engine.run()
    failed = [line for line in lines if line["event"] == "controller failed"]
    assert len(failed) > 3
    assert ["exc_info" in line for line in failed] == [True] + [False] * (len(failed) - 1)
    assert all(line["controller"] == "C" and line["retry_in"] > 0 for line in failed)

"""What follows from how a job of a queue controller ends, and what its hooks do."""

import contextvars
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import trio

from nodespan.runtime.controller import QueueContext, Requeue, SkipReconcile, exclusive, mapped, primary
from nodespan.runtime.engine.loop_monitor import current_controller
from nodespan.runtime.engine.queue_runner import QueueRunner, Verdict, judge
from nodespan.runtime.errors import ConflictError
from nodespan.runtime.resource import Pointer
from nodespan.runtime.testing.engine_suite import Integer, IntegerSpec, Text
from nodespan.runtime.testing.kit import Node, running
from tests.runtime.parts import Jobs, integer, text

pytestmark = pytest.mark.virtual_clock

E = TypeVar("E", bound=BaseException)


def chained(error: E, cause: BaseException) -> E:
    error.__cause__ = cause
    return error


def in_context(error: BaseException, context: BaseException) -> BaseException:
    error.__context__ = context
    return error


def group(*members: BaseException) -> BaseException:
    return BaseExceptionGroup("several", list(members))


ERROR, OTHER = ValueError("it"), ConflictError("other")
SKIP = SkipReconcile()
SOON, LATER = Requeue(1.0), Requeue(5.0)
FAILED_SOON = chained(Requeue(1.0), ERROR)
ERRORS = group(ERROR, OTHER)
FAILED_TWICE = chained(Requeue(1.0), ERRORS)
SKIPPED_LATER = chained(Requeue(3.0), SKIP)
ERROR_AND_SOON = group(ERROR, SOON)
HIDDEN_SKIP, HIDDEN_REQUEUE = in_context(ValueError(), SKIP), in_context(ValueError(), SOON)
CIRCULAR = chained(ValueError("circular"), ERROR)
CIRCULAR.__cause__ = CIRCULAR
FROM_ERROR = chained(ValueError("outer"), ERROR)


@pytest.mark.parametrize(
    ("failure", "verdict"),
    [
        (ERROR, Verdict(ERROR)),
        (FROM_ERROR, Verdict(FROM_ERROR)),
        (CIRCULAR, Verdict(CIRCULAR)),
        (SKIP, Verdict(None, skipped=True)),
        (SOON, Verdict(None, SOON)),
        (FAILED_SOON, Verdict(ERROR, FAILED_SOON)),
        (chained(ValueError(), SKIP), Verdict(None, skipped=True)),
        (chained(ValueError(), SOON), Verdict(None, SOON)),
        (chained(ValueError(), FAILED_SOON), Verdict(ERROR, FAILED_SOON)),
        (SKIPPED_LATER, Verdict(None, SKIPPED_LATER, skipped=True)),
        (HIDDEN_SKIP, Verdict(HIDDEN_SKIP)),
        (HIDDEN_REQUEUE, Verdict(HIDDEN_REQUEUE)),
        (ERRORS, Verdict(ERRORS)),
        (ERROR_AND_SOON, Verdict(ERROR_AND_SOON)),
        (group(SKIP), Verdict(None, skipped=True)),
        (group(group(SKIP), SKIP), Verdict(None, skipped=True)),
        (group(LATER, SOON), Verdict(None, SOON)),
        (group(LATER, FAILED_SOON), Verdict(ERROR, FAILED_SOON)),
        (FAILED_TWICE, Verdict(ERRORS, FAILED_TWICE)),
        (chained(ValueError(), group(SOON)), Verdict(None, SOON)),
    ],
)
def test_a_requeue_or_a_skip_is_found_wherever_it_is_and_hides_no_error(
    failure: BaseException, verdict: Verdict
) -> None:
    found = judge(failure)
    assert (found.error, found.skipped) == (verdict.error, verdict.skipped)
    assert found.requeue is verdict.requeue


class Counted:
    """A queue controller with one item, and when it was reconciled."""

    def __init__(self, *ends: Callable[[], BaseException] | None) -> None:
        self.times: list[float] = []
        self._ends = ends
        self.jobs = Jobs("C", primary(Integer), reconcile=self._reconcile)

    async def _reconcile(self, _ctx: QueueContext, _item: Pointer[Any]) -> None:
        self.times.append(trio.current_time())
        end = self._ends[min(len(self.times), len(self._ends)) - 1]
        if end is not None:
            raise end()

    @property
    def delays(self) -> list[float]:
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


def runner_of(node: Node) -> QueueRunner:
    runner = node.engine.runners["C"]
    assert isinstance(runner, QueueRunner)
    return runner


def failing_soon() -> BaseException:
    return chained(Requeue(7.0), ValueError("retried"))


def failing_at_once() -> BaseException:
    return chained(Requeue(0), ValueError("retried"))


@pytest.mark.parametrize(
    ("end", "delay", "crashes", "skips", "requeues"),
    [
        (None, None, 0, 0, 0),
        (lambda: ValueError("fails"), (0.25, 0.75), 1, 0, 0),
        (lambda: SystemExit("panics"), (0.25, 0.75), 1, 0, 0),
        (lambda: RecursionError("panics"), (0.25, 0.75), 1, 0, 0),
        (failing_soon, (7.0, 7.0), 1, 0, 0),
        (failing_at_once, (0.25, 0.75), 1, 0, 0),
        (lambda: Requeue(7.0), (7.0, 7.0), 0, 0, 1),
        (lambda: Requeue(0), None, 0, 0, 0),
        (SkipReconcile, None, 0, 1, 0),
        (lambda: chained(Requeue(7.0), SkipReconcile()), (7.0, 7.0), 0, 1, 0),
    ],
)
async def test_how_a_job_ends_decides_when_it_comes_again_and_what_is_counted(
    end: Callable[[], BaseException] | None,
    delay: tuple[float, float] | None,
    crashes: int,
    skips: int,
    requeues: int,
) -> None:
    counted = Counted(end, None)
    async with running(counted.jobs, allow_crashes=True) as node:
        await node.create(integer(Integer.kind, "one"))
        await trio.sleep(60)
        if delay is None:
            assert counted.delays == []
        else:
            (again,) = counted.delays
            assert delay[0] - 1e-6 <= again <= delay[1] + 1e-6
        runner = runner_of(node)
        assert (runner.access.counters.crashes, runner.jobs.skips, runner.jobs.requeues) == (crashes, skips, requeues)
        assert runner.jobs.processed == len(counted.times)


FAIL: Callable[[], BaseException] = lambda: ValueError("fails")  # noqa: E731


@pytest.mark.parametrize(
    ("between", "starts_over"),
    [
        (None, True),
        (SkipReconcile, True),
        (lambda: Requeue(1.0), True),
        (lambda: Requeue(0), True),
        (lambda: chained(Requeue(1.0), ValueError("retried")), False),
    ],
)
async def test_what_clears_the_delay_of_an_item(between: Callable[[], BaseException] | None, starts_over: bool) -> None:
    counted = Counted(*[FAIL] * 8, between, FAIL, None)
    async with running(counted.jobs, allow_crashes=True) as node:
        await node.put(Integer, "one", IntegerSpec(0))
        await trio.sleep(600)
        if len(counted.times) == 9:
            await node.put(Integer, "one", IntegerSpec(1))
            await trio.sleep(600)
        assert len(counted.times) == 11
        assert (counted.delays[-1] <= 0.75) is starts_over


async def test_a_fresh_change_overrides_the_delay_and_keeps_its_length() -> None:
    counted = Counted(FAIL)
    async with running(counted.jobs, allow_crashes=True) as node:
        for change in range(8):
            await node.put(Integer, "one", IntegerSpec(change))
            await node.settled()
        assert len(counted.times) == 8
        await trio.sleep(60)
        # The ninth delay is drawn around 0.5 · 1.5⁷ ≈ 8.5 s.
        assert counted.times[8] - counted.times[7] > 4


async def test_a_change_during_a_job_comes_at_once_whatever_the_job_requested() -> None:
    times: list[float] = []

    async def reconcile(_ctx: QueueContext, _item: Pointer[Any]) -> None:
        times.append(trio.current_time())
        await trio.sleep(1)
        raise Requeue(100)

    async with running(Jobs("C", primary(Integer), reconcile=reconcile)) as node:
        await node.put(Integer, "one", IntegerSpec(0))
        await trio.sleep(0.5)
        await node.put(Integer, "one", IntegerSpec(1))
        await node.put(Integer, "one", IntegerSpec(2))
        assert runner_of(node).queue_length == 1
        await trio.sleep(50)
        assert [round(after - times[0]) for after in times] == [0, 1]


async def test_delays_are_each_items_own() -> None:
    async def reconcile(_ctx: QueueContext, item: Pointer[Any]) -> None:
        if item.id == "bad":
            raise ValueError("fails")

    jobs = Jobs("C", primary(Integer), reconcile=reconcile)
    async with running(jobs, allow_crashes=True) as node:
        await node.put(Integer, "bad", IntegerSpec(0))
        await trio.sleep(60)
        jobs.done.clear()
        for change in range(20):
            await node.put(Integer, "good", IntegerSpec(change))
            await node.settled()
        assert jobs.done == ["good"] * 20


async def test_a_map_job_that_fails_is_tried_again() -> None:
    tries = 0

    def map_input(changed: Any) -> list[Pointer[Any]]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ValueError("not yet")
        return [Integer.pointer(changed.id)]

    jobs = Jobs("C", primary(Integer), mapped(Text), map_input=map_input)
    async with running(jobs, allow_crashes=True) as node:
        await node.create(text(Text.kind, "one"))
        await trio.sleep(10)
        assert (tries, jobs.done, len(node.crashes)) == (3, ["one"], 2)
        runner = runner_of(node)
        assert (runner.jobs.mapped_in, runner.jobs.mapped_out, runner.jobs.processed) == (3, 1, 1)


@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_at_most_concurrency_items_are_reconciled_at_once(concurrency: int) -> None:
    at_work: set[str] = set()
    most = 0

    async def reconcile(_ctx: QueueContext, item: Pointer[Any]) -> None:
        nonlocal most
        assert item.id not in at_work
        at_work.add(item.id)
        most = max(most, len(at_work))
        await trio.sleep(1)
        at_work.remove(item.id)

    jobs = Jobs("C", primary(Integer), reconcile=reconcile, concurrency=concurrency)
    async with running(jobs) as node:
        for change in range(3):
            for id in range(20):
                await node.put(Integer, str(id), IntegerSpec(change))
            await trio.sleep(0.4)
        await node.settled(within=1000)
        assert most == concurrency
        assert set(jobs.done) == {str(id) for id in range(20)}
        assert len(jobs.done) <= 20 + concurrency * 2


async def test_workers_are_started_when_they_are_needed() -> None:
    async def reconcile(_ctx: QueueContext, item: Pointer[Any]) -> None:
        await trio.sleep(10 if item.id.startswith("slow") else 0)

    jobs = Jobs("C", primary(Integer), reconcile=reconcile, concurrency=64)
    async with running(jobs) as node:
        await node.settled()
        before = trio.lowlevel.current_statistics().tasks_living
        for change in range(5):
            await node.put(Integer, "a", IntegerSpec(change))
            await node.settled()
        assert trio.lowlevel.current_statistics().tasks_living == before
        for number in range(10):
            await node.put(Integer, f"slow{number}", IntegerSpec(0))
        await node.settled(within=100)
        assert before + 9 <= trio.lowlevel.current_statistics().tasks_living <= before + 12
        assert len(jobs.done) == 15


async def test_a_delayed_item_is_not_kept_waiting_by_those_that_take_long() -> None:
    times: list[float] = []

    async def reconcile(_ctx: QueueContext, item: Pointer[Any]) -> None:
        if item.id != "again":
            await trio.sleep_forever()
        times.append(trio.current_time())
        raise Requeue(5.0)

    jobs = Jobs("C", primary(Integer), reconcile=reconcile, concurrency=64)
    async with running(jobs) as node:
        await node.put(Integer, "again", IntegerSpec(0))
        for number in range(8):
            await trio.sleep(0.5)
            await node.put(Integer, f"long{number}", IntegerSpec(0))
        await trio.sleep(12)
    assert len(times) == 4
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == pytest.approx([5.0] * 3)


async def test_a_worker_has_the_context_of_its_controller_and_not_of_who_changed_the_item() -> None:
    seen: list[str] = []
    whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")

    async def reconcile(_ctx: QueueContext, _item: Pointer[Any]) -> None:
        seen.append(f"{current_controller.get()} {whose.get()}")
        await trio.sleep(1)

    async with running(Jobs("C", primary(Integer), reconcile=reconcile, concurrency=8)) as node:
        await node.settled()
        whose.set("another")
        for number in range(5):
            await node.put(Integer, str(number), IntegerSpec(0))
        await node.settled(within=100)
    assert seen == ["C nobody's"] * 5


# Hooks.


class Hooked(Jobs):
    """Its hook ends as configured, every time."""

    def __init__(self, *ends: Callable[[], Awaitable[None]], outputs: Any = ()) -> None:
        super().__init__("C", primary(Integer), outputs=outputs)
        self.starts: list[float] = []
        self.shutdowns = 0
        self._ends = ends

    async def run(self, ctx: QueueContext) -> None:
        self.starts.append(trio.current_time())
        await self._ends[min(len(self.starts), len(self._ends)) - 1]()

    async def shutdown(self, ctx: QueueContext) -> None:
        self.shutdowns += 1


async def fails() -> None:
    raise ValueError("the hook fails")


async def fails_after_a_while() -> None:
    await trio.sleep(61)
    raise ValueError("the hook fails")


async def returns() -> None:
    """The hook has nothing to do."""


async def test_a_hook_that_returns_is_done_and_the_items_go_on() -> None:
    hooked = Hooked(returns)
    async with running(hooked) as node:
        await trio.sleep(100)
        await node.create(integer(Integer.kind, "one"))
        await node.settled()
        assert (len(hooked.starts), hooked.done) == (1, ["one"])


async def test_a_hook_that_fails_is_restarted_after_a_growing_delay() -> None:
    hooked = Hooked(*[fails] * 10, returns)
    async with running(hooked, allow_crashes=True) as node:
        await trio.sleep(1000)
        delays = [after - before for before, after in zip(hooked.starts, hooked.starts[1:], strict=False)]
        assert len(delays) == len(node.crashes) == 10
        assert delays[0] <= 0.75
        assert delays[9] >= 0.5 * 19.2


async def test_a_hook_that_lasted_a_minute_starts_over_from_the_shortest_delay() -> None:
    hooked = Hooked(*[fails] * 10, fails_after_a_while, returns)
    async with running(hooked, allow_crashes=True):
        await trio.sleep(1000)
        assert len(hooked.starts) == 12
        assert 61 < hooked.starts[11] - hooked.starts[10] <= 61.75


async def test_the_shutdown_hook_runs_once_after_all_else_and_may_write() -> None:
    order: list[str] = []

    class Leaving(Hooked):
        async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
            try:
                await trio.sleep_forever()
            finally:
                order.append("job")

        async def run(self, ctx: QueueContext) -> None:
            try:
                await trio.sleep_forever()
            finally:
                order.append("hook")

        async def shutdown(self, ctx: QueueContext) -> None:
            await trio.sleep(1)
            await ctx.put(Text, "farewell", Text.spec_class("bye"))
            order.append("shutdown")

    async with running(Leaving(returns, outputs=[exclusive(Text)])) as node:
        await node.create(integer(Integer.kind, "one"))
        await trio.sleep(1)
        assert order == []
    assert sorted(order[:2]) == ["hook", "job"]
    assert order[2:] == ["shutdown"]
    assert node.state.get(Text, "farewell").spec.value == "bye"


@pytest.mark.parametrize("error", [ValueError("fails"), SystemExit("panics")])
async def test_a_shutdown_hook_that_fails_is_a_crash_and_no_more(error: BaseException) -> None:
    class Failing(Hooked):
        async def shutdown(self, ctx: QueueContext) -> None:
            raise error

    async with running(Failing(returns), allow_crashes=True) as node:
        await node.settled()
    assert [crash.error for crash in node.crashes] == [error]


async def test_a_shutdown_hook_that_takes_too_long_is_cut_off() -> None:
    class Endless(Hooked):
        async def shutdown(self, ctx: QueueContext) -> None:
            await trio.sleep_forever()

    async with running(Endless(returns)) as node:
        await node.settled()
        stopped = trio.current_time()
    assert trio.current_time() - stopped == pytest.approx(5.0)

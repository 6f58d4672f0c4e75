"""The generic reconciler: what is outside becomes what the specs desire, at the price of what changed."""

import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from nodespan.runtime.api.metrics import EngineMetrics
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller import (
    Access,
    Applied,
    Collected,
    Decision,
    Desired,
    Driver,
    ItemDriver,
    Look,
    Plan,
    QueueContext,
    Reconciler,
    ReconcilerController,
    Report,
    Retries,
)
from nodespan.runtime.engine import ControllerStatus
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.testing.kit import Node, running
from tests.support.counting import Steps
from tests.support.deadlines import PATIENCE

T = TypeVar("T")
NAME = "test.BoxController"


@attrs.frozen(kw_only=True)
class BoxSpec:
    content: str


Box = ResourceType("Crates.example.dev", BoxSpec, namespace="example")

# A difference: what to put in, None to take the box away.
Change = tuple[str, str | None]


async def at_once(job: Callable[[], T], /) -> T:
    """Run a job without a thread, for which a virtual clock would not wait."""
    await trio.lowlevel.checkpoint()
    return job()


def plan(desired: BoxSpec | None, observed: str | None) -> Change | Decision[Change] | None:
    if desired is None:
        return None if observed is None else ("remove", None)
    if desired.content.startswith("refuse"):
        return Decision(refused="it cannot be so")
    return None if observed == desired.content else ("put", desired.content)


class Boxes(ItemDriver[str, Change]):
    """The outside, and what was asked of it."""

    def __init__(self, **boxes: str) -> None:
        self.boxes = boxes
        self.observed: list[frozenset[str]] = []
        self.applied: list[tuple[float, str, Change]] = []
        self.broken: dict[str, str] = {}
        self.touch: Callable[[Iterable[str]], None] = lambda _: None

    def observe(self, ids: Collection[str]) -> Mapping[str, str]:
        self.observed.append(frozenset(ids))
        return {id: self.boxes[id] for id in ids if id in self.boxes}

    def owned(self) -> Iterable[str]:
        return tuple(self.boxes)

    def apply(self, id: str, work: Change) -> None:
        self.applied.append((trio.current_time(), id, work))
        if id in self.broken:
            raise OSError(5, self.broken[id])
        if work[1] is None:
            del self.boxes[id]
        else:
            self.boxes[id] = work[1]

    async def watch(self, touch: Callable[[Iterable[str]], None]) -> None:
        self.touch = touch


@asynccontextmanager
async def reconciling(boxes: Boxes, **settings: Any) -> AsyncIterator[Node]:
    controller: ReconcilerController[BoxSpec, str, Change] = ReconcilerController(
        NAME, input=Box, plan=plan, driver=boxes, worker=at_once, **settings
    )
    async with running(controller) as node:
        yield node


async def put(node: Node, id: str, content: str) -> None:
    await node.put(Box, id, BoxSpec(content=content))


@pytest.mark.virtual_clock
async def test_items_are_applied_changed_and_removed() -> None:
    boxes = Boxes()
    async with reconciling(boxes) as node:
        await put(node, "a", "1")
        await put(node, "b", "2")
        await node.settled()
        assert boxes.boxes == {"a": "1", "b": "2"}
        await put(node, "a", "3")
        await node.settled()
        assert boxes.boxes == {"a": "3", "b": "2"}
        assert not await node.teardown(Box, "a")  # held
        await node.eventually(Box, "a", where=lambda box: box.metadata.is_destroy_ready)
        assert boxes.boxes == {"b": "2"}
        await node.destroy(Box, "a")
        await node.settled()
    assert [change for _, _, change in boxes.applied] == [("put", "1"), ("put", "2"), ("put", "3"), ("remove", None)]


@pytest.mark.virtual_clock
async def test_a_change_of_one_item_looks_at_that_item_only() -> None:
    boxes = Boxes(**{f"b{number}": "same" for number in range(100)})
    async with reconciling(boxes) as node:
        for id in boxes.boxes:
            await put(node, id, "same")
        await node.settled()
        assert boxes.applied == []
        boxes.observed.clear()
        await put(node, "b7", "other")
        await node.settled()
        # Looked at before, and again after.
        assert boxes.observed == [{"b7"}, {"b7"}]
        await put(node, "b7", "other")
        await node.settled()
        assert len(boxes.observed) == 2


@pytest.mark.virtual_clock
async def test_what_others_undo_is_found_by_the_full_comparison() -> None:
    boxes = Boxes()
    async with reconciling(boxes, full_interval=60.0) as node:
        await put(node, "a", "1")
        await node.settled()
        boxes.boxes["a"] = "changed by others"
        await trio.sleep(59.0)
        assert boxes.boxes["a"] == "changed by others"
        await trio.sleep(2.0)
        assert boxes.boxes["a"] == "1"


@pytest.mark.virtual_clock
async def test_full_comparisons_are_due_with_all_periodic_looks() -> None:
    boxes = Boxes()
    await trio.sleep(0.375)
    async with reconciling(boxes, full_interval=60.0) as node:
        await put(node, "a", "1")
        await node.settled()
        for minute in range(1, 4):
            boxes.boxes["a"] = "changed by others"
            await trio.sleep(60.0)
            assert boxes.applied[-1][0] == 60.0 * minute
            assert boxes.boxes["a"] == "1"


@pytest.mark.virtual_clock
async def test_a_driver_that_watches_has_changes_undone_at_once() -> None:
    boxes = Boxes()
    async with reconciling(boxes) as node:
        await put(node, "a", "1")
        await node.settled()
        del boxes.boxes["a"]
        boxes.touch(["a"])
        await trio.testing.wait_all_tasks_blocked()
        assert boxes.boxes == {"a": "1"}


@pytest.mark.virtual_clock
async def test_what_an_earlier_process_left_and_nothing_desires_is_removed() -> None:
    boxes = Boxes(old="1", kept="2")
    async with reconciling(boxes) as node:
        await put(node, "kept", "2")
        await node.settled()
        await trio.sleep(61.0)
        assert boxes.boxes == {"kept": "2"}


@pytest.mark.virtual_clock
async def test_a_failing_item_is_retried_with_backoff_and_shown_and_the_others_apply() -> None:
    boxes = Boxes()
    boxes.broken["a"] = "no room"
    async with reconciling(boxes, retries=Exponential(base=1.0, cap=8.0)) as node:
        with capture_logs() as logs:
            await put(node, "a", "1")
            await put(node, "b", "2")
            await node.settled()
            assert boxes.boxes == {"b": "2"}
            started = trio.current_time()
            await trio.sleep(32.0)
        tries = [round(at - started, 3) for at, id, _ in boxes.applied if id == "a"]
        assert tries == [0.0, 1.0, 3.0, 7.0, 15.0, 23.0, 31.0]
        assert [log["reason"] for log in logs if log["event"] == "cannot apply"] == ["no room"]
        status = node.state.get(ControllerStatus, NAME).spec
        assert status.failing == 1
        assert status.notice == "cannot apply 1 of its items, last a: no room"
        boxes.broken.clear()
        await trio.sleep(9.0)
        assert boxes.boxes == {"a": "1", "b": "2"}
        await node.eventually(ControllerStatus, NAME, where=lambda status: not status.spec.failing)
        assert node.state.get(ControllerStatus, NAME).spec.notice == ""


@pytest.mark.virtual_clock
async def test_a_changed_spec_is_tried_at_once_although_its_item_waits() -> None:
    boxes = Boxes()
    boxes.broken["a"] = "no room"
    async with reconciling(boxes, retries=Exponential(base=30.0, cap=30.0)) as node:
        await put(node, "a", "1")
        await node.settled()
        boxes.broken.clear()
        await put(node, "a", "2")
        await node.settled()
        assert boxes.boxes == {"a": "2"}


@pytest.mark.virtual_clock
async def test_an_item_that_cannot_be_removed_stays_held_until_it_can() -> None:
    boxes = Boxes()
    async with reconciling(boxes) as node:
        await put(node, "a", "1")
        await node.settled()
        boxes.broken["a"] = "busy"
        await node.teardown(Box, "a")
        await node.settled()
        assert node.state.get(Box, "a").metadata.finalizers == (NAME,)
        boxes.broken.clear()
        await node.eventually(Box, "a", where=lambda box: box.metadata.is_destroy_ready)
        assert boxes.boxes == {}


@pytest.mark.virtual_clock
async def test_a_refused_item_is_logged_once_and_not_applied() -> None:
    boxes = Boxes()
    async with reconciling(boxes) as node:
        with capture_logs() as logs:
            await put(node, "a", "refuse 1")
            await node.settled()
            await put(node, "a", "refuse 2")
            await node.settled()
        assert [log["reason"] for log in logs] == ["it cannot be so"]
        assert boxes.applied == []


@pytest.mark.virtual_clock
async def test_the_metrics_count_what_a_reconciler_does() -> None:
    boxes = Boxes()
    boxes.broken["b"] = "no room"
    async with reconciling(boxes) as node:
        await put(node, "a", "1")
        await put(node, "b", "1")
        await node.settled()
        text = (await EngineMetrics(node.engine, node.state).respond("/metrics")).body.decode()
    for line in ("failing{%s} 1.0", "applied_total{%s} 1.0", "failures_total{%s} 1.0", "queue_length{%s} 0.0"):
        assert f"nodespan_reconciler_{line}" % f'controller="{NAME}"' in text


async def test_jobs_run_in_a_worker_thread() -> None:
    threads: set[str] = set()

    class Threads(Boxes):
        def apply(self, id: str, work: Change) -> None:
            try:
                trio.lowlevel.current_task()
            except RuntimeError:
                threads.add("worker")
            self.boxes[id] = work[1] or ""

    boxes = Threads()
    async with running(ReconcilerController(NAME, input=Box, plan=plan, driver=boxes)) as node:
        await put(node, "a", "1")
        await node.settled()
        assert boxes.boxes == {"a": "1"}
    assert threads == {"worker"}


# Put together from parts.


class Numbers(Desired):
    """Items without resources."""

    def __init__(self, *ids: str) -> None:
        self.desired = set(ids)

    async def begin(self, ctx: Access) -> Iterable[str]:
        return self.desired

    async def collect(self, ctx: Access, touched: frozenset[str]) -> Collected:
        return Collected(dirty=touched)

    def ids(self) -> Iterable[str]:
        return self.desired

    def __contains__(self, id: str) -> bool:
        return id in self.desired

    def is_leaving(self, id: str) -> bool:
        return False

    @property
    def has_leaving(self) -> bool:
        return False

    async def let_go(self, ctx: Access, id: str) -> None:
        raise AssertionError("nothing leaves here")


class Counting(Plan[int]):
    """Counts up to three."""

    def __init__(self, driver: "Count") -> None:
        self.driver = driver
        self.held: list[str] = []

    def decide(self, id: str) -> Mapping[str, Decision[int]]:
        count = self.driver.counts.get(id, 0)
        return {id: Decision(work=count + 1) if count < 3 else Decision()}

    def holds(self, id: str) -> None:
        self.held.append(id)


class Count(Driver[int, Mapping[str, int]]):
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.looks: list[Look] = []
        self.news: set[str] = set()

    async def observe(self, look: Look) -> Collection[str]:
        self.looks.append(look)
        news, self.news = self.news, set()
        return news

    def job(self, work: Mapping[str, int]) -> Callable[[], Applied[Mapping[str, int]]]:
        return lambda: Applied(result=dict(work))

    async def applied(self, ctx: Access, result: Mapping[str, int]) -> None:
        self.counts.update(result)


@pytest.mark.virtual_clock
async def test_what_a_job_returns_is_taken_in_and_its_items_are_looked_at_until_they_hold() -> None:
    driver = Count()
    plan = Counting(driver)
    reconciler = Reconciler(desired=Numbers("a", "b"), plan=plan, driver=driver, report=Report(), worker=at_once)
    ctx = Access("test", None, (), (), None)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconciler.run, ctx)
        await trio.testing.wait_all_tasks_blocked()
        assert driver.counts == {"a": 3, "b": 3}
        assert plan.held == ["a", "b"]
        # Before work what may be out of date is read once more.
        assert [look.certain for look in driver.looks] == [False, True] * 3 + [False]
        driver.counts["a"] = 2
        driver.news = {"a"}
        reconciler.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert driver.counts == {"a": 3, "b": 3}
        nursery.cancel_scope.cancel()
    assert (ctx.work.applied, ctx.work.failures, ctx.work.full_comparisons) == (7, 0, 1)


@pytest.mark.virtual_clock
async def test_while_held_nothing_is_applied_and_afterwards_everything_is_compared() -> None:
    driver = Count()
    held = [True]
    reconciler = Reconciler(
        desired=Numbers("a"), plan=Counting(driver), driver=driver, worker=at_once, hold=lambda _: held[0]
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconciler.run, Access("test", None, (), (), None))  # type: ignore[arg-type]
        await trio.testing.wait_all_tasks_blocked()
        assert driver.counts == {}
        held[0] = False
        reconciler.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert driver.counts == {"a": 3}
        nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
async def test_what_changes_together_is_gathered_into_one_round() -> None:
    driver = Count()
    reconciler = Reconciler(
        desired=Numbers("a", "b"), plan=Counting(driver), driver=driver, worker=at_once, gather=0.5, full_interval=9e9
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconciler.run, Access("test", None, (), (), None))  # type: ignore[arg-type]
        await trio.testing.wait_all_tasks_blocked()
        driver.looks.clear()
        reconciler.touch(["a"])
        await trio.sleep(0.4)
        reconciler.touch(["b"])
        assert driver.looks == []
        await trio.sleep(0.2)
        assert [look.ids for look in driver.looks] == [{"a", "b"}]
        reconciler.touch(["a"])
        reconciler.wake(at_once=True)
        await trio.testing.wait_all_tasks_blocked()
        assert len(driver.looks) == 2
        nursery.cancel_scope.cancel()


class Device(Count):
    """One that each full comparison reads, in a worker thread."""

    def __init__(self) -> None:
        super().__init__()
        self.found = ""
        self.taken_in: list[tuple[float, str]] = []
        self.has_read = threading.Semaphore(0)

    def job(self, work: Mapping[str, int]) -> Callable[[], Applied[Mapping[str, int]]]:
        return lambda: Applied(result=dict(work))

    def found_nothing(self, result: Mapping[str, int]) -> bool:
        self.has_read.release()
        return not self.found

    async def applied(self, ctx: Access, result: Mapping[str, int]) -> None:
        await super().applied(ctx, result)
        self.taken_in.append((trio.current_time(), self.found))


class ReadAgain(Counting):
    """Has it read once for each full comparison."""

    def __init__(self, driver: Device) -> None:
        super().__init__(driver)
        self._device = driver

    def everything(self) -> None:
        self._device.counts.update(a=2)


@pytest.mark.virtual_clock
async def test_full_comparisons_that_find_nothing_wake_the_loop_for_no_answer() -> None:
    driver, steps = Device(), Steps()
    reconciler = Reconciler(desired=Numbers("a"), plan=ReadAgain(driver), driver=driver, report=Report())
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.autojump_threshold = math.inf

    async def pass_on(seconds: float) -> None:
        clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()

    def read() -> None:
        # Holds the loop: nothing but the thread goes on.
        assert driver.has_read.acquire(timeout=PATIENCE)
        comparing = reconciler._comparing
        assert comparing is not None
        ends = time.monotonic() + PATIENCE
        while comparing._outcome is None:
            assert time.monotonic() < ends
            time.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconciler.run, Access("test", None, (), (), None), name="reconciler")  # type: ignore[arg-type]
        while not driver.taken_in:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        for minute in range(1, 11):
            await pass_on(60 - trio.current_time() % 60)
            read()
            await trio.testing.wait_all_tasks_blocked()
            assert len(driver.taken_in) == minute
            await pass_on(1)
            assert driver.taken_in[minute:] == [(minute * 60 + 1.0, "")]
        trio.lowlevel.remove_instrument(steps)
        # By nobody but the clock.
        assert steps.by_task.keys() == {"reconciler", trio.lowlevel.current_task().name}
        # What was found, and what changes meanwhile, is not late.
        driver.found = "news"
        await pass_on(59)
        while len(driver.taken_in) < 12:
            await trio.lowlevel.checkpoint()
        driver.found = ""
        await pass_on(60)
        reconciler.touch(["a"])
        while len(driver.taken_in) < 13:
            await trio.lowlevel.checkpoint()
        assert driver.taken_in[11:] == [(660.0, "news"), (720.0, "")]
        await trio.testing.wait_all_tasks_blocked()
        await pass_on(60)
        nursery.cancel_scope.cancel()
    # What the last one has done is known, if this runs again.
    assert driver.taken_in[13:] == [(780.0, "")]


class Calling(Boxes):
    """Calls trio back from the threads that it is called in."""

    def observe(self, ids: Collection[str]) -> Mapping[str, str]:
        trio.from_thread.run_sync(lambda: None)
        return super().observe(ids)

    def apply(self, id: str, work: Change) -> None:
        self.boxes[id] = trio.from_thread.run_sync(lambda: work[1] or "")


@pytest.mark.virtual_clock
async def test_a_driver_may_call_trio_from_its_threads_in_full_comparisons_too() -> None:
    boxes = Calling()
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.autojump_threshold = math.inf

    async def until_applied(node: Node) -> None:
        while boxes.boxes != {"a": "1"} or node.engine.runners[NAME].is_at_work:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()

    async with running(ReconcilerController(NAME, input=Box, plan=plan, driver=boxes)) as node:
        await put(node, "a", "1")
        await until_applied(node)
        for changed in ("2", "3"):
            boxes.boxes["a"] = changed
            clock.jump(61)
            await until_applied(node)


def test_retries_grow_for_each_item_apart() -> None:
    retries = Retries(Exponential(base=1.0, cap=4.0))
    now = 0.0
    for wait in (1.0, 2.0, 4.0, 4.0):
        retries.failed("a", now)
        assert not retries.may_try("a", now)
        assert retries.next_due(now) == now + wait
        now += wait
        assert retries.due(now) == {"a"}
    assert (retries.failures("a"), retries.failures("b")) == (4, 0)
    retries.failed("b", now)
    assert retries.next_due(now) == now
    assert set(retries.failing()) == {"a", "b"}
    retries.done("a", now)
    retries.holds("b")
    assert retries.next_due(now) == float("inf")


@pytest.mark.virtual_clock
async def test_an_item_that_the_round_under_way_knows_is_at_work_until_the_round_ends() -> None:
    gate = trio.Event()

    async def held(job: Callable[[], T], /) -> T:
        await gate.wait()
        return job()

    state, boxes = MemoryState(), Boxes()
    await state.create(Box.new("a", BoxSpec(content="1")))
    controller: ReconcilerController[BoxSpec, str, Change] = ReconcilerController(
        NAME, input=Box, plan=plan, driver=boxes, worker=held
    )
    finished = trio.Event()
    async with running(controller, state=state) as node, trio.open_nursery() as nursery:
        context = node.engine.runners[NAME].access
        assert isinstance(context, QueueContext)

        async def called_late() -> None:
            await controller.reconcile(context, Box.pointer("a"))
            finished.set()

        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(called_late)
        await trio.testing.wait_all_tasks_blocked()
        assert not finished.is_set()
        gate.set()
        await finished.wait()
        assert boxes.boxes == {"a": "1"}

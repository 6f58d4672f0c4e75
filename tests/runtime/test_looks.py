"""A look that finds nothing does not wake the loop; one that finds something, or fails, is heard of."""

import math
import threading
import time
from typing import Any

import pytest
import trio
import trio.testing

from nodespan.runtime.looks import QuietJob, QuietLook, until_found
from tests.support.counting import Steps
from tests.support.deadlines import PATIENCE

pytestmark = pytest.mark.virtual_clock


class Look:
    """Finds nothing for so many times, and then something; notes the thread that it is called in."""

    def __init__(self, vain: int, *, failure: Exception | None = None) -> None:
        self.vain, self.failure = vain, failure
        self.changed = threading.Condition()
        self.done = 0
        self.threads: set[int] = set()

    def __call__(self) -> bool:
        with self.changed:
            self.done += 1
            self.threads.add(threading.get_ident())
            self.changed.notify_all()
        has_found = self.done > self.vain
        if has_found and self.failure is not None:
            raise self.failure
        return has_found


async def _tick(interval: float) -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.autojump_threshold = math.inf
    clock.jump(interval)
    await trio.testing.wait_all_tasks_blocked()


async def _until(look: Look, count: int, interval: float) -> int:
    """Let time pass until there were so many looks, and return how often a look was due."""
    ticks = 0
    while look.done < count:
        await _tick(interval)
        ticks += 1
        with look.changed:
            # Holds the loop: nothing but the thread goes on. Where the look before had not quite ended, none began.
            look.changed.wait(0.01)
    return ticks


@pytest.mark.parametrize("interval", [1.0, 2.0])
async def test_looks_that_find_nothing_do_not_wake_the_loop(interval: float) -> None:
    look, steps = Look(10), Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_found, look, interval, name="looking")
        await _tick(0)
        trio.lowlevel.add_instrument(steps)
        ticks = await _until(look, 10, interval)
        trio.lowlevel.remove_instrument(steps)
        # Of the loop's other tasks none ran but this one: the queue through which threads wake it did not.
        assert steps.by_task.keys() == {"looking", trio.lowlevel.current_task().name}
        assert steps.by_task["looking"] == ticks
        await _until(look, 11, interval)
    assert look.threads
    assert threading.get_ident() not in look.threads


async def test_a_look_that_fails_fails_the_one_that_waits() -> None:
    look = Look(1, failure=PermissionError("not yours"))
    with pytest.RaisesGroup(pytest.RaisesExc(PermissionError, match="not yours")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_found, look, 1.0)
            await _tick(0)
            await _until(look, 2, 1.0)


async def test_a_slow_look_is_not_begun_twice_and_a_cancelled_one_not_waited_for() -> None:
    begun, go = threading.Semaphore(0), threading.Event()
    looks: list[int] = []

    def slow() -> bool:
        looks.append(threading.get_ident())
        begun.release()
        return go.wait(PATIENCE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_found, slow, 1.0)
        await _tick(0)
        await _tick(1.0)
        assert begun.acquire(timeout=PATIENCE)
        for _ in range(20):
            await _tick(1.0)
        nursery.cancel_scope.cancel()
    assert len(looks) == 1
    # What it finds after all is dropped.
    go.set()


async def test_looks_that_are_begun_together_share_a_thread_but_not_with_one_that_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go, started = threading.Semaphore(0), threading.Event(), 0
    start = trio.lowlevel.start_thread_soon

    def count(*given: Any) -> None:
        nonlocal started
        started += 1
        start(*given)

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", count)

    def slow() -> bool:
        begun.release()
        return go.wait(PATIENCE)

    taken = threading.Semaphore(0)

    def quick() -> bool:
        taken.release()
        return False

    found = trio.Event()
    slow_one = QuietLook(slow, lambda _: found.set())
    others = [QuietLook(quick, lambda _: None) for _ in range(10)]
    slow_one.begin()
    assert begun.acquire(timeout=PATIENCE)
    for look in others:
        look.begin()
    assert started == 1
    assert not taken.acquire(blocking=False)
    # In the next second it is seen that the first one hangs.
    await _tick(1.0)
    others[0].begin()
    for _ in others:
        assert taken.acquire(timeout=PATIENCE)
    assert started == 2
    go.set()
    await found.wait()


async def test_a_look_for_which_there_is_no_thread_is_taken_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    await _tick(0)
    found = trio.Event()
    look = QuietLook(lambda: True, lambda _: found.set())
    with monkeypatch.context() as patched:
        patched.setattr(trio.lowlevel, "start_thread_soon", none)
        with pytest.raises(RuntimeError, match="new thread"):
            look.begin()
    look.begin()
    await found.wait()


class Job(QuietJob[str]):
    """One that ends when it may; it has found what it returns."""

    def __init__(self, finds: str = "", failure: Exception | None = None) -> None:
        super().__init__(self._work, lambda result: not result)
        self.go, self.finds, self.failure = threading.Event(), finds, failure
        self.results: list[str] = []
        self.taken_in = trio.Event()

    def _work(self) -> str:
        assert self.go.wait(PATIENCE)
        if self.failure is not None:
            raise self.failure
        return self.finds

    async def take_in(self) -> None:
        """A task: take in what it returns."""
        self.results.append(await self.run())
        self.taken_in.set()

    async def end(self) -> None:
        """Have the thread end, and the loop do what follows of that without time going on."""
        self.go.set()
        while self._outcome is None:
            # Holds the loop: nothing but the thread goes on.
            time.sleep(0.001)  # noqa: ASYNC251
        await trio.testing.wait_all_tasks_blocked()


async def test_a_job_that_finds_nothing_is_taken_in_with_the_next_second() -> None:
    steps = Steps()
    async with trio.open_nursery() as nursery:
        await _tick(0.25)
        for _ in range(10):
            job = Job()
            nursery.start_soon(job.take_in, name="job")
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(steps)
            await job.end()
            assert job.results == []
            await _tick(0.75)
            assert job.results == [""]
            trio.lowlevel.remove_instrument(steps)
            await _tick(0.25)
    # Each time it ran once, at the second, and the queue through which threads wake the loop did not.
    assert steps.by_task == {"job": 10, trio.lowlevel.current_task().name: steps.by_task.total() - 10}


async def test_a_job_that_finds_something_is_taken_in_at_once() -> None:
    async with trio.open_nursery() as nursery:
        job = Job("found")
        nursery.start_soon(job.take_in)
        await _tick(0)
        job.go.set()
        # By the virtual clock no time goes on.
        await job.taken_in.wait()
    assert job.results == ["found"]


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_job_that_is_hurried_is_taken_in_as_soon_as_it_has_ended(is_over: bool) -> None:
    async with trio.open_nursery() as nursery:
        job = Job()
        nursery.start_soon(job.take_in)
        await _tick(0)
        if is_over:
            await job.end()
        job.hurry()
        await trio.testing.wait_all_tasks_blocked()
        assert job.results == [""] * is_over
        job.go.set()
        await job.taken_in.wait()


async def test_a_job_that_takes_longer_than_a_second_is_taken_in_as_it_ends() -> None:
    async with trio.open_nursery() as nursery:
        job = Job()
        nursery.start_soon(job.take_in)
        await _tick(0)
        await _tick(3)
        assert job.results == []
        job.go.set()
        await job.taken_in.wait()


async def test_a_job_that_fails_says_so_at_once() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(PermissionError, match="not yours")):
        async with trio.open_nursery() as nursery:
            job = Job(failure=PermissionError("not yours"))
            nursery.start_soon(job.take_in)
            await _tick(0)
            job.go.set()
            await trio.sleep_forever()


async def test_a_job_that_is_cancelled_is_waited_for_and_what_it_has_done_is_known() -> None:
    async with trio.open_nursery() as nursery:
        job = Job()
        nursery.start_soon(job.take_in)
        await _tick(0)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
        job.go.set()
    assert job.results == [""]


@pytest.mark.parametrize("finds", ["", "found"])
async def test_one_that_has_ended_by_then_is_taken_in_at_once(finds: str) -> None:
    async with trio.open_nursery() as nursery:
        job = Job(finds)
        nursery.start_soon(job.take_in)
        await _tick(0)
        job.go.set()
        while job._outcome is None:
            # Holds the loop, which has not heard of it.
            time.sleep(0.001)  # noqa: ASYNC251
        nursery.cancel_scope.cancel()
    assert job.results == [finds]
    # What the thread asks the loop for comes after that, and finds nobody.
    await trio.testing.wait_all_tasks_blocked()


async def test_a_job_for_one_that_is_cancelled_already_is_done_and_known() -> None:
    await _tick(0)
    job = Job("found")
    job.go.set()
    with trio.CancelScope() as scope:
        scope.cancel()
        await job.take_in()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert job.results == ["found"]

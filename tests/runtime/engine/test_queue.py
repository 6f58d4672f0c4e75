"""The keyed queue: never the same key twice at once, no change lost, one entry per key."""

from collections import Counter

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.engine.queue import KeyedQueue

pytestmark = pytest.mark.virtual_clock


async def test_keys_come_in_the_order_they_were_put() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    for key, value in (("b", 1), ("a", 2), ("c", 3)):
        queue.put(key, value)
    assert [queue.take_ready() for _ in range(4)] == [("b", 1), ("a", 2), ("c", 3), None]


async def test_a_key_that_waits_is_refreshed_and_keeps_its_place() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    queue.put("a", 1)
    queue.put("b", 2)
    queue.put("a", 3)
    assert len(queue) == 2
    assert [queue.take_ready() for _ in range(3)] == [("a", 3), ("b", 2), None]


async def test_a_key_that_is_worked_on_is_not_handed_out_again_until_released() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    queue.put("a", 1)
    assert await queue.take() == ("a", 1)
    queue.put("a", 2)
    queue.put("a", 3)
    assert queue.take_ready() is None
    assert (len(queue), queue.held) == (1, 1)
    queue.release("a", 1)
    assert await queue.take() == ("a", 3)
    queue.release("a", 3)
    assert (len(queue), queue.held) == (0, 0)
    assert queue.take_ready() is None


async def test_a_released_key_comes_again_after_the_time_it_was_given() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    queue.put("a", 1)
    await queue.take()
    queue.release("a", 1, after=5.0)
    assert len(queue) == 1
    started = trio.current_time()
    assert await queue.take() == ("a", 1)
    assert trio.current_time() - started == pytest.approx(5.0)


async def test_what_was_put_during_the_work_overrides_the_delay() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    queue.put("a", 1)
    await queue.take()
    queue.put("a", 2)
    queue.release("a", 1, after=5.0)
    assert queue.take_ready() == ("a", 2)
    queue.release("a", 2)
    await trio.sleep(10)
    assert queue.take_ready() is None


async def test_what_is_put_during_the_delay_ends_it() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    queue.put("a", 1)
    await queue.take()
    queue.release("a", 1, after=5.0)
    queue.put("a", 2)
    assert len(queue) == 1
    assert queue.take_ready() == ("a", 2)
    queue.release("a", 2)
    await trio.sleep(10)
    assert queue.take_ready() is None


async def test_a_delay_that_was_overridden_does_not_keep_workers_busy_when_its_time_comes() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    queue.put("a", 1)
    await queue.take()
    queue.release("a", 1, after=5.0)
    queue.put("a", 2)
    await queue.take()
    queue.release("a", 2)
    await trio.sleep(10)
    # A worker that did not really wait would keep the virtual clock from moving, and this test from ending.
    with trio.move_on_after(1) as scope:
        await queue.take()
    assert scope.cancelled_caught


async def test_a_worker_is_asked_for_where_a_key_would_wait_for_none() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    asked: list[int] = []
    queue.add_worker = lambda: asked.append(len(queue))
    queue.put("a", 1)
    queue.put("a", 2)
    assert len(asked) == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.take)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(queue.take)
        await trio.testing.wait_all_tasks_blocked()
        # One took the first key, the other one waits for this.
        queue.put("b", 1)
    assert len(asked) == 1
    # Nobody would wake for it.
    queue.release("a", 2, after=1.0)
    assert len(asked) == 2


async def test_who_takes_a_key_leaves_another_worker_for_the_delayed_ones() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    asked: list[None] = []
    for key in "abc":
        queue.put(key, 1)
    await queue.take()
    queue.release("a", 1, after=5.0)
    queue.add_worker = lambda: asked.append(None)
    queue.take_ready()
    assert len(asked) == 1
    queue.starting = 1
    queue.take_ready()
    assert len(asked) == 1


async def test_delayed_keys_come_in_the_order_of_their_times_and_after_those_that_were_ready_before() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    for key in "abc":
        queue.put(key, 0)
    for key, after in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        await queue.take()
        queue.release(key, 0, after=after)
    await trio.sleep(1.5)
    queue.put("d", 0)
    await trio.sleep(5)
    assert [queue.take_ready() for _ in range(5)] == [("b", 0), ("d", 0), ("c", 0), ("a", 0), None]


async def test_equal_times_are_in_turn() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    for key in "cab":
        queue.put(key, 0)
        await queue.take()
        queue.release(key, 0, after=1.0)
    await trio.sleep(1)
    assert [queue.take_ready() for _ in range(3)] == [("c", 0), ("a", 0), ("b", 0)]


async def test_a_shorter_delay_wakes_a_worker_that_waits_for_a_longer_one() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    for key in "ab":
        queue.put(key, 0)
        await queue.take()
    queue.release("a", 0, after=100.0)
    taken: list[tuple[float, str]] = []

    async def worker() -> None:
        key, _ = await queue.take()
        taken.append((trio.current_time(), key))

    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker)
        nursery.start_soon(worker)
        await trio.testing.wait_all_tasks_blocked()
        queue.release("b", 0, after=1.0)
    assert [key for _, key in taken] == ["b", "a"]
    assert [at - started for at, _ in taken] == pytest.approx([1, 100])


async def test_several_keys_that_fall_due_at_once_wake_as_many_workers() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    for key in "abc":
        queue.put(key, 0)
        await queue.take()
        queue.release(key, 0, after=1.0)
    at_work = 0

    async def worker() -> None:
        nonlocal at_work
        await queue.take()
        at_work += 1
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(worker)
        await trio.sleep(1.5)
        assert at_work == 3
        nursery.cancel_scope.cancel()


async def test_cancelling_a_waiting_worker_loses_nothing() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    with trio.move_on_after(1):
        await queue.take()
    queue.put("a", 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await queue.take()
    assert scope.cancelled_caught
    assert await queue.take() == ("a", 1)


async def test_taking_is_always_a_checkpoint() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    queue.put("a", 1)
    with trio.testing.assert_checkpoints():
        await queue.take()


async def test_delays_that_are_overridden_again_and_again_do_not_pile_up() -> None:
    queue: KeyedQueue[str, int] = KeyedQueue()
    for value in range(10_000):
        queue.put("a", value)
        assert queue.take_ready() == ("a", value)
        queue.release("a", value, after=3600.0)
    assert len(queue) == 1
    assert len(queue._heap) < 100
    assert await queue.take() == ("a", 9_999)


async def test_five_workers_never_share_one_of_a_hundred_keys() -> None:
    queue: KeyedQueue[int, int] = KeyedQueue()
    at_work: set[int] = set()
    seen: dict[int, int] = {}
    runs: Counter[int] = Counter()

    async def worker() -> None:
        while True:
            key, value = await queue.take()
            assert key not in at_work
            at_work.add(key)
            await trio.sleep(0.001 * (key % 5))
            at_work.remove(key)
            runs[key] += 1
            seen[key] = value
            queue.release(key, value, after=0.5 if runs[key] == 1 else None)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(worker)
        for value in range(50):
            for key in range(100):
                queue.put(key, value)
            await trio.sleep(0.01)
        await trio.sleep(10)
        assert len(queue) == 0
        assert seen == dict.fromkeys(range(100), 49)
        assert all(1 < count <= 51 for count in runs.values())
        nursery.cancel_scope.cancel()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("release"), st.integers(0, 4)),
        st.tuples(st.just("requeue"), st.integers(0, 4)),
        st.tuples(st.just("sleep"), st.integers(0, 3)),
    ),
    max_size=60,
)


@given(STEPS)
async def test_whatever_happens_no_key_is_worked_on_twice_no_change_is_lost_and_keys_wait_once(
    steps: list[tuple[str, int]],
) -> None:
    queue: KeyedQueue[int, int] = KeyedQueue()
    put: dict[int, int] = {}
    taken: dict[int, int] = {}
    at_work: list[int] = []
    counter = 0

    def take() -> bool:
        job = queue.take_ready()
        if job is None:
            return False
        key, value = job
        assert key not in at_work
        assert value == put[key]
        taken[key] = value
        at_work.append(key)
        return True

    for step, number in steps:
        if step == "put":
            counter += 1
            put[number] = counter
            queue.put(number, counter)
        elif step == "take":
            take()
        elif step == "sleep":
            await trio.sleep(number)
        elif at_work:
            key = at_work.pop(number % len(at_work))
            queue.release(key, taken[key], after=float(number) if step == "requeue" else None)
        assert len(queue) <= len(put)
        assert queue.held == len(at_work)

    for key in at_work:
        queue.release(key, taken[key])
    at_work.clear()
    await trio.sleep(10)
    while take():
        queue.release(at_work.pop(), 0)
    assert taken == put
    assert len(queue) == 0

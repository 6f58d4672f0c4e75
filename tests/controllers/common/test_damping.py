"""How soon something is done again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.damping import CALM, FREE, LASTING, LONGEST_DELAY, Damper


def test_what_fails_waits_twice_as_long_each_time() -> None:
    damper, now, waits = Damper(), 0.0, []
    for _ in range(9):
        damper.failed("a", now)
        assert not damper.may_try("a", now)
        due = damper.next_due(now)
        waits.append(due - now)
        now = due
        assert damper.may_try("a", now)
        assert damper.due(now) == {"a"}
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_a_failure_lasts_if_something_fails_still_some_seconds_later(hastened_after: list[float]) -> None:
    damper, now = Damper(), 5.0
    damper.failed("a", now)
    while not damper.has_lasted("a"):
        assert now < 5 + LASTING
        if hastened_after:
            now = min(now + hastened_after.pop(), damper.next_due(now))
            damper.hasten("a", now)
        now = damper.next_due(now)
        damper.failed("a", now)
    assert now == pytest.approx(5 + LASTING)
    damper.holds("a")
    damper.failed("a", now + 1)
    assert not damper.has_lasted("a")


def test_a_change_of_circumstances_lets_a_failure_try_sooner_but_not_at_once() -> None:
    damper = Damper()
    damper.failed("a", 0)
    damper.hasten("a", 0.01)
    assert not damper.may_try("a", 0.05)
    assert damper.may_try("a", 0.1)
    for _ in range(3):
        damper.failed("a", 10)
    damper.hasten("a", 10)
    assert not damper.may_try("a", 10.7)
    assert damper.may_try("a", 10.8)
    damper.hasten("a", 14)
    assert damper.may_try("a", 14)


def test_what_holds_has_not_failed() -> None:
    damper = Damper()
    damper.failed("a", 0)
    assert damper.failing() == {"a"}
    damper.holds("a")
    assert damper.failing() == set()
    assert damper.next_due(0) == float("inf")
    damper.failed("a", 0)
    damper.forget("a")
    assert damper.may_try("a", 0)


def test_what_is_undone_is_done_again_at_once_a_few_times_and_then_less_and_less_often() -> None:
    damper, now, waits = Damper(), 0.0, []
    for _ in range(FREE + 9):
        damper.done("a", now)
        waits.append(max(0.0, damper.next_due(now) - now) if damper.is_damped("a", now) else 0.0)
        now += waits[-1]
        assert damper.may_try("a", now)
    assert waits == [0] * FREE + [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_what_is_left_alone_for_a_while_is_no_longer_damped() -> None:
    damper = Damper()
    for _ in range(FREE + 1):
        damper.done("a", 0)
    assert damper.is_damped("a", 5)
    assert damper.next_due(5) == CALM
    assert damper.due(CALM) == {"a"}
    assert not damper.is_damped("a", CALM)
    assert damper.next_due(CALM) == float("inf")
    damper.done("a", CALM)
    assert damper.may_try("a", CALM)


def test_a_slow_change_back_is_no_war() -> None:
    damper, now = Damper(), 0.0
    for _ in range(50):
        damper.done("a", now)
        assert damper.may_try("a", now)
        now += CALM
    assert not damper.is_damped("a", now)


@given(st.lists(st.tuples(st.sampled_from(("failed", "done")), st.floats(0, 100)), max_size=60))
def test_nothing_waits_for_longer_than_the_longest_delay(events: list[tuple[str, float]]) -> None:
    damper, now = Damper(), 0.0
    for what, passed in events:
        now += passed
        getattr(damper, what)("a", now)
        assert damper.may_try("a", now + LONGEST_DELAY)
        due = damper.next_due(now)
        assert due == float("inf") or due <= now + 2 * LONGEST_DELAY
        assert due == float("inf") or damper.due(due) == {"a"}


@pytest.mark.parametrize("what", ["hasten", "holds", "forget"])
def test_what_is_not_known_is_no_matter(what: str) -> None:
    damper = Damper()
    getattr(damper, what)(*(("a", 1.0) if what == "hasten" else ("a",)))
    assert damper.may_try("a", 0)
    assert not damper.is_damped("a", 0)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.kubespan.direct_path import (
    EARLY,
    EARLY_INTERVAL,
    FIRST,
    INTERVAL,
    MEMORY,
    MOST,
    Search,
    round_of,
)

# A path that becomes possible is found within this time, in seconds.
PROMISED = 120.0
# What one trial takes at most.
TRIAL = 1.0


def test_a_pair_that_comes_on_a_relay_is_tried_soon() -> None:
    assert Search().seen(100, is_relayed=True).due == 100 + FIRST


@pytest.mark.parametrize(("since", "interval"), [(0.0, EARLY_INTERVAL), (EARLY, INTERVAL)], ids=["early", "later"])
def test_rounds_of_both_ends_begin_at_the_same_time(since: float, interval: float) -> None:
    """Whenever they have come on the relay: by the wall clock, which both have."""
    for end in (3.0, 11.0, 29.9):
        search, now = Search().seen(end, is_relayed=True), end + since + FIRST
        for _ in range(3):
            search = search.tried(now, 1_000_000.0 + now, 1)
            assert (search.due + 1_000_000.0) % interval == pytest.approx(0.0, abs=1e-6)
            now = search.due


def test_a_new_pair_is_tried_often_and_later_every_thirty_seconds() -> None:
    search, times = Search().seen(0.0, is_relayed=True), [0.0]
    while times[-1] < 4 * INTERVAL:
        times.append(search.due)
        search = search.tried(search.due, search.due, 1)
    assert times == [0, FIRST, 5, 10, 15, 20, 30, 60, 90, 120]


def test_a_direct_peer_is_not_tried() -> None:
    search = Search().seen(0, is_relayed=True).seen(5, is_relayed=False)
    assert search.due == float("inf")


def test_a_path_that_is_lost_again_and_again_is_tried_ever_less_often() -> None:
    search, now, waits = Search().seen(0, is_relayed=True), FIRST, []
    for _ in range(6):
        search = search.seen(now, is_relayed=False).seen(now + 10, is_relayed=True)
        waits.append(search.due - now - 10)
        now = search.due
    assert waits == sorted(waits)
    assert waits[-1] > 2 * waits[0]
    assert waits[-1] + INTERVAL < PROMISED


def test_a_loss_that_was_long_ago_counts_no_more() -> None:
    search = Search().seen(0, is_relayed=True)
    for now in (10, 100):
        search = search.seen(now, is_relayed=False).seen(now + 10, is_relayed=True)
    later = 110 + MEMORY
    once = search.seen(later, is_relayed=False).seen(later + 1, is_relayed=True)
    assert once.losses == 1


@given(st.lists(st.floats(0.1, 300), max_size=30), st.integers(1, MOST), st.floats(0, INTERVAL))
def test_a_path_is_found_within_two_minutes_whatever_was_before(lived: list[float], count: int, phase: float) -> None:
    """A direct path lives for some time, again and again; then it stays, and the next round finds it."""
    now, search = 0.0, Search().seen(0, is_relayed=True)
    for life in lived:
        now = search.due + TRIAL
        search = search.seen(now, is_relayed=False)
        now += life
        search = search.seen(now, is_relayed=True)
    assert search.due - now <= PROMISED - MOST * TRIAL
    # A round that has just begun as the path becomes possible finds nothing, and the next one does.
    began = search.due
    search = search.tried(began + count * TRIAL, began + count * TRIAL + phase, count)
    assert search.due + count * TRIAL - began <= PROMISED


@pytest.mark.parametrize("count", [0, 1, MOST, MOST + 1, 3 * MOST + 2])
def test_rounds_come_to_all_candidates(count: int) -> None:
    candidates = tuple(f"192.0.2.1:{number}" for number in range(count))
    offset, tried = 0, set[str]()
    for _ in range(count // MOST + 1):
        chosen = round_of(candidates, offset)
        assert len(chosen) == min(count, MOST)
        offset += len(chosen)
        tried.update(chosen)
    assert tried == set(candidates)

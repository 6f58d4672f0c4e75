"""Exponential backoff, and that of restarts: half a second at first, a minute at most, give or take a half."""

import random

import pytest

from nodespan.runtime.backoff import RESTARTS, Backoff, Exponential

INTERVALS = [0.5, 0.75, 1.125, 1.6875, 2.53125, 3.796875, 5.6953125, 8.54296875, 12.814453125, 19.2216796875]


def test_every_delay_is_within_half_of_its_interval() -> None:
    for seed in range(200):
        backoff = Backoff(random.Random(seed))
        for interval in INTERVALS:
            assert 0.5 * interval <= backoff.next() <= 1.5 * interval


def test_delays_are_spread_over_the_whole_range() -> None:
    firsts = [Backoff(random.Random(seed)).next() for seed in range(500)]
    assert min(firsts) < 0.26
    assert max(firsts) > 0.74
    assert sum(firsts) / len(firsts) == pytest.approx(0.5, abs=0.02)


def test_intervals_grow_to_a_minute_and_no_further() -> None:
    backoff = Backoff(random.Random(1))
    delays = [backoff.next() for _ in range(1000)]
    assert all(0.5 * RESTARTS.cap <= delay <= 1.5 * RESTARTS.cap for delay in delays[13:])
    assert max(delays) > 1.4 * RESTARTS.cap


def test_a_reset_starts_over() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(20):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 0.75


def test_one_seed_gives_one_series() -> None:
    one, other = Backoff(random.Random(7)), Backoff(random.Random(7))
    assert [one.next() for _ in range(20)] == [other.next() for _ in range(20)]


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(-1, 0.0), (0, 0.0), (1, 2.0), (2, 6.0), (3, 18.0), (4, 54.0), (5, 100.0), (6, 100.0), (10_000, 100.0)],
)
def test_waits_grow_by_the_factor_up_to_the_cap(failures: int, wait: float) -> None:
    assert Exponential(base=2.0, factor=3.0, cap=100.0, jitter=0.5).after(failures) == wait


def test_waits_without_randomness_are_exact() -> None:
    backoff = Backoff(exponential=Exponential(base=1.0, cap=60.0))
    assert [backoff.next() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.failures == 8
    backoff.reset()
    assert (backoff.failures, backoff.next()) == (0, 1.0)


def test_jitter_is_a_part_of_the_wait() -> None:
    narrow = Exponential(base=10.0, cap=10.0, jitter=0.1)
    waits = [Backoff(random.Random(seed), narrow).next() for seed in range(200)]
    assert min(waits) >= 9.0
    assert max(waits) <= 11.0
    assert max(waits) - min(waits) > 1.5

"""Restart delays: half a second at first, half as long again each time, a minute at most, give or take a half."""

import random

import pytest

from nodespan.runtime.engine.backoff import CAP, Backoff

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
    assert all(0.5 * CAP <= delay <= 1.5 * CAP for delay in delays[13:])
    assert max(delays) > 1.4 * CAP


def test_a_reset_starts_over() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(20):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 0.75


def test_one_seed_gives_one_series() -> None:
    one, other = Backoff(random.Random(7)), Backoff(random.Random(7))
    assert [one.next() for _ in range(20)] == [other.next() for _ in range(20)]

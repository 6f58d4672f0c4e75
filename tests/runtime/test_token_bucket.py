"""The token bucket."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from nodespan.runtime.token_bucket import TokenBucket


def test_a_bucket_is_emptied_at_once_and_filled_at_its_rate() -> None:
    bucket = TokenBucket(2, 3, now=0)
    assert [bucket.take(0) for _ in range(4)] == [0, 0, 0, None]
    assert bucket.take(0, patience=1) == pytest.approx(0.5)
    assert bucket.take(0.4) is None
    assert bucket.take(1) == 0
    assert not bucket.is_full(2)
    assert bucket.is_full(2.5)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 3)), max_size=50))
def test_no_sequence_of_takes_exceeds_burst_and_rate(steps: list[tuple[float, float]]) -> None:
    bucket, now, granted = TokenBucket(2, 3, now=0), 0.0, []
    for passed, patience in steps:
        now += passed
        wait = bucket.take(now, patience)
        if wait is not None:
            assert wait <= patience
            granted.append(now + wait)
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            assert last - first + 1 <= 3 + 2 * (granted[last] - granted[first]) + 1e-6

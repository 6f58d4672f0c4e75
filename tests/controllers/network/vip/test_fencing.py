"""No two nodes have a virtual IP at the same time, by the arithmetic alone."""

from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.vip.fencing import KERNEL_SLACK, kernel_deadline
from nodespan.etcd import beat_interval, valid_for
from nodespan.kernel.changes.address_changes import seconds_left

TTLS = st.integers(min_value=3, max_value=300).map(float)


@given(ttl=TTLS, sent=st.floats(0, 1e7), written_after=st.floats(0, 400))
def test_the_kernel_gives_the_address_up_before_the_lease_can_end(
    ttl: float, sent: float, written_after: float
) -> None:
    deadline = kernel_deadline(sent + valid_for(ttl), ttl)
    written = sent + written_after
    seconds = seconds_left(deadline, written)
    if seconds:
        assert written + seconds + KERNEL_SLACK <= sent + ttl + 1e-6


@given(ttl=TTLS, sent=st.floats(0, 1e7))
def test_the_kernel_never_has_less_than_until_the_next_renewal(ttl: float, sent: float) -> None:
    deadline = kernel_deadline(sent + valid_for(ttl), ttl)
    assert deadline <= sent + valid_for(ttl)
    # Written soon after it was sent; the next comes a beat later.
    assert seconds_left(deadline, sent + 0.2) >= beat_interval(ttl)


def test_after_the_deadline_nothing_is_left() -> None:
    assert seconds_left(10.0, 10.0) == seconds_left(9.5, 10.0) == seconds_left(float("-inf"), 10.0) == 0
    assert seconds_left(11.99, 10.0) == 1

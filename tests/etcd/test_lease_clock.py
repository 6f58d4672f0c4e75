"""The fencing clock, and the detection of a history that changed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.etcd.errors import HistoryError
from nodespan.etcd.history import History
from nodespan.etcd.lease_clock import LeaseClock, beat_interval, margin, settling_time, valid_for
from nodespan.etcd.values import Header
from nodespan.runtime.process.boot_time import boot_time

TTLS = st.floats(1, 3600)


@pytest.mark.parametrize(
    ("ttl", "valid", "beat", "settling"), [(2, 1.6, 0.2, 1.8), (5, 4, 0.5, 4.5), (60, 57, 6, 58.5)]
)
def test_a_lease_is_used_for_less_than_it_lasts(ttl: float, valid: float, beat: float, settling: float) -> None:
    assert (valid_for(ttl), beat_interval(ttl), settling_time(ttl)) == (valid, beat, settling)


@given(TTLS)
def test_several_beats_may_fail_before_the_holder_gives_up(ttl: float) -> None:
    assert 0 < margin(ttl) <= 3
    assert 7 * beat_interval(ttl) < valid_for(ttl) < settling_time(ttl) < ttl


@given(st.lists(st.tuples(st.floats(0, 1000), TTLS), max_size=20))
def test_the_deadline_is_that_of_the_best_renewal_in_any_order(
    renewals: list[tuple[float, float]],
) -> None:
    clock = LeaseClock()
    assert clock.remaining(0) == 0
    for sent, ttl in renewals:
        clock = clock.renewed(sent=sent, ttl=ttl)
    assert clock.valid_until == max((sent + valid_for(ttl) for sent, ttl in renewals), default=-math.inf)
    assert all(clock.valid_until < max(sent + ttl for sent, ttl in renewals) for _ in renewals)


def test_boot_time_goes_on() -> None:
    assert boot_time() <= boot_time()


def header(*, cluster: int = 1, revision: int = 10) -> Header:
    return Header(cluster_id=cluster, member_id=1, revision=revision, raft_term=2)


def test_a_history_goes_forward_in_one_cluster() -> None:
    history = History().followed_by(header()).followed_by(header()).followed_by(header(revision=12))
    assert history == History(1, 12)
    assert history.of_cluster(header(revision=3)) == history
    with pytest.raises(HistoryError, match="old snapshot: revision 11 follows 12"):
        history.followed_by(header(revision=11))
    for follow in (history.followed_by, history.of_cluster):
        with pytest.raises(HistoryError, match="another cluster"):
            follow(header(cluster=2, revision=20))

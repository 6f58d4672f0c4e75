"""The change log against a model: a list of everything that ever happened."""

import hypothesis.strategies as st
from hypothesis import given

from nodespan.discovery.service.change_log import ChangeLog

_IDS = st.sampled_from("abcdefg")


@given(st.lists(st.tuples(_IDS, st.booleans())), st.integers(1, 8), st.integers(0, 100))
def test_a_reader_gets_the_latest_change_of_each_id_or_learns_that_it_missed_some(
    history: list[tuple[str, bool]], capacity: int, position: int
) -> None:
    log = ChangeLog(capacity)
    for id, gone in history:
        log.record(id, gone=gone)
    position = min(position, log.position)
    latest = {id: (at, gone) for at, (id, gone) in enumerate(history, start=1)}
    missed = {id: gone for id, (at, gone) in sorted(latest.items(), key=lambda item: item[1]) if at > position}
    changes = log.since(position)
    if changes is None:
        assert len(latest) > capacity
    else:
        assert changes.changed == tuple(id for id, gone in missed.items() if not gone)
        assert changes.gone == tuple(id for id, gone in missed.items() if gone)


@given(st.lists(_IDS, max_size=50))
def test_nothing_is_missed_within_the_capacity(history: list[str]) -> None:
    log = ChangeLog(7)
    for id in history:
        log.record(id, gone=False)
    assert all(log.since(position) is not None for position in range(log.position + 1))


def test_a_cleared_log_knows_only_what_comes_after() -> None:
    log = ChangeLog(7)
    log.record("a", gone=False)
    log.clear()
    assert log.since(0) is None
    assert log.since(log.position) is not None

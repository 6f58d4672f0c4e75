"""Properties of the rules that no table can show."""

import hypothesis.strategies as st
from hypothesis import given

from nodespan.discovery.service import rules
from nodespan.discovery.service.affiliate import AffiliateSpec

_reports = st.lists(
    st.tuples(
        st.sampled_from([b"", b"x", b"y"]),
        st.lists(st.integers(0, 99).map(lambda number: b"%d" % number), max_size=70),
        st.integers(1, 1000),
    ),
    max_size=8,
)


def _merged(reports: list[tuple[bytes, list[bytes], int]]) -> list[AffiliateSpec]:
    history = [AffiliateSpec(cluster="c", affiliate="a")]
    for data, endpoints, expiry in reports:
        history.append(rules.merge(history[-1], data, endpoints, expiry)[0])
    return history


@given(_reports)
def test_endpoints_are_distinct_few_and_stay_in_the_order_they_came(
    reports: list[tuple[bytes, list[bytes], int]],
) -> None:
    before: tuple[bytes, ...] = ()
    for spec in _merged(reports):
        blobs = tuple(endpoint.data for endpoint in spec.endpoints)
        assert len(set(blobs)) == len(blobs) <= rules.MAX_ENDPOINTS
        assert blobs[: len(before)] == before
        before = blobs


@given(_reports)
def test_watchers_are_woken_exactly_when_there_is_a_visible_change(
    reports: list[tuple[bytes, list[bytes], int]],
) -> None:
    history = _merged(reports)
    for number, (data, _, _) in enumerate(reports):
        before, after = history[number : number + 2]
        visible = before.announcement == 0 or data or len(before.endpoints) != len(after.endpoints)
        assert after.announcement - before.announcement == bool(visible)


@given(_reports, st.integers(0, 1100))
def test_pruning_keeps_what_has_not_expired_and_is_idempotent(
    reports: list[tuple[bytes, list[bytes], int]], now: int
) -> None:
    spec = _merged(reports)[-1]
    left = rules.prune(spec, now)
    if left is None:
        assert spec.expiry < now
    else:
        assert left.endpoints == tuple(endpoint for endpoint in spec.endpoints if endpoint.expiry > now)
        assert left.withdrawn == (left is not spec)
        assert rules.prune(left, now) is left

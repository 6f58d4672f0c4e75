"""Requests and answers in the JSON of the gateway; the mesh tier tests them against etcd."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.etcd.values import (
    Compare,
    Delete,
    Event,
    EventKind,
    Get,
    Header,
    KeyValue,
    Lease,
    LeaseStatus,
    MemberStatus,
    Put,
    RangeAnswer,
    Sort,
    TxnAnswer,
    prefix_end,
    watch_request,
)

HEADER = {"cluster_id": "18446744073709551615", "member_id": "2", "revision": "3", "raft_term": "4"}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Get(key=b"k").request(), {"key": "aw=="}),
        (Get(key=b"k", prefix=True).request(), {"key": "aw==", "range_end": "bA=="}),
        (Get(key=b"", prefix=True).request(), {"key": "AA==", "range_end": "AA=="}),
        (
            Get(key=b"k", sort=Sort.CREATED_DESCENDING, limit=1, max_create_revision=9, serializable=True).request(),
            {
                "key": "aw==",
                "sort_target": "CREATE",
                "sort_order": "DESCEND",
                "limit": "1",
                "max_create_revision": "9",
                "serializable": True,
            },
        ),
        (
            Get(key=b"k/", prefix=True, after=b"k/a", revision=7).request(),
            {"key": "ay9hAA==", "range_end": "azA=", "revision": "7"},
        ),
        (Put(key=b"k", value=b"v", lease=7).request(), {"key": "aw==", "value": "dg==", "lease": "7"}),
        (Delete(key=b"k").operation(), {"request_delete_range": {"key": "aw=="}}),
        (
            Compare.created(b"k", 0).condition(),
            {"key": "aw==", "target": "CREATE", "result": "EQUAL", "create_revision": "0"},
        ),
        (
            Compare.has_value(b"k", b"v").condition(),
            {"key": "aw==", "target": "VALUE", "result": "EQUAL", "value": "dg=="},
        ),
        (
            watch_request(b"k", prefix=False, from_revision=5, previous=True),
            {"create_request": {"key": "aw==", "start_revision": "5", "prev_kv": True}},
        ),
        (
            watch_request(b"k", prefix=False, from_revision=5),
            {"create_request": {"key": "aw==", "start_revision": "5"}},
        ),
    ],
)
def test_a_request_has_the_fields_of_etcds_api(request_: Any, expected: Any) -> None:
    assert request_ == expected


def test_fields_missing_in_an_answer_are_zero() -> None:
    empty = RangeAnswer.of({"header": {}})
    assert empty == RangeAnswer(header=Header(cluster_id=0, member_id=0, revision=0, raft_term=0))
    assert not TxnAnswer.of({"header": HEADER}).succeeded
    event = Event.of({"kv": {"key": "aw=="}})
    assert event == Event(EventKind.PUT, KeyValue(key=b"k"))
    assert LeaseStatus.of({}).ttl == 0
    assert "no leader" in MemberStatus.of("http://a:1", {"header": HEADER}).trouble


def test_numbers_are_whole_however_large() -> None:
    assert Header.of(HEADER).cluster_id == 2**64 - 1
    assert Lease(2**63 - 1, 5).hex == "7fffffffffffffff"
    assert Lease(10, 5).hex == "a"


@pytest.mark.parametrize(
    ("read", "nonsense"),
    [
        (RangeAnswer.of, {}),
        (RangeAnswer.of, {"header": {"revision": "many"}}),
        (RangeAnswer.of, {"header": HEADER, "kvs": [{"key": "not base64!"}]}),
        (Event.of, {"type": "RENAME", "kv": {}}),
        (Event.of, {"type": "PUT"}),
    ],
)
def test_nonsense_is_an_error(read: Callable[[Any], object], nonsense: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        read(nonsense)


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_a_prefix_spans_exactly_the_keys_that_begin_with_it(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    # The end b"\0" stands for all keys after the first one.
    assert key.startswith(prefix) == (key >= prefix and (key < end or end == b"\0"))

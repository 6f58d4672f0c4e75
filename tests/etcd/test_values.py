"""Requests and answers as messages of etcd's API; the mesh tier tests them against etcd."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from nodespan.etcd.values import (
    ClusterMember,
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
    txn_request,
    watch_request,
)
from nodespan.etcd.wire import etcd_pb2 as wire

HEADER = wire.ResponseHeader(cluster_id=2**64 - 1, member_id=2, revision=3, raft_term=4)


@pytest.mark.parametrize(
    ("request_", "encoded"),
    [
        (Get(key=b"k").request(), "0a016b"),
        (Get(key=b"k", prefix=True).request(), "0a016b12016c"),
        (Get(key=b"", prefix=True).request(), "0a0100120100"),
        (
            Get(key=b"k", sort=Sort.CREATED_DESCENDING, limit=1, max_create_revision=9, serializable=True).request(),
            "0a016b1801280230023801" + "6809",
        ),
        (Get(key=b"k", sort=Sort.KEY_ASCENDING, keys_only=True).request(), "0a016b28014001"),
        (Get(key=b"k/", prefix=True, after=b"k/a", revision=7).request(), "0a046b2f6100" + "12026b30" + "2007"),
        (Put(key=b"k", value=b"v", lease=7).request(), "0a016b1201761807"),
        (Delete(key=b"k").operation(), "1a030a016b"),
        (Get(key=b"k").operation(), "0a030a016b"),
        (Put(key=b"k", value=b"").operation(), "12030a016b"),
        (Compare.created(b"k", 0).condition(), "10011a016b2800"),
        (Compare.modified(b"k", 5).condition(), "10021a016b3005"),
        (Compare.written(b"k", 1).condition(), "1a016b2001"),
        (Compare.leased(b"k", 0).condition(), "10041a016b4000"),
        (Compare.has_value(b"k", b"v").condition(), "10031a016b3a0176"),
        (
            txn_request([Compare.created(b"k", 0)], [Put(key=b"k", value=b"v")], [Get(key=b"k")]),
            "0a0710011a016b2800" + "12081206" + "0a016b120176" + "1a050a030a016b",
        ),
        (
            watch_request(b"k", prefix=False, from_revision=5, previous=True),
            "0a0b" + "0a016b" + "1805" + "2001" + "3001" + "4001",
        ),
        (watch_request(b"k", prefix=False, from_revision=5), "0a09" + "0a016b" + "1805" + "2001" + "4001"),
    ],
)
def test_a_request_has_the_fields_of_etcds_api(request_: Message, encoded: str) -> None:
    assert request_.SerializeToString(deterministic=True).hex() == encoded


def test_fields_missing_in_an_answer_are_zero() -> None:
    empty = RangeAnswer.of(wire.RangeResponse(header=wire.ResponseHeader()))
    assert empty == RangeAnswer(header=Header(cluster_id=0, member_id=0, revision=0, raft_term=0))
    assert not TxnAnswer.of(wire.TxnResponse(header=HEADER)).succeeded
    event = Event.of(wire.Event(kv=wire.KeyValue(key=b"k")))
    assert event == Event(EventKind.PUT, KeyValue(key=b"k"))
    assert LeaseStatus.of(wire.LeaseTimeToLiveResponse()).ttl == 0
    assert "no leader" in MemberStatus.of("http://a:1", wire.StatusResponse(header=HEADER)).trouble
    assert ClusterMember.of(wire.Member(ID=1)) == ClusterMember(id=1)


def test_an_event_has_the_key_before_if_etcd_gave_it() -> None:
    event = Event.of(wire.Event(type="DELETE", kv=wire.KeyValue(key=b"k"), prev_kv=wire.KeyValue(key=b"k", lease=7)))
    assert event == Event(EventKind.DELETE, KeyValue(key=b"k"), KeyValue(key=b"k", lease=7))


def test_numbers_are_whole_however_large() -> None:
    assert Header.of(wire.RangeResponse(header=HEADER)).cluster_id == 2**64 - 1
    assert Lease(2**63 - 1, 5).hex == "7fffffffffffffff"
    assert Lease(10, 5).hex == "a"


@pytest.mark.parametrize(
    ("read", "nonsense"),
    [
        (RangeAnswer.of, wire.RangeResponse()),
        (TxnAnswer.of, wire.TxnResponse(header=HEADER, responses=[wire.ResponseOp()])),
        (TxnAnswer.of, wire.TxnResponse(header=HEADER, responses=[wire.ResponseOp(response_put=wire.PutResponse())])),
    ],
)
def test_nonsense_is_an_error(read: Callable[[Any], object], nonsense: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # what exactly is of no interest to those who skip the member
        read(nonsense)


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_a_prefix_spans_exactly_the_keys_that_begin_with_it(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    # The end b"\0" stands for all keys after the first one.
    assert key.startswith(prefix) == (key >= prefix and (key < end or end == b"\0"))

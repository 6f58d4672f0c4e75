"""The snapshot file: its bytes, its damage, and what becomes of lifetimes."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from google.protobuf import json_format
from hypothesis import given

from nodespan.discovery.service import snapshot_file
from nodespan.discovery.service.affiliate import AffiliateSpec, EndpointRecord
from nodespan.discovery.service.snapshot_file import SnapshotError, decode_cluster, encode_cluster, read_records
from nodespan.discovery.wire import storage_pb2 as storage
from tests.support.vectors import cases, load

SECOND = 10**9
NOW = 1_700_000_000 * SECOND


def _read(data: bytes, now: int = NOW) -> dict[str, tuple[AffiliateSpec, ...]]:
    return {record.id: decode_cluster(record, now) for record in read_records(io.BytesIO(data))}


@pytest.mark.parametrize("case", cases("server_snapshot"))
def test_the_originals_snapshots_are_read(case: dict[str, Any]) -> None:
    expected = json_format.ParseDict(case["json"], storage.StateSnapshot())
    assert list(read_records(io.BytesIO(bytes.fromhex(case["hex"])))) == list(expected.clusters)
    assert expected.SerializeToString() == bytes.fromhex(case["hex"])


def test_our_files_equal_the_originals() -> None:
    endpoints = (EndpointRecord(data=b"e1", expiry=NOW + 60 * SECOND),)
    affiliate = AffiliateSpec(
        cluster="cluster1", affiliate="af1", data=b"data1", endpoints=endpoints, expiry=NOW + 1800 * SECOND - 1
    )
    ours = encode_cluster("cluster1", (affiliate,), NOW) + encode_cluster("cluster2", (), NOW)
    assert ours.hex() == load("server_snapshot")[0]["hex"]


def test_records_with_a_time_expire_then_and_those_with_a_ttl_from_now() -> None:
    ((absolute,),) = _read(bytes.fromhex(load("server_snapshot")[1]["hex"])).values()
    assert (absolute.expiry, absolute.endpoints[0].expiry) == (NOW, NOW)
    (relative,) = _read(bytes.fromhex(load("server_snapshot")[0]["hex"]))["cluster1"]
    assert (relative.expiry, relative.endpoints[0].expiry) == (NOW + 1799 * SECOND, NOW + 60 * SECOND)


_blobs = st.binary(max_size=32)
_seconds = st.integers(-3600, 1800)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.dictionaries(
            st.text(min_size=1, max_size=8), st.tuples(_blobs, _seconds, st.dictionaries(_blobs, _seconds, max_size=3))
        ),
    )
)
@pytest.mark.slow
def test_every_written_value_is_read_back(clusters: dict[str, dict[str, tuple[bytes, int, dict[bytes, int]]]]) -> None:
    specs = {
        cluster: tuple(
            AffiliateSpec(
                cluster=cluster,
                affiliate=id,
                data=data,
                expiry=NOW + left * SECOND,
                endpoints=tuple(EndpointRecord(data=blob, expiry=NOW + s * SECOND) for blob, s in endpoints.items()),
                announcement=1,
            )
            for id, (data, left, endpoints) in affiliates.items()
        )
        for cluster, affiliates in clusters.items()
    }
    assert _read(b"".join(encode_cluster(id, found, NOW) for id, found in specs.items())) == specs


@pytest.mark.parametrize(
    ("expiry", "kept"), [(1.9, 1), (0.9, 0), (0, 0), (-0.9, 0), (-1.9, -1), (-60, -60)], ids=lambda value: f"{value}"
)
def test_remaining_lifetimes_are_cut_to_whole_seconds(expiry: float, kept: int) -> None:
    spec = AffiliateSpec(cluster="c", affiliate="a", expiry=NOW + round(expiry * SECOND))
    (record,) = read_records(io.BytesIO(encode_cluster("c", (spec,), NOW)))
    assert record.affiliates[0].ttl.seconds == kept


_GOOD = encode_cluster("good", (), NOW)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_GOOD, "a second time"),
        (b"\x12\x00", "cannot begin with 12"),
        (b"\x0a", "length of the record"),
        (b"\x0a" + b"\xff" * 11, "length of the record"),
        (b"\x0a\x05abc", "in the middle"),
        (b"\x0a\x03\x0a\x09x", "cannot be read"),
    ],
)
def test_damage_is_reported_after_the_intact_records(damage: bytes, message: str) -> None:
    records = read_records(io.BytesIO(_GOOD + damage))
    assert next(records).id == "good"
    with pytest.raises(SnapshotError, match=message):
        list(records)


def test_a_record_of_absurd_length_is_refused_before_it_is_read() -> None:
    length = snapshot_file.MAX_RECORD + 1
    varint = bytes((length >> shift & 0x7F) | (0x80 if length >> shift + 7 else 0) for shift in (0, 7, 14, 21))
    with pytest.raises(SnapshotError, match="at most 137912579"):
        list(read_records(io.BytesIO(b"\x0a" + varint)))


@given(st.binary(max_size=64))
def test_no_file_breaks_the_reader(data: bytes) -> None:
    with suppress(SnapshotError):
        _read(data)


def test_a_file_is_replaced_at_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "made" / "state.binpb"
    assert snapshot_file.write(path, [b"one", b"two"]) == 6
    assert path.read_bytes() == b"onetwo"
    assert path.stat().st_mode & 0o777 == 0o600
    snapshot_file.write(path, [])
    assert path.read_bytes() == b""
    assert [entry.name for entry in path.parent.iterdir()] == ["state.binpb"]

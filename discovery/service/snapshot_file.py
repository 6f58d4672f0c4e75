"""The file that keeps affiliates over a restart of the service.

It is one StateSnapshot, read and written as a stream of records: one per cluster, preceded by its tag and
length. Lifetimes are stored as the time left: records do not age while the service is stopped.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from nodespan.discovery.service.affiliate import AffiliateSpec, EndpointRecord
from nodespan.discovery.wire import storage_pb2 as storage
from nodespan.runtime.whole_file import make_directory, replace_file

# Field 1, length-delimited.
_TAG = 0x0A
MAX_RECORD = 137_912_579
_SECOND = 10**9


class SnapshotError(Exception):
    """A snapshot file is damaged; the text says where."""


def keep_damaged(path: Path) -> Path:
    """Copy a damaged file beside itself, before it is overwritten; returns where to. Blocks; raises OSError."""
    copy = path.with_name(f"{path.name}.damaged")
    with path.open("rb") as content:
        replace_file(copy, iter(lambda: content.read(1 << 20), b""), mode=0o600)
    return copy


def encode_cluster(id: str, affiliates: Iterable[AffiliateSpec], now: int) -> bytes:
    """The record of one cluster at a wall-clock time in nanoseconds."""
    cluster = storage.ClusterSnapshot(id=id)
    for affiliate in affiliates:
        kept = cluster.affiliates.add(id=affiliate.affiliate, data=affiliate.data)
        kept.ttl.seconds = _whole_seconds(affiliate.expiry - now)
        for endpoint in affiliate.endpoints:
            kept.endpoints.add(data=endpoint.data).ttl.seconds = _whole_seconds(endpoint.expiry - now)
    return encode_record(cluster)


def encode_record(cluster: storage.ClusterSnapshot) -> bytes:
    """A record as it stands in the file."""
    return storage.StateSnapshot(clusters=(cluster,)).SerializeToString()


def _whole_seconds(nanoseconds: int) -> int:
    return nanoseconds // _SECOND if nanoseconds >= 0 else -(-nanoseconds // _SECOND)


def decode_cluster(record: storage.ClusterSnapshot, now: int) -> tuple[AffiliateSpec, ...]:
    """The affiliates of a record that is read at a wall-clock time in nanoseconds."""
    return tuple(
        AffiliateSpec(
            cluster=record.id,
            affiliate=affiliate.id,
            data=affiliate.data,
            endpoints=tuple(
                EndpointRecord(data=endpoint.data, expiry=_expiry(endpoint, now)) for endpoint in affiliate.endpoints
            ),
            expiry=_expiry(affiliate, now),
            announcement=1,
        )
        for affiliate in record.affiliates
    )


def _expiry(kept: storage.AffiliateSnapshot | storage.EndpointSnapshot, now: int) -> int:
    if kept.HasField("ttl"):
        return max(0, now + kept.ttl.seconds * _SECOND + kept.ttl.nanos)
    return max(0, kept.expiration.seconds * _SECOND + kept.expiration.nanos)


def read_records(file: BinaryIO) -> Iterator[storage.ClusterSnapshot]:
    """The clusters of a file, one by one. Raises SnapshotError at the first damage."""
    seen: set[str] = set()
    while True:
        start = file.tell()
        tag = file.read(1)
        if not tag:
            return
        if tag[0] != _TAG:
            raise SnapshotError(f"at byte {start}: a cluster record cannot begin with {tag.hex()}")
        length = _read_varint(file, start)
        if length > MAX_RECORD:
            raise SnapshotError(f"at byte {start}: a record of {length} bytes, at most {MAX_RECORD} are read")
        data = file.read(length)
        if len(data) < length:
            raise SnapshotError(f"at byte {start}: the file ends in the middle of a record")
        try:
            record = storage.ClusterSnapshot.FromString(data)
        except DecodeError as error:
            raise SnapshotError(f"at byte {start}: the record cannot be read: {error}") from error
        if record.id in seen:
            raise SnapshotError(f"at byte {start}: the cluster occurs a second time")
        seen.add(record.id)
        yield record


def _read_varint(file: BinaryIO, start: int) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value
    raise SnapshotError(f"at byte {start}: the length of the record cannot be read")


def write(path: Path, records: Iterable[bytes]) -> int:
    """Replace the file atomically by one with these records; returns its size in bytes. Raises OSError.

    Without records it writes an empty file: deleted records must not come back from an older one.
    """
    make_directory(path.parent, mode=0o700)
    return replace_file(path, records, mode=0o600)

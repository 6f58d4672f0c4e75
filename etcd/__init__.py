"""A client of etcd on trio: keys, transactions, leases, watches, elections, and the clock that fences a leader."""

from nodespan.etcd.client import EtcdClient
from nodespan.etcd.election import Election, LeaderRecord, Leadership, Observation, observe
from nodespan.etcd.endpoint import parse_endpoint
from nodespan.etcd.errors import (
    AuthError,
    CompactedError,
    EndpointError,
    EtcdError,
    HistoryError,
    LeaseGoneError,
    NotLeaderError,
    RefusedError,
    TLSFilesError,
    UnavailableError,
)
from nodespan.etcd.lease_clock import beat_interval, margin, settling_time, valid_for
from nodespan.etcd.lease_keeper import LeaseKeeper, LeaseService, kept_lease
from nodespan.etcd.login import Credentials
from nodespan.etcd.tls_files import TLSFiles
from nodespan.etcd.values import (
    ClusterMember,
    Compare,
    Delete,
    DeleteAnswer,
    Event,
    EventKind,
    Get,
    Header,
    KeyValue,
    Lease,
    LeaseStatus,
    MemberStatus,
    Put,
    PutAnswer,
    RangeAnswer,
    Renewal,
    Sort,
    TxnAnswer,
)
from nodespan.etcd.watch import Events
from nodespan.runtime.process.boot_time import boot_time

__all__ = [
    "AuthError",
    "ClusterMember",
    "CompactedError",
    "Compare",
    "Credentials",
    "Delete",
    "DeleteAnswer",
    "Election",
    "EndpointError",
    "EtcdClient",
    "EtcdError",
    "Event",
    "EventKind",
    "Events",
    "Get",
    "Header",
    "HistoryError",
    "KeyValue",
    "LeaderRecord",
    "Leadership",
    "Lease",
    "LeaseGoneError",
    "LeaseKeeper",
    "LeaseService",
    "LeaseStatus",
    "MemberStatus",
    "NotLeaderError",
    "Observation",
    "Put",
    "PutAnswer",
    "RangeAnswer",
    "RefusedError",
    "Renewal",
    "Sort",
    "TLSFiles",
    "TLSFilesError",
    "TxnAnswer",
    "UnavailableError",
    "beat_interval",
    "boot_time",
    "kept_lease",
    "margin",
    "observe",
    "parse_endpoint",
    "settling_time",
    "valid_for",
]

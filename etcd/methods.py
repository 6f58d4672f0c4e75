"""The methods of etcd's API that the client calls."""

from typing import Generic, TypeVar

import attrs
from google.protobuf.message import Message

from nodespan.etcd.wire import etcd_pb2 as wire

Answer = TypeVar("Answer", bound=Message)


@attrs.frozen
class Method(Generic[Answer]):
    """A method, and what it answers. Of one with a stream of requests, one request is sent and one answer read."""

    path: str
    answer: type[Answer]
    is_stream: bool = False


RANGE = Method("/etcdserverpb.KV/Range", wire.RangeResponse)
PUT = Method("/etcdserverpb.KV/Put", wire.PutResponse)
DELETE_RANGE = Method("/etcdserverpb.KV/DeleteRange", wire.DeleteRangeResponse)
TXN = Method("/etcdserverpb.KV/Txn", wire.TxnResponse)
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", wire.LeaseGrantResponse)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", wire.LeaseRevokeResponse)
LEASE_KEEP_ALIVE = Method("/etcdserverpb.Lease/LeaseKeepAlive", wire.LeaseKeepAliveResponse, is_stream=True)
LEASE_TIME_TO_LIVE = Method("/etcdserverpb.Lease/LeaseTimeToLive", wire.LeaseTimeToLiveResponse)
WATCH = Method("/etcdserverpb.Watch/Watch", wire.WatchResponse, is_stream=True)
AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", wire.AuthenticateResponse)
STATUS = Method("/etcdserverpb.Maintenance/Status", wire.StatusResponse)
MEMBER_LIST = Method("/etcdserverpb.Cluster/MemberList", wire.MemberListResponse)

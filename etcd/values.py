"""Requests to etcd and its answers, as values and as the messages of its API.

etcd ignores fields that it does not know, and what is missing in an answer is zero: the tests against the real server
cover each field.
"""

import enum
from collections.abc import Iterable

import attrs

from nodespan.etcd.wire import etcd_pb2 as wire

# The range end that means: to the end of all keys.
_NO_END = b"\0"


class Sort(enum.Enum):
    """The order of a range; the values are etcd's numbers of the target and the order."""

    KEY_ASCENDING = (wire.RangeRequest.KEY, wire.RangeRequest.ASCEND)
    CREATED_ASCENDING = (wire.RangeRequest.CREATE, wire.RangeRequest.ASCEND)
    CREATED_DESCENDING = (wire.RangeRequest.CREATE, wire.RangeRequest.DESCEND)
    MODIFIED_ASCENDING = (wire.RangeRequest.MOD, wire.RangeRequest.ASCEND)
    MODIFIED_DESCENDING = (wire.RangeRequest.MOD, wire.RangeRequest.DESCEND)


@attrs.frozen(kw_only=True)
class Header:
    """The member that answered, and the moment of etcd's history."""

    cluster_id: int
    member_id: int
    revision: int
    raft_term: int

    @classmethod
    def of(cls, answer: "_Answered") -> "Header":
        """Read it from an answer. Raises ValueError if it has none, as all readers in this module."""
        if not answer.HasField("header"):
            raise ValueError("an answer without a header")
        header = answer.header
        return cls(
            cluster_id=header.cluster_id,
            member_id=header.member_id,
            revision=header.revision,
            raft_term=header.raft_term,
        )


@attrs.frozen(kw_only=True)
class KeyValue:
    """A key as it was at one revision. `lease` is 0 for a key that is bound to none."""

    key: bytes
    value: bytes = attrs.field(default=b"", repr=False)
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0

    @classmethod
    def of(cls, found: wire.KeyValue) -> "KeyValue":
        """Read it from an answer."""
        return cls(
            key=found.key,
            value=found.value,
            create_revision=found.create_revision,
            mod_revision=found.mod_revision,
            version=found.version,
            lease=found.lease,
        )


class EventKind(enum.Enum):
    """What happened to a key."""

    PUT = wire.Event.PUT
    DELETE = wire.Event.DELETE


@attrs.frozen
class Event:
    """A change of a key; of a deleted one only the key and the revision of the deletion (`mod_revision`) are known.

    `previous` is the key before the change, if the watch requested it and etcd still has it.
    """

    kind: EventKind
    key_value: KeyValue
    previous: KeyValue | None = None

    @classmethod
    def of(cls, event: wire.Event) -> "Event":
        """Read it from an answer."""
        previous = KeyValue.of(event.prev_kv) if event.HasField("prev_kv") else None
        return cls(EventKind(event.type), KeyValue.of(event.kv), previous)


@attrs.frozen(kw_only=True)
class Get:
    """The question for a key, or for all keys that begin with it.

    `max_create_revision` leaves out keys that were created later. A serializable read is answered by any member from
    what it has, also without a quorum, and may be old. With `revision` the keys are read as they were then; with
    `after` only those behind this key, one of the prefix: so a long range is read page by page.
    """

    key: bytes
    prefix: bool = False
    after: bytes = b""
    revision: int = 0
    sort: Sort | None = None
    limit: int = 0
    max_create_revision: int = 0
    serializable: bool = False
    keys_only: bool = False

    def request(self) -> wire.RangeRequest:
        """The range request."""
        key, end = _span(self.key, prefix=self.prefix)
        target, order = self.sort.value if self.sort else (wire.RangeRequest.KEY, wire.RangeRequest.NONE)
        return wire.RangeRequest(
            key=self.after + b"\0" if self.after else key,
            range_end=end,
            limit=self.limit,
            revision=self.revision,
            sort_target=target,
            sort_order=order,
            max_create_revision=self.max_create_revision,
            serializable=self.serializable,
            keys_only=self.keys_only,
        )

    def operation(self) -> wire.RequestOp:
        """The same as a part of a transaction."""
        return wire.RequestOp(request_range=self.request())


@attrs.frozen(kw_only=True)
class Put:
    """A key gets a value, and is bound to the lease, or to none."""

    key: bytes
    value: bytes = attrs.field(repr=False)
    lease: int = 0

    def request(self) -> wire.PutRequest:
        """The put request."""
        return wire.PutRequest(key=self.key, value=self.value, lease=self.lease)

    def operation(self) -> wire.RequestOp:
        """The same as a part of a transaction."""
        return wire.RequestOp(request_put=self.request())


@attrs.frozen(kw_only=True)
class Delete:
    """A key goes, or all keys that begin with it."""

    key: bytes
    prefix: bool = False

    def request(self) -> wire.DeleteRangeRequest:
        """The delete request."""
        key, end = _span(self.key, prefix=self.prefix)
        return wire.DeleteRangeRequest(key=key, range_end=end)

    def operation(self) -> wire.RequestOp:
        """The same as a part of a transaction."""
        return wire.RequestOp(request_delete_range=self.request())


Operation = Get | Put | Delete


@attrs.frozen
class Compare:
    """A condition of a transaction: that something about a key equals this."""

    key: bytes
    target: str
    expected: int | bytes = attrs.field(repr=False)

    @classmethod
    def created(cls, key: bytes, revision: int) -> "Compare":
        """That the key was created at this revision; 0: that there is no such key."""
        return cls(key, "create_revision", revision)

    @classmethod
    def modified(cls, key: bytes, revision: int) -> "Compare":
        """That the key was last changed at this revision."""
        return cls(key, "mod_revision", revision)

    @classmethod
    def written(cls, key: bytes, version: int) -> "Compare":
        """That the key was written so often since it was created."""
        return cls(key, "version", version)

    @classmethod
    def leased(cls, key: bytes, lease: int) -> "Compare":
        """That the key is bound to this lease; 0: to none, or that there is no such key."""
        return cls(key, "lease", lease)

    @classmethod
    def has_value(cls, key: bytes, value: bytes) -> "Compare":
        """That the key has this value."""
        return cls(key, "value", value)

    def condition(self) -> wire.Compare:
        """The condition in the transaction."""
        condition = wire.Compare(key=self.key, target=_TARGETS[self.target], result=wire.Compare.EQUAL)
        # Set also where it is zero: it is the member of a union.
        setattr(condition, self.target, self.expected)
        return condition


_TARGETS = {
    "version": wire.Compare.VERSION,
    "create_revision": wire.Compare.CREATE,
    "mod_revision": wire.Compare.MOD,
    "value": wire.Compare.VALUE,
    "lease": wire.Compare.LEASE,
}


def txn_request(
    compare: Iterable[Compare], success: Iterable[Operation], failure: Iterable[Operation]
) -> wire.TxnRequest:
    """A transaction."""
    return wire.TxnRequest(
        compare=[each.condition() for each in compare],
        success=[each.operation() for each in success],
        failure=[each.operation() for each in failure],
    )


@attrs.frozen(kw_only=True)
class RangeAnswer:
    """The keys found. `count`: how many there are, also beyond the limit."""

    header: Header
    key_values: tuple[KeyValue, ...] = ()
    count: int = 0

    @classmethod
    def of(cls, answer: wire.RangeResponse) -> "RangeAnswer":
        """Read it from an answer."""
        return cls(header=Header.of(answer), key_values=tuple(map(KeyValue.of, answer.kvs)), count=answer.count)


@attrs.frozen(kw_only=True)
class PutAnswer:
    """The answer to a put."""

    header: Header

    @classmethod
    def of(cls, answer: wire.PutResponse) -> "PutAnswer":
        """Read it from an answer."""
        return cls(header=Header.of(answer))


@attrs.frozen(kw_only=True)
class DeleteAnswer:
    """So many keys went."""

    header: Header
    deleted: int = 0

    @classmethod
    def of(cls, answer: wire.DeleteRangeResponse) -> "DeleteAnswer":
        """Read it from an answer."""
        return cls(header=Header.of(answer), deleted=answer.deleted)


Answer = RangeAnswer | PutAnswer | DeleteAnswer


def _answer_of(response: wire.ResponseOp) -> Answer:
    match response.WhichOneof("response"):
        case "response_range":
            return RangeAnswer.of(response.response_range)
        case "response_put":
            return PutAnswer.of(response.response_put)
        case "response_delete_range":
            return DeleteAnswer.of(response.response_delete_range)
    raise ValueError("an answer to an operation that was not requested")


@attrs.frozen(kw_only=True)
class TxnAnswer:
    """`succeeded`: whether all conditions held. `answers`: of the operations that were executed, in their order."""

    header: Header
    succeeded: bool
    answers: tuple[Answer, ...] = ()

    @classmethod
    def of(cls, answer: wire.TxnResponse) -> "TxnAnswer":
        """Read it from an answer."""
        answers = tuple(map(_answer_of, answer.responses))
        return cls(header=Header.of(answer), succeeded=answer.succeeded, answers=answers)


@attrs.frozen
class Lease:
    """A lease as etcd granted it; the seconds may be more than requested."""

    id: int
    ttl: float

    @property
    def hex(self) -> str:
        """The id as it stands at the end of an election's keys."""
        return f"{self.id:x}"

    @classmethod
    def of(cls, answer: wire.LeaseGrantResponse) -> "Lease":
        """Read it from an answer."""
        return cls(answer.ID, answer.TTL)


@attrs.frozen(kw_only=True)
class Renewal:
    """The lease lives for these seconds more; the header is older than the renewal."""

    header: Header
    ttl: float

    @classmethod
    def of(cls, answer: wire.LeaseKeepAliveResponse) -> "Renewal":
        """Read it from an answer."""
        return cls(header=Header.of(answer), ttl=answer.TTL)


@attrs.frozen(kw_only=True)
class LeaseStatus:
    """A living lease: seconds left, seconds at each renewal, and the keys that end with it."""

    ttl: float
    granted_ttl: float
    keys: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, answer: wire.LeaseTimeToLiveResponse) -> "LeaseStatus":
        """Read it from an answer."""
        return cls(ttl=answer.TTL, granted_ttl=answer.grantedTTL, keys=tuple(answer.keys))


@attrs.frozen(kw_only=True)
class MemberStatus:
    """One member as it sees itself. `trouble`: why it cannot serve, "" if it can; then the rest may be empty."""

    endpoint: str
    trouble: str = ""
    version: str = ""
    is_leader: bool = False
    header: Header | None = None

    @classmethod
    def of(cls, endpoint: str, answer: wire.StatusResponse) -> "MemberStatus":
        """Read it from an answer."""
        header = Header.of(answer)
        return cls(
            endpoint=endpoint,
            trouble="" if answer.leader else "it knows of no leader: there is no quorum, or it is cut off from it",
            version=answer.version,
            is_leader=answer.leader == header.member_id,
            header=header,
        )


@attrs.frozen(kw_only=True)
class ClusterMember:
    """A member as the cluster knows it. One that has not started yet has no name; a learner does not vote."""

    id: int
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    @classmethod
    def of(cls, member: wire.Member) -> "ClusterMember":
        """Read it from an answer."""
        return cls(
            id=member.ID,
            name=member.name,
            peer_urls=tuple(member.peerURLs),
            client_urls=tuple(member.clientURLs),
            is_learner=member.isLearner,
        )


def watch_request(key: bytes, *, prefix: bool, from_revision: int, previous: bool = False) -> wire.WatchRequest:
    """The request that begins a watch.

    Large answers come in fragments, and the progress of an idle watch is reported.
    """
    first, end = _span(key, prefix=prefix)
    return wire.WatchRequest(
        create_request=wire.WatchCreateRequest(
            key=first,
            range_end=end,
            start_revision=from_revision,
            progress_notify=True,
            prev_kv=previous,
            fragment=True,
        )
    )


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with the prefix."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else _NO_END


def _span(key: bytes, *, prefix: bool) -> tuple[bytes, bytes]:
    """The first key and the end of a range."""
    return (key or b"\0", prefix_end(key)) if prefix else (key, b"")


_Answered = (
    wire.RangeResponse
    | wire.PutResponse
    | wire.DeleteRangeResponse
    | wire.TxnResponse
    | wire.LeaseKeepAliveResponse
    | wire.StatusResponse
    | wire.WatchResponse
    | wire.MemberListResponse
)

"""What etcd is asked and what it answers, as values, and both in the JSON of its gateway.

Keys and values travel as base64 and 64-bit numbers as strings; what is zero, false or empty is left out of answers.
etcd ignores fields that it does not know, so a misspelt one here would be lost without a word: the tests against the
real server cover each field.
"""

import base64
import enum
from collections.abc import Callable, Mapping
from typing import Any

import attrs

Json = Mapping[str, Any]

# The range end that means: to the end of all keys.
_NO_END = b"\0"


class Sort(enum.Enum):
    """The order of a range; the values are etcd's names for the target and the order."""

    KEY_ASCENDING = ("KEY", "ASCEND")
    CREATED_ASCENDING = ("CREATE", "ASCEND")
    CREATED_DESCENDING = ("CREATE", "DESCEND")
    MODIFIED_ASCENDING = ("MOD", "ASCEND")
    MODIFIED_DESCENDING = ("MOD", "DESCEND")


@attrs.frozen(kw_only=True)
class Header:
    """Who answered, and from which moment of etcd's history."""

    cluster_id: int
    member_id: int
    revision: int
    raft_term: int

    @classmethod
    def of(cls, fields: Json) -> "Header":
        """Read it from an answer. Raises ValueError or TypeError for nonsense, as all readers in this module."""
        return cls(**{name: _number(fields, name) for name in ("cluster_id", "member_id", "revision", "raft_term")})


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
    def of(cls, fields: Json) -> "KeyValue":
        """Read it from an answer."""
        numbers = {name: _number(fields, name) for name in ("create_revision", "mod_revision", "version", "lease")}
        return cls(key=_bytes(fields, "key"), value=_bytes(fields, "value"), **numbers)


class EventKind(enum.Enum):
    """What happened to a key."""

    PUT = "PUT"
    DELETE = "DELETE"


@attrs.frozen
class Event:
    """A change of a key; of a deleted one only the key and the revision of the deletion (`mod_revision`) are known.

    `previous` is the key before the change, if the watch asked for it and etcd still has it.
    """

    kind: EventKind
    key_value: KeyValue
    previous: KeyValue | None = None

    @classmethod
    def of(cls, fields: Json) -> "Event":
        """Read it from an answer."""
        previous = fields.get("prev_kv")
        return cls(
            EventKind(fields.get("type", "PUT")),
            KeyValue.of(fields["kv"]),
            None if previous is None else KeyValue.of(previous),
        )


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

    def request(self) -> Json:
        """The body of the range request."""
        target, order = self.sort.value if self.sort else ("", "")
        given = {
            **_span(self.key, prefix=self.prefix),
            **({"key": _text(self.after + b"\0")} if self.after else {}),
            "revision": self.revision and str(self.revision),
            "sort_target": target,
            "sort_order": order,
            "limit": self.limit and str(self.limit),
            "max_create_revision": self.max_create_revision and str(self.max_create_revision),
            "serializable": self.serializable,
            "keys_only": self.keys_only,
        }
        return {name: value for name, value in given.items() if value}

    def operation(self) -> Json:
        """The same as a part of a transaction."""
        return {"request_range": self.request()}


@attrs.frozen(kw_only=True)
class Put:
    """A key gets a value, and is bound to the lease, or to none."""

    key: bytes
    value: bytes = attrs.field(repr=False)
    lease: int = 0

    def request(self) -> Json:
        """The body of the put request."""
        return {"key": _text(self.key), "value": _text(self.value), "lease": str(self.lease)}

    def operation(self) -> Json:
        """The same as a part of a transaction."""
        return {"request_put": self.request()}


@attrs.frozen(kw_only=True)
class Delete:
    """A key goes, or all keys that begin with it."""

    key: bytes
    prefix: bool = False

    def request(self) -> Json:
        """The body of the delete request."""
        return _span(self.key, prefix=self.prefix)

    def operation(self) -> Json:
        """The same as a part of a transaction."""
        return {"request_delete_range": self.request()}


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
    def has_value(cls, key: bytes, value: bytes) -> "Compare":
        """That the key has this value."""
        return cls(key, "value", value)

    def condition(self) -> Json:
        """The condition in the body of the transaction."""
        targets = {"create_revision": "CREATE", "mod_revision": "MOD", "value": "VALUE"}
        expected = _text(self.expected) if isinstance(self.expected, bytes) else str(self.expected)
        return {"key": _text(self.key), "target": targets[self.target], "result": "EQUAL", self.target: expected}


@attrs.frozen(kw_only=True)
class RangeAnswer:
    """The keys found. `count`: how many there are, also beyond the limit."""

    header: Header
    key_values: tuple[KeyValue, ...] = ()
    count: int = 0

    @classmethod
    def of(cls, fields: Json) -> "RangeAnswer":
        """Read it from an answer."""
        found = tuple(map(KeyValue.of, fields.get("kvs", ())))
        return cls(header=Header.of(fields["header"]), key_values=found, count=_number(fields, "count"))


@attrs.frozen(kw_only=True)
class PutAnswer:
    """The put is done."""

    header: Header

    @classmethod
    def of(cls, fields: Json) -> "PutAnswer":
        """Read it from an answer."""
        return cls(header=Header.of(fields["header"]))


@attrs.frozen(kw_only=True)
class DeleteAnswer:
    """So many keys went."""

    header: Header
    deleted: int = 0

    @classmethod
    def of(cls, fields: Json) -> "DeleteAnswer":
        """Read it from an answer."""
        return cls(header=Header.of(fields["header"]), deleted=_number(fields, "deleted"))


Answer = RangeAnswer | PutAnswer | DeleteAnswer

_ANSWERS: Mapping[str, Callable[[Json], Answer]] = {
    "response_range": RangeAnswer.of,
    "response_put": PutAnswer.of,
    "response_delete_range": DeleteAnswer.of,
}


@attrs.frozen(kw_only=True)
class TxnAnswer:
    """`succeeded`: whether all conditions held. `answers`: to the operations that were done for it, in their order."""

    header: Header
    succeeded: bool
    answers: tuple[Answer, ...] = ()

    @classmethod
    def of(cls, fields: Json) -> "TxnAnswer":
        """Read it from an answer."""
        answers = tuple(
            _ANSWERS[name](answer) for response in fields.get("responses", ()) for name, answer in response.items()
        )
        return cls(header=Header.of(fields["header"]), succeeded=bool(fields.get("succeeded")), answers=answers)


@attrs.frozen
class Lease:
    """A lease as etcd granted it; the seconds may be more than were asked for."""

    id: int
    ttl: float

    @property
    def hex(self) -> str:
        """The id as it stands at the end of an election's keys."""
        return f"{self.id:x}"


@attrs.frozen(kw_only=True)
class Renewal:
    """The lease lives for these seconds more; the header is older than the renewal."""

    header: Header
    ttl: float


@attrs.frozen(kw_only=True)
class LeaseStatus:
    """A living lease: seconds left, seconds at each renewal, and the keys that end with it."""

    ttl: float
    granted_ttl: float
    keys: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, fields: Json) -> "LeaseStatus":
        """Read it from an answer."""
        keys = tuple(base64.b64decode(key, validate=True) for key in fields.get("keys", ()))
        return cls(ttl=_number(fields, "TTL"), granted_ttl=_number(fields, "grantedTTL"), keys=keys)


@attrs.frozen(kw_only=True)
class MemberStatus:
    """One member as it sees itself. `trouble`: why it cannot serve, "" if it can; then the rest may be empty."""

    endpoint: str
    trouble: str = ""
    version: str = ""
    is_leader: bool = False
    header: Header | None = None

    @classmethod
    def of(cls, endpoint: str, fields: Json) -> "MemberStatus":
        """Read it from an answer."""
        header = Header.of(fields["header"])
        leader = _number(fields, "leader")
        return cls(
            endpoint=endpoint,
            trouble="" if leader else "it knows of no leader: there is no quorum, or it is cut off from it",
            version=str(fields.get("version", "")),
            is_leader=leader == header.member_id,
            header=header,
        )


def watch_request(key: bytes, *, prefix: bool, from_revision: int, previous: bool = False) -> Json:
    """The body that begins a watch."""
    request = {**_span(key, prefix=prefix), "start_revision": str(from_revision)}
    return {"create_request": {**request, "prev_kv": True} if previous else request}


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with the prefix."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else _NO_END


def _span(key: bytes, *, prefix: bool) -> Json:
    if not prefix:
        return {"key": _text(key)}
    return {"key": _text(key or b"\0"), "range_end": _text(prefix_end(key))}


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(fields: Json, name: str) -> bytes:
    return base64.b64decode(fields.get(name, ""), validate=True)


def _number(fields: Json, name: str) -> int:
    return int(fields.get(name, 0))

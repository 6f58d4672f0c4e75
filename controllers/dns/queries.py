"""DNS on the wire, as far as a server needs it: queries are read here, and answers that need nobody else are written.

A query is one question and at most an OPT record, so it is read without a library: whatever else comes is refused by
its header. What servers answer is another matter, and is taken apart by dnspython in `upstream_answers`.

An answer repeats the question at a fixed place, so each record names its owner by a pointer to there.
"""

import enum
import ipaddress
import struct
from collections.abc import Sequence

import attrs

_HEADER = struct.Struct("!6H")
_TYPE_AND_CLASS = struct.Struct("!2H")
_RECORD = struct.Struct("!3HIH")
_OPT = struct.Struct("!BHHIH")
_SIZE_OF_OPT = _OPT.size
OWNER = 0xC00C
_IN = 1
_LONGEST_NAME = 255
_LONGEST_LABEL = 63
# Without EDNS, and the least with it (RFC 6891).
PLAIN_SIZE = 512
LARGEST = 65535

ANSWER, AUTHORITATIVE, TRUNCATED, RECURSE, RECURSES = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
AUTHENTIC, UNCHECKED = 0x0020, 0x0010
_OPCODE = 0x7800
DNSSEC_OK = 0x8000
# Bits of a query that its answer has too.
_REPEATED = _OPCODE | RECURSE | UNCHECKED


class Type(enum.IntEnum):
    """Types of records that the server itself knows."""

    A = 1
    PTR = 12
    AAAA = 28
    OPT = 41
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255


class RCode(enum.IntEnum):
    """How it went."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@attrs.frozen(kw_only=True)
class Query:
    """A question. `name` is in lower case without a final dot; bytes that no host name has are written `\\DDD`."""

    id: int
    flags: int
    question: bytes
    name: str
    type: int
    # What the client can take over UDP, 0 without EDNS.
    payload: int = 0
    wants_signatures: bool = False

    @property
    def unchecked(self) -> bool:
        """Whether a validating server is to answer with what it cannot validate."""
        return bool(self.flags & UNCHECKED)

    def limit(self, most: int) -> int:
        """The size of an answer over UDP, if the server sends at most so much."""
        return min(max(self.payload, PLAIN_SIZE), most)


class QueryError(Exception):
    """What came is no query that can be answered. `reply` says so to the client, b"" to say nothing."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("not a query that can be answered")
        self.reply = reply


def read_query(data: bytes) -> Query:
    """The query in a message. Raises QueryError."""
    if len(data) < _HEADER.size:
        raise QueryError(b"")
    id, flags, questions, answers, authorities, others = _HEADER.unpack_from(data)
    # An answer to an answer would be the beginning of a loop.
    if flags & ANSWER:
        raise QueryError(b"")
    if flags & _OPCODE:
        raise _refused(id, flags, RCode.NOTIMP)
    if questions != 1 or answers or authorities or others > 1:
        raise _refused(id, flags, RCode.FORMERR)
    try:
        name, end = _read_name(data, _HEADER.size)
        type, of_class = _TYPE_AND_CLASS.unpack_from(data, end)
        end += _TYPE_AND_CLASS.size
        query = Query(id=id, flags=flags, question=data[_HEADER.size : end], name=name, type=type)
        if others:
            query, end = _with_options(query, data, end)
    except (ValueError, struct.error):
        raise _refused(id, flags, RCode.FORMERR) from None
    if end != len(data):
        raise _refused(id, flags, RCode.FORMERR)
    if of_class != _IN or type in (Type.AXFR, Type.IXFR):
        raise QueryError(reply(query, RCode.REFUSED))
    if type in (Type.ANY, Type.MAILA, Type.MAILB, Type.OPT):
        raise QueryError(reply(query, RCode.NOTIMP))
    return query


def _refused(id: int, flags: int, rcode: RCode) -> QueryError:
    return QueryError(_HEADER.pack(id, ANSWER | (flags & _REPEATED) | rcode, 0, 0, 0, 0))


def _read_name(data: bytes, at: int) -> tuple[str, int]:
    """A name that is written out, and where it ends. Raises ValueError."""
    labels: list[str] = []
    start = at
    while at < len(data) and (size := data[at]):
        # A pointer has nothing to point to in a query.
        if size > _LONGEST_LABEL:
            raise ValueError("a pointer in a question")
        label = data[at + 1 : at + 1 + size]
        text = label.decode("latin-1")
        plain = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
        labels.append(text.lower() if plain else "".join(map(_escaped, label.lower())))
        at += 1 + size
        if at - start >= _LONGEST_NAME:
            raise ValueError("a name that is too long")
    if at >= len(data):
        raise ValueError("a name without an end")
    return ".".join(labels), at + 1


def _escaped(byte: int) -> str:
    character = chr(byte)
    return character if byte < 0x80 and (character.isalnum() or character in "-_") else f"\\{byte:03}"


def _with_options(query: Query, data: bytes, at: int) -> tuple[Query, int]:
    root, type, payload, extended, size = _OPT.unpack_from(data, at)
    if root or type != Type.OPT:
        raise ValueError("a record that is not EDNS")
    query = attrs.evolve(query, payload=max(payload, PLAIN_SIZE), wants_signatures=bool(extended & DNSSEC_OK))
    if extended >> 16 & 0xFF:
        raise QueryError(reply(query, RCode.BADVERS))
    return query, at + _SIZE_OF_OPT + size


# Answers.


def address_record(address: str, ttl: int) -> bytes:
    """The record of the question's name that has this address. Raises ValueError."""
    packed = ipaddress.ip_address(address).packed
    type = Type.A if len(packed) == ipaddress.IPV4LENGTH // 8 else Type.AAAA
    return _RECORD.pack(OWNER, type, _IN, ttl, len(packed)) + packed


def pointer_record(name: str, ttl: int) -> bytes:
    """The record of the question's name that leads back to this one. Raises ValueError."""
    packed = write_name(name)
    return _RECORD.pack(OWNER, Type.PTR, _IN, ttl, len(packed)) + packed


def write_name(name: str) -> bytes:
    """A name, written out. Raises ValueError if DNS has no such names."""
    labels = [label.encode("ascii") for label in name.split(".")] if name else []
    if any(not 0 < len(label) <= _LONGEST_LABEL for label in labels):
        raise ValueError("a label of a wrong length")
    packed = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(packed) > _LONGEST_NAME:
        raise ValueError("a name that is too long")
    return packed


def reply(
    query: Query,
    rcode: int,
    body: Sequence[bytes] = (),
    *,
    flags: int = 0,
    counts: tuple[int, int] | None = None,
    limit: int = LARGEST,
    most: int = PLAIN_SIZE,
) -> bytes:
    """An answer of at most `limit` bytes; one that is larger comes without its records, and says so.

    `body` are the records, `counts` how many of them are answers and authorities: without it they are answers. `most`
    is what the server itself can take over UDP.
    """
    answers, authorities = (len(body), 0) if counts is None else counts
    options = b""
    if query.payload:
        extended = (rcode >> 4) << 24 | (DNSSEC_OK if query.wants_signatures else 0)
        options = _OPT.pack(0, Type.OPT, most, extended, 0)
    bits = ANSWER | RECURSES | flags | (query.flags & _REPEATED) | (rcode & 0xF)
    records = b"".join(body)
    if _HEADER.size + len(query.question) + len(records) + len(options) > limit:
        bits, answers, authorities, records = bits | TRUNCATED, 0, 0, b""
    header = _HEADER.pack(query.id, bits, 1, answers, authorities, 1 if options else 0)
    return header + query.question + records + options


# Questions to others.


def forwarded(query: Query, id: int, payload: int) -> bytes:
    """The question as other servers are asked it: of the client only the question, and what it wants of DNSSEC."""
    flags = RECURSE | AUTHENTIC | (query.flags & UNCHECKED)
    extended = DNSSEC_OK if query.wants_signatures else 0
    return _HEADER.pack(id, flags, 1, 0, 0, 1) + query.question + _OPT.pack(0, Type.OPT, payload, extended, 0)


def matches(answer: bytes, sent: bytes) -> bool:
    """Whether this may be the answer to what was sent: its id, and its question."""
    end = len(sent) - _SIZE_OF_OPT
    fixed = end - _TYPE_AND_CLASS.size
    return (
        len(answer) >= end
        and answer[:2] == sent[:2]
        and answer[2] >= ANSWER >> 8
        and answer[4:6] == sent[4:6]
        and answer[_HEADER.size : fixed].lower() == sent[_HEADER.size : fixed].lower()
        and answer[fixed:end] == sent[fixed:end]
    )


def is_truncated(answer: bytes) -> bool:
    """Whether the answer did not fit."""
    return bool(answer[2] << 8 & TRUNCATED)

"""Queries are read strictly, and answers fit: whatever comes, nothing fails, and the client can read what it gets."""

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nodespan.controllers.dns.queries import (
    LARGEST,
    Query,
    QueryError,
    RCode,
    address_record,
    forwarded,
    matches,
    pointer_record,
    read_query,
    reply,
    write_name,
)

HEADER = bytes.fromhex("1234 0100 0001 0000 0000 0000")
NAME = b"\x02Db\x04mesh\x08internal\0"
A_IN = b"\0\x01\0\x01"
OPT = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0"


def header(flags: int = 0x0100, *counts: int) -> bytes:
    return b"".join(number.to_bytes(2) for number in (0x1234, flags, *(counts or (1, 0, 0, 0))))


def answer_to(data: bytes) -> bytes:
    try:
        return reply(read_query(data), RCode.NOERROR)
    except QueryError as error:
        return error.reply


def test_a_query_is_read() -> None:
    query = read_query(HEADER + NAME + A_IN)
    assert (query.id, query.name, query.type, query.payload) == (0x1234, "db.mesh.internal", 1, 0)
    assert (query.wants_signatures, query.unchecked, query.question) == (False, False, NAME + A_IN)
    query = read_query(header(0x0110, 1, 0, 0, 1) + NAME + A_IN + OPT)
    assert (query.payload, query.wants_signatures, query.unchecked) == (1232, True, True)
    assert read_query(HEADER + b"\0" + A_IN).name == ""
    # A dot within a label is not one between labels.
    assert read_query(HEADER + b"\x0bdb.internal\0" + A_IN).name == "db\\046internal"
    assert read_query(HEADER + b"\x02d\xff\0" + A_IN).name == "d\\255"


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (b"", None),
        (HEADER[:11], None),
        (header(0x8100) + NAME + A_IN, None),
        (header(0x2900) + NAME + A_IN, RCode.NOTIMP),
        (HEADER, RCode.FORMERR),
        (header(0x0100, 0, 0, 0, 0), RCode.FORMERR),
        (header(0x0100, 2, 0, 0, 0) + 2 * (NAME + A_IN), RCode.FORMERR),
        (header(0x0100, 1, 1, 0, 0) + NAME + A_IN, RCode.FORMERR),
        (header(0x0100, 1, 0, 0, 2) + NAME + A_IN + 2 * OPT, RCode.FORMERR),
        (HEADER + NAME + A_IN + b"x", RCode.FORMERR),
        (HEADER + NAME + A_IN[:3], RCode.FORMERR),
        (HEADER + NAME[:-1], RCode.FORMERR),
        # A pointer, also one to itself; a label too long; a name too long.
        (HEADER + b"\xc0\x0c" + A_IN, RCode.FORMERR),
        (HEADER + b"\x40" + 64 * b"a" + b"\0" + A_IN, RCode.FORMERR),
        (HEADER + 4 * (b"\x3f" + 63 * b"a") + b"\0" + A_IN, RCode.FORMERR),
        # A record that is not EDNS, one of another name, and one that promises more than there is.
        (header(0x0100, 1, 0, 0, 1) + NAME + A_IN + b"\0\0\xfa" + OPT[3:], RCode.FORMERR),
        (header(0x0100, 1, 0, 0, 1) + NAME + A_IN + b"\x01a" + OPT, RCode.FORMERR),
        (header(0x0100, 1, 0, 0, 1) + NAME + A_IN + OPT[:-1] + b"\x05", RCode.FORMERR),
        (header(0x0100, 1, 0, 0, 1) + NAME + A_IN + OPT[:6] + b"\x01" + OPT[7:], RCode.BADVERS),
        # Another class; transfers; questions for everything.
        (HEADER + NAME + b"\0\x01\0\x03", RCode.REFUSED),
        (HEADER + NAME + b"\0\xfc\0\x01", RCode.REFUSED),
        (HEADER + NAME + b"\0\xff\0\x01", RCode.NOTIMP),
    ],
)
def test_what_is_no_query_is_refused_or_dropped(message: bytes, rcode: RCode | None) -> None:
    with pytest.raises(QueryError) as caught:
        read_query(message)
    if rcode is None:
        assert caught.value.reply == b""
    else:
        read = dns.message.from_wire(caught.value.reply)
        assert (read.id, int(read.rcode())) == (0x1234, int(rcode))
        assert read.flags & dns.flags.QR


@given(st.binary(max_size=600))
@example(HEADER + 130 * b"\x01a" + b"\0" + A_IN)
def test_any_bytes_are_a_query_or_refused(data: bytes) -> None:
    answer = answer_to(data)
    # Nothing is made larger by it: nobody can have others flooded.
    assert len(answer) <= max(len(data), 12)
    if answer:
        dns.message.from_wire(answer)


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=3), st.integers(0, 65535), st.binary(max_size=40))
def test_any_name_can_be_asked_for(labels: list[bytes], type: int, rest: bytes) -> None:
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    try:
        query = read_query(HEADER + name + type.to_bytes(2) + b"\0\x01" + rest)
    except QueryError:
        return
    assert not rest
    assert dns.message.from_wire(reply(query, RCode.NXDOMAIN)).question[0].rdtype == type


def query(**fields: object) -> Query:
    given = {"id": 7, "flags": 0x0100, "question": NAME + A_IN, "name": "db.mesh.internal", "type": 1} | fields
    return Query(**given)  # type: ignore[arg-type]


def test_an_answer_has_the_question_as_it_was_asked_and_its_records() -> None:
    records = [address_record("192.0.2.1", 5), address_record("fd00:db8::1", 5), pointer_record("db.mesh", 5)]
    read = dns.message.from_wire(reply(query(), RCode.NOERROR, records, flags=0x0400))
    assert read.question[0].to_text() == "Db.mesh.internal. IN A"
    assert [rrset.to_text() for rrset in read.answer] == [
        "Db.mesh.internal. 5 IN A 192.0.2.1",
        "Db.mesh.internal. 5 IN AAAA fd00:db8::1",
        "Db.mesh.internal. 5 IN PTR db.mesh.",
    ]
    assert read.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.AA
    assert read.edns == -1
    with_edns = dns.message.from_wire(reply(query(payload=4096), RCode.BADVERS, most=1232))
    assert (with_edns.rcode(), with_edns.edns, with_edns.payload) == (dns.rcode.BADVERS, 0, 1232)


@pytest.mark.parametrize(("payload", "most", "limit"), [(0, 4096, 512), (100, 4096, 512), (9000, 4096, 4096)])
def test_an_answer_over_udp_has_the_size_that_both_can_take(payload: int, most: int, limit: int) -> None:
    assert query(payload=payload).limit(most) == limit


@given(st.integers(0, 300), st.sampled_from((512, 1232, 4096, LARGEST)), st.booleans())
def test_an_answer_that_does_not_fit_says_so_and_has_no_half_of_it(count: int, limit: int, with_edns: bool) -> None:
    asked = query(payload=512 if with_edns else 0)
    data = reply(asked, RCode.NOERROR, count * [address_record("192.0.2.1", 1)], limit=limit)
    read = dns.message.from_wire(data)
    assert len(data) <= limit
    assert bool(read.flags & dns.flags.TC) is (12 + 22 + (11 if with_edns else 0) + 16 * count > limit)
    assert len(read.answer) == (0 if read.flags & dns.flags.TC or not count else 1)


def test_names_that_dns_does_not_have_are_not_written() -> None:
    assert write_name("") == b"\0"
    assert write_name("a.b") == b"\x01a\x01b\0"
    for name in ("a..b", 64 * "a", ".".join(5 * [60 * "a"]), "ä"):
        with pytest.raises(ValueError, match=r".+"):
            write_name(name)


def test_of_the_client_nothing_but_the_question_goes_to_others() -> None:
    sent = forwarded(query(flags=0x0110, payload=4096, wants_signatures=True), 99, 1232)
    read = dns.message.from_wire(sent)
    assert (read.id, read.flags) == (99, dns.flags.RD | dns.flags.AD | dns.flags.CD)
    assert read.question[0].to_text() == "Db.mesh.internal. IN A"
    assert (read.payload, bool(read.ednsflags & dns.flags.DO), read.options) == (1232, True, ())


def test_only_the_answer_to_what_was_sent_matches() -> None:
    sent = forwarded(query(), 99, 1232)
    good = bytearray(reply(query(id=99), RCode.NOERROR))
    assert matches(bytes(good), sent)
    # Letters may come back in another case; nothing else may be another.
    assert matches(bytes(good).replace(b"Db", b"dB"), sent)
    for place in (0, 1, 2, 5, 13, 15, len(good) - 1, len(good) - 3):
        other = bytearray(good)
        other[place] ^= 0x81
        assert not matches(bytes(other), sent), place
    assert not matches(bytes(good[:-1]), sent)
    assert not matches(b"", sent)

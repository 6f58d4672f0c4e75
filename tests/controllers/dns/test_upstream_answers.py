"""Of what other servers answer only what was asked for is taken, and anything may come."""

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.dns.cache import Answer
from nodespan.controllers.dns.queries import Query, read_query
from nodespan.controllers.dns.rebinding import Rebinding
from nodespan.controllers.dns.upstream_answers import AnswerError, checked
from tests.controllers.dns.servers import answer

RULES = Rebinding()


def asked(name: str = "www.example.org", type: str = "A", **options: object) -> tuple[Query, dns.message.QueryMessage]:
    question = dns.message.make_query(name, type, **options)  # type: ignore[arg-type]
    return read_query(question.to_wire()), question


def read(query: Query, found: Answer, left: float = 3.0) -> dns.message.Message:
    return dns.message.from_wire(found.render(query, left, limit=65535, most=4096))


def texts(message: dns.message.Message) -> list[str]:
    return [line for rrset in message.answer for line in rrset.to_text().splitlines()]


def test_the_records_of_the_name_and_of_its_aliases_are_taken_and_no_others() -> None:
    query, question = asked()
    message = answer(
        question,
        "www.example.org. 60 IN CNAME a.example.net.",
        "bank.example. 600 IN A 192.0.2.66",
        "a.example.net. 30 IN CNAME b.example.net.",
        "b.example.net. 90 IN A 93.184.215.14",
        "b.example.net. 90 IN AAAA 2606:2800::1",
    )
    message.authority.append(dns.rrset.from_text("example.net.", 60, "IN", "NS", "ns.bank.example."))
    message.additional.append(dns.rrset.from_text("bank.example.", 60, "IN", "A", "192.0.2.66"))
    found = checked(query, message.to_wire(), RULES, asked_inside=False)
    assert (found.ttl, found.counts, found.is_positive) == (30, (3, 0), True)
    assert texts(read(query, found)) == [
        "www.example.org. 3 IN CNAME a.example.net.",
        "a.example.net. 3 IN CNAME b.example.net.",
        "b.example.net. 3 IN A 93.184.215.14",
    ]
    # Who asks in other letters gets them back.
    louder, _ = asked("WWW.example.ORG", use_edns=0)
    assert texts(read(louder, found))[0].startswith("WWW.example.ORG. 3 IN CNAME")


def test_what_does_not_exist_does_not_exist_as_long_as_the_zone_says() -> None:
    query, question = asked()
    message = answer(question, rcode=3)
    soa = "ns.example.org. a.example.org. 1 2 3 4"
    message.authority.append(dns.rrset.from_text("example.org.", 600, "IN", "SOA", f"{soa} 8"))
    message.authority.append(dns.rrset.from_text("bank.example.", 600, "IN", "SOA", f"{soa} 5"))
    found = checked(query, message.to_wire(), RULES, asked_inside=False)
    assert (found.rcode, found.ttl, found.counts, found.is_positive) == (3, 8, (0, 1), False)
    assert read(query, found).authority[0].name.to_text() == "example.org."


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (("A 192.168.1.1",), []),
        (("A 192.168.1.1", "A 93.184.215.14"), ["93.184.215.14"]),
        (("A 127.0.0.1",), []),
        (("AAAA ::ffff:10.0.0.1",), []),
        (("HTTPS 1 . ipv4hint=10.0.0.1",), []),
        (("HTTPS 1 . ipv4hint=93.184.215.14",), ['1 . ipv4hint="93.184.215.14"']),
    ],
)
def test_addresses_inside_are_left_out_of_what_a_public_server_says(
    records: tuple[str, ...], expected: list[str]
) -> None:
    query, question = asked(type=records[0].partition(" ")[0])
    message = answer(question, *(f"www.example.org. 60 IN {record}" for record in records))
    found = read(query, checked(query, message.to_wire(), RULES, asked_inside=False))
    assert [rdata.to_text() for rrset in found.answer for rdata in rrset] == expected


def test_signatures_come_along_and_their_check_is_believed_over_tls_only() -> None:
    query, question = asked(want_dnssec=True)
    signature = "A 13 3 60 20300101000000 20200101000000 1 example.org. AAAA"
    message = answer(question, "www.example.org. 60 IN A 93.184.215.14", f"www.example.org. 60 IN RRSIG {signature}")
    message.flags |= dns.flags.AD
    data = message.to_wire()
    for trusted in (True, False):
        found = read(query, checked(query, data, RULES, asked_inside=False, is_trusted=trusted))
        assert len(found.answer) == 2
        assert bool(found.flags & dns.flags.AD) is trusted


@pytest.mark.parametrize(("rcode", "expected"), [(2, 2), (5, 5), (1, 2), (4, 2), (9, 2)])
def test_a_refusal_is_one(rcode: int, expected: int) -> None:
    query, question = asked()
    found = checked(query, answer(question, rcode=rcode).to_wire(), RULES, asked_inside=False)
    assert (found.rcode, found.counts) == (expected, (0, 0))


def test_aliases_that_go_round_are_no_answer() -> None:
    query, question = asked()
    around = answer(question, "www.example.org. 60 IN CNAME a.example.", "a.example. 60 IN CNAME www.example.org.")
    with pytest.raises(AnswerError):
        checked(query, around.to_wire(), RULES, asked_inside=False)
    with pytest.raises(AnswerError):
        checked(query, b"\0" * 12, RULES, asked_inside=False)


_SAMPLE = answer(
    asked(type="HTTPS", want_dnssec=True)[1],
    "www.example.org. 60 IN CNAME a.example.net.",
    "a.example.net. 30 IN HTTPS 1 . alpn=h2 ipv4hint=93.184.215.14 ipv6hint=2606:2800::1",
    "example.org. 30 IN DNAME example.net.",
).to_wire()


@given(st.lists(st.tuples(st.integers(0, len(_SAMPLE) - 1), st.integers(0, 255)), max_size=8), st.binary(max_size=40))
def test_any_answer_is_taken_or_refused(changes: list[tuple[int, int]], rest: bytes) -> None:
    query, _ = asked(type="HTTPS")
    data = bytearray(_SAMPLE + rest)
    for place, value in changes:
        data[place] = value
    try:
        found = checked(query, bytes(data), RULES, asked_inside=False)
    except AnswerError:
        return
    found.render(query, 1.0, limit=65535, most=4096)


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    query, _ = asked()
    try:
        checked(query, b"\0\0\x81\x80" + data, RULES, asked_inside=False)
    except AnswerError:
        return


def test_an_answer_of_many_classes_takes_work_that_grows_with_its_records_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query, question = asked("a0.example.org")
    message = answer(question, *(f"a{n}.example.org. 60 IN CNAME a{n + 1}.example.org." for n in range(15)))
    for number in range(900):
        message.answer.append(dns.rrset.from_text("example.org.", 60, f"CLASS{1000 + number}", "DNAME", "\\# 1 00"))
    message.answer.append(dns.rrset.from_text("example.org.", 60, "IN", "DNAME", "example.net."))
    data = message.to_wire()
    compared = 0

    def count(self: dns.rrset.RRset, other: object) -> bool:
        nonlocal compared
        compared += 1
        return self is other

    monkeypatch.setattr(dns.rrset.RRset, "__eq__", count)
    found = checked(query, data, RULES, asked_inside=False)
    assert compared <= 900
    assert found.counts == (16, 0)


def test_an_answer_of_too_many_records_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    query, question = asked()
    data = bytearray(answer(question).to_wire())
    data[6:12] = (500).to_bytes(2) + (400).to_bytes(2) + (101).to_bytes(2)
    monkeypatch.delattr(dns.message, "from_wire")
    with pytest.raises(AnswerError, match="more than 1000 records"):
        checked(query, bytes(data), RULES, asked_inside=False)

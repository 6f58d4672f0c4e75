"""The messages of PCP and NAT-PMP, and what is made of those that a hostile router sends."""

import contextlib
import struct
from ipaddress import IPv4Address

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.kubespan.mapping import nat_pmp, pcp
from nodespan.controllers.kubespan.mapping.mapping import (
    LONGEST,
    SHORTEST,
    Granted,
    MappingError,
    PortMapping,
    UnsupportedError,
    check_external,
    from_plain,
    to_plain,
)
from nodespan.resources.kubespan import MappingProtocol

NONCE = "00112233445566778899aabb"
BY_PCP = PortMapping(
    protocol=MappingProtocol.PCP,
    gateway="192.0.2.1",
    client="192.0.2.7",
    internal_port=51820,
    external_port=51820,
    nonce=NONCE,
)
BY_NAT_PMP = attrs.evolve(BY_PCP, protocol=MappingProtocol.NAT_PMP, nonce="")
HEAD = "02 81 00 {result} {lifetime} 00000007" + "00" * 12
BODY = NONCE + "11 000000 ca6c {port} " + "00" * 10 + "ffff 0b000001"


def pcp_answer(result: str = "00", lifetime: str = "00000258", port: str = "ca6c", body: str = BODY) -> bytes:
    return bytes.fromhex(HEAD.format(result=result, lifetime=lifetime) + body.format(port=port))


def test_a_request_of_pcp_is_what_the_standard_says() -> None:
    asked = "02 01 0000 00000258" + "00" * 10 + "ffff c0000207"
    mapped = NONCE + "11 000000 ca6c ca6c" + "00" * 10 + "ffff 00000000"
    assert pcp.request(BY_PCP, 600) == bytes.fromhex(asked + mapped)
    # Deleting names no external port.
    assert pcp.request(BY_PCP, 0) == bytes.fromhex(
        asked.replace("00000258", "00000000") + mapped.replace("ca6c ca6c", "ca6c 0000")
    )


def test_an_answer_of_pcp_says_where_the_mapping_is() -> None:
    granted = pcp.answer(pcp_answer(port="2710"), BY_PCP)
    assert granted is not None
    assert (granted.endpoint, granted.lifetime) == ("11.0.0.1:10000", 600)
    assert granted.mapping == attrs.evolve(BY_PCP, external_port=10000)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (pcp_answer(result="02"), "it does not allow it"),
        (pcp_answer(result="08"), "it has no room"),
        (pcp_answer(result="ff"), "code 255"),
    ],
)
def test_a_refusal_of_pcp_is_told_in_words(packet: bytes, expected: str) -> None:
    with pytest.raises(MappingError, match=expected):
        pcp.answer(packet, BY_PCP)


@pytest.mark.parametrize(
    "packet", [bytes.fromhex("0081 0001 00000007"), pcp_answer(result="01"), bytes.fromhex("03") + pcp_answer()[1:]]
)
def test_a_router_without_pcp_is_known_by_its_answer(packet: bytes) -> None:
    with pytest.raises(UnsupportedError):
        pcp.answer(packet, BY_PCP)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        pcp_answer()[:-1],
        pcp_answer(body="ff" + BODY[2:]),
        pcp_answer(body=BODY.replace("11 000000", "06 000000")),
        pcp_answer(body=BODY.replace("ca6c {port}", "ca6d {port}")),
        pcp.request(BY_PCP, 600),
    ],
    ids=["empty", "cut", "nonce", "protocol", "port", "request"],
)
def test_what_answers_another_question_is_no_answer(packet: bytes) -> None:
    assert pcp.answer(packet, BY_PCP) is None


def test_nat_pmp_asks_for_the_address_and_then_for_the_port() -> None:
    assert nat_pmp.request(BY_NAT_PMP, 600).hex(" ", 2) == "0001 0000 ca6c ca6c 0000 0258"
    assert nat_pmp.request(BY_NAT_PMP, 0).hex(" ", 2) == "0001 0000 ca6c 0000 0000 0000"
    assert nat_pmp.address_answer(bytes.fromhex("0080 0000 00000007 0b000001")) == IPv4Address("11.0.0.1")
    assert nat_pmp.answer(bytes.fromhex("0081 0000 00000007 ca6c 2710 00000258"), BY_NAT_PMP) == (10000, 600)
    for none in ("", "0080", "0080 0000 00000007 0b0000", "0081 0000 00000007 0b000001", "0280 0000 00000007 0b000001"):
        assert nat_pmp.address_answer(bytes.fromhex(none)) is None
    for none in ("0081 0000 00000007 ca6d 2710 00000258", "0081 0000 00000007 ca6c"):
        assert nat_pmp.answer(bytes.fromhex(none), BY_NAT_PMP) is None
    with pytest.raises(MappingError, match="its network is down"):
        nat_pmp.address_answer(bytes.fromhex("0080 0003 00000007 00000000"))
    with pytest.raises(UnsupportedError):
        nat_pmp.answer(bytes.fromhex("0081 0005 00000007"), BY_NAT_PMP)


@given(st.binary(max_size=80), st.sampled_from([b"\x02\x81\x00\x00", b"\x00\x81\x00\x00", b"\x00\x80\x00\x00", b""]))
def test_no_packet_does_more_than_be_refused(tail: bytes, head: bytes) -> None:
    for read in (
        lambda packet: pcp.answer(packet, BY_PCP),
        lambda packet: nat_pmp.answer(packet, BY_NAT_PMP),
        nat_pmp.address_answer,
    ):
        with contextlib.suppress(MappingError):
            read(head + tail)


@pytest.mark.parametrize(
    ("address", "port"), [("0.0.0.0", 1), ("127.0.0.1", 1), ("169.254.0.1", 1), ("224.0.0.1", 1), ("11.0.0.1", 0)]
)
def test_what_nobody_can_reach_is_no_mapping(address: str, port: int) -> None:
    with pytest.raises(MappingError, match="no address of a router"):
        check_external(IPv4Address(address), port)


@pytest.mark.parametrize(
    ("lifetime", "counted"), [(0, 600), (1, SHORTEST), (600, 600), (struct.unpack("!I", b"\xff" * 4)[0], LONGEST)]
)
def test_a_router_makes_nobody_ask_it_all_the_time_nor_never_again(lifetime: int, counted: int) -> None:
    assert Granted(mapping=BY_PCP, address=IPv4Address("11.0.0.1"), lifetime=lifetime).counted == counted


@pytest.mark.parametrize(
    ("address", "is_behind"), [("11.0.0.1", False), ("100.64.3.4", True), ("192.168.0.2", True), ("100.128.0.1", False)]
)
def test_a_router_that_is_behind_nat_itself_is_known_by_its_address(address: str, is_behind: bool) -> None:
    assert Granted(mapping=BY_PCP, address=IPv4Address(address)).is_behind_nat is is_behind


def test_a_mapping_is_recorded_as_it_is() -> None:
    assert from_plain(to_plain(BY_PCP)) == BY_PCP
    for key, value in (("protocol", "x"), ("client", 7), ("internal_port", "7"), ("external_port", True)):
        with pytest.raises(ValueError, match=key if key != "protocol" else "'x' is not a valid"):
            from_plain({**to_plain(BY_PCP), key: value})
    with pytest.raises(ValueError, match="no port mapping"):
        from_plain({})

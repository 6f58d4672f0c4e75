"""UDP in IPv4 by hand."""

import contextlib
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.dhcp.udp_datagram import Datagram, DatagramError, checksum, decode, encode

ADDRESSES = st.integers(0, 2**32 - 1).map(IPv4Address)
PORTS = st.integers(0, 65535)
DATAGRAMS = st.builds(
    Datagram,
    source=ADDRESSES,
    destination=ADDRESSES,
    source_port=PORTS,
    destination_port=PORTS,
    payload=st.binary(max_size=600),
)
PACKET = encode(
    Datagram(
        source=IPv4Address("192.0.2.1"),
        destination=IPv4Address("192.0.2.7"),
        source_port=67,
        destination_port=68,
        payload=b"hello",
    )
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # The example of RFC 1071, a header with its sum in it, and an odd number of bytes.
        ("0001f203f4f5f6f7", 0x220D),
        ("45000073000040004011b861c0a80001c0a800c7", 0),
        ("01", 0xFEFF),
    ],
)
def test_sums_are_those_of_the_rfc(data: str, expected: int) -> None:
    assert checksum(bytes.fromhex(data)) == expected


@given(DATAGRAMS)
def test_every_datagram_survives_the_link(datagram: Datagram) -> None:
    assert decode(encode(datagram)) == datagram
    # What a network card pads with does not count.
    assert decode(encode(datagram) + bytes(20)) == datagram


@given(st.integers(0, len(PACKET) - 1), st.integers(1, 255))
def test_a_damaged_datagram_is_noticed(at: int, flip: int) -> None:
    data = bytearray(PACKET)
    data[at] ^= flip
    with contextlib.suppress(DatagramError):
        # A sum cannot notice that the checksum itself was turned off.
        assert PACKET[26:28] != data[26:28] == b"\0\0" or decode(bytes(data)).payload == b"hello"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "cut off"),
        (PACKET[:30], "no whole IPv4 packet"),
        (b"\x60" + PACKET[1:], "no whole IPv4 packet"),
        (b"\x44" + PACKET[1:], "no whole IPv4 packet"),
        (PACKET[:9] + b"\x06" + PACKET[10:], "not UDP"),
        (PACKET[:6] + b"\x20\0" + PACKET[8:], "a fragment"),
        (PACKET[:6] + b"\0\1" + PACKET[8:], "a fragment"),
        (PACKET[:8] + b"\x01" + PACKET[9:], "header is damaged"),
        (PACKET[:-1] + b"x", "datagram is damaged"),
    ],
)
def test_what_is_wrong_is_said(packet: bytes, reason: str) -> None:
    with pytest.raises(DatagramError, match=reason):
        decode(packet)


def test_a_datagram_whose_sum_was_left_to_the_card_is_taken() -> None:
    unsummed = PACKET[:26] + b"\x12\x34" + PACKET[28:]
    assert decode(unsummed, is_summed=False).payload == b"hello"
    with pytest.raises(DatagramError):
        decode(unsummed)


@given(st.binary(max_size=80))
def test_random_bytes_are_not_a_datagram(data: bytes) -> None:
    with contextlib.suppress(DatagramError):
        decode(data)

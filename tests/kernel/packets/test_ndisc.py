"""The frames in which neighbours are told of an IPv6 address and asked for it, and what is heard in their messages."""

import socket

import pytest

from nodespan.kernel.packets.ndisc import announcement, checksum, claimant, probe_frame

MAC, OTHER = bytes.fromhex("020000000007"), bytes.fromhex("020000000009")
ADDRESS = socket.inet_pton(socket.AF_INET6, "2001:db8::10:abcd")
_ICMPV6_AT = 14 + 40


def adds_up(frame: bytes) -> bool:
    """Whether the checksum over pseudo header and message, its own included, is right."""
    message = frame[_ICMPV6_AT:]
    return checksum(frame[22:54] + len(message).to_bytes(4, "big") + (58).to_bytes(4, "big") + message) == 0


def test_an_announcement_goes_to_all_nodes_and_overrides() -> None:
    frame = announcement(ADDRESS, MAC)
    assert frame[:14].hex() == "33330000000102000000000786dd"
    assert frame[14:22].hex() == "6000000000203aff"
    assert frame[22:38] == ADDRESS
    assert frame[38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1")
    assert (frame[54], frame[58:62].hex()) == (136, "20000000")
    assert frame[62:78] == ADDRESS
    assert frame[78:].hex() == "0201020000000007"
    assert adds_up(frame)


def test_a_probe_has_no_sender_address() -> None:
    frame = probe_frame(ADDRESS, MAC)
    assert frame[:14].hex() == "3333ff10abcd02000000000786dd"
    assert frame[14:22].hex() == "6000000000183aff"
    assert frame[22:38] == bytes(16)
    assert frame[38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1:ff10:abcd")
    assert frame[54] == 135
    assert frame[62:] == ADDRESS
    assert adds_up(frame)


ADVERTISED = announcement(ADDRESS, OTHER)[_ICMPV6_AT:]


@pytest.mark.parametrize(
    ("message", "who"),
    [
        (ADVERTISED, OTHER),
        (ADVERTISED[:24], b""),
        # Another option before it.
        (ADVERTISED[:24] + bytes.fromhex("0e01000000000000") + ADVERTISED[24:], OTHER),
        # An option without a length would never come to an end.
        (ADVERTISED[:24] + bytes(8), b""),
        (probe_frame(ADDRESS, OTHER)[_ICMPV6_AT:], None),
        (announcement(ADDRESS[:-1] + b"!", OTHER)[_ICMPV6_AT:], None),
        (b"", None),
    ],
)
def test_claims_of_an_address_are_recognized(message: bytes, who: bytes | None) -> None:
    assert claimant(message, ADDRESS) == who

"""Reading the kernel's messages."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.kernel.links import read_link
from nodespan.kernel.rtnetlink import (
    bytes_of,
    c_text,
    inside,
    integer,
    ip_address,
    ip_prefix,
    members,
    parse,
    text,
    zero_terminated,
)

LINK = struct.pack("=BxHiII", 0, 32, 7, 1, 0)


def message(type: int, body: bytes) -> bytes:
    whole = struct.pack("=IHHII", 16 + len(body), type, 0, 0, 0) + body
    return whole.ljust((len(whole) + 3) & ~3, b"\0")


def attribute(number: int, value: bytes) -> bytes:
    whole = struct.pack("=HH", 4 + len(value), number) + value
    return whole.ljust((len(whole) + 3) & ~3, b"\0")


def test_a_datagram_may_hold_many_messages_and_foreign_ones() -> None:
    data = message(16, LINK + attribute(3, b"eth0\0")) + message(100, b"chain") + message(17, LINK)
    assert [(each.type, each.fields[2], text(each.attributes, 3)) for each in parse(data)] == [
        (16, 7, "eth0"),
        (17, 7, ""),
    ]


def test_a_datagram_that_ends_too_early_ends_the_reading() -> None:
    assert list(parse(b"")) == []
    assert list(parse(b"\0" * 64)) == []
    assert list(members(b"\0\0\0\0")) == []


def test_flag_bits_in_the_type_of_an_attribute_are_ignored() -> None:
    nested = attribute(18 | 0x8000, attribute(1, b"veth\0"))
    (found,) = parse(message(16, LINK + nested))
    assert text(inside(found.attributes, 18), 1) == "veth"


def test_numbers_have_any_size() -> None:
    sizes = {
        1: struct.pack("=B", 7),
        2: struct.pack("=H", 700),
        3: struct.pack("=I", 70000),
        4: struct.pack("=Q", 2**40),
    }
    assert [integer(sizes, number) for number in (1, 2, 3, 4, 5)] == [7, 700, 70000, 2**40, 0]


def test_the_size_of_an_address_gives_its_family() -> None:
    assert ip_address(b"") == ""
    assert ip_address(bytes([192, 0, 2, 1])) == "192.0.2.1"
    assert ip_address(bytes(15) + b"\1") == "::1"
    assert ip_prefix(bytes([192, 0, 2, 0]), 24) == "192.0.2.0/24"
    assert ip_prefix(bytes(4), 0) == ""


def test_hardware_addresses_have_any_length() -> None:
    infiniband = bytes(range(20))
    (found,) = parse(message(16, LINK + attribute(1, infiniband) + attribute(2, bytes([192, 0, 2, 1]))))
    status = read_link(found).status
    assert status.hardware_addr == infiniband.hex(":")
    assert status.broadcast_addr == "c0:00:02:01"
    assert status.type == "infiniband"


NAMES = [
    b"eth0",
    b"caf\xc3\xa9",
    b"\xff",
    b"\xfe",
    b"\\xff",
    b"\\x5cxff",
    b"a\x1b[2J",
    b"a\\b",
    b"\xef\xbf\xbd",
    b"\\xFF",
    b"\xc3",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_text_is_shown_escaped_and_found_again(name: bytes) -> None:
    shown = c_text(name + b"\0rest")
    assert shown.isprintable()
    assert shown.encode()
    assert bytes_of(shown) == name
    assert zero_terminated(3, shown)[4:].rstrip(b"\0") == name


def test_names_that_differ_are_shown_differently() -> None:
    assert len({c_text(name) for name in NAMES}) == len(NAMES)
    assert [c_text(name) for name in NAMES[:3]] == ["eth0", "caf\u00e9", "\\xff"]


@given(st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"")))
def test_every_name_survives(name: bytes) -> None:
    assert bytes_of(c_text(name)) == name

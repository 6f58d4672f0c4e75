"""Which links the announcements of drivers are about."""

import struct

from nodespan.kernel.hardware.ethtool_news import open_driver_news, read_indexes
from nodespan.kernel.rtnetlink import nest, number8, number32, zero_terminated


def message(*attributes: bytes) -> bytes:
    body = struct.pack("=BBxx", 4, 1) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), 0x15, 0, 0, 0) + body


def device(index: int, name: str) -> bytes:
    return nest(1, number32(1, index), zero_terminated(2, name))


def test_a_datagram_may_be_about_several_links() -> None:
    data = message(device(3, "eth0"), number8(2, 1)) + message(device(70000, "eth1"))
    assert list(read_indexes(data)) == [3, 70000]


def test_a_message_without_a_link_yields_none() -> None:
    assert list(read_indexes(message(number8(2, 1)))) == []
    assert list(read_indexes(b"")) == []


def test_listening_needs_no_privileges() -> None:
    with open_driver_news(None):
        pass

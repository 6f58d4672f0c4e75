"""DHCPv4 messages on the wire: those of a real exchange, the corner cases of the RFCs, and random bytes."""

import contextlib
from ipaddress import IPv4Address

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message4 import Code, Message4, MessageType, decode, encode
from tests.controllers.network.dhcp import packets

FIXED = 240
ADDRESSES = st.integers(0, 2**32 - 1).map(IPv4Address)
MESSAGES = st.builds(
    Message4,
    type=st.sampled_from(MessageType),
    xid=st.integers(0, 2**32 - 1),
    is_reply=st.booleans(),
    is_broadcast=st.booleans(),
    seconds=st.integers(0, 2**16 - 1),
    client_address=ADDRESSES,
    your_address=ADDRESSES,
    next_server=ADDRESSES,
    relay=ADDRESSES,
    hardware_type=st.integers(0, 255),
    hardware_address=st.binary(max_size=16),
    options=st.dictionaries(
        st.integers(1, 254).filter(lambda code: code not in (Code.OVERLOAD, Code.MESSAGE_TYPE)),
        st.binary(max_size=600),
        max_size=5,
    ).map(lambda options: tuple(options.items())),
)


@pytest.mark.parametrize(
    ("packet", "type", "is_reply"),
    [
        (packets.DISCOVER4, MessageType.DISCOVER, False),
        (packets.OFFER4, MessageType.OFFER, True),
        (packets.REQUEST4, MessageType.REQUEST, False),
        (packets.ACK4, MessageType.ACK, True),
    ],
)
def test_real_messages_are_understood(packet: bytes, type: MessageType, is_reply: bool) -> None:
    message = decode(packet)
    assert (message.type, message.is_reply, message.xid) == (type, is_reply, 0x52E6B438)
    assert message.hardware_address == bytes.fromhex("020000000007")
    assert decode(encode(message)) == message


def test_an_acknowledgement_has_the_lease() -> None:
    message = decode(packets.ACK4)
    assert message.your_address == IPv4Address("192.0.2.57")
    assert message.option(Code.SERVER_ID) == IPv4Address("192.0.2.1").packed
    assert message.option(Code.REQUESTED_ADDRESS) is None


@pytest.mark.parametrize("packet", [packets.DISCOVER4, packets.REQUEST4])
def test_what_this_client_sent_is_what_it_sends(packet: bytes) -> None:
    assert encode(decode(packet)) == packet


@given(MESSAGES)
def test_every_message_survives_the_wire(message: Message4) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=400) | st.binary(max_size=100).map(lambda end: packets.ACK4[:FIXED] + end))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        decode(data)


@given(st.integers(0, len(packets.ACK4) - 1), st.integers(0, 255))
def test_a_damaged_message_is_malformed_or_another_one(at: int, value: int) -> None:
    data = bytearray(packets.ACK4)
    data[at] = value
    with contextlib.suppress(MalformedError):
        decode(bytes(data))


def test_long_options_go_in_pieces() -> None:
    message = attrs.evolve(decode(packets.OFFER4), options=((Code.SEARCH_DOMAINS, bytes(range(256)) * 2),))
    data = encode(message)
    assert data.count(bytes([Code.SEARCH_DOMAINS, 255])) == 2
    assert decode(data).option(Code.SEARCH_DOMAINS) == bytes(range(256)) * 2


def test_options_go_on_in_the_fields_for_file_and_name() -> None:
    data = bytearray(packets.OFFER4[:FIXED]) + bytes([53, 1, 2, 52, 1, 3, 255])
    data[108:115] = bytes([1, 4, 255, 255, 0, 0, 255])
    data[44:51] = bytes([3, 4, 192, 0, 2, 1, 255])
    message = decode(bytes(data))
    assert message.option(Code.SUBNET_MASK) == bytes([255, 255, 0, 0])
    assert message.option(Code.ROUTERS) == bytes([192, 0, 2, 1])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes is too short"),
        (packets.OFFER4[:239], "too short"),
        (b"\x03" + packets.OFFER4[1:], "neither request nor reply"),
        (packets.OFFER4[:2] + b"\x11" + packets.OFFER4[3:], "a hardware address of 17 bytes"),
        (packets.OFFER4[:236] + bytes(4), "without DHCP options"),
        (packets.OFFER4[:FIXED], "the unknown type none"),
        (packets.OFFER4[:FIXED] + bytes([53, 1, 99, 255]), "the unknown type 63"),
        (packets.OFFER4[:FIXED] + bytes([53, 1, 2, 1, 4, 255]), "option 1 is cut off"),
        (packets.OFFER4[:FIXED] + bytes([53, 1, 2, 1]), "option 1 is cut off"),
        (packets.OFFER4[:FIXED] + bytes([53, 1, 2, 52, 2, 1, 1]), "overload"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        decode(data)

"""DHCPv6 messages on the wire, and what a reply means."""

import contextlib
import math
import struct
from ipaddress import IPv6Address

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.dhcp.lease6 import lease_of
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message6 import (
    Association,
    Code,
    LeasedAddress6,
    Message6,
    MessageType,
    Status,
    decode,
    encode,
    encode_association,
    parse_association,
    parse_status,
)
from tests.controllers.network.dhcp import packets

REPLY = decode(packets.REPLY6)
IAID = 7
MESSAGES = st.builds(
    Message6,
    type=st.sampled_from(MessageType),
    xid=st.integers(0, 2**24 - 1),
    options=st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=40)), max_size=5).map(tuple),
)
ASSOCIATIONS = st.builds(
    Association,
    iaid=st.integers(0, 2**32 - 1),
    renew=st.integers(0, 2**32 - 1),
    rebind=st.integers(0, 2**32 - 1),
    addresses=st.lists(
        st.builds(
            LeasedAddress6,
            address=st.integers(0, 2**128 - 1).map(IPv6Address),
            preferred=st.integers(0, 2**32 - 1),
            valid=st.integers(0, 2**32 - 1),
        ),
        max_size=3,
    ).map(tuple),
)


def reply(*addresses: tuple[str, int, int], renew: int = 0, rebind: int = 0, **options: bytes) -> Message6:
    lent = tuple(LeasedAddress6(address=IPv6Address(text), preferred=p, valid=v) for text, p, v in addresses)
    association = Association(iaid=IAID, renew=renew, rebind=rebind, addresses=lent)
    named = {"SERVER_ID": b"\0\3server", "IA_NA": encode_association(association), **options}
    return Message6(
        type=MessageType.REPLY, xid=1, options=tuple((int(Code[name]), data) for name, data in named.items())
    )


@pytest.mark.parametrize(
    ("packet", "type"),
    [
        (packets.SOLICIT6, MessageType.SOLICIT),
        (packets.ADVERTISE6, MessageType.ADVERTISE),
        (packets.REQUEST6, MessageType.REQUEST),
        (packets.REPLY6, MessageType.REPLY),
    ],
)
def test_real_messages_are_understood(packet: bytes, type: MessageType) -> None:
    message = decode(packet)
    assert message.type == type
    assert encode(message) == packet


@given(MESSAGES)
def test_every_message_survives_the_wire(message: Message6) -> None:
    assert decode(encode(message)) == message


@given(ASSOCIATIONS)
def test_every_association_survives_the_wire(association: Association) -> None:
    assert parse_association(encode_association(association)) == association


@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda end: packets.REPLY6[:30] + end))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        lease_of(decode(data), IAID, 0.0)


@given(st.integers(0, len(packets.REPLY6) - 1), st.integers(0, 255))
def test_a_damaged_reply_is_malformed_or_another_one(at: int, value: int) -> None:
    data = bytearray(packets.REPLY6)
    data[at] = value
    with contextlib.suppress(MalformedError):
        lease_of(decode(bytes(data)), IAID, 0.0)


@pytest.mark.parametrize("data", [b"", b"\1\0\0", b"\0abc", b"\x63abc", b"\7abc\0", b"\7abc\0\1\0", b"\7abc\0\1\0\2a"])
def test_what_is_cut_off_or_unknown_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(data)


@pytest.mark.parametrize("data", [bytes(11), bytes(12) + b"\0\x0d\0\1a", bytes(13)])
def test_associations_that_are_cut_off_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_association(data)


def test_a_missing_status_is_success() -> None:
    assert parse_status(()) == Status.SUCCESS
    assert parse_status(((Code.STATUS, b"\0\3no such lease"),)) == Status.NO_BINDING


def test_all_fields_of_a_real_reply_are_read() -> None:
    lease = lease_of(REPLY, IAID, 1000.0)
    assert (lease.renew_at, lease.rebind_at, lease.expires_at) == (1060.0, 1105.0, 1120.0)
    assert [(each.address, each.valid_until) for each in lease.addresses] == [("2001:db8::5d/128", 1120.0)]
    assert (lease.name_servers, lease.search_domains) == (("2001:db8::53",), ("example.org",))
    assert lease.time_servers == ("2001:db8::123",)
    assert lease_of(decode(lease.message), IAID, 1000.0) == lease


@pytest.mark.parametrize(
    ("renew", "rebind", "lifetimes", "expected"),
    [
        (60, 105, (100, 120), (60, 105, 120)),
        (0, 0, (100, 120), (50, 80, 120)),
        (0, 0, (0, 120), (60, 96, 120)),
        (60, 0, (100, 120), (60, 80, 120)),
        (110, 0, (100, 120), (110, 110, 120)),
        (2, 3, (100, 120), (5, 5, 120)),
        (0xFFFFFFFF, 0xFFFFFFFF, (0xFFFFFFFF, 0xFFFFFFFF), (math.inf, math.inf, math.inf)),
    ],
)
def test_renewing_is_due_at_the_servers_time_or_by_the_lifetimes(
    renew: int, rebind: int, lifetimes: tuple[int, int], expected: tuple[float, float, float]
) -> None:
    lease = lease_of(reply(("2001:db8::7", *lifetimes), renew=renew, rebind=rebind), IAID, 0.0)
    assert (lease.renew_at, lease.rebind_at, lease.expires_at) == expected


def test_the_address_that_ends_first_ends_the_lease() -> None:
    lease = lease_of(reply(("2001:db8::7", 50, 100), ("2001:db8::8", 50, 200)), IAID, 0.0)
    assert [(each.address, each.valid_until) for each in lease.addresses] == [
        ("2001:db8::7/128", 100.0),
        ("2001:db8::8/128", 200.0),
    ]
    assert lease.expires_at == 100.0


@pytest.mark.parametrize(
    "message",
    [
        reply(),
        reply(("2001:db8::7", 100, 0)),
        reply(("2001:db8::7", 200, 100)),
        *(reply((address, 100, 100)) for address in ("::", "::1", "fe80::1", "ff02::1")),
        reply(("2001:db8::7", 100, 100), renew=60, rebind=50),
        attrs.evolve(REPLY, options=()),
        attrs.evolve(REPLY, options=tuple(option for option in REPLY.options if option[0] != Code.SERVER_ID)),
    ],
)
def test_what_a_lease_cannot_do_without_makes_it_malformed(message: Message6) -> None:
    with pytest.raises(MalformedError):
        lease_of(message, IAID, 0.0)


def test_anothers_association_is_not_ours() -> None:
    with pytest.raises(MalformedError, match="without an address"):
        lease_of(REPLY, IAID + 1, 0.0)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\0\5node7\7example\3org\0", ("node7", "example.org")),
        (b"\0\5node7\0", ("node7", "")),
        (b"\0", ("", "")),
        (b"\0\5no", ("", "")),
    ],
)
def test_a_name_may_come_with_its_domain(data: bytes, expected: tuple[str, str]) -> None:
    lease = lease_of(reply(("2001:db8::7", 1, 1), HOST_NAME=data), IAID, 0.0)
    assert (lease.hostname, lease.domain_name) == expected


def test_time_servers_come_in_two_ways() -> None:
    address = IPv6Address("2001:db8::123").packed
    both = struct.pack("!HH", 1, 16) + address + struct.pack("!HH", 3, 5) + b"\3ntp\0"
    new = lease_of(reply(("2001:db8::7", 1, 1), TIME_SERVERS=both, SIMPLE_TIME_SERVERS=address), IAID, 0.0)
    old = lease_of(reply(("2001:db8::7", 1, 1), SIMPLE_TIME_SERVERS=address), IAID, 0.0)
    assert (new.time_servers, old.time_servers) == (("2001:db8::123", "ntp"), ("2001:db8::123",))


def test_an_address_that_is_cut_off_does_not_drop_the_others() -> None:
    whole = Association(iaid=7, addresses=(LeasedAddress6(address=IPv6Address("2001:db8::7"), preferred=1, valid=2),))
    found = parse_association(encode_association(whole) + b"\0\5\0\1a")
    assert found == attrs.evolve(whole, errors=("an address of 1 bytes is cut off",))

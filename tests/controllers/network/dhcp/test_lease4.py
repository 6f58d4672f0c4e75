"""What a DHCPv4 answer means: lifetimes, prefix, routes, and what is left out of it."""

import contextlib
import math
import struct
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.dhcp.lease import LeasedRoute
from nodespan.controllers.network.dhcp.lease4 import lease_of, parse_routes
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message4 import Code, Message4, MessageType, decode
from tests.controllers.network.dhcp import packets

ACK = decode(packets.ACK4)


def answer(your: str = "192.0.2.57", /, **changes: bytes | None) -> Message4:
    """An acknowledgement of an hour, with options by name; None leaves one out."""
    options: dict[str, bytes | None] = {
        "SERVER_ID": bytes([192, 0, 2, 1]),
        "LEASE_TIME": number(3600),
        "SUBNET_MASK": bytes([255, 255, 255, 0]),
        **changes,
    }
    given_ones = tuple((int(Code[name]), data) for name, data in options.items() if data is not None)
    return attrs.evolve(ACK, your_address=IPv4Address(your), options=given_ones)


def number(value: int) -> bytes:
    return struct.pack("!I", value)


def test_all_fields_of_a_real_answer_are_read() -> None:
    lease = lease_of(ACK, 1000.0)
    assert (lease.server, lease.obtained) == ("192.0.2.1", 1000.0)
    assert (lease.renew_at, lease.rebind_at, lease.expires_at) == (1060.0, 1105.0, 1120.0)
    assert [(each.address, each.valid_until) for each in lease.addresses] == [("192.0.2.57/24", 1120.0)]
    assert lease.routes == (
        LeasedRoute(destination="198.51.100.0/24", gateway="192.0.2.1"),
        LeasedRoute(destination="", gateway="192.0.2.254"),
    )
    assert (lease.mtu, lease.hostname, lease.domain_name) == (1400, "node7", "example.org")
    assert lease.name_servers == ("192.0.2.53", "198.51.100.53")
    assert (lease.search_domains, lease.time_servers) == (("one.example", "two.example"), ("192.0.2.123",))


def test_a_lease_can_be_read_again_from_its_message() -> None:
    lease = lease_of(ACK, 1000.0)
    assert lease_of(decode(lease.message), 1000.0) == lease


@pytest.mark.parametrize(
    ("seconds", "renewal", "rebinding", "expected"),
    [
        (3600, None, None, (1800, 3150, 3600)),
        (3600, 600, 1200, (600, 1200, 3600)),
        (3600, 1200, 600, (1800, 3150, 3600)),
        (3600, 1200, 3600, (1800, 3150, 3600)),
        (3600, 0, 1200, (1800, 3150, 3600)),
        (10, None, None, (5, 8.75, 10)),
        (8, None, None, (5, 7, 8)),
        (3600, 1, 2, (5, 5, 3600)),
        (0xFFFFFFFF, 600, 1200, (math.inf, math.inf, math.inf)),
    ],
)
def test_renewing_is_due_at_the_servers_time_or_at_half(
    seconds: int, renewal: int | None, rebinding: int | None, expected: tuple[float, float, float]
) -> None:
    lease = lease_of(
        answer(
            LEASE_TIME=number(seconds),
            RENEWAL_TIME=None if renewal is None else number(renewal),
            REBINDING_TIME=None if rebinding is None else number(rebinding),
        ),
        0.0,
    )
    assert (lease.renew_at, lease.rebind_at, lease.expires_at) == expected


@pytest.mark.parametrize(
    ("address", "mask", "expected"),
    [
        ("10.1.2.3", "255.255.255.128", "10.1.2.3/25"),
        ("10.1.2.3", "255.255.255.255", "10.1.2.3/32"),
        ("10.1.2.3", None, "10.1.2.3/8"),
        ("172.16.2.3", None, "172.16.2.3/16"),
        ("192.0.2.3", None, "192.0.2.3/24"),
        ("192.0.2.3", "255.0.255.0", "192.0.2.3/24"),
        ("192.0.2.3", "0.0.0.0", "192.0.2.3/24"),
    ],
)
def test_the_prefix_is_the_masks_or_else_that_of_the_class(address: str, mask: str | None, expected: str) -> None:
    message = answer(address, SUBNET_MASK=None if mask is None else IPv4Address(mask).packed)
    assert lease_of(message, 0.0).addresses[0].address == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", []),
        ("00c0000201", [("", "192.0.2.1")]),
        ("18c63364c0000201", [("198.51.100.0/24", "192.0.2.1")]),
        ("0fc6ffc0000201", [("198.254.0.0/15", "192.0.2.1")]),  # what is beyond the prefix does not count
        ("20c6336407c0000201", [("198.51.100.7/32", "192.0.2.1")]),
        ("18c6336400000000", [("198.51.100.0/24", "")]),
        ("00c000020100c0000202", [("", "192.0.2.1")]),  # the first of two for the same
    ],
)
def test_classless_routes_are_read(data: str, expected: list[tuple[str, str]]) -> None:
    assert [(each.destination, each.gateway) for each in parse_routes(bytes.fromhex(data)).valid] == expected


@pytest.mark.parametrize("data", ["21c0000201c0000201c0000201", "18c63364c00002", "00", "18"])
def test_routes_that_are_cut_off_are_left_out_and_named(data: str) -> None:
    found = parse_routes(bytes.fromhex(data))
    assert found.valid == ()
    assert len(found.errors) == 1


ROUTER = bytes([192, 0, 2, 254])
CLASSLESS = bytes.fromhex("18c63364c0000201")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"ROUTERS": ROUTER}, [("", "192.0.2.254")]),
        ({"ROUTERS": ROUTER + bytes([192, 0, 2, 253])}, [("", "192.0.2.254")]),
        ({"ROUTERS": bytes(4)}, []),
        ({"ROUTERS": ROUTER, "CLASSLESS_ROUTES": CLASSLESS}, [("198.51.100.0/24", "192.0.2.1")]),
        ({"ROUTERS": ROUTER, "CLASSLESS_ROUTES": b"\x18"}, [("", "192.0.2.254")]),
    ],
)
def test_classless_routes_suppress_the_routers(options: dict[str, bytes], expected: list[tuple[str, str]]) -> None:
    assert [(each.destination, each.gateway) for each in lease_of(answer(**options), 0.0).routes] == expected


@pytest.mark.parametrize(
    ("option", "data"),
    [
        ("MTU", bytes([0, 67])),
        ("MTU", bytes([5])),
        ("HOST_NAME", b"bad name"),
        ("DOMAIN_NAME", b"example.org\nnameserver 203.0.113.6"),
        ("NAME_SERVERS", bytes(5)),
        ("SEARCH_DOMAINS", b"\3on"),
        ("TIME_SERVERS", b""),
        ("SUBNET_MASK", bytes(3)),
        ("RENEWAL_TIME", bytes(3)),
    ],
)
def test_an_invalid_option_is_left_out_and_named(option: str, data: bytes) -> None:
    with_it, without = (answer(**changes) for changes in ({option: data}, {option: None}))
    found = lease_of(with_it, 0.0)
    assert attrs.evolve(found, message=b"", ignored=()) == attrs.evolve(lease_of(without, 0.0), message=b"")
    assert [text.partition(":")[0] for text in found.ignored] == [f"option {Code[option].value} ({option})"]


ONE, TWO = b"\3one\7example\0", b"\3two\7example\0"


@pytest.mark.parametrize(
    ("option", "data", "field", "expected"),
    [
        ("SEARCH_DOMAINS", ONE + b"\5a b c\0" + TWO, "search_domains", ("one.example", "two.example")),
        ("SEARCH_DOMAINS", ONE + b"\3tw", "search_domains", ("one.example",)),
        (
            "NAME_SERVERS",
            bytes([192, 0, 2, 53, 224, 0, 0, 1, 192, 0, 2, 54]),
            "name_servers",
            ("192.0.2.53", "192.0.2.54"),
        ),
        ("NAME_SERVERS", bytes([192, 0, 2, 53, 192]), "name_servers", ("192.0.2.53",)),
        ("TIME_SERVERS", bytes([192, 0, 2, 123, 255, 255, 255, 255]), "time_servers", ("192.0.2.123",)),
        (
            "CLASSLESS_ROUTES",
            bytes.fromhex("18c63364c0000201 21"),
            "routes",
            (LeasedRoute(destination="198.51.100.0/24", gateway="192.0.2.1"),),
        ),
        (
            "CLASSLESS_ROUTES",
            bytes.fromhex("04e0c0000201 18c63364c0000201"),
            "routes",
            (LeasedRoute(destination="198.51.100.0/24", gateway="192.0.2.1"),),
        ),
        ("ROUTERS", bytes([192, 0, 2, 254, 1]), "routes", (LeasedRoute(destination="", gateway="192.0.2.254"),)),
    ],
)
def test_an_invalid_item_is_named_and_the_others_apply(
    option: str, data: bytes, field: str, expected: tuple[object, ...]
) -> None:
    lease = lease_of(answer(**{option: data}), 0.0)
    assert getattr(lease, field) == expected
    assert [text.partition(":")[0] for text in lease.ignored] == [f"option {Code[option].value} ({option})"]
    assert lease_of(decode(lease.message), 0.0) == lease


@pytest.mark.parametrize(
    ("data", "domain", "searched"),
    [
        (b"example.org", "example.org", ()),
        (b"example.org corp.example", "example.org", ("example.org", "corp.example")),
        (b"example.org a;b", "", ()),
    ],
)
def test_several_domains_in_the_option_for_one_are_searched(
    data: bytes, domain: str, searched: tuple[str, ...]
) -> None:
    lease = lease_of(answer(DOMAIN_NAME=data), 0.0)
    assert (lease.domain_name, lease.search_domains) == (domain, searched)
    assert lease_of(answer(DOMAIN_NAME=data, SEARCH_DOMAINS=TWO), 0.0).search_domains == ("two.example",)


@pytest.mark.parametrize("seconds", [1, 3, 7])
def test_a_lease_too_short_to_be_renewed_counts_as_one_of_eight_seconds(seconds: int) -> None:
    lease = lease_of(answer(LEASE_TIME=number(seconds)), 0.0)
    assert (lease.renew_at, lease.rebind_at, lease.expires_at) == (5, 7, 8)
    assert lease.ignored == (f"option 51 (LEASE_TIME): {seconds} s are too short to renew the lease: 8 s are assumed",)


def test_a_lease_without_a_time_is_one_of_an_hour() -> None:
    lease = lease_of(answer(LEASE_TIME=None), 0.0)
    assert (lease.renew_at, lease.expires_at, lease.addresses[0].valid_until) == (1800, 3600, 3600)
    assert lease.ignored == ("option 51 (LEASE_TIME): the server gives none: 3600 s are assumed",)


def test_times_that_do_not_fit_the_lease_are_named() -> None:
    lease = lease_of(answer(RENEWAL_TIME=number(1200), REBINDING_TIME=number(600)), 0.0)
    assert lease.ignored == ("option 58 (RENEWAL_TIME): 1200 s and 600 s do not fit a lease of 3600 s",)


@pytest.mark.parametrize(
    "message",
    [
        answer(SERVER_ID=None),
        answer(SERVER_ID=bytes(3)),
        answer(LEASE_TIME=number(0)),
        answer(LEASE_TIME=bytes(3)),
        *(answer(your) for your in ("0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255")),
    ],
)
def test_what_a_lease_cannot_do_without_makes_it_malformed(message: Message4) -> None:
    with pytest.raises(MalformedError):
        lease_of(message, 0.0)


@given(st.lists(st.tuples(st.sampled_from(Code), st.binary(max_size=40)), max_size=6))
def test_random_options_are_malformed_or_left_out(options: list[Any]) -> None:
    message = attrs.evolve(ACK, type=MessageType.ACK, options=tuple(dict(options).items()))
    with contextlib.suppress(MalformedError):
        lease_of(message, 0.0)

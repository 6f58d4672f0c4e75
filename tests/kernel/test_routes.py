"""What messages about routes mean."""

import socket
import struct
from typing import Any

import pytest

from nodespan.kernel.mirror import Effect
from nodespan.kernel.routes import KernelRoute, RouteKey, Routes, key_of, read_route, with_names
from nodespan.kernel.rtnetlink import body_of
from nodespan.kernel.socket_filter import attach
from nodespan.resources.network import (
    Family,
    NextHop,
    RouteProtocol,
    RouteStatusSpec,
    RouteType,
    RoutingTable,
    Scope,
)
from tests.kernel.messages import address, link, nest, route

HOPS = [
    {"oif": 3, "flags": 0, "hops": 1, "attrs": [("RTA_GATEWAY", "192.0.2.253")]},
    {"oif": 4, "flags": 0, "hops": 0, "attrs": [("RTA_GATEWAY", "192.0.2.252")]},
]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            route(("RTA_TABLE", 254), ("RTA_GATEWAY", "192.0.2.1"), ("RTA_OIF", 3), ("RTA_PRIORITY", 1024)),
            RouteStatusSpec(
                gateway="192.0.2.1",
                out_link_index=3,
                out_link_name="eth3",
                priority=1024,
                protocol=RouteProtocol.STATIC,
            ),
        ),
        (
            route(
                ("RTA_TABLE", 255),
                ("RTA_DST", "127.0.0.0"),
                ("RTA_PREFSRC", "127.0.0.1"),
                ("RTA_OIF", 3),
                dst_len=8,
                table=255,
                type=2,
                scope=254,
                proto=2,
            ),
            RouteStatusSpec(
                dst="127.0.0.0/8",
                src="127.0.0.1",
                out_link_index=3,
                out_link_name="eth3",
                table=RoutingTable.LOCAL,
                type=RouteType.LOCAL,
                scope=Scope.HOST,
                protocol=RouteProtocol.KERNEL,
            ),
        ),
        (
            route(
                ("RTA_TABLE", 1000),
                ("RTA_DST", "198.51.100.0"),
                ("RTA_VIA", {"family": 10, "addr": "2001:db8::9"}),
                ("RTA_OIF", 3),
                ("RTA_METRICS", nest(("RTAX_MTU", 1300))),
                dst_len=24,
                table=252,
                flags=0x10,
            ),
            RouteStatusSpec(
                dst="198.51.100.0/24",
                gateway="2001:db8::9",
                out_link_index=3,
                out_link_name="eth3",
                table=RoutingTable.of(1000),
                mtu=1300,
                protocol=RouteProtocol.STATIC,
            ),
        ),
        (
            route(("RTA_TABLE", 254), ("RTA_DST", "203.0.113.0"), ("RTA_MULTIPATH", HOPS), dst_len=24),
            RouteStatusSpec(
                dst="203.0.113.0/24",
                protocol=RouteProtocol.STATIC,
                next_hops=(
                    NextHop(gateway="192.0.2.253", out_link_name="eth3", weight=2),
                    NextHop(gateway="192.0.2.252", out_link_name="eth4", weight=1),
                ),
            ),
        ),
        (
            route(("RTA_TABLE", 254), ("RTA_DST", "203.0.113.0"), dst_len=25, type=6),
            RouteStatusSpec(dst="203.0.113.0/25", type=RouteType.BLACKHOLE, protocol=RouteProtocol.STATIC),
        ),
    ],
    ids=["default", "local", "gateway of the other family", "two ways", "blackhole"],
)
def test_a_route_is_read(message: Any, expected: RouteStatusSpec) -> None:
    assert with_names(read_route(message), "eth{}".format) == expected


def via(gateway: str, *, family: int = 2, dst: str = "203.0.113.0", **fields: Any) -> Any:
    return route(
        ("RTA_TABLE", 254),
        ("RTA_DST", dst),
        ("RTA_GATEWAY", gateway),
        ("RTA_OIF", 3),
        family=family,
        dst_len=24,
        **fields,
    )


def on_link(index: int, **fields: Any) -> Any:
    return route(("RTA_TABLE", 254), ("RTA_DST", "fe80::"), ("RTA_OIF", index), family=10, dst_len=64, **fields)


def via6(gateway: str, **fields: Any) -> Any:
    return via(gateway, family=10, dst="2001:db8::", **fields)


A, B, A_TOS = read_route(via("192.0.2.1")), read_route(via("192.0.2.2")), read_route(via("192.0.2.1", tos=4))
A6, L3, L4 = read_route(via6("2001:db8::a")), read_route(on_link(3)), read_route(on_link(4))
RESYNC: Effect[Any, Any] = Effect(resync=True)
NOTHING: Effect[Any, Any] = Effect()


def become(*routes: KernelRoute) -> Effect[RouteKey, tuple[KernelRoute, ...]]:
    return Effect(changes={key_of(routes[0].status): routes})


@pytest.mark.parametrize(
    ("before", "message", "effect"),
    [
        ((), via("192.0.2.1"), become(A)),
        ((A,), via("192.0.2.1"), NOTHING),
        ((A,), via("192.0.2.2"), become(A, B)),
        ((A,), via("192.0.2.2", replace=True), become(B)),
        ((A, B), via("192.0.2.3", replace=True), RESYNC),
        ((A_TOS,), via("192.0.2.2", replace=True), RESYNC),
        ((A, B), via("192.0.2.1", gone=True), become(B)),
        ((A,), via("192.0.2.2", gone=True), RESYNC),
        ((), via("192.0.2.1", gone=True), NOTHING),
        ((), via("192.0.2.1", flags=0x200), NOTHING),
        ((L3,), on_link(4), become(L4)),
        ((L3,), on_link(3), NOTHING),
        ((L3,), on_link(4, replace=True), RESYNC),
        ((L3,), on_link(3, replace=True), RESYNC),
        ((L3,), on_link(3, gone=True), Effect(changes={key_of(L3.status): None})),
        ((L3,), on_link(4, gone=True), NOTHING),
        ((A6,), via6("2001:db8::b"), RESYNC),
        ((A6,), via6("2001:db8::b", replace=True), become(read_route(via6("2001:db8::b")))),
        ((A6,), via6("2001:db8::b", gone=True), RESYNC),
        ((A,), link(("IFLA_IFNAME", "eth0"), flags=0, change=1), RESYNC),
        ((A,), link(("IFLA_IFNAME", "eth0"), flags=0), NOTHING),
        ((A,), link(("IFLA_IFNAME", "eth0"), flags=0, change=0xFFFFFFFF), NOTHING),
        ((A,), link(("IFLA_IFNAME", "eth0"), flags=1), NOTHING),
        ((A,), link(("IFLA_IFNAME", "eth0"), gone=True), RESYNC),
        ((A,), link(family=7, gone=True), NOTHING),
        ((A,), address(("IFA_LOCAL", "192.0.2.7"), gone=True), RESYNC),
        ((A,), address(("IFA_LOCAL", "192.0.2.7")), NOTHING),
    ],
    ids=[
        "first",
        "known already",
        "second beside it",
        "replaced",
        "one of two replaced",
        "replaced under another type of service",
        "one of two gone",
        "another than known gone",
        "unknown gone",
        "cached",
        "same prefix on two links",
        "of a link known already",
        "of one of all links replaced",
        "of one of all links replaced by its like",
        "of a link gone",
        "of another link gone",
        "merged into two ways",
        "IPv6 replaced",
        "one of two ways gone",
        "link set down",
        "link changed while it is down",
        "link made",
        "link up",
        "link gone",
        "port left its bridge",
        "address gone",
        "address added",
    ],
)
def test_route_messages_fold(before: tuple[KernelRoute, ...], message: Any, effect: Effect[Any, Any]) -> None:
    items = {key_of(before[0].status): before} if before else {}
    assert Routes().fold(items, message) == effect


def test_competing_routes_share_a_key() -> None:
    collected = Routes().collect([via("192.0.2.1"), via("192.0.2.2"), via("192.0.2.3", flags=0x200)])
    assert collected == {RouteKey(Family.INET4, RoutingTable.MAIN, "203.0.113.0/24", 0): (A, B)}


ALL_LINKS = range(3, 2003)


@pytest.mark.parametrize(
    ("dst", "length", "is_of_each"),
    [
        *(
            ("fe80::", 64, True),
            ("fe80::1", 128, True),
            ("febf::", 16, True),
            ("ff00::", 8, True),
            ("ff02::1", 128, True),
        ),
        *(("2001:db8::", 64, False), ("fd00::", 8, False), ("fec0::", 10, False), ("fe8:1::", 32, False)),
        *(("ff:1::", 32, False), ("", 0, False)),
    ],
)
def test_destinations_of_each_link_have_a_key_for_each(dst: str, length: int, is_of_each: bool) -> None:
    to = [("RTA_DST", dst)] if dst else []
    messages = [
        route(("RTA_TABLE", 254), *to, ("RTA_OIF", index), family=10, dst_len=length) for index in ALL_LINKS[:3]
    ]
    collected = Routes().collect(messages)
    assert sorted(len(found) for found in collected.values()) == ([1, 1, 1] if is_of_each else [3])
    assert len({key.place for key in collected}) == 1


def test_a_link_that_comes_up_costs_no_comparison_with_the_routes_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Routes().collect([on_link(index) for index in ALL_LINKS])
    assert {len(found) for found in known.values()} == {1}
    new = on_link(ALL_LINKS[-1] + 1)

    def compared(*_: object) -> bool:
        raise AssertionError("a route was compared with another")

    monkeypatch.setattr(KernelRoute, "__eq__", compared)
    ((key, routes),) = Routes().fold(known, new).changes.items()
    assert routes is not None
    assert (key.link, len(routes)) == (ALL_LINKS[-1] + 1, 1)


def test_a_route_through_a_gateway_or_several_ways_is_of_no_link() -> None:
    hops: list[Any] = [{"oif": index, "flags": 0, "hops": 0, "attrs": []} for index in (3, 4)]
    for message in (
        route(
            ("RTA_TABLE", 254),
            ("RTA_GATEWAY", "fe80::1"),
            ("RTA_OIF", 3),
            ("RTA_DST", "fe80:5::"),
            family=10,
            dst_len=64,
        ),
        route(("RTA_TABLE", 254), ("RTA_MULTIPATH", hops), ("RTA_DST", "fe80:5::"), family=10, dst_len=64),
    ):
        assert key_of(read_route(message).status).link == 0


def changed_link(flags: int, changed: int, **fields: Any) -> Any:
    return link(("IFLA_IFNAME", "eth0"), flags=flags, change=changed, **fields)


UP, EVERYTHING = 1, 0xFFFFFFFF


@pytest.mark.parametrize(
    ("message", "is_taken"),
    [
        (changed_link(0, UP), True),
        (changed_link(0x1002, UP | 0x10000), True),
        (changed_link(UP, UP), False),
        (changed_link(0, EVERYTHING), False),
        (changed_link(UP, EVERYTHING), False),
        (changed_link(0x10000, 0x10000), False),
        (changed_link(0, 0), False),
        (changed_link(0, UP, family=7), False),
        (link(("IFLA_IFNAME", "eth0"), gone=True), True),
        (address(("IFA_LOCAL", "192.0.2.1")), False),
        (address(("IFA_LOCAL", "192.0.2.1"), gone=True), True),
        (via("192.0.2.1"), True),
        (via("192.0.2.1", gone=True), True),
    ],
)
def test_only_what_says_something_of_routes_is_received(message: Any, is_taken: bool) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        attach(far, Routes.filter)
        body = body_of(message)
        sent = struct.pack("=IHHII", 16 + len(body), message.type, 0, 0, 0) + body
        near.send(sent)
        near.send(bytes(64))  # of another type, which passes
        assert (far.recv(65536) == sent) is is_taken
    # A message that does not pass would not have mattered.
    known = {key_of(A.status): (A,)}
    assert is_taken or Routes().fold(known, message) == Effect()

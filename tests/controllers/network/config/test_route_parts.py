"""How routes are read: families, scopes, what is normalised, what is a mistake."""

from typing import Any

import pytest

from nodespan.controllers.network.config.address_parts import address_spec
from nodespan.controllers.network.config.route_parts import requested_routes, route_spec
from nodespan.resources.config.device import Device, DeviceRoute, Vlan
from nodespan.resources.config.links import LinkRoute
from nodespan.resources.config.network import BlackholeRouteConfig
from nodespan.resources.network import Family, RouteType, RoutingTable, Scope

V6 = Family.INET6

READ: list[tuple[LinkRoute, dict[str, Any]]] = [
    (LinkRoute(gateway="10.0.0.1"), {"gateway": "10.0.0.1"}),
    (LinkRoute(destination="0.0.0.0/0", gateway="10.0.0.1"), {"gateway": "10.0.0.1"}),
    (LinkRoute(gateway="fe80::1"), {"family": V6, "gateway": "fe80::1"}),
    (LinkRoute(destination="::/0", gateway="fe80::1"), {"family": V6, "gateway": "fe80::1"}),
    (LinkRoute(destination="10.8.0.0/16"), {"dst": "10.8.0.0/16", "scope": Scope.LINK}),
    (LinkRoute(destination="10.8.0.7/16"), {"dst": "10.8.0.0/16", "scope": Scope.LINK}),
    (LinkRoute(destination="10.8.0.0/16", gateway="0.0.0.0"), {"dst": "10.8.0.0/16", "scope": Scope.LINK}),
    (LinkRoute(destination="FD00::/64"), {"family": V6, "dst": "fd00::/64", "scope": Scope.LINK}),
    (LinkRoute(destination="0.0.0.0/0"), {}),
    (LinkRoute(destination="::/0"), {"family": V6}),
    (
        LinkRoute(destination="127.1.0.0/16", gateway="10.0.0.1"),
        {"dst": "127.1.0.0/16", "gateway": "10.0.0.1", "scope": Scope.HOST},
    ),
    (
        LinkRoute(destination="224.0.0.0/4"),
        {"dst": "224.0.0.0/4", "scope": Scope.LINK, "type": RouteType.MULTICAST},
    ),
    (LinkRoute(gateway="10.0.0.1", source="10.0.0.5"), {"gateway": "10.0.0.1", "src": "10.0.0.5"}),
    (LinkRoute(gateway="10.0.0.1", source="0.0.0.0"), {"gateway": "10.0.0.1"}),
    (
        LinkRoute(destination="10.0.0.0/8", gateway="fe80::1"),
        {"dst": "10.0.0.0/8", "gateway": "fe80::1"},
    ),
    (
        LinkRoute(gateway="10.0.0.1", metric=7, mtu=1400, table="180"),
        {"gateway": "10.0.0.1", "priority": 7, "mtu": 1400, "table": RoutingTable.of(180)},
    ),
]

MISTAKES = [
    (LinkRoute(), "needs a destination, a gateway, or both"),
    (LinkRoute(destination="10.0.0.0/33"), "'10.0.0.0/33' is not a network"),
    (LinkRoute(gateway="10.0.0"), "the gateway '10.0.0' is not an IP address"),
    (LinkRoute(gateway="10.0.0.1", source="x"), "the source 'x' is not an IP address"),
    (LinkRoute(gateway="10.0.0.1", source="fd00::1"), "of another family"),
    (LinkRoute(gateway="10.0.0.1", table="special"), "special"),
]


@pytest.mark.parametrize(("route", "expected"), READ)
def test_a_route_is_read(route: LinkRoute, expected: dict[str, Any]) -> None:
    spec = route_spec("eth0", route)
    assumed = {"family": Family.INET4, "dst": "", "src": "", "gateway": "", "priority": 1024, "mtu": 0}
    assumed |= {"scope": Scope.GLOBAL, "type": RouteType.UNICAST, "table": RoutingTable.MAIN, "out_link_name": "eth0"}
    assert {name: getattr(spec, name) for name in assumed} == assumed | expected


@pytest.mark.parametrize(("route", "words"), MISTAKES)
def test_a_mistake_is_explained(route: LinkRoute, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        route_spec("eth0", route)


def test_one_invalid_route_does_not_affect_the_others() -> None:
    vlan = Vlan(vlan_id=5, routes=(DeviceRoute(network="nonsense"), DeviceRoute(network="10.1.0.0/16")))
    requested = requested_routes(Device(interface="eth0", routes=(DeviceRoute(gateway="10.0.0.1"),), vlans=(vlan,)))
    assert [id for id, _ in requested.outputs] == [
        "configuration/inet4/10.0.0.1//1024",
        "configuration/inet4//10.1.0.0/16/1024",
    ]
    assert [id for id, _ in requested.problems] == ["configuration/eth0.5/routes/0"]


def test_a_bad_blackhole_is_a_problem() -> None:
    (problem,) = requested_routes(BlackholeRouteConfig(name="nowhere")).problems
    assert problem[0] == "configuration/blackhole/nowhere"


@pytest.mark.parametrize(
    ("text", "may_be_bare", "expected"),
    [
        ("10.0.0.5/24", False, "10.0.0.5/24"),
        ("FD00:0::5/64", False, "fd00::5/64"),
        ("10.0.0.9", True, "10.0.0.9/32"),
        ("fd00::9", True, "fd00::9/128"),
    ],
)
def test_an_address_is_written_as_the_kernel_does(text: str, may_be_bare: bool, expected: str) -> None:
    assert address_spec("eth0", text, may_be_bare=may_be_bare).address == expected


@pytest.mark.parametrize(
    ("text", "may_be_bare", "words"),
    [
        ("10.0.0.9", False, "has no prefix length"),
        ("nonsense", True, "not an IP"),
        ("10.0.0.9/40", False, "10.0.0.9/40"),
    ],
)
def test_a_bad_address_is_explained(text: str, may_be_bare: bool, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        address_spec("eth0", text, may_be_bare=may_be_bare)

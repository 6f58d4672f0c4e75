"""The specs that follow from a lease."""

import math
from typing import Any

import pytest

from nodespan.controllers.network.dhcp.lease import Lease, LeasedAddress, LeasedRoute
from nodespan.controllers.network.dhcp.output import output_of
from nodespan.controllers.network.operators.base import OperatorOutput
from nodespan.resources.network import (
    AddressFlags,
    AddressSpecSpec,
    ConfigLayer,
    Family,
    HostnameSpecSpec,
    LinkSpecSpec,
    NameServer,
    ResolverSpecSpec,
    RouteProtocol,
    RoutingTable,
    Scope,
    TimeServerSpecSpec,
)

OPERATOR = ConfigLayer.OPERATOR
ROUTES = (LeasedRoute(destination="", gateway="192.0.2.1"),)


def lease(address: str = "192.0.2.7/24", *, expires_at: float = 100.0, **changes: Any) -> Lease:
    return Lease(
        server="192.0.2.1",
        message=b"",
        obtained=0.0,
        renew_at=50.0,
        rebind_at=87.0,
        expires_at=expires_at,
        addresses=(LeasedAddress(address=address, valid_until=expires_at),),
        **changes,
    )


def output(lease: Lease, **changes: Any) -> OperatorOutput:
    return output_of(lease, "eth0", metric=512, **changes)


@pytest.mark.parametrize(("address", "family"), [("192.0.2.7/24", Family.INET4), ("2001:db8::7/128", Family.INET6)])
def test_the_address_has_the_metric_and_the_end_of_the_lease(address: str, family: Family) -> None:
    assert output(lease(address)).addresses == (
        AddressSpecSpec(
            address=address,
            link_name="eth0",
            family=family,
            flags=AddressFlags.PERMANENT,
            priority=512,
            valid_until=100.0,
            layer=OPERATOR,
        ),
    )


def test_an_address_without_an_end_is_not_fenced() -> None:
    assert output(lease(expires_at=math.inf)).addresses[0].valid_until == 0


def test_a_route_by_a_gateway_on_the_link() -> None:
    (route,) = output(lease(routes=ROUTES)).routes
    assert (route.dst, route.gateway, route.out_link_name) == ("", "192.0.2.1", "eth0")
    assert (route.scope, route.protocol, route.priority) == (Scope.GLOBAL, RouteProtocol.BOOT, 512)
    assert (route.family, route.table, route.layer) == (Family.INET4, RoutingTable.MAIN, OPERATOR)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ([("", "198.51.100.1")], [("198.51.100.1/32", ""), ("", "198.51.100.1")]),
        # Once for both.
        (
            [("", "198.51.100.1"), ("203.0.113.0/24", "198.51.100.1")],
            [("198.51.100.1/32", ""), ("", "198.51.100.1"), ("203.0.113.0/24", "198.51.100.1")],
        ),
        # The server says it itself.
        (
            [("198.51.100.1/32", ""), ("", "198.51.100.1")],
            [("198.51.100.1/32", ""), ("", "198.51.100.1")],
        ),
        ([("203.0.113.0/24", "")], [("203.0.113.0/24", "")]),
    ],
)
def test_a_gateway_outside_of_the_subnet_is_made_reachable(
    routes: list[tuple[str, str]], expected: list[tuple[str, str]]
) -> None:
    leased = tuple(LeasedRoute(destination=destination, gateway=gateway) for destination, gateway in routes)
    found = output(lease(routes=leased)).routes
    assert [(route.dst, route.gateway) for route in found] == expected
    assert [route.scope == Scope.LINK for route in found] == [not gateway for _, gateway in expected]


def test_routes_may_be_left_out() -> None:
    assert output(lease(routes=ROUTES), skip_routes=True).routes == ()


def test_an_mtu_has_the_lowest_layer() -> None:
    assert output(lease(mtu=1400)).links == (LinkSpecSpec(name="eth0", up=True, mtu=1400, layer=ConfigLayer.DEFAULT),)
    assert output(lease()).links == ()


@pytest.mark.parametrize(
    ("name", "domain", "expected"),
    [
        ("node7", "", ("node7", "")),
        ("node7", "example.org", ("node7", "example.org")),
        ("node7.one.example", "", ("node7", "one.example")),
        ("node7.one.example", "example.org", ("node7", "one.example")),
    ],
)
def test_the_host_name_is_split_at_its_first_dot(name: str, domain: str, expected: tuple[str, str]) -> None:
    wish = output(lease(hostname=name, domain_name=domain)).hostname
    assert wish == HostnameSpecSpec(hostname=expected[0], domainname=expected[1], layer=OPERATOR)


def test_a_host_name_is_optional_and_may_be_skipped() -> None:
    assert output(lease(domain_name="example.org")).hostname is None
    assert output(lease(hostname="node7"), skip_hostname=True).hostname is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"name_servers": ("192.0.2.53",)}, (("192.0.2.53",), ())),
        ({"domain_name": "example.org"}, ((), ("example.org",))),
        (
            {"name_servers": ("192.0.2.53",), "domain_name": "example.org", "search_domains": ("a.example",)},
            (("192.0.2.53",), ("a.example",)),
        ),
    ],
)
def test_resolvers_are_servers_and_domains(changes: dict[str, Any], expected: tuple[Any, Any] | None) -> None:
    wish = output(lease(**changes)).resolvers
    if expected is None:
        assert wish is None
        return
    servers, domains = expected
    assert wish == ResolverSpecSpec(
        dns_servers=servers,
        name_servers=tuple(NameServer(addr=server) for server in servers),
        search_domains=domains,
        layer=OPERATOR,
    )


def test_time_servers_are_a_spec_if_there_are_any() -> None:
    assert output(lease(time_servers=("192.0.2.123",))).time_servers == TimeServerSpecSpec(
        time_servers=("192.0.2.123",), layer=OPERATOR
    )
    assert output(lease()).time_servers is None

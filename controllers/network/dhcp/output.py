"""The specs that follow from a lease: addresses, routes, MTU, names, servers. Pure."""

import math
from ipaddress import IPv4Address, ip_address, ip_interface

from nodespan.controllers.network.dhcp.lease import Lease, LeasedAddress, LeasedRoute
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
    RouteSpecSpec,
    Scope,
    TimeServerSpecSpec,
)

_LAYER = ConfigLayer.OPERATOR


def output_of(
    lease: Lease, link_name: str, *, metric: int, skip_routes: bool = False, skip_hostname: bool = False
) -> OperatorOutput:
    """The specs while this lease is in effect."""
    return OperatorOutput(
        addresses=tuple(_address(each, link_name, metric) for each in lease.addresses),
        links=(LinkSpecSpec(name=link_name, up=True, mtu=lease.mtu),) if lease.mtu else (),
        routes=() if skip_routes else _routes(lease, link_name, metric),
        hostname=None if skip_hostname else _hostname(lease),
        resolvers=_resolvers(lease),
        time_servers=TimeServerSpecSpec(time_servers=lease.time_servers, layer=_LAYER) if lease.time_servers else None,
    )


def _address(leased: LeasedAddress, link_name: str, metric: int) -> AddressSpecSpec:
    return AddressSpecSpec(
        address=leased.address,
        link_name=link_name,
        family=_family(leased.address.partition("/")[0]),
        flags=AddressFlags.PERMANENT,
        priority=metric,
        # The kernel removes it when the lease expires, also while no agent runs.
        valid_until=leased.valid_until if math.isfinite(leased.valid_until) else 0.0,
        layer=_LAYER,
    )


def _family(address: str) -> Family:
    return Family.INET4 if isinstance(ip_address(address), IPv4Address) else Family.INET6


def _routes(lease: Lease, link_name: str, metric: int) -> tuple[RouteSpecSpec, ...]:
    on_link = tuple(ip_interface(each.address).network for each in lease.addresses)
    # Routes that make gateways reachable come first, each once, though several routes may need it.
    routes: dict[LeasedRoute, None] = {}
    for route in lease.routes:
        reachable = any(ip_address(route.gateway) in network for network in on_link) if route.gateway else True
        if not reachable and not _is_among(route.gateway, lease.routes):
            routes[LeasedRoute(destination=f"{route.gateway}/32", gateway="")] = None
    routes |= dict.fromkeys(lease.routes)
    return tuple(_route(route, link_name, metric) for route in routes)


def _is_among(gateway: str, routes: tuple[LeasedRoute, ...]) -> bool:
    """Whether the server itself gave a route to the gateway on the link."""
    return LeasedRoute(destination=f"{gateway}/32", gateway="") in routes


def _route(route: LeasedRoute, link_name: str, metric: int) -> RouteSpecSpec:
    return RouteSpecSpec(
        family=Family.INET4,
        dst=route.destination,
        gateway=route.gateway,
        out_link_name=link_name,
        priority=metric,
        scope=Scope.GLOBAL if route.gateway else Scope.LINK,
        protocol=RouteProtocol.BOOT,
        layer=_LAYER,
    )


def _hostname(lease: Lease) -> HostnameSpecSpec | None:
    if not lease.hostname:
        return None
    name, _, domain = lease.hostname.partition(".")
    return HostnameSpecSpec(hostname=name, domainname=domain or lease.domain_name, layer=_LAYER)


def _resolvers(lease: Lease) -> ResolverSpecSpec | None:
    domains = lease.search_domains or ((lease.domain_name,) if lease.domain_name else ())
    if not lease.name_servers and not domains:
        return None
    return ResolverSpecSpec(
        dns_servers=lease.name_servers,
        name_servers=tuple(NameServer(addr=address) for address in lease.name_servers),
        search_domains=domains,
        layer=_LAYER,
    )

"""The routes that devices and documents of the configuration request."""

import ipaddress
from collections.abc import Iterator

from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.controllers.network.config.derived_outputs import Requested
from nodespan.resources.config.device import DEFAULT_ROUTE_METRIC, Device, DeviceRoute
from nodespan.resources.config.links import LinkRoute, LinkSettings, VethConfig
from nodespan.resources.config.network import BlackholeRouteConfig
from nodespan.resources.network import (
    ConfigLayer,
    Family,
    RouteProtocol,
    RouteSpecSpec,
    RouteType,
    RoutingTable,
    Scope,
    layered_id,
    route_id,
)

_LAYER = ConfigLayer.CONFIGURATION
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def spec_id(spec: RouteSpecSpec) -> str:
    """The id of the unmerged spec of a route."""
    return layered_id(
        spec.layer,
        route_id(
            table=spec.table,
            family=spec.family,
            gateway=spec.gateway,
            dst=spec.dst,
            priority=spec.priority,
            out_link_name=spec.out_link_name,
        ),
    )


def requested_routes(part: object) -> Requested[RouteSpecSpec]:
    """The routes of a part; an invalid one is a problem, and the others are kept."""
    requests: list[tuple[str, RouteSpecSpec]] = []
    problems: list[tuple[str, str]] = []
    for place, written in _written(part):
        try:
            spec = route_spec(*written) if isinstance(written, tuple) else _blackhole(written)
        except ValueError as error:
            problems.append((layered_id(_LAYER, place), str(error)))
        else:
            requests.append((spec_id(spec), spec))
    return Requested(outputs=tuple(requests), problems=tuple(problems))


def _written(part: object) -> Iterator[tuple[str, tuple[str, LinkRoute] | BlackholeRouteConfig]]:
    """Each route of a part, with the id of its problem if it is invalid."""
    match part:
        case Device():
            yield from _of(part.interface, part.routes)
            for vlan in part.vlans:
                yield from _of(vlan_link_name(part.interface, vlan.vlan_id), vlan.routes)
        case LinkSettings():
            for index, route in enumerate(part.routes):
                yield f"{part.name}/routes/{index}", (part.name, route)
            if isinstance(part, VethConfig):
                yield from _written(part.peer)
        case BlackholeRouteConfig():
            yield f"blackhole/{part.name}", part


def _of(link_name: str, routes: tuple[DeviceRoute, ...]) -> Iterator[tuple[str, tuple[str, LinkRoute]]]:
    for index, route in enumerate(routes):
        common = LinkRoute(
            destination=route.network,
            gateway=route.gateway,
            source=route.source,
            metric=route.metric,
            mtu=route.mtu,
        )
        yield f"{link_name}/routes/{index}", (link_name, common)


def route_spec(link_name: str, route: LinkRoute) -> RouteSpecSpec:
    """The spec of a route over a link. Raises ValueError.

    Networks and addresses of only zeros tell the family of the route, and nothing else.
    """
    if not route.destination and not route.gateway:
        raise ValueError("a route needs a destination, a gateway, or both")
    network = _network(route.destination) if route.destination else None
    gateway = _address(route.gateway, "gateway") if route.gateway else None
    source = _address(route.source, "source") if route.source else None
    # A gateway may be of the other family; what packets carry may not.
    version = next(each.version for each in (network, gateway) if each is not None)
    if source is not None and source.version != version:
        raise ValueError(f"the source {source} is of another family than the route")
    dst = "" if network is None or network.prefixlen == 0 else str(network)
    via = "" if gateway is None or gateway.is_unspecified else str(gateway)
    return RouteSpecSpec(
        family=_family(version),
        dst=dst,
        src="" if source is None or source.is_unspecified else str(source),
        gateway=via,
        out_link_name=link_name,
        table=RoutingTable(route.table) if route.table else RoutingTable.MAIN,
        priority=route.metric or DEFAULT_ROUTE_METRIC,
        scope=_scope(network if dst else None, via),
        type=RouteType.MULTICAST if dst and network is not None and network.is_multicast else RouteType.UNICAST,
        protocol=RouteProtocol.STATIC,
        mtu=route.mtu,
        layer=_LAYER,
    )


def _family(version: int) -> Family:
    return Family.INET6 if version == 6 else Family.INET4


def _scope(network: _Network | None, gateway: str) -> Scope:
    if network is not None and not gateway:
        return Scope.LINK
    return Scope.HOST if network is not None and network.is_loopback else Scope.GLOBAL


def _blackhole(route: BlackholeRouteConfig) -> RouteSpecSpec:
    network = _network(route.name)
    return RouteSpecSpec(
        family=_family(network.version),
        dst="" if network.prefixlen == 0 else str(network),
        # The kernel puts IPv6 blackholes on lo.
        out_link_name="lo" if network.version == 6 else "",
        priority=route.metric or DEFAULT_ROUTE_METRIC,
        type=RouteType.BLACKHOLE,
        protocol=RouteProtocol.STATIC,
        layer=_LAYER,
    )


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"the destination {text!r} is not a network, write it like 10.0.0.0/16 or fd00::/64") from None


def _address(text: str, what: str) -> _Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"the {what} {text!r} is not an IP address") from None

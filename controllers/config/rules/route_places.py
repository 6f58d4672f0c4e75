"""Routes that compete for one place: the kernel has one route per destination, table and metric."""

import ipaddress
from collections.abc import Iterator, Sequence

import attrs

from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, Path, warn
from nodespan.controllers.config.rules.entry import Entry
from nodespan.resources.config.device import DEFAULT_ROUTE_METRIC, Device, DeviceRoute, Vlan
from nodespan.resources.config.links import LinkRoute, LinkSettings, VethConfig
from nodespan.resources.config.main import MainDocument
from nodespan.resources.config.network import BlackholeRouteConfig, DHCPv4Config

_Place = tuple[int, str, str, int]
_IF_GIVEN = "where a server gives it, "


@attrs.frozen(kw_only=True)
class _Claim:
    """A route of a link, or one that its DHCP server may give: then `gateway` is None."""

    place: _Place
    path: Path
    link: str
    gateway: str | None

    @property
    def what(self) -> str:
        destination, metric = self.place[2:]
        route = f"route to {destination}" if destination else "default route"
        verb, by = ("request", " by DHCP") if self.gateway is None else ("have", "")
        return f"{verb} a {route}{by} with the metric {metric}"


def check_route_places(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """A warning for the second route of a place: it waits for as long as the first is there."""
    first: dict[_Place, _Claim] = {}
    for index, entry in enumerate(entries):
        for claim in _claims(entry.value):
            other = first.setdefault(claim.place, claim)
            # On one link a route that is configured is often the one that DHCP gives, too.
            is_same = other.link == claim.link and (other.gateway is None or claim.gateway in (None, other.gateway))
            if not is_same:
                yield (
                    index,
                    warn(
                        *claim.path,
                        message=f"{quote(claim.link)} and {quote(other.link)} both {claim.what}: "
                        f"{_IF_GIVEN if None in (claim.gateway, other.gateway) else ''}"
                        "only one of the two can be in the routing table",
                        hint="give one of the two another metric, with DHCP by its routeMetric",
                    ),
                )


def _claims(document: object) -> Iterator[_Claim]:
    match document:
        case MainDocument():
            devices = document.machine.network.interfaces if document.machine else ()
            for index, device in enumerate(devices):
                if not device.ignore:
                    yield from _of_device(device, index)
        case LinkSettings():
            yield from _of_link(document, ())
        case DHCPv4Config() if not document.ignore_routes:
            yield _by_dhcp(document.name, document.route_metric, ("name",))
        case BlackholeRouteConfig():
            yield from _of_route("blackhole", LinkRoute(destination=document.name, metric=document.metric), ("name",))


def _of_device(device: Device, index: int) -> Iterator[_Claim]:
    path = ("machine", "network", "interfaces", index)
    name = device.interface or f"the device at position {index + 1}"
    yield from _of_main(device, name, path)
    for position, vlan in enumerate(device.vlans):
        yield from _of_main(vlan, vlan_link_name(name, vlan.vlan_id), (*path, "vlans", position))


def _of_main(part: Device | Vlan, link: str, path: Path) -> Iterator[_Claim]:
    options = part.dhcp_options
    if part.dhcp and (options is None or options.ipv4):
        yield _by_dhcp(link, options.route_metric if options else 0, (*path, "dhcp"))
    yield from _of_routes(link, part.routes, path)


def _of_link(link: LinkSettings, path: Path) -> Iterator[_Claim]:
    yield from _of_routes(link.name, link.routes, path)
    if isinstance(link, VethConfig):
        yield from _of_link(link.peer, ("peer",))


def _of_routes(link: str, routes: Sequence[DeviceRoute | LinkRoute], path: Path) -> Iterator[_Claim]:
    for index, route in enumerate(routes):
        yield from _of_route(link, route, (*path, "routes", index))


def _of_route(link: str, route: DeviceRoute | LinkRoute, path: Path) -> Iterator[_Claim]:
    destination = route.network if isinstance(route, DeviceRoute) else route.destination
    table = "" if isinstance(route, DeviceRoute) else route.table
    try:
        network = ipaddress.ip_network(destination, strict=False) if destination else None
        gateway = ipaddress.ip_address(route.gateway) if route.gateway else None
    except ValueError:
        # Another rule reports it.
        return
    known = network or gateway
    if known is None:
        return
    dst = "" if network is None or network.prefixlen == 0 else str(network)
    place = (known.version, "" if table == "main" else table, dst, route.metric or DEFAULT_ROUTE_METRIC)
    yield _Claim(place=place, path=path, link=link, gateway="" if gateway is None else str(gateway))


def _by_dhcp(link: str, metric: int, path: Path) -> _Claim:
    return _Claim(place=(4, "", "", metric or DEFAULT_ROUTE_METRIC), path=path, link=link, gateway=None)

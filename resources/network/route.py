"""RouteStatus: an observed entry of a routing table; RouteSpec: a desired one."""

import attrs

from nodespan.resources.network.enums import Family, RouteFlags, RouteProtocol, RouteType, RoutingTable, Scope
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class NextHop:
    """One of several next hops."""

    gateway: str = ""
    """The address of the next hop, "" for a network on the link."""
    out_link_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The link to it."""
    weight: int = attrs.field(default=0, metadata=_OPTIONAL)
    """Its share, at least 1."""


@attrs.frozen(kw_only=True)
class RouteStatusSpec:
    """An observed route."""

    family: Family = Family.INET4
    """The family of the destination."""
    dst: str = ""
    """The destination; "" is the default route."""
    src: str = ""
    """The preferred source address of the node's own packets."""
    gateway: str = ""
    """The next hop, which may be of the other family; "" if there is none, or several."""
    out_link_index: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The index of the link that packets go out by."""
    out_link_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The name of the link that packets go out by."""
    table: RoutingTable = RoutingTable.MAIN
    """The routing table."""
    priority: int = 0
    """The metric."""
    scope: Scope = Scope.GLOBAL
    """How far the destination is."""
    type: RouteType = RouteType.UNICAST
    """What happens to packets."""
    flags: RouteFlags = attrs.field(default=RouteFlags(0))
    """The flags of the kernel."""
    protocol: RouteProtocol = RouteProtocol.UNSPEC
    """Who made the route."""
    mtu: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The MTU of the route in bytes; 0 for that of the link."""
    next_hops: tuple[NextHop, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """Several next hops, which then have gateway and link."""


@attrs.frozen(kw_only=True)
class RouteSpecSpec:
    """A desired route."""

    family: Family = Family.INET4
    """The family of the destination."""
    dst: str = ""
    """The destination; "" is the default route."""
    src: str = ""
    """The preferred source address of the node's own packets."""
    gateway: str = ""
    """The next hop, which may be of the other family; "" if there is none, or several."""
    out_link_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The name of the link that packets go out by."""
    table: RoutingTable = RoutingTable.MAIN
    """The routing table."""
    priority: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The metric; 0 is 1024 for IPv6."""
    scope: Scope = Scope.GLOBAL
    """How far the destination is."""
    type: RouteType = RouteType.UNICAST
    """What happens to packets."""
    flags: RouteFlags = attrs.field(default=RouteFlags(0))
    """The flags of the kernel."""
    protocol: RouteProtocol = RouteProtocol.STATIC
    """Who owns the route: an existing one with another protocol is left alone."""
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that it comes from."""
    mtu: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The MTU of the route in bytes; 0 for that of the link."""
    next_hops: tuple[NextHop, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """Several next hops, which then have gateway and link."""


def route_id(
    *, table: RoutingTable, family: Family, gateway: str, dst: str, priority: int, out_link_name: str = ""
) -> str:
    """`inet4/172.20.0.1//1024`; a table other than main and, for IPv6, the link are prefixed."""
    parts = [family.value, gateway, dst, str(priority)]
    if family == Family.INET6 and out_link_name:
        parts.insert(0, out_link_name)
    if table != RoutingTable.MAIN:
        parts.insert(0, table.value)
    return "/".join(parts)


RouteStatus = ResourceType(
    "RouteStatuses.net.talos.dev",
    RouteStatusSpec,
    singular="RouteStatus",
    namespace=NAMESPACE,
    aliases=("route", "routes"),
    columns={"Destination": ".dst", "Gateway": ".gateway", "Link": ".outLinkName", "Metric": ".priority"},
)
RouteSpec = ResourceType("RouteSpecs.net.talos.dev", RouteSpecSpec, namespace=NAMESPACE)

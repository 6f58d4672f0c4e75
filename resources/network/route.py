"""RouteStatus: an observed entry of a routing table; RouteSpec: a desired one."""

import attrs

from nodespan.resources.network.enums import Family, RouteFlags, RouteProtocol, RouteType, RoutingTable, Scope
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class NextHop:
    """One of several next hops. Weights are shares, at least 1."""

    gateway: str = ""
    out_link_name: str = attrs.field(default="", metadata=_OPTIONAL)
    weight: int = attrs.field(default=0, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class RouteStatusSpec:
    """A route. `dst` is "" for the default route, `gateway` is "" if there is none; it may be of the other family.

    `src` is the preferred source address of the node's own packets. With several `next_hops`, gateway and link
    are in them.
    """

    family: Family = Family.INET4
    dst: str = ""
    src: str = ""
    gateway: str = ""
    out_link_index: int = attrs.field(default=0, metadata=_OPTIONAL)
    out_link_name: str = attrs.field(default="", metadata=_OPTIONAL)
    table: RoutingTable = RoutingTable.MAIN
    priority: int = 0
    scope: Scope = Scope.GLOBAL
    type: RouteType = RouteType.UNICAST
    flags: RouteFlags = attrs.field(default=RouteFlags(0))
    protocol: RouteProtocol = RouteProtocol.UNSPEC
    mtu: int = attrs.field(default=0, metadata=_OPTIONAL)
    next_hops: tuple[NextHop, ...] = attrs.field(default=(), metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class RouteSpecSpec:
    """A desired route. Empty texts as in `RouteStatusSpec`; priority 0 is 1024 for IPv6, MTU 0 that of the link.

    The protocol also identifies the owner: an existing route with another protocol is left alone.
    """

    family: Family = Family.INET4
    dst: str = ""
    src: str = ""
    gateway: str = ""
    out_link_name: str = attrs.field(default="", metadata=_OPTIONAL)
    table: RoutingTable = RoutingTable.MAIN
    priority: int = attrs.field(default=0, metadata=_OPTIONAL)
    scope: Scope = Scope.GLOBAL
    type: RouteType = RouteType.UNICAST
    flags: RouteFlags = attrs.field(default=RouteFlags(0))
    protocol: RouteProtocol = RouteProtocol.STATIC
    layer: ConfigLayer = ConfigLayer.DEFAULT
    mtu: int = attrs.field(default=0, metadata=_OPTIONAL)
    next_hops: tuple[NextHop, ...] = attrs.field(default=(), metadata=_OPTIONAL)


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

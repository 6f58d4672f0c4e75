"""Routes as rtnetlink describes them.

IPv4 routes vanish without a notification when their link goes down or their source address is removed: messages about
links and addresses cause a dump. So does a message that is ambiguous among several routes: the kernel
may have many for one destination and metric, and replaces or merges some of them.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from socket import AF_INET, AF_INET6
from typing import ClassVar

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.mirror import Effect, ObjectKind
from nodespan.kernel.rtnetlink import (
    AF_UNSPEC,
    Attributes,
    Message,
    RtnlSocket,
    all_of,
    inside,
    integer,
    ip_address,
    ip_prefix,
    members,
)
from nodespan.kernel.rtnl import NLM_F_REPLACE
from nodespan.kernel.socket_filter import (
    DROP,
    JUMP_IF_ANY_BIT,
    JUMP_IF_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_WORD,
    TAKE,
    Instruction,
)
from nodespan.resources.network.enums import (
    Family,
    LinkFlags,
    RouteFlags,
    RouteProtocol,
    RouteType,
    RoutingTable,
    Scope,
)
from nodespan.resources.network.route import NextHop, RouteStatusSpec

_NAMED_FLAGS = int(sum(RouteFlags))
# The changed flags in the message about a new link.
_EVERYTHING = 0xFFFFFFFF

_DST = 1
_OIF = 4
_GATEWAY = 5
_PRIORITY = 6
_PREFSRC = 7
_METRICS = 8
_MULTIPATH = 9
_TABLE = 15
_VIA = 18
_METRIC_MTU = 2

_HOP = struct.Struct("=HBBi")  # length, flags, weight - 1, index of the link


# The beginnings of the IPv6 prefixes that each link has for itself, of four digits: link-local and multicast addresses.
_OF_EACH_LINK = ("fe8", "fe9", "fea", "feb", "ff")


@attrs.frozen(cache_hash=True)
class RouteKey:
    """The key of routes that compete for the same packets.

    `link` is the index of the link where each link has such a route for itself: to link-local and multicast addresses,
    out of this link alone. The kernel makes some for each link that is up. Under one key they would be as many as there
    are links, and a change of one would cost as much as all.
    """

    family: Family
    table: RoutingTable
    dst: str
    priority: int
    link: int = 0

    @property
    def place(self) -> "RouteKey":
        """The place in the routing table, in which the kernel adds one route only, of whichever link."""
        return RouteKey(self.family, self.table, self.dst, self.priority) if self.link else self

    @property
    def is_of_each_link(self) -> bool:
        """Whether each link may have such a route for itself."""
        return _is_of_each_link(self.dst)


@attrs.frozen(kw_only=True)
class KernelRoute:
    """A route with links as indexes: `hop_links` are those of the next hops. `tos` is only part of its identity."""

    status: RouteStatusSpec
    hop_links: tuple[int, ...] = ()
    tos: int = 0

    @property
    def links(self) -> frozenset[int]:
        """The indexes of all links that the route goes out of."""
        return frozenset({*self.hop_links, self.status.out_link_index} - {0})

    @property
    def has_gateway(self) -> bool:
        """Whether any hop has a gateway."""
        return bool(self.status.gateway or any(hop.gateway for hop in self.status.next_hops))


@attrs.frozen
class _Hop:
    link: int
    next_hop: NextHop


def _hops(data: bytes) -> Iterator[_Hop]:
    offset = 0
    while offset + _HOP.size <= len(data):
        length, _, weight, link = _HOP.unpack_from(data, offset)
        gateway = _gateway(dict(members(data[offset + _HOP.size : offset + length])))
        yield _Hop(link, NextHop(gateway=gateway, weight=weight + 1))
        offset += max(_HOP.size, (length + 3) & ~3)


def _gateway(attributes: Attributes) -> str:
    # A gateway of the other family is preceded by the number of its family.
    return ip_address(attributes[_VIA][2:] if _VIA in attributes else attributes.get(_GATEWAY, b""))


def read_route(message: Message) -> KernelRoute:
    """The route in an RTM_NEWROUTE or RTM_DELROUTE message, without the names of links."""
    family, dst_length, _, tos, table, protocol, scope, type, flags = message.fields
    attributes = all_of(message)
    hops = tuple(_hops(attributes[_MULTIPATH])) if _MULTIPATH in attributes else ()
    status = RouteStatusSpec(
        family=Family.of(family),
        dst=ip_prefix(attributes.get(_DST, b""), dst_length),
        src=ip_address(attributes.get(_PREFSRC, b"")),
        gateway=_gateway(attributes),
        out_link_index=integer(attributes, _OIF),
        # The header holds tables up to 255 only.
        table=RoutingTable.of(integer(attributes, _TABLE) or table),
        priority=integer(attributes, _PRIORITY),
        scope=Scope.of(scope),
        type=RouteType.of(type),
        flags=RouteFlags(flags & _NAMED_FLAGS),
        protocol=RouteProtocol.of(protocol),
        mtu=integer(inside(attributes, _METRICS), _METRIC_MTU) if _METRICS in attributes else 0,
        next_hops=tuple(hop.next_hop for hop in hops) if hops else (),
    )
    return KernelRoute(status=status, hop_links=tuple(hop.link for hop in hops) if hops else (), tos=tos)


def with_names(route: KernelRoute, name_of: Callable[[int], str]) -> RouteStatusSpec:
    """The status with the names of its links; `name_of` returns "" for an unknown index."""
    status = route.status
    hops = tuple(
        attrs.evolve(hop, out_link_name=name_of(index))
        for hop, index in zip(status.next_hops, route.hop_links, strict=True)
    )
    name = name_of(status.out_link_index) if status.out_link_index else ""
    return attrs.evolve(status, out_link_name=name, next_hops=hops)


def key_of(route: RouteStatusSpec) -> RouteKey:
    """The key of a route."""
    link = 0 if route.gateway or not _is_of_each_link(route.dst) else route.out_link_index
    return RouteKey(route.family, route.table, route.dst, route.priority, link)


def _is_of_each_link(dst: str) -> bool:
    return dst.startswith(_OF_EACH_LINK) and dst.find(":") == 4


def _is_cached(message: Message) -> bool:
    return bool(message.fields[-1] & RouteFlags.CLONED)


_Items = Mapping[RouteKey, tuple[KernelRoute, ...]]
_Effect = Effect[RouteKey, tuple[KernelRoute, ...]]
# Of most messages about links and addresses.
_NONE: _Effect = Effect()
_DUMP: _Effect = Effect(resync=True)


def _without_links_that_stay_up() -> tuple[Instruction, ...]:
    """No messages about addresses that are new, nor about links other than that one went or was set down.

    They are many where links are made, and say nothing of routes: see `_went_down`. Each message is in a datagram of
    its own: the header, 16 bytes, then the fixed part.
    """

    def seen(format: str, number: int) -> int:
        # Numbers of netlink are in the machine's byte order, which the filter does not know.
        return int.from_bytes(struct.pack(format, number), "big")

    return (
        (LOAD_HALF, 0, 0, 4),  # type
        (JUMP_IF_EQUAL, 9, 0, seen("=H", rtnl.RTM_NEWADDR)),  # drop
        (JUMP_IF_EQUAL, 0, 7, seen("=H", rtnl.RTM_NEWLINK)),  # else take
        (LOAD_BYTE, 0, 0, 16),  # family
        (JUMP_IF_EQUAL, 0, 6, AF_UNSPEC),  # else drop
        (LOAD_WORD, 0, 0, 28),  # changed flags
        (JUMP_IF_EQUAL, 4, 0, _EVERYTHING),  # drop
        (JUMP_IF_ANY_BIT, 0, 3, seen("=I", LinkFlags.UP)),  # else drop
        (LOAD_WORD, 0, 0, 24),  # flags
        (JUMP_IF_ANY_BIT, 1, 0, seen("=I", LinkFlags.UP)),  # drop
        TAKE,
        DROP,
    )


class Routes(ObjectKind[RouteKey, tuple[KernelRoute, ...]]):
    """Routes of all tables and both families, without cached ones, by RouteKey."""

    groups: ClassVar[int] = rtnl.RTMGRP_IPV4_ROUTE | rtnl.RTMGRP_IPV6_ROUTE | rtnl.RTMGRP_IPV4_IFADDR | rtnl.RTMGRP_LINK
    filter: ClassVar[Sequence[Instruction]] = _without_links_that_stay_up()

    def dump(self, kernel: RtnlSocket) -> Iterable[Message]:
        """All routes; blocks."""
        yield from kernel.dump(rtnl.RTM_GETROUTE, AF_INET)
        yield from kernel.dump(rtnl.RTM_GETROUTE, AF_INET6)

    def collect(self, messages: Iterable[Message]) -> dict[RouteKey, tuple[KernelRoute, ...]]:
        """The routes by key."""
        items: dict[RouteKey, tuple[KernelRoute, ...]] = {}
        for message in messages:
            if not _is_cached(message):
                route = read_route(message)
                key = key_of(route.status)
                items[key] = (*items.get(key, ()), route)
        return items

    def fold(self, items: _Items, message: Message) -> _Effect:
        """Update a route that is alone with its key; an ambiguous message causes a dump."""
        match message.type:
            case rtnl.RTM_NEWROUTE | rtnl.RTM_DELROUTE if _is_cached(message):
                return _NONE
            case rtnl.RTM_NEWROUTE:
                return _add(items, read_route(message), replace=bool(message.flags & NLM_F_REPLACE))
            case rtnl.RTM_DELROUTE:
                return _remove(items, read_route(message))
            case rtnl.RTM_NEWLINK:
                return _DUMP if message.family == AF_UNSPEC and _went_down(message) else _NONE
            case rtnl.RTM_DELLINK:
                return _DUMP if message.family == AF_UNSPEC else _NONE
            case rtnl.RTM_DELADDR:
                return _DUMP
            case _:
                return _NONE


def _went_down(message: Message) -> bool:
    """Whether a link was set down; one that was just created, or changed while down, had no routes."""
    _, _, _, flags, changed = message.fields
    return bool(changed & ~flags & LinkFlags.UP) and changed != _EVERYTHING


def _add(items: _Items, route: KernelRoute, *, replace: bool) -> _Effect:
    if replace and _is_of_each_link(route.status.dst):
        # The kernel replaces the first one of the place, of whichever link, and does not say which.
        return _DUMP
    key = key_of(route.status)
    rivals = items.get(key, ())
    if route in rivals:
        return _NONE
    if not rivals:
        return Effect(changes={key: (route,)})
    if replace:
        certain = len(rivals) == 1 and rivals[0].tos == route.tos
        return Effect(changes={key: (route,)}) if certain else Effect(resync=True)
    if route.status.family == Family.INET6 and route.has_gateway:
        # The kernel merges IPv6 routes through gateways into one with several next hops.
        return Effect(resync=True)
    return Effect(changes={key: (*rivals, route)})


def _remove(items: _Items, route: KernelRoute) -> _Effect:
    key = key_of(route.status)
    rivals = items.get(key, ())
    if route not in rivals:
        return Effect(resync=bool(rivals))
    return Effect(changes={key: tuple(rival for rival in rivals if rival != route) or None})

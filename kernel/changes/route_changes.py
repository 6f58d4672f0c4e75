"""Adds, replaces and removes routes over rtnetlink."""

import struct
from socket import AF_INET, AF_INET6

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.prefixes import pack_ip, parse_prefix
from nodespan.kernel.refusals import explained, name_and_mtu, route_refusal
from nodespan.kernel.routes import KernelRoute
from nodespan.kernel.rtnetlink import Request, RtnlSocket, attribute, nest, number32
from nodespan.kernel.rtnl import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE
from nodespan.resources.network.enums import Family
from nodespan.resources.network.route import RouteSpecSpec

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

_BYTE = 0xFF
_HOP = struct.Struct("=HBBi")  # length, flags, weight - 1, index of the link


@attrs.frozen(kw_only=True)
class RouteToAdd:
    """A route with the indexes of its links, 0 where the spec names none. `replace`: replace its only competitor."""

    spec: RouteSpecSpec
    out_link: int = 0
    hop_links: tuple[int, ...] = ()
    replace: bool = False


def route_request(route: RouteToAdd) -> Request:
    """The request that adds the route, or replaces the one with its destination, table and priority."""
    spec = route.spec
    dst = parse_prefix(spec.dst)
    attributes = [number32(_TABLE, spec.table.number)]
    if dst is not None:
        attributes.append(attribute(_DST, dst.packed))
    if spec.priority:
        attributes.append(number32(_PRIORITY, spec.priority))
    if spec.src:
        attributes.append(attribute(_PREFSRC, pack_ip(spec.src)))
    if spec.gateway:
        attributes.append(_gateway(spec.family, spec.gateway))
    if route.out_link:
        attributes.append(number32(_OIF, route.out_link))
    if spec.mtu:
        attributes.append(nest(_METRICS, number32(_METRIC_MTU, spec.mtu)))
    if spec.next_hops:
        attributes.append(attribute(_MULTIPATH, _hops(route)))
    fields = (
        *(spec.family.number, 0 if dst is None else dst.length, 0, 0, _short_table(spec.table.number)),
        *(spec.protocol.number, spec.scope.number, spec.type.number, int(spec.flags)),
    )
    how = NLM_F_CREATE | (NLM_F_REPLACE if route.replace else NLM_F_EXCL)
    return Request(rtnl.RTM_NEWROUTE, how, fields, tuple(attributes))


def add_route(kernel: RtnlSocket, route: RouteToAdd) -> None:
    """Add or replace the route. Raises OSError."""
    with explained(lambda number: _why_not(kernel, route, number)):
        kernel.request(route_request(route))


def _why_not(kernel: RtnlSocket, route: RouteToAdd, number: int) -> str:
    spec = route.spec
    link, mtu = name_and_mtu(kernel, route.out_link) if route.out_link else ("", 0)
    destination = spec.dst or "everywhere"
    return route_refusal(number, destination, is_ipv6=spec.family == Family.INET6, link=link, mtu=mtu)


def delete_route(kernel: RtnlSocket, seen: KernelRoute) -> None:
    """Remove exactly this route. Raises OSError: ESRCH if it does not exist."""
    status = seen.status
    dst = parse_prefix(status.dst)
    attributes = [number32(_TABLE, status.table.number)]
    if dst is not None:
        attributes.append(attribute(_DST, dst.packed))
    if status.priority:
        attributes.append(number32(_PRIORITY, status.priority))
    if status.gateway:
        attributes.append(_gateway(status.family, status.gateway))
    if status.out_link_index:
        attributes.append(number32(_OIF, status.out_link_index))
    fields = (
        *(status.family.number, 0 if dst is None else dst.length, 0, seen.tos, _short_table(status.table.number)),
        *(status.protocol.number, status.scope.number, status.type.number, 0),
    )
    kernel.change(rtnl.RTM_DELROUTE, 0, fields, *attributes)


def _hops(route: RouteToAdd) -> bytes:
    hops = b""
    for hop, link in zip(route.spec.next_hops, route.hop_links, strict=True):
        gateway = _gateway(route.spec.family, hop.gateway) if hop.gateway else b""
        hops += _HOP.pack(_HOP.size + len(gateway), 0, max(hop.weight, 1) - 1, link) + gateway
    return hops


def _gateway(family: Family, gateway: str) -> bytes:
    packed = pack_ip(gateway)
    of = AF_INET if len(packed) == 4 else AF_INET6
    if of == family.number:
        return attribute(_GATEWAY, packed)
    # A gateway of the other family is preceded by the number of its family.
    return attribute(_VIA, struct.pack("=H", of) + packed)


def _short_table(table: int) -> int:
    # The header holds tables up to 255 only; the attribute holds all.
    return table if table <= _BYTE else 0

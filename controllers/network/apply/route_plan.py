"""Which routes to add, replace and remove. A route of another protocol belongs to another program, and stays.

The kernel has one place per destination, table and metric. A route whose place is taken waits, with its rival named;
a route that is there already keeps the place, and of two that are not, the one with the lower id gets it.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping

import attrs

from nodespan.controllers.common.prior_state import route_slot
from nodespan.controllers.network.apply.owners import Claim, overruled
from nodespan.controllers.network.apply.plan import Plan, Step
from nodespan.controllers.network.apply.prior_objects import Taken
from nodespan.kernel.changes.route_changes import RouteToAdd
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink
from nodespan.kernel.prefixes import ip_text, prefix_text
from nodespan.kernel.routes import KernelRoute, RouteKey
from nodespan.resources.network import (
    Family,
    LinkFlags,
    RouteFlags,
    RouteProtocol,
    RouteSpecSpec,
    RouteStatusSpec,
)

RoutePlan = Plan[RouteToAdd, KernelRoute]
RouteStep = Step[RouteToAdd, KernelRoute]
Routes = Mapping[RouteKey, tuple[KernelRoute, ...]]

_NOT_OF_THE_ROUTE = frozenset({"out_link_name", "dst", "gateway", "layer", "next_hops"})
# As a number: combining flags makes an object each time.
_COMPARED_FLAGS = int(RouteFlags.NOTIFY | RouteFlags.CLONED | RouteFlags.EQUALIZE | RouteFlags.PREFIX)
_DEFAULT_IPV6_PRIORITY = 1024
# Who makes routes of a protocol, where its name does not say so.
_MAKERS = {
    RouteProtocol.KERNEL: "the kernel, for an address",
    RouteProtocol.RA: "a router advertisement",
    RouteProtocol.BOOT: "DHCP of this agent, or a command",
    RouteProtocol.STATIC: "the configuration, or another network manager",
    RouteProtocol.DHCP: "another DHCP client",
}


def key_of(spec: RouteSpecSpec) -> RouteKey:
    """What the route competes for. Raises ValueError for a destination that is no prefix."""
    priority = spec.priority
    if spec.family == Family.INET6 and priority == 0:
        priority = _DEFAULT_IPV6_PRIORITY
    return RouteKey(spec.family, spec.table, prefix_text(spec.dst), priority)


def is_as_desired(seen: KernelRoute, desired: RouteToAdd) -> bool:
    """Whether the kernel's route agrees with the spec in all that a spec decides."""
    status, spec = seen.status, desired.spec
    return (
        # IPv6 routes have no scope.
        (spec.family == Family.INET6 or status.scope == spec.scope)
        and int(status.flags) & _COMPARED_FLAGS == int(spec.flags) & _COMPARED_FLAGS
        and status.protocol == spec.protocol
        and status.type == spec.type
        and status.mtu == spec.mtu
        and (not spec.src or status.src == ip_text(spec.src))
        and (not desired.out_link or status.out_link_index == desired.out_link)
        and _agree(_hops(status, seen.hop_links), _hops(spec, desired.hop_links))
    )


def is_like(seen: KernelRoute, spec: RouteSpecSpec) -> bool:
    """Whether the kernel's route is as the spec had it, whichever links it goes out of."""
    status = seen.status
    return (status.protocol, status.type, status.mtu) == (spec.protocol, spec.type, spec.mtu) and (
        not spec.src or status.src == ip_text(spec.src)
    )


def taken_route(spec: RouteSpecSpec, lookup: LinkLookup, routes: Routes) -> Taken[KernelRoute] | None:  # noqa: ARG001
    """The slot of a spec, and the routes in it."""
    try:
        key, gateway = key_of(spec), ip_text(spec.gateway)
    except ValueError:
        return None
    slot = route_slot(key.family.value, key.table.number, key.dst, key.priority, gateway)
    return Taken(slot, _own(key, gateway, spec, routes))


_Hop = tuple[str, int, int]


def _hops(route: RouteSpecSpec | RouteStatusSpec, links: tuple[int, ...]) -> list[_Hop]:
    if not route.next_hops and not links:
        return []
    hops = zip(route.next_hops, links, strict=True)
    return sorted((ip_text(hop.gateway), max(hop.weight, 1), link) for hop, link in hops)


def _agree(seen: list[_Hop], desired: list[_Hop]) -> bool:
    """Whether the next hops are the same ones; the link of one that names none is the kernel's choice."""
    return len(seen) == len(desired) and all(
        found[:2] == hop[:2] and hop[2] in (0, found[2]) for found, hop in zip(seen, desired, strict=True)
    )


def plan_routes(
    desired: Mapping[str, RouteSpecSpec],
    leaving: Mapping[str, RouteSpecSpec],
    before: Mapping[str, RouteSpecSpec],
    links: Mapping[int, KernelLink],
    routes: Routes,
) -> RoutePlan:
    """The steps from what the kernel has to what is desired; `before` are the specs as they were last in effect."""
    lookup = LinkLookup(links)
    steps: list[RouteStep] = []
    waiting: dict[str, str] = {}
    refused: dict[str, str] = {}
    candidates: dict[str, _Candidate] = {}
    for id, spec in desired.items():
        try:
            key, gateway = key_of(spec), ip_text(spec.gateway)
            found = _with_links(spec, lookup)
        except ValueError as error:
            refused[id] = str(error)
            continue
        ours: tuple[KernelRoute, ...] = ()
        foreign: tuple[KernelRoute, ...] = ()
        if there := routes.get(key):
            own = {spec.protocol, before.get(id, spec).protocol}
            same = [route for route in there if route.status.gateway == gateway]
            ours = tuple(route for route in same if route.status.protocol in own)
            foreign = tuple(route for route in same if route.status.protocol not in own)
        candidates[id] = _Candidate(id=id, spec=spec, key=key, found=found, ours=ours, foreign=foreign)
    kept = {(each.key, ip_text(each.spec.gateway)) for each in candidates.values()} if leaving else set()
    removed: list[KernelRoute] = []
    for id, spec in leaving.items():
        gone = tuple(route for route in _leaving(spec, routes) if (key_of(spec), route.status.gateway) not in kept)
        if gone:
            steps.insert(0, Step(id=id, remove=gone))
            removed += gone
    # Making claims takes as long as the rest, and one is in nobody's way.
    several = candidates.values() if len(candidates) > 1 else ()
    others = overruled(_claims(several, lookup), leave_out=_NOT_OF_THE_ROUTE)
    refused |= {id: text for id, text in others.items() if text}
    holders: dict[RouteKey, _Candidate] = {}
    deciding = [each for each in candidates.values() if each.id not in others]
    if len(deciding) > 1:
        # Those that are there first: they keep their places.
        deciding.sort(key=_newness)
    for each in deciding:
        if isinstance(each.found, str):
            waiting[each.id] = each.found
        elif each.ours and not (each.key in holders and holders[each.key].ours == each.ours):
            steps += _kept(each, each.found, routes.get(each.key, ()))
            holders.setdefault(each.key, each)
        elif each.foreign:
            refused[each.id] = _refusal(each.foreign[0].status)
        elif each.key in holders:
            refused[each.id] = _taken_by(holders[each.key])
        elif rivals := [route for route in routes.get(each.key, ()) if route not in removed and not route.tos]:
            refused[each.id] = _place_taken(rivals[0].status, links)
        else:
            steps.append(Step(id=each.id, add=each.found))
            holders[each.key] = each
    return Plan(steps=tuple(steps), waiting=waiting, refused=refused)


@attrs.frozen(kw_only=True)
class _Candidate:
    """A desired route, and the kernel's of the same place and gateway. `found` is a text while it has to wait."""

    id: str
    spec: RouteSpecSpec
    key: RouteKey
    found: RouteToAdd | str
    ours: tuple[KernelRoute, ...]
    foreign: tuple[KernelRoute, ...]


def _newness(each: _Candidate) -> tuple[bool, bool]:
    is_there = isinstance(each.found, RouteToAdd) and any(is_as_desired(route, each.found) for route in each.ours)
    return (not is_there, not each.ours)


def _claims(candidates: Iterable[_Candidate], lookup: LinkLookup) -> Iterator[Claim[RouteSpecSpec, Hashable]]:
    """Those about one route: by two names of its link."""
    for each in candidates:
        if isinstance(each.found, RouteToAdd):
            link = lookup.at(each.found.out_link)
            yield Claim(
                id=each.id,
                spec=each.spec,
                object=(each.key, ip_text(each.spec.gateway), each.found.out_link),
                link_name=each.spec.out_link_name,
                link="" if link is None else link.name,
            )


def _kept(each: _Candidate, found: RouteToAdd, rivals: tuple[KernelRoute, ...]) -> list[RouteStep]:
    if len(each.ours) == 1 and is_as_desired(each.ours[0], found):
        return []
    if len(rivals) == 1:
        return [Step(id=each.id, add=attrs.evolve(found, replace=True), instead=each.ours)]
    return [Step(id=each.id, remove=each.ours, add=found)]


def _leaving(spec: RouteSpecSpec, routes: Routes) -> tuple[KernelRoute, ...]:
    try:
        key, gateway = key_of(spec), ip_text(spec.gateway)
    except ValueError:
        # Never was a route, so it is not there.
        return ()
    return _own(key, gateway, spec, routes)


def _own(key: RouteKey, gateway: str, spec: RouteSpecSpec, routes: Routes) -> tuple[KernelRoute, ...]:
    """The routes of a place that may be those of the spec."""
    there = routes.get(key)
    if not there:
        return ()
    return tuple(route for route in there if route.status.gateway == gateway and route.status.protocol == spec.protocol)


def _refusal(status: RouteStatusSpec) -> str:
    return (
        f"there is such a route already, of protocol {status.protocol.value}{_maker(status)}: it stays; "
        "give one of the two another metric"
    )


def _place_taken(status: RouteStatusSpec, links: Mapping[int, KernelLink]) -> str:
    found = links.get(status.out_link_index)
    link = "" if found is None else found.name
    way = "".join((f" via {status.gateway}" if status.gateway else "", f" on {link}" if link else ""))
    return (
        f"its place in the routing table is taken by the route{way}, of protocol {status.protocol.value}"
        f"{_maker(status)}: give one of the two another metric"
    )


def _taken_by(holder: _Candidate) -> str:
    return f"its place in the routing table is taken by {holder.id}: give one of the two another metric"


def _maker(status: RouteStatusSpec) -> str:
    maker = _MAKERS.get(status.protocol)
    return f" ({maker})" if maker else ""


def _with_links(spec: RouteSpecSpec, lookup: LinkLookup) -> RouteToAdd | str:
    """The route with the indexes of its links, or why it has to wait."""
    out = _link_index(spec.out_link_name, lookup)
    if isinstance(out, str):
        return out
    hops: list[int] = []
    for hop in spec.next_hops:
        link = _link_index(hop.out_link_name, lookup)
        if isinstance(link, str):
            return link
        hops.append(link)
    return RouteToAdd(spec=spec, out_link=out, hop_links=tuple(hops))


def _link_index(name: str, lookup: LinkLookup) -> int | str:
    if not name:
        return 0
    link = lookup.find(name)
    if link is None:
        return f"there is no link {name}"
    if LinkFlags.UP not in link.status.flags:
        return f"link {name} is down"
    return link.status.index

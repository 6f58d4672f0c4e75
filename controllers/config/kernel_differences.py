"""What changes on the machine when merged specs change: the host's name, links, addresses, routes, rules, cards, files.

Kernel parameters and modules are the last.

What is there already, or was there before the agent and stays after it, is said to stay. It is derived from the specs
before and after and from what the kernel has, so that a link that is there already, or an address that another program
took away, is no difference.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import attrs

from nodespan.controllers.common.prior_state import address_slot, route_slot
from nodespan.controllers.config.differences import change_texts, flat
from nodespan.resources.files import EtcFileSpec, EtcFileSpecSpec
from nodespan.resources.network import (
    HOSTNAME_ID,
    AddressSpec,
    AddressSpecSpec,
    AddressStatus,
    EthernetSpec,
    EthernetSpecSpec,
    EthernetStatus,
    EthernetStatusSpec,
    Family,
    HostnameSpec,
    HostnameSpecSpec,
    HostnameStatus,
    LinkAliasSpec,
    LinkAliasSpecSpec,
    LinkFlags,
    LinkSpec,
    LinkSpecSpec,
    LinkStatus,
    LinkStatusSpec,
    RouteSpec,
    RouteSpecSpec,
    RouteStatus,
    RoutingRuleSpec,
    RoutingRuleStatus,
    address_id,
    route_id,
)
from nodespan.resources.runtime import (
    KernelModuleSpec,
    KernelModuleSpecSpec,
    KernelModuleStatus,
    KernelParamDefaultSpec,
    KernelParamSpec,
    KernelParamStatus,
)
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.resource.spec import outside_name
from nodespan.runtime.state import State

S = TypeVar("S")

_IPV6_METRIC = 1024
# The fields that specs and statuses of links share.
_PARTS = ("vlan", "macvlan", "vxlan", "ipvlan", "bond_master", "bridge_master", "vrf_master", "wireguard")


@attrs.frozen
class _Before:
    """The state now, and with the new configuration."""

    live: State
    after: State

    def specs(self, type: ResourceType[S]) -> tuple[dict[str, S], dict[str, S]]:
        """The specs now and then, by their ids."""
        return _running(self.live, type), _running(self.after, type)


def kernel_lines(live: State, after: State, *, was_before: Callable[[str], bool] = lambda _: False) -> Iterator[str]:
    """A line for each object that is added, removed or changed, or stays although it is named; the host's name first.

    `was_before` is whether a slot (`controllers.common.prior_state`) held something before the agent.
    """
    both = _Before(live, after)
    yield from _name_lines(*both.specs(HostnameSpec), live)
    statuses = {status.id: status.spec for status in live.list(LinkStatus)}
    names = _Names(statuses)
    yield from _link_lines(*both.specs(LinkSpec), statuses, names)
    addresses = {status.id for status in live.list(AddressStatus)}
    yield from _lines(
        *both.specs(AddressSpec),
        observed=addresses,
        key=lambda spec: address_id(names.real(spec.link_name), spec.address),
        shown=_shown_address,
        stays=lambda spec: was_before(address_slot(names.index(spec.link_name), spec.address)),
    )
    routes = {status.id for status in live.list(RouteStatus)}
    yield from _lines(
        *both.specs(RouteSpec),
        observed=routes,
        key=lambda spec: _route_key(spec, names),
        shown=_shown_route,
        stays=lambda spec: was_before(_route_slot(spec)),
    )
    yield from _lines(
        *both.specs(RoutingRuleSpec),
        observed={status.id for status in live.list(RoutingRuleStatus)},
        key=lambda spec: f"{spec.family}/{spec.priority:05}",
        shown=lambda spec: f"rule {spec.priority} ({spec.family})",
    )
    yield from _alias_lines(*both.specs(LinkAliasSpec), statuses)
    cards = {status.id: status.spec for status in live.list(EthernetStatus)}
    yield from _card_lines(*both.specs(EthernetSpec), cards, names)
    yield from _file_lines(*both.specs(EtcFileSpec))
    yield from _parameter_lines(both)
    yield from _module_lines(*both.specs(KernelModuleSpec), live)


def _name_lines(
    before: Mapping[str, HostnameSpecSpec], after: Mapping[str, HostnameSpecSpec], live: State
) -> Iterator[str]:
    status = live.find(HostnameStatus, HOSTNAME_ID)
    current = "" if status is None else _full_name(status.spec.hostname, status.spec.domainname)
    for spec in after.values():
        # Without a domain of its own, the name leaves the one that there is.
        domain = spec.domainname or ("" if status is None else status.spec.domainname)
        if (name := _full_name(spec.hostname, domain)) != current:
            yield f"~ host name: {current or '(none)'} -> {name}"
    if before and not after:
        yield f"~ host name: {current or '(none)'} -> the one before"


def _full_name(hostname: str, domainname: str) -> str:
    return f"{hostname}.{domainname}" if domainname else hostname


def _alias_lines(
    before: Mapping[str, LinkAliasSpecSpec],
    after: Mapping[str, LinkAliasSpecSpec],
    statuses: Mapping[str, LinkStatusSpec],
) -> Iterator[str]:
    for name, spec in after.items():
        has = statuses[name].alias if name in statuses else ""
        if has != spec.alias:
            yield f"~ link {name}: alias {has or '(none)'} -> {spec.alias}"
    for name, spec in before.items():
        if name not in after and name in statuses and statuses[name].alias == spec.alias:
            yield f"~ link {name}: alias {spec.alias} -> the one before"


def _card_lines(
    before: Mapping[str, EthernetSpecSpec],
    after: Mapping[str, EthernetSpecSpec],
    statuses: Mapping[str, EthernetStatusSpec],
    names: "_Names",
) -> Iterator[str]:
    """What drivers report is known only while a card has settings; without it, only what is asked for."""
    for name, spec in after.items():
        desired, was, status = flat(spec), flat(before[name]) if name in before else {}, statuses.get(names.real(name))
        if status is None:
            changes = [f"{path} -> {value}" for path, value in desired.items() if was.get(path) != value]
        else:
            has = {path: value for path, value in _card_values(status).items() if path in desired}
            changes = list(change_texts(has, desired))
        changes += [f"{path} -> the one before" for path in was if path not in desired]
        if changes:
            yield f"~ card {name}: {', '.join(changes)}"
    for name, spec in before.items():
        if name not in after and flat(spec):
            yield f"~ card {name}: {', '.join(flat(spec))} -> those before"


def _card_values(status: EthernetStatusSpec) -> dict[str, Any]:
    """What a driver reports, as a spec would ask for it."""
    values: dict[str, Any] = {"wakeOnLan": [mode.value for mode in status.wake_on_lan] or "off"}
    for path, value in flat(status).items():
        values[path] = value.partition(" ")[0] if path.startswith("features.") else value
    return values


def _file_lines(before: Mapping[str, EtcFileSpecSpec], after: Mapping[str, EtcFileSpecSpec]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            sign = "+" if name not in before else "-" if name not in after else "~"
            yield f"{sign} file /etc/{name}"


def _parameter_lines(both: _Before) -> Iterator[str]:
    """Defaults are in effect where nothing is named."""
    (named, named_after), (defaults, defaults_after) = both.specs(KernelParamSpec), both.specs(KernelParamDefaultSpec)
    before, after = defaults | named, defaults_after | named_after
    statuses = {status.id: status.spec for status in both.live.list(KernelParamStatus)}
    for id in sorted(before.keys() | after.keys()):
        old, new = before.get(id), after.get(id)
        if old == new:
            continue
        status = statuses.get(id)
        if new is None:
            yield f"- kernel parameter {id}: the value before{f', {status.default}' if status else ''}"
        elif old is None:
            yield f"+ kernel parameter {id}: {new.value}"
        else:
            yield f"~ kernel parameter {id}: {status.current if status else old.value} -> {new.value}"


def _module_lines(
    before: Mapping[str, KernelModuleSpecSpec], after: Mapping[str, KernelModuleSpecSpec], live: State
) -> Iterator[str]:
    loaded = {status.id for status in live.list(KernelModuleStatus) if status.spec.state}
    for name in sorted(after.keys() - before.keys() - loaded):
        yield f"+ kernel module {name}"
    for name in sorted(before.keys() - after.keys()):
        yield f"= kernel module {name}: stays loaded"


class _Names:
    """The real names of links: aliases and alternative names lead to them."""

    def __init__(self, statuses: Mapping[str, LinkStatusSpec]) -> None:
        self._statuses = statuses
        self._real = {
            other: name for name, status in statuses.items() for other in (status.alias, *status.alt_names) if other
        }
        self._by_index = {status.index: name for name, status in statuses.items()}

    def real(self, name: str) -> str:
        return name if name in self._statuses else self._real.get(name, name)

    def index(self, name: str) -> int:
        status = self._statuses.get(self.real(name))
        return 0 if status is None else status.index

    def of_index(self, index: int) -> str:
        return self._by_index.get(index, "")


def _running(state: State, type: ResourceType[S]) -> dict[str, S]:
    return {found.id: found.spec for found in state.list(type) if not found.metadata.is_tearing_down}


def _lines(
    before: Mapping[str, S],
    after: Mapping[str, S],
    *,
    observed: set[str],
    key: Callable[[S], str],
    shown: Callable[[S], str],
    stays: Callable[[S], bool] = lambda _: False,
) -> Iterator[str]:
    desired = {key(spec): spec for spec in after.values()}
    known_before = {key(spec): spec for spec in before.values()}
    for known, spec in known_before.items():
        if known not in desired and known in observed:
            yield f"= {shown(spec)}: was there before, stays" if stays(spec) else f"- {shown(spec)}"
    for known, spec in desired.items():
        if known not in observed:
            yield f"+ {shown(spec)}"
        elif known not in known_before:
            yield f"= {shown(spec)}: already there, stays"


def _link_lines(
    before: Mapping[str, LinkSpecSpec],
    after: Mapping[str, LinkSpecSpec],
    statuses: Mapping[str, LinkStatusSpec],
    names: _Names,
) -> Iterator[str]:
    for name, spec in before.items():
        if name not in after and spec.logical and name in statuses:
            yield f"- link {name} ({spec.kind})"
    for name, spec in after.items():
        status = statuses.get(names.real(name))
        if status is not None:
            changes = list(_link_changes(spec, before.get(name), status, names))
            if changes:
                yield f"~ link {name}: {', '.join(changes)}"
        elif spec.logical:
            yield f"+ link {name} ({spec.kind})"
        elif before.get(name) is None:
            yield f"  link {name} is not there; it is set up when it appears"


def _link_changes(
    spec: LinkSpecSpec, before: LinkSpecSpec | None, status: LinkStatusSpec, names: _Names
) -> Iterator[str]:
    desired: dict[str, Any] = {"up": spec.up}
    has: dict[str, Any] = {"up": LinkFlags.UP in status.flags}
    master = spec.master_name
    for slave in (spec.bridge_slave, spec.vrf_slave):
        master = slave.master_name if slave is not None else master
    for key, value, observed in (
        ("mtu", spec.mtu, status.mtu),
        ("hardwareAddr", spec.hardware_addr, status.hardware_addr),
        ("master", names.real(master), names.of_index(status.master_index)),
    ):
        if value:
            desired[key], has[key] = value, observed
    yield from change_texts(has, desired)
    for part in _PARTS:
        yield from _part_changes(part, getattr(before, part, None), getattr(spec, part), getattr(status, part))


def _part_changes(part: str, before: Any, desired: Any, observed: Any) -> Iterator[str]:
    """The changed fields of the spec in which the kernel differs from it."""
    if desired is None or observed is None:
        return
    comparable = {outside_name(field) for field in attrs.fields(type(observed))}
    old, new, has = ({} if each is None else flat(each) for each in (before, desired, observed))
    asked = {
        path
        for path in old.keys() | new.keys()
        if old.get(path) != new.get(path) and path.partition(".")[0].partition("[")[0] in comparable
    }
    for text in change_texts({path: has.get(path) for path in asked}, {path: new.get(path) for path in asked}):
        yield f"{part.partition('_')[0]} {text}"


def _route_key(spec: RouteSpecSpec, names: _Names) -> str:
    is_v6 = spec.family == Family.INET6
    return route_id(
        table=spec.table,
        family=spec.family,
        gateway=spec.gateway,
        dst=spec.dst,
        priority=spec.priority or (_IPV6_METRIC if is_v6 else 0),
        out_link_name=names.real(spec.out_link_name),
    )


def _route_slot(spec: RouteSpecSpec) -> str:
    priority = spec.priority or (_IPV6_METRIC if spec.family == Family.INET6 else 0)
    return route_slot(spec.family.value, spec.table.number, spec.dst, priority, spec.gateway)


def _shown_address(spec: AddressSpecSpec) -> str:
    return f"address {spec.address} on {spec.link_name}"


def _shown_route(spec: RouteSpecSpec) -> str:
    parts = [f"route {spec.dst or f'default ({spec.family})'}"]
    parts += [f"via {spec.gateway}"] if spec.gateway else []
    parts += [f"on {spec.out_link_name}"] if spec.out_link_name else []
    parts += [f"metric {spec.priority}"] if spec.priority else []
    return " ".join(parts)

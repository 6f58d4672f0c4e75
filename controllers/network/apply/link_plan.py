"""What to do next so that a link becomes as desired: one step at a time, each decided on what the kernel has then.

A logical link is made and removed by the agent. One that exists under its name but is of another kind was made by
another program, unless the agent knows that it made it; it is reported and left alone. What a spec leaves unset (MTU
0, no hardware address, no master) is not changed.
"""

from collections.abc import Container, Iterable, Mapping
from typing import TypeVar

import attrs

from nodespan.controllers.common.link_settings.link_names import NAME_HINT, link_name_fault
from nodespan.kernel.changes.link_changes import CREATABLE, LinkChange
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink, is_of_kind
from nodespan.resources.network import BridgeMaster, LinkFlags, LinkSpecSpec

V = TypeVar("V")

# What is on a parent, once and for all; the packets of a VXLAN may be larger than those that its parent carries.
_ON_A_PARENT = frozenset({"ipvlan", "macvlan", "vlan", "vxlan"})
_WITHIN_PARENTS_MTU = frozenset({"ipvlan", "macvlan", "vlan"})


@attrs.frozen
class Create:
    """Make the link, on its parent if it has one."""

    spec: LinkSpecSpec
    parent_index: int


@attrs.frozen
class Remove:
    """Remove a link, to make it again in another way or permanently."""

    index: int


@attrs.frozen
class Wait:
    """Nothing can be done until something else changes."""

    reason: str


@attrs.frozen
class Refuse:
    """Nothing will be done as long as things are as they are, which an operator should know."""

    reason: str


Existence = Create | Remove | Wait | Refuse | None


def in_order(specs: Iterable[LinkSpecSpec]) -> list[LinkSpecSpec]:
    """What others rest on comes first: masters before their members, parents before what is made on them.

    The members of a bond go by their number.
    """
    by_name = {spec.name: spec for spec in specs}

    def depth(spec: LinkSpecSpec, above: frozenset[str] = frozenset()) -> int:
        below = (by_name.get(name) for name in (spec.master, spec.parent_name) if name not in above)
        return max((depth(each, above | {spec.name}) + 1 for each in below if each is not None), default=0)

    def order(spec: LinkSpecSpec) -> tuple[int, str, int, str]:
        return (depth(spec), spec.master, spec.slave_index, spec.name)

    return sorted(by_name.values(), key=order)


def find(spec: LinkSpecSpec, lookup: LinkLookup) -> KernelLink | None:
    """The link that a spec is about: links that the agent did not make also go by their other names."""
    return lookup.real(spec.name) if spec.logical else lookup.find(spec.name)


def existence(spec: LinkSpecSpec, lookup: LinkLookup, made: Mapping[str, str]) -> Existence:
    """What to do for the link to exist as the desired kind of link; None if it does.

    `made` are the kinds of the links that the agent made or took over, by name.
    """
    link = find(spec, lookup)
    if not spec.logical:
        return Wait(f"there is no link {spec.name}") if link is None else None
    if link is None:
        return _creation(spec, lookup)
    if not is_of_kind(link, spec.kind):
        if link.status.kind and made.get(spec.name) == link.status.kind:
            return Remove(link.status.index)
        return Refuse(
            f"there is a {link.status.kind or 'physical'} link {spec.name} already, which another program made: "
            f"remove or rename it, or give the configured {spec.kind} link another name"
        )
    return Remove(link.status.index) if _is_other(spec, link, lookup) else None


def _creation(spec: LinkSpecSpec, lookup: LinkLookup) -> Existence:
    if spec.kind not in CREATABLE:
        return Refuse(f"links of kind {spec.kind or '(none)'} cannot be made, only {', '.join(sorted(CREATABLE))}")
    fault = link_name_fault(spec.name)
    if fault:
        return Refuse(f"the name of this link {fault}: {NAME_HINT}")
    if not spec.parent_name:
        return Create(spec, 0)
    parent = lookup.find(spec.parent_name)
    if parent is None:
        return Wait(f"there is no link {spec.parent_name}")
    if spec.kind != "vlan":
        return Create(spec, parent.status.index)
    if twin := next((vlan for vlan in lookup.vlans(parent.status.index) if vlan.status.vlan == spec.vlan), None):
        return Refuse(
            f"{parent.name} has VLAN {twin.status.vlan.vlan_id if twin.status.vlan else 0} already, and its name is "
            f"{twin.name}: a VLAN can have one link only, so use that name, or another VLAN"
        )
    return Create(spec, parent.status.index)


def _is_other(spec: LinkSpecSpec, link: KernelLink, lookup: LinkLookup) -> bool:
    """Whether the link differs in what cannot be changed once it is made."""
    status = link.status
    if spec.vlan is not None and status.vlan != spec.vlan:
        return True
    if spec.macvlan is not None and status.macvlan != spec.macvlan:
        return True
    if spec.ipvlan is not None and status.ipvlan != spec.ipvlan:
        return True
    if spec.vxlan is not None and status.vxlan != spec.vxlan.as_reported:
        return True
    if spec.kind in _ON_A_PARENT and spec.parent_name and not link.parent_is_elsewhere:
        parent = lookup.find(spec.parent_name)
        if parent is not None and parent.status.index != status.link_index:
            return True
    if spec.vrf_master is not None and status.vrf_master != spec.vrf_master:
        return True
    if spec.veth is not None and spec.veth.peer_name and not link.parent_is_elsewhere:
        peer = lookup.at(status.link_index)
        return peer is not None and peer.name != spec.veth.peer_name
    return False


def adjustment(spec: LinkSpecSpec, link: KernelLink, lookup: LinkLookup, deciding: Container[str]) -> LinkChange | None:
    """What to change of a link that exists; None if it is as desired, as far as its master exists.

    `deciding` are the masters that the agent decides about: their members are released if no spec makes them members.
    """
    status = link.status
    is_up = LinkFlags.UP in status.flags
    master = _desired_master(spec, link, lookup, deciding)
    hardware_addr = _differing(_own_address(spec, link, lookup), status.hardware_addr)
    if master is not None:
        # A bond takes only links that are down, and sets them up itself. It lends them its address.
        if not _is_bond(lookup.at(master)):
            return LinkChange(index=status.index, master=master)
        if is_up or hardware_addr is not None:
            return LinkChange(index=status.index, up=False if is_up else None, hardware_addr=hardware_addr)
        return LinkChange(index=status.index, master=master)
    stp, filtering = _bridge_options(link.status.bridge_master)
    desired_stp, desired_filtering = _bridge_options(spec.bridge_master)
    mtu = None if complaint(spec, link, lookup) else spec.mtu or None
    change = LinkChange(
        index=status.index,
        mtu=_differing(mtu, status.mtu),
        hardware_addr=hardware_addr,
        multicast=_differing(spec.multicast, LinkFlags.MULTICAST in status.flags),
        stp=_differing(desired_stp, stp),
        vlan_filtering=_differing(desired_filtering, filtering),
        up=_differing(spec.up, is_up),
    )
    return change or None


def complaint(spec: LinkSpecSpec, link: KernelLink, lookup: LinkLookup) -> str:
    """What of a link cannot be as desired because of the link that it is on; "" for nothing."""
    if spec.kind not in _WITHIN_PARENTS_MTU or link.parent_is_elsewhere:
        return ""
    parent = lookup.at(link.status.link_index)
    if parent is None or spec.mtu <= parent.status.mtu:
        return ""
    return (
        f"the MTU {spec.mtu} of {spec.name} is above the MTU {parent.status.mtu} of {parent.name}, which it is on: "
        f"lower it, or raise that of {parent.name}; until then it stays at {link.status.mtu}"
    )


def in_words(change: LinkChange, link: KernelLink, lookup: LinkLookup) -> str:
    """How a link differs from what is desired, in words."""
    status = link.status
    there = {
        "up": "up" if LinkFlags.UP in status.flags else "down",
        "multicast": LinkFlags.MULTICAST in status.flags,
        "master": getattr(lookup.at(status.master_index), "name", "none"),
        "mtu": status.mtu,
        "hardware_addr": status.hardware_addr,
    }
    desired = {"up": "up" if change.up else "down", "master": getattr(lookup.at(change.master or 0), "name", "none")}
    said = [
        f"{name} {there.get(name, 'differs')} instead of {desired.get(name, value)}"
        for each in change.apart()
        for name, value in attrs.asdict(each, recurse=False).items()
        if name != "index" and value not in (None, ())
    ]
    return ", ".join(said)


def _own_address(spec: LinkSpecSpec, link: KernelLink, lookup: LinkLookup) -> str | None:
    """The hardware address that a link is to have; None for whichever it has, as what its bond lends it."""
    if _is_bond(lookup.at(link.status.master_index)):
        return None
    return spec.hardware_addr.lower() or None


def _is_bond(link: KernelLink | None) -> bool:
    return link is not None and link.status.kind == "bond"


def _differing(desired: V | None, current: V | None) -> V | None:
    return None if desired == current else desired


def _bridge_options(bridge: BridgeMaster | None) -> tuple[bool | None, bool | None]:
    return (None, None) if bridge is None else (bridge.stp.enabled, bridge.vlan.filtering_enabled)


def _desired_master(spec: LinkSpecSpec, link: KernelLink, lookup: LinkLookup, deciding: Container[str]) -> int | None:
    """The index of the master that the link is to have from now on, 0 for none; None if it has the right one."""
    name = spec.master
    current = lookup.at(link.status.master_index)
    if name:
        master = lookup.find(name)
        return None if master is None or master is current else master.status.index
    return 0 if current is not None and current.name in deciding else None

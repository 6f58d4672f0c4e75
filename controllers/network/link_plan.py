"""What to do next so that a link becomes as it is wanted: one step at a time, each decided on what the kernel has then.

A logical link is made and removed by the agent. One that exists under its name but is of another kind was made by
somebody else, unless the agent knows that it made it; it is named and left alone. What a spec does not say (MTU 0, no
hardware address, no master) is left as it is.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import attrs

from controllers.network.kernel.link_changes import CREATABLE, LinkChange
from controllers.network.kernel.links import KernelLink
from controllers.network.link_lookup import LinkLookup
from resources.network import BridgeMaster, LinkFlags, LinkSpecSpec

V = TypeVar("V")


@attrs.frozen
class Create:
    """Make the link, on its parent if it has one."""

    spec: LinkSpecSpec
    parent_index: int


@attrs.frozen
class Remove:
    """Remove a link, to make it anew or for good."""

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
    """Masters before their members, the members of a bond by their number."""

    def order(spec: LinkSpecSpec) -> tuple[str, int, str]:
        master = master_name(spec)
        return (master, spec.slave_index, spec.name) if master else (spec.name, 0, "")

    return sorted(specs, key=order)


def find(spec: LinkSpecSpec, lookup: LinkLookup) -> KernelLink | None:
    """The link that a spec is about: links that the agent did not make also go by their other names."""
    return lookup.real(spec.name) if spec.logical else lookup.find(spec.name)


def is_of_kind(link: KernelLink, kind: str) -> bool:
    """Whether a link is what a spec of this kind asks for; WireGuard in a process of its own shows as `tun`."""
    return link.status.kind == kind or (kind == "wireguard" and link.status.kind == "tun")


def existence(spec: LinkSpecSpec, lookup: LinkLookup, made: Mapping[str, str]) -> Existence:
    """What to do for the link to exist as what it is wanted to be; None if it does.

    `made` tells of which kind the links are that the agent made or took over.
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
            f"there is a {link.status.kind or 'physical'} link {spec.name} already, which is somebody else's: "
            f"remove or rename it, or give the wanted {spec.kind} link another name"
        )
    return Remove(link.status.index) if _is_other(spec, link, lookup) else None


def _creation(spec: LinkSpecSpec, lookup: LinkLookup) -> Existence:
    if spec.kind not in CREATABLE:
        return Refuse(f"links of kind {spec.kind or '(none)'} cannot be made, only {', '.join(sorted(CREATABLE))}")
    if not spec.parent_name:
        return Create(spec, 0)
    parent = lookup.find(spec.parent_name)
    return Wait(f"there is no link {spec.parent_name}") if parent is None else Create(spec, parent.status.index)


def _is_other(spec: LinkSpecSpec, link: KernelLink, lookup: LinkLookup) -> bool:
    """Whether the link differs in what cannot be changed once it is made."""
    status = link.status
    if spec.vlan is not None and status.vlan != spec.vlan:
        return True
    if spec.vrf_master is not None and status.vrf_master != spec.vrf_master:
        return True
    if spec.veth is not None and spec.veth.peer_name and not link.parent_is_elsewhere:
        peer = lookup.at(status.link_index)
        return peer is None or peer.name != spec.veth.peer_name
    return False


def adjustment(
    spec: LinkSpecSpec, link: KernelLink, lookup: LinkLookup, mastered: Mapping[str, str]
) -> LinkChange | None:
    """What to change of a link that exists; None if it is as wanted, as far as its master exists.

    `mastered` tells into which masters the agent has put links, so that they are released when that is no longer said.
    """
    status = link.status
    is_up = LinkFlags.UP in status.flags
    master = _wanted_master(spec, link, lookup, mastered)
    if master is not None:
        # A bond takes only links that are down, and sets them up itself.
        bond = lookup.at(master)
        if is_up and bond is not None and bond.status.kind == "bond":
            return LinkChange(index=status.index, up=False)
        return LinkChange(index=status.index, master=master)
    stp, filtering = _bridge_options(link.status.bridge_master)
    wanted_stp, wanted_filtering = _bridge_options(spec.bridge_master)
    change = LinkChange(
        index=status.index,
        mtu=_differing(spec.mtu or None, status.mtu),
        hardware_addr=_differing(spec.hardware_addr.lower() or None, status.hardware_addr),
        multicast=_differing(spec.multicast, LinkFlags.MULTICAST in status.flags),
        stp=_differing(wanted_stp, stp),
        vlan_filtering=_differing(wanted_filtering, filtering),
        up=_differing(spec.up, is_up),
    )
    return None if change == LinkChange(index=status.index) else change


def _differing(wanted: V | None, current: V | None) -> V | None:
    return None if wanted == current else wanted


def _bridge_options(bridge: BridgeMaster | None) -> tuple[bool | None, bool | None]:
    return (None, None) if bridge is None else (bridge.stp.enabled, bridge.vlan.filtering_enabled)


def _wanted_master(spec: LinkSpecSpec, link: KernelLink, lookup: LinkLookup, mastered: Mapping[str, str]) -> int | None:
    """The index of the master that the link is to have from now on, 0 for none; None if it has the right one."""
    name = master_name(spec)
    current = lookup.at(link.status.master_index)
    if name:
        master = lookup.find(name)
        return None if master is None or master is current else master.status.index
    ours = mastered.get(spec.name)
    return 0 if ours is not None and current is not None and current.name == ours else None


def master_name(spec: LinkSpecSpec) -> str:
    """The bond, bridge or VRF that the link is to belong to, "" for none."""
    if spec.master_name:
        return spec.master_name
    if spec.bridge_slave is not None:
        return spec.bridge_slave.master_name
    return spec.vrf_slave.master_name if spec.vrf_slave is not None else ""

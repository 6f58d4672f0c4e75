"""Which options of a bond to write, and what has to be done to the bond for that.

What a configuration leaves open has the driver's default, said out loud, so that a bond does not depend on what it was
before. Options that mean nothing in the bond's mode are neither compared nor sent, for the driver refuses them.
"""

from ipaddress import ip_address
from typing import Any

import attrs

from nodespan.kernel.changes.bond_options import BY_FIELD, OPTIONS, BondOption, BondValue
from nodespan.kernel.changes.link_changes import LinkChange
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink
from nodespan.resources.network import BondMaster, LinkFlags

Options = tuple[tuple[str, BondValue], ...]

_DELAYS = ("updelay", "downdelay", "peer_notify_delay")
_TARGETS = ("arp_ip_targets", "ns_ip6_targets")
_LACP_PRIORITY = 65535
_MISSED = 2


def filled(bond: BondMaster) -> BondMaster:
    """The bond with what it leaves open, and with delays as the driver keeps them: in whole turns of `miimon`.

    Raises ValueError for a target that is no address.
    """
    turn = bond.miimon or 1
    return attrs.evolve(
        bond,
        updelay=bond.updelay // turn * turn,
        downdelay=bond.downdelay // turn * turn,
        peer_notify_delay=bond.peer_notify_delay // turn * turn,
        use_carrier=True,
        resend_igmp=bond.resend_igmp or 1,
        lp_interval=bond.lp_interval or 1,
        packets_per_slave=bond.packets_per_slave or 1,
        num_peer_notif=bond.num_peer_notif or 1,
        ad_actor_sys_prio=bond.ad_actor_sys_prio or _LACP_PRIORITY,
        missed_max=bond.missed_max or _MISSED,
        arp_ip_targets=_canonical(bond.arp_ip_targets),
        ns_ip6_targets=_canonical(bond.ns_ip6_targets),
    )


def creation(bond: BondMaster, lookup: LinkLookup) -> Options:
    """All options of a new bond. Raises ValueError for an invalid target address."""
    desired = filled(bond)
    if bond.primary:
        primary = lookup.find(bond.primary)
        desired = attrs.evolve(desired, primary_index=0 if primary is None else primary.status.index)
    options = {option.field: getattr(desired, option.field) for option in OPTIONS if _applies(option, desired)}
    if not desired.primary_index:
        options.pop("primary_index", None)
    return _in_order(options)


def changes(bond: BondMaster, link: KernelLink, lookup: LinkLookup) -> Options:
    """The options that differ from those that a bond has. Raises ValueError for a target that is no address."""
    desired, current = filled(bond), link.status.bond_master
    if current is None:
        return ()
    found = {
        option.field: getattr(desired, option.field)
        for option in OPTIONS
        if _applies(option, desired) and _differs(option.field, desired, current)
    }
    if "miimon" in found and desired.miimon:
        # The driver keeps delays as numbers of turns, so they change with it.
        found |= {name: getattr(desired, name) for name in _DELAYS}
    primary = _primary(bond, link, lookup)
    found.pop("primary_index", None)
    if primary is not None and primary != current.primary_index and _applies(BY_FIELD["primary_index"], desired):
        found["primary_index"] = primary
    return _in_order(found)


def steps(
    bond: BondMaster, link: KernelLink, lookup: LinkLookup, members: tuple[KernelLink, ...]
) -> tuple[LinkChange, ...]:
    """How a bond gets its options: as it is if the driver allows it, else set down, or without its members.

    It comes up, and its members come back, as their own specs say.
    """
    options = changes(bond, link, lookup)
    if not options:
        return ()
    index = link.status.index
    needs = [BY_FIELD[field] for field, _ in options]
    before: list[LinkChange] = []
    if any(option.needs_no_members for option in needs):
        before += [LinkChange(index=member.status.index, master=0) for member in members]
    if any(option.needs_down for option in needs) and LinkFlags.UP in link.status.flags:
        before.append(LinkChange(index=index, up=False))
    return (*before, LinkChange(index=index, bond=options))


def blindness(name: str, bond: BondMaster) -> str:
    """What an operator should know of a bond that does not watch its members; "" if it does."""
    if bond.miimon or bond.arp_interval:
        return ""
    hint = "set miimon: 100"
    if bond.mode in BY_FIELD["arp_interval"].modes:
        hint += ", or arpInterval with targets"
    return f"{name} watches neither the carrier nor ARP targets of its members: it never notices a dead one; {hint}"


def in_words(options: Options, current: BondMaster | None) -> str:
    """What a bond has in the place of these options."""
    if current is None:
        return ""
    differing = ((field, getattr(current, field), value) for field, value in options)
    return ", ".join(
        f"{name} {_text(seen)} instead of {_text(value)}" for name, seen, value in differing if seen != value
    )


def _applies(option: BondOption, desired: BondMaster) -> bool:
    if option.field in _DELAYS and not desired.miimon:
        return False
    return desired.mode in option.modes


def _differs(field: str, desired: BondMaster, current: BondMaster) -> bool:
    there = getattr(current, field)
    if field in _TARGETS:
        return set(getattr(desired, field)) != set(there)
    if field == "missed_max" and not there:
        # No bond has 0: this kernel does not know the option.
        return False
    return bool(getattr(desired, field) != there)


def _primary(bond: BondMaster, link: KernelLink, lookup: LinkLookup) -> int | None:
    """The index that the primary is to have; None if nothing is to be said of it now."""
    if not bond.primary:
        return bond.primary_index
    primary = lookup.find(bond.primary)
    # The driver takes an index that it does not know for none.
    if primary is None or primary.status.master_index != link.status.index:
        return None
    return primary.status.index


def _canonical(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(ip_address(text)) for text in addresses)


def _in_order(options: dict[str, BondValue]) -> Options:
    return tuple((option.field, options[option.field]) for option in OPTIONS if option.field in options)


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)

"""Bonds, in the main document and in documents of their own: which options go with which mode."""

from collections.abc import Iterator

from nodespan.controllers.common.ip.notation import parse_ip
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, warn
from nodespan.controllers.config.rules.base import RuleSet, required
from nodespan.controllers.config.rules.links import check_hardware_addr, check_made_link
from nodespan.resources.config.bond import Bond, BondMode
from nodespan.resources.config.links import (
    BondConfig,
)

MODES_WITH_PRIMARY = (BondMode.ACTIVE_BACKUP, BondMode.BALANCE_TLB, BondMode.BALANCE_ALB)
_ADAPTIVE = (BondMode.BALANCE_TLB, BondMode.BALANCE_ALB)
_MODES_WITH_ARP = tuple(each for each in BondMode if each not in (BondMode.LACP, *_ADAPTIVE))

RULES = RuleSet()


def check_bond(bond: Bond) -> Iterator[Finding]:
    """Which options go with which mode."""
    mode = bond.mode or BondMode.BALANCE_RR
    for key, delay in (("updelay", bond.updelay), ("downdelay", bond.downdelay)):
        if delay and not bond.miimon:
            message = f"bond.{key} needs bond.miimon"
            yield at(key, message=message, hint="set miimon, for example to 100", beside="miimon")
        elif delay and bond.miimon and delay % bond.miimon:
            yield at(key, message=f"bond.{key} is not a multiple of bond.miimon ({bond.miimon})")
    if bond.arp_ip_target:
        yield at("arpIPTarget", message="bond.arpIPTarget is not supported", hint="use a BondConfig document")
    if bond.ad_actor_system:
        yield at("adActorSystem", message="bond.adActorSystem is not supported")
    # The option, its value, and the modes that support it.
    bound: tuple[tuple[str, object, tuple[BondMode, ...]], ...] = (
        ("lacpRate", bond.lacp_rate, (BondMode.LACP,)),
        ("adActorSysPrio", bond.ad_actor_sys_prio, (BondMode.LACP,)),
        ("adUserPortKey", bond.ad_user_port_key, (BondMode.LACP,)),
        ("arpValidate", bond.arp_validate, _MODES_WITH_ARP),
        ("arpInterval", bond.arp_interval, _MODES_WITH_ARP),
        ("primary", bond.primary, MODES_WITH_PRIMARY),
        ("packetsPerSlave", (bond.packets_per_slave or 0) > 1, (BondMode.BALANCE_RR,)),
        ("tlbDynamicLb", bond.tlb_dynamic_lb, _ADAPTIVE),
    )
    for key, value, modes in bound:
        if value and mode not in modes:
            message = f"bond.{key} is not available in mode {mode}"
            yield at(key, message=message, hint=f"only in {', '.join(modes)}", beside="mode")


def check_monitoring(key: str, name: str, mode: BondMode, bond: Bond | BondConfig) -> Iterator[Finding]:
    """Whether a bond notices that a link is dead; in modes that cannot probe by ARP the kernel monitors by itself."""
    if mode in _MODES_WITH_ARP and not bond.miimon and not bond.arp_interval:
        message = f"the bond {quote(name)} never notices that one of its links is dead"
        yield warn(key, message=message, hint="set miimon, for example to 100")


@RULES.document(BondConfig)
def check_bond_config(bond: BondConfig) -> Iterator[Finding]:
    """BondConfig."""
    yield from check_made_link(bond)
    yield from check_hardware_addr(bond.hardware_addr)
    yield from required(bond, ("links", bond.links), ("bondMode", bond.bond_mode))
    if bond.primary and bond.primary not in bond.links:
        yield at("primary", message=f"primary {quote(bond.primary)} is not one of links")
    if bond.primary and bond.bond_mode is not None and bond.bond_mode not in MODES_WITH_PRIMARY:
        yield at(
            "primary",
            message=f"primary is not available in mode {bond.bond_mode}",
            hint=f"only in {', '.join(MODES_WITH_PRIMARY)}",
        )
    for key, targets in (("arpIpTargets", bond.arp_ip_targets), ("nsIp6Targets", bond.ns_ip6_targets)):
        for index, target in enumerate(targets):
            ip = parse_ip(target)
            wanted = 4 if key == "arpIpTargets" else 6
            if ip is None or ip.version != wanted:
                yield at(key, index, message=f"{quote(target)} is not an IPv{wanted} address")
    if bond.bond_mode is not None:
        yield from check_monitoring("bondMode", bond.name, bond.bond_mode, bond)
    if bond.bond_mode is BondMode.LACP:
        for key, value in (("miimon", bond.miimon), ("updelay", bond.updelay), ("downdelay", bond.downdelay)):
            if value is None:
                yield warn(
                    key,
                    message=f"a bond in mode 802.3ad should set {key}",
                    hint="without link monitoring a dead link stays in use",
                )

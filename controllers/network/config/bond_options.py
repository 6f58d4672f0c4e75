"""Bond options, in either spelling of the configuration, as a bond has them."""

from typing import Any

from nodespan.controllers.common.link_settings.bond_defaults import bond_master
from nodespan.resources.config.bond import Bond
from nodespan.resources.config.links import BondConfig
from nodespan.resources.network import BondMaster, enums

# Those that both spellings share, or whose names differ only there.
_CHOICES: dict[str, type[enums.KernelEnum]] = {
    "xmit_hash_policy": enums.XmitHashPolicy,
    "lacp_rate": enums.LACPRate,
    "arp_validate": enums.ARPValidate,
    "arp_all_targets": enums.ARPAllTargets,
    "primary_reselect": enums.PrimaryReselect,
    "fail_over_mac": enums.FailOverMAC,
    "ad_select": enums.ADSelect,
    "ad_lacp_active": enums.ADLACPActive,
}
_PLAIN = (
    *("miimon", "updelay", "downdelay", "arp_interval", "resend_igmp", "min_links", "lp_interval"),
    *("packets_per_slave", "num_peer_notif", "all_slaves_active", "use_carrier", "ad_actor_sys_prio"),
    *("ad_user_port_key", "primary", "missed_max", "arp_ip_targets", "ns_ip6_targets"),
)
# The name of an option that is called otherwise in a spelling.
_RENAMED_IN_DEVICES = {"tlb_dynamic_lb": "tlb_logical_lb", "peer_notify_delay": "peer_notify_delay"}
_RENAMED_IN_DOCUMENTS = {"tlb_logical_lb": "tlb_logical_lb", "peer_notif_delay": "peer_notify_delay"}


def of_device(bond: Bond) -> BondMaster:
    """The options of a bond of the main document."""
    return _of(bond, bond.mode, _RENAMED_IN_DEVICES)


def of_document(bond: BondConfig) -> BondMaster:
    """The options of a BondConfig."""
    return _of(bond, bond.bond_mode, _RENAMED_IN_DOCUMENTS)


def _of(bond: Bond | BondConfig, mode: str | None, renamed: dict[str, str]) -> BondMaster:
    given: dict[str, Any] = {}
    for name in _PLAIN:
        given[name] = getattr(bond, name, None)
    for source, name in renamed.items():
        given[name] = getattr(bond, source)
    for name, choice in _CHOICES.items():
        text = getattr(bond, name, None)
        given[name] = None if text is None else choice(str(text.value))
    chosen = enums.BondMode.ROUND_ROBIN if mode is None else enums.BondMode(str(mode))
    return bond_master(chosen, {name: value for name, value in given.items() if value not in (None, ())})

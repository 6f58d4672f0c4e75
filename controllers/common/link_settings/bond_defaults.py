"""A bond's options: those that are configured, and the kernel's defaults for the others."""

from typing import Any

from nodespan.resources.network import BondMaster, enums

# The kernel's defaults that are not zero.
_DEFAULTS: dict[str, Any] = {
    "use_carrier": True,
    "resend_igmp": 1,
    "lp_interval": 1,
    "packets_per_slave": 1,
    "num_peer_notif": 1,
    "tlb_logical_lb": 1,
    "ad_lacp_active": enums.ADLACPActive.ON,
}
_LACP_DEFAULTS: dict[str, Any] = {"ad_actor_sys_prio": 65535}
_PROBED_DEFAULTS: dict[str, Any] = {"missed_max": 2}
_NOT_PROBED = (enums.BondMode.IEEE8023AD, enums.BondMode.TLB, enums.BondMode.ALB)


def bond_master(mode: enums.BondMode, given: dict[str, Any]) -> BondMaster:
    """The options of a bond: those given, and the kernel's defaults for the others."""
    options = dict(_DEFAULTS)
    if mode == enums.BondMode.IEEE8023AD:
        options |= _LACP_DEFAULTS
    if mode not in _NOT_PROBED:
        options |= _PROBED_DEFAULTS
    return BondMaster(mode=mode, **(options | given))

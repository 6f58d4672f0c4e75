"""The options of the kernel's bonding driver: their numbers, and the modes and states in which it accepts them.

Most can be changed while traffic flows. For some the bond must be down, for two it must have no members; the driver
refuses them otherwise, and it refuses options that do not apply to the bond's mode.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import attrs

from nodespan.kernel.rtnetlink import attribute, nest, number8, number16, number32
from nodespan.resources.network.enums import BondMode, KernelEnum

_ALL = frozenset(BondMode)
_LACP = frozenset({BondMode.IEEE8023AD})
_BALANCED = frozenset({BondMode.TLB, BondMode.ALB})
_WITH_PRIMARY = _BALANCED | {BondMode.ACTIVE_BACKUP}
# These monitor their members by carrier only.
_WITH_ARP = _ALL - _BALANCED - _LACP


@attrs.frozen(kw_only=True)
class BondOption:
    """One option: the field of a BondMaster, the kernel's number and size in bytes (0: a list of addresses).

    `needs_down` and `needs_no_members` are the states of the bond in which it can be changed.
    """

    field: str
    number: int
    size: int
    modes: frozenset[BondMode] = _ALL
    needs_down: bool = False
    needs_no_members: bool = False


# In the order in which the driver applies the options of one message.
OPTIONS = (
    BondOption(field="mode", number=1, size=1, needs_down=True, needs_no_members=True),
    BondOption(field="miimon", number=3, size=4),
    BondOption(field="updelay", number=4, size=4),
    BondOption(field="downdelay", number=5, size=4),
    BondOption(field="peer_notify_delay", number=28, size=4),
    BondOption(field="use_carrier", number=6, size=1),
    BondOption(field="arp_interval", number=7, size=4, modes=_WITH_ARP),
    BondOption(field="arp_ip_targets", number=8, size=0, modes=_WITH_ARP),
    BondOption(field="ns_ip6_targets", number=31, size=0, modes=_WITH_ARP),
    BondOption(field="arp_validate", number=9, size=4, modes=_WITH_ARP),
    BondOption(field="arp_all_targets", number=10, size=4),
    BondOption(field="primary_index", number=11, size=4, modes=_WITH_PRIMARY),
    BondOption(field="primary_reselect", number=12, size=1),
    BondOption(field="fail_over_mac", number=13, size=1, needs_no_members=True),
    BondOption(field="xmit_hash_policy", number=14, size=1),
    BondOption(field="resend_igmp", number=15, size=4),
    BondOption(field="num_peer_notif", number=16, size=1),
    BondOption(field="all_slaves_active", number=17, size=1),
    BondOption(field="min_links", number=18, size=4),
    BondOption(field="lp_interval", number=19, size=4),
    BondOption(field="packets_per_slave", number=20, size=4, modes=frozenset({BondMode.ROUND_ROBIN})),
    BondOption(field="ad_lacp_active", number=29, size=1, modes=_LACP, needs_down=True),
    BondOption(field="lacp_rate", number=21, size=1, modes=_LACP, needs_down=True),
    BondOption(field="ad_select", number=22, size=1, needs_down=True),
    BondOption(field="ad_actor_sys_prio", number=24, size=2, modes=_LACP, needs_down=True),
    BondOption(field="ad_user_port_key", number=25, size=2, modes=_LACP, needs_down=True),
    BondOption(field="tlb_logical_lb", number=27, size=1, modes=_BALANCED, needs_down=True),
    BondOption(field="missed_max", number=30, size=1, modes=_WITH_ARP),
)
BY_FIELD = {option.field: option for option in OPTIONS}

# A value of an option: a number, a choice, or addresses.
BondValue = int | KernelEnum | tuple[str, ...]


def encode(field: str, value: Any) -> bytes:
    """The attribute that sets an option. Raises ValueError (invalid address) and struct.error (number too large)."""
    option = BY_FIELD[field]
    if option.size == 0:
        return nest(option.number, *_addresses(value))
    number = value.number if isinstance(value, KernelEnum) else int(value)
    return {1: number8, 2: number16, 4: number32}[option.size](option.number, number)


def _addresses(texts: Iterable[str]) -> Iterable[bytes]:
    return (attribute(place, ip_address(text).packed) for place, text in enumerate(texts))

"""Bonding options, in the spelling of the main document and in that of BondConfig.

The members of each choice stand in the order of the kernel's numbers, from 0.
"""

import enum

import attrs

from nodespan.resources.config.notation import Unsigned8, Unsigned16, Unsigned32
from nodespan.resources.config.selector import DeviceSelector
from nodespan.runtime.resource import wire


class BondMode(enum.StrEnum):
    """How a bond uses its links."""

    BALANCE_RR = "balance-rr"
    ACTIVE_BACKUP = "active-backup"
    BALANCE_XOR = "balance-xor"
    BROADCAST = "broadcast"
    LACP = "802.3ad"
    BALANCE_TLB = "balance-tlb"
    BALANCE_ALB = "balance-alb"


class XmitHashPolicy(enum.StrEnum):
    """Which fields of a packet select the link that carries it."""

    LAYER2 = "layer2"
    LAYER34 = "layer3+4"
    LAYER23 = "layer2+3"
    ENCAP23 = "encap2+3"
    ENCAP34 = "encap3+4"


class LacpRate(enum.StrEnum):
    """The rate at which the LACP partner is requested to send."""

    SLOW = "slow"
    FAST = "fast"


class ArpValidate(enum.StrEnum):
    """Which ARP probes and replies are validated or filtered."""

    NONE = "none"
    ACTIVE = "active"
    BACKUP = "backup"
    ALL = "all"
    FILTER = "filter"
    FILTER_ACTIVE = "filter-active"
    FILTER_BACKUP = "filter-backup"


class ArpAllTargets(enum.StrEnum):
    """Whether one reachable ARP target is enough."""

    ANY = "any"
    ALL = "all"


class PrimaryReselect(enum.StrEnum):
    """When the primary link takes over again."""

    ALWAYS = "always"
    BETTER = "better"
    FAILURE = "failure"


class FailOverMac(enum.StrEnum):
    """How MAC addresses change at a failover."""

    NONE = "none"
    ACTIVE = "active"
    FOLLOW = "follow"


class AdSelect(enum.StrEnum):
    """How the active aggregator is selected."""

    STABLE = "stable"
    BANDWIDTH = "bandwidth"
    COUNT = "count"


class AdLacpActive(enum.StrEnum):
    """Whether LACP frames are sent without a request."""

    OFF = "off"
    ON = "on"


@attrs.frozen(kw_only=True)
class Bond:
    """`bond` of a device. None is unset, which leaves the choice to the kernel. Times in milliseconds."""

    interfaces: tuple[str, ...] = ()
    device_selectors: tuple[DeviceSelector, ...] = ()
    mode: BondMode | None = None
    xmit_hash_policy: XmitHashPolicy | None = None
    lacp_rate: LacpRate | None = None
    arp_validate: ArpValidate | None = None
    arp_all_targets: ArpAllTargets | None = None
    primary: str = ""
    primary_reselect: PrimaryReselect | None = None
    fail_over_mac: FailOverMac | None = None
    ad_select: AdSelect | None = None
    miimon: Unsigned32 | None = None
    updelay: Unsigned32 | None = None
    downdelay: Unsigned32 | None = None
    arp_interval: Unsigned32 | None = None
    resend_igmp: Unsigned32 | None = None
    min_links: Unsigned32 | None = None
    lp_interval: Unsigned32 | None = None
    packets_per_slave: Unsigned32 | None = None
    num_peer_notif: Unsigned8 | None = None
    tlb_dynamic_lb: Unsigned8 | None = None
    all_slaves_active: Unsigned8 | None = None
    use_carrier: bool | None = None
    ad_actor_sys_prio: Unsigned16 | None = None
    ad_user_port_key: Unsigned16 | None = None
    peer_notify_delay: Unsigned32 | None = None
    # Both are part of the format, and refused by the validation.
    arp_ip_target: tuple[str, ...] = attrs.field(default=(), metadata=wire("arpIPTarget"))
    ad_actor_system: str = ""

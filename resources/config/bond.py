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
    """`bond` of a device. What is unset is left to the kernel."""

    interfaces: tuple[str, ...] = ()
    """The names of its links."""
    device_selectors: tuple[DeviceSelector, ...] = ()
    """Selectors of its links, in place of names."""
    mode: BondMode | None = None
    """How the bond uses its links."""
    xmit_hash_policy: XmitHashPolicy | None = None
    """Which fields of a packet select the link that carries it."""
    lacp_rate: LacpRate | None = None
    """The rate at which the LACP partner is requested to send."""
    arp_validate: ArpValidate | None = None
    """Which ARP probes and replies are validated or filtered."""
    arp_all_targets: ArpAllTargets | None = None
    """Whether one reachable ARP target is enough."""
    primary: str = ""
    """The name of the link that is preferred."""
    primary_reselect: PrimaryReselect | None = None
    """When the primary link takes over again."""
    fail_over_mac: FailOverMac | None = None
    """How MAC addresses change at a failover."""
    ad_select: AdSelect | None = None
    """How the active aggregator is selected."""
    miimon: Unsigned32 | None = None
    """How often the carrier of the links is checked, in milliseconds."""
    updelay: Unsigned32 | None = None
    """How long a link must have its carrier before it is used, in milliseconds."""
    downdelay: Unsigned32 | None = None
    """How long a link must lack its carrier before it is left, in milliseconds."""
    arp_interval: Unsigned32 | None = None
    """How often ARP targets are probed, in milliseconds."""
    resend_igmp: Unsigned32 | None = None
    """How many IGMP reports are sent after a failover."""
    min_links: Unsigned32 | None = None
    """How many links must be up for the bond to have a carrier."""
    lp_interval: Unsigned32 | None = None
    """How often learning packets are sent to the switch, in seconds."""
    packets_per_slave: Unsigned32 | None = None
    """How many packets go over a link before the next one is used, in mode balance-rr."""
    num_peer_notif: Unsigned8 | None = None
    """How many times neighbours are notified after a failover."""
    tlb_dynamic_lb: Unsigned8 | None = None
    """Whether flows are rebalanced in mode balance-tlb: 1 or 0."""
    all_slaves_active: Unsigned8 | None = None
    """Whether duplicates that arrive on inactive links are delivered: 1 or 0."""
    use_carrier: bool | None = None
    """Whether the carrier is taken from the driver's notifications."""
    ad_actor_sys_prio: Unsigned16 | None = None
    """The system priority for LACP."""
    ad_user_port_key: Unsigned16 | None = None
    """The upper ten bits of the port key for LACP."""
    peer_notify_delay: Unsigned32 | None = None
    """The time between notifications of neighbours, in milliseconds."""
    # Both are part of the format, and refused by the validation.
    arp_ip_target: tuple[str, ...] = attrs.field(default=(), metadata=wire("arpIPTarget"))
    """The addresses to probe. Part of the format, and refused by the validation."""
    ad_actor_system: str = ""
    """The system address for LACP. Part of the format, and refused by the validation."""

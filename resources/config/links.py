"""The documents that describe links. All of them share the fields of `CommonLink`; MTU 0 leaves the link's own."""

import datetime
import enum
from typing import Literal

import attrs

from nodespan.resources.config.bond import (
    AdLacpActive,
    AdSelect,
    ArpAllTargets,
    ArpValidate,
    BondMode,
    FailOverMac,
    LacpRate,
    PrimaryReselect,
    XmitHashPolicy,
)
from nodespan.resources.config.device import Stp
from nodespan.resources.config.notation import Unsigned8, Unsigned16, Unsigned32
from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class LinkAddress:
    """An address of a link."""

    address: str = ""
    """The address with its prefix length."""
    route_priority: Unsigned32 = 0
    """The metric of the route that comes with the address; 0 for the kernel's choice."""


@attrs.frozen(kw_only=True)
class LinkRoute:
    """A route over the link."""

    destination: str = ""
    """The destination; "" is the default route."""
    gateway: str = ""
    """The next hop; "" makes a route of link scope."""
    source: str = ""
    """The preferred source address."""
    metric: Unsigned32 = 0
    """The metric; 0 stands for 1024."""
    mtu: Unsigned32 = 0
    """The MTU of the route, in bytes; 0 leaves it unset."""
    table: str = ""
    """The routing table, by name or number; "" is the main table."""


@attrs.frozen(kw_only=True)
class LinkSettings:
    """The settings of any link."""

    name: str = ""
    """The name of the link."""
    up: bool = True
    """Whether the link is set up."""
    mtu: Unsigned32 = 0
    """The MTU in bytes; 0 leaves the link's own."""
    multicast: bool | None = None
    """Whether the link carries multicast; unset leaves the link's own."""
    addresses: tuple[LinkAddress, ...] = ()
    """The addresses of the link."""
    routes: tuple[LinkRoute, ...] = ()
    """Routes over the link."""


@attrs.frozen(kw_only=True)
class CommonLink(LinkSettings):
    """The fields of every link document."""

    api_version: Literal["v1alpha1"] = "v1alpha1"


@attrs.frozen(kw_only=True)
class LinkConfig(CommonLink):
    """A link that exists without nodespan."""

    kind: Literal["LinkConfig"] = "LinkConfig"


@attrs.frozen(kw_only=True)
class BondConfig(CommonLink):
    """A bond over links. What is unset is left to the kernel."""

    kind: Literal["BondConfig"] = "BondConfig"
    links: tuple[str, ...] = ()
    """The names of its links."""
    bond_mode: BondMode | None = None
    """How the bond uses its links."""
    hardware_addr: str = ""
    """The hardware address of the bond, "" for that of its first link."""
    miimon: Unsigned32 | None = None
    """How often the carrier of the links is checked, in milliseconds."""
    updelay: Unsigned32 | None = None
    """How long a link must have its carrier before it is used, in milliseconds."""
    downdelay: Unsigned32 | None = None
    """How long a link must lack its carrier before it is left, in milliseconds."""
    use_carrier: bool | None = None
    """Whether the carrier is taken from the driver's notifications."""
    xmit_hash_policy: XmitHashPolicy | None = None
    """Which fields of a packet select the link that carries it."""
    arp_interval: Unsigned32 | None = None
    """How often ARP targets are probed, in milliseconds."""
    arp_ip_targets: tuple[str, ...] = ()
    """The IPv4 addresses to probe."""
    ns_ip6_targets: tuple[str, ...] = ()
    """The IPv6 addresses to probe."""
    arp_validate: ArpValidate | None = None
    """Which ARP probes and replies are validated or filtered."""
    arp_all_targets: ArpAllTargets | None = None
    """Whether one reachable ARP target is enough."""
    lacp_rate: LacpRate | None = None
    """The rate at which the LACP partner is requested to send."""
    fail_over_mac: FailOverMac | None = None
    """How MAC addresses change at a failover."""
    ad_select: AdSelect | None = None
    """How the active aggregator is selected."""
    ad_actor_sys_prio: Unsigned16 | None = None
    """The system priority for LACP."""
    ad_user_port_key: Unsigned16 | None = None
    """The upper ten bits of the port key for LACP."""
    ad_lacp_active: AdLacpActive | None = attrs.field(default=None, metadata=wire("adLACPActive"))
    """Whether LACP frames are sent without a request."""
    primary: str = ""
    """The name of the link that is preferred."""
    primary_reselect: PrimaryReselect | None = None
    """When the primary link takes over again."""
    resend_igmp: Unsigned32 | None = attrs.field(default=None, metadata=wire("resendIGMP"))
    """How many IGMP reports are sent after a failover."""
    min_links: Unsigned32 | None = None
    """How many links must be up for the bond to have a carrier."""
    lp_interval: Unsigned32 | None = None
    """How often learning packets are sent to the switch, in seconds."""
    packets_per_slave: Unsigned32 | None = None
    """How many packets go over a link before the next one is used, in mode balance-rr."""
    num_peer_notif: Unsigned8 | None = None
    """How many times neighbours are notified after a failover."""
    tlb_logical_lb: Unsigned8 | None = None
    """Whether flows are rebalanced in mode balance-tlb: 1 or 0."""
    all_slaves_active: Unsigned8 | None = None
    """Whether duplicates that arrive on inactive links are delivered: 1 or 0."""
    peer_notif_delay: Unsigned32 | None = None
    """The time between notifications of neighbours, in milliseconds."""
    missed_max: Unsigned8 | None = None
    """How many ARP probes in a row may be missed before a link is down."""


class VlanMode(enum.StrEnum):
    """The protocol that carries the VLAN tag."""

    DOT1Q = "802.1q"
    DOT1AD = "802.1ad"


@attrs.frozen(kw_only=True)
class VLANConfig(CommonLink):
    """A VLAN on another link."""

    kind: Literal["VLANConfig"] = "VLANConfig"
    vlan_id: Unsigned16 = attrs.field(default=0, metadata=wire("vlanID"))
    """The number of the VLAN, from 1 to 4094."""
    vlan_mode: VlanMode = VlanMode.DOT1Q
    """The protocol that carries the tag."""
    parent: str = ""
    """The name of the link below."""


@attrs.frozen(kw_only=True)
class WireguardPeer:
    """A WireGuard peer."""

    public_key: str = ""
    """The public key of the peer, in base64."""
    preshared_key: str = attrs.field(default="", repr=False)
    """A secret that both sides share in addition, in base64; "" for none."""
    endpoint: str = ""
    """Where the peer is, as `address:port`; "" for a peer that connects first."""
    persistent_keepalive_interval: datetime.timedelta = datetime.timedelta()
    """How often a packet is sent that keeps mappings of NAT open; 0 for never."""
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))
    """The networks that are routed to the peer, and that it may send from."""


@attrs.frozen(kw_only=True)
class WireguardConfig(CommonLink):
    """A WireGuard link."""

    kind: Literal["WireguardConfig"] = "WireguardConfig"
    private_key: str = attrs.field(default="", repr=False)
    """The private key of the link, in base64."""
    listen_port: Unsigned16 = 0
    """The UDP port; 0 for any."""
    firewall_mark: Unsigned32 = 0
    """The mark of the link's own packets; 0 for none."""
    peers: tuple[WireguardPeer, ...] = ()
    """The peers."""


@attrs.frozen(kw_only=True)
class VlanFiltering:
    """Whether the bridge filters by VLAN."""

    filtering: bool = False
    """Whether it is on."""


@attrs.frozen(kw_only=True)
class BridgeConfig(CommonLink):
    """A bridge over links."""

    kind: Literal["BridgeConfig"] = "BridgeConfig"
    hardware_addr: str = ""
    """The hardware address of the bridge, "" for the kernel's choice."""
    links: tuple[str, ...] = ()
    """The names of the links that are its ports."""
    stp: Stp | None = None
    """The spanning tree protocol."""
    vlan: VlanFiltering | None = None
    """VLAN filtering."""


@attrs.frozen(kw_only=True)
class DummyLinkConfig(CommonLink):
    """A link that leads nowhere, to hold addresses."""

    kind: Literal["DummyLinkConfig"] = "DummyLinkConfig"
    hardware_addr: str = ""
    """The hardware address, "" for the kernel's choice."""


@attrs.frozen(kw_only=True)
class VRFConfig(CommonLink):
    """A routing domain of its own over links."""

    kind: Literal["VRFConfig"] = "VRFConfig"
    hardware_addr: str = ""
    """The hardware address, "" for the kernel's choice."""
    links: tuple[str, ...] = ()
    """The names of the links that belong to it."""
    table: str = ""
    """The number of its routing table."""


@attrs.frozen(kw_only=True)
class VethPeer(LinkSettings):
    """The other end of a pair of virtual links."""


@attrs.frozen(kw_only=True)
class VethConfig(CommonLink):
    """A pair of virtual links: what one sends the other receives."""

    kind: Literal["VethConfig"] = "VethConfig"
    peer: VethPeer = VethPeer()
    """The other end, with settings of its own."""


class MacvlanMode(enum.StrEnum):
    """Whom a macvlan can reach of those on the same parent."""

    PRIVATE = "private"
    VEPA = "vepa"
    BRIDGE = "bridge"
    PASSTHRU = "passthru"
    SOURCE = "source"


@attrs.frozen(kw_only=True)
class MacVLANConfig(CommonLink):
    """A macvlan on another link: a further hardware address there."""

    kind: Literal["MacVLANConfig"] = "MacVLANConfig"
    mode: MacvlanMode = MacvlanMode.BRIDGE
    """Whom it can reach of those on the same parent."""
    parent: str = ""
    """The name of the link below."""
    hardware_addr: str = ""
    """The hardware address, "" for the kernel's choice."""


@attrs.frozen(kw_only=True)
class VXLANConfig(CommonLink):
    """A VXLAN over another link."""

    kind: Literal["VXLANConfig"] = "VXLANConfig"
    id: Unsigned32 = 0
    """The number of the network (VNI)."""
    local: str = ""
    """The address that packets are sent from, "" for the kernel's choice."""
    group: str = ""
    """The multicast group that packets are sent to, "" for none."""
    parent: str = ""
    """The name of the link below."""
    port: Unsigned16 | None = None
    """The UDP port; unset stands for 4789."""
    learning: bool | None = None
    """Whether hardware addresses are learned from packets; unset leaves it to the kernel."""
    hardware_addr: str = ""
    """The hardware address, "" for the kernel's choice."""


@attrs.frozen(kw_only=True)
class LinkSelector:
    """What selects links."""

    match: str = ""
    """A CEL expression over `link`."""


@attrs.frozen(kw_only=True)
class LinkAliasConfig:
    """An alias for links."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["LinkAliasConfig"] = "LinkAliasConfig"
    name: str = ""
    """The alias, or a name like `net%d` for each of several links."""
    selector: LinkSelector = LinkSelector()
    """What selects the link, or links."""

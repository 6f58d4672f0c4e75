"""LinkStatus: a network interface as observed, from kernel, driver and bus. The id is the interface's name."""

import datetime
import ipaddress

import attrs

from nodespan.resources.network.enums import (
    ADLACPActive,
    ADSelect,
    ARPAllTargets,
    ARPValidate,
    BondMode,
    Duplex,
    FailOverMAC,
    IPVLANFlags,
    IPVLANMode,
    LACPRate,
    LinkFlags,
    LinkType,
    MacvlanMode,
    OperationalState,
    Port,
    PrimaryReselect,
    RoutingTable,
    VLANProtocol,
    XmitHashPolicy,
)
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

# RFC 8200, section 5. Below it Linux has no IPv6 on a link, and refuses IPv6 addresses and routes there.
IPV6_MINIMUM_MTU = 1280
# The port of the standard (RFC 7348). The kernel's default is an older one.
VXLAN_PORT = 4789

_OPTIONAL = wire(omit_empty=True)


def _as_reported(address: str) -> str:
    if not address:
        return ""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    plain = getattr(parsed, "ipv4_mapped", None) or parsed
    return "" if plain.is_unspecified else str(plain)


@attrs.frozen(kw_only=True)
class VLAN:
    """The tag of a VLAN link."""

    vlan_id: int = attrs.field(default=0, metadata=wire("vlanID"))
    """The number of the VLAN."""
    vlan_protocol: VLANProtocol = VLANProtocol.IEEE8021Q
    """The protocol that carries the tag."""


@attrs.frozen(kw_only=True)
class MacVLAN:
    """The options of a macvlan link: a further hardware address on its parent."""

    mode: MacvlanMode = MacvlanMode.BRIDGE
    """Whom it can reach of those on the same parent."""


@attrs.frozen(kw_only=True)
class IPVLAN:
    """The options of an IPVLAN link, which shares the hardware address of its parent.

    The originals have no such link.
    """

    mode: IPVLANMode = IPVLANMode.L2
    """At which layer packets are passed."""
    flags: IPVLANFlags = IPVLANFlags.BRIDGE
    """Whom it can reach of those on the same parent."""


@attrs.frozen(kw_only=True)
class VXLAN:
    """The options of a VXLAN: Ethernet in UDP packets."""

    id: int = 0
    """The number of the network (VNI)."""
    local: str = attrs.field(default="", metadata=_OPTIONAL)
    """The address that packets are sent from, "" for none."""
    group: str = attrs.field(default="", metadata=_OPTIONAL)
    """The multicast group that packets are sent to, "" for none."""
    port: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The UDP port; 0 stands for 4789."""
    learning: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether hardware addresses are learned from packets."""

    @property
    def as_reported(self) -> "VXLAN":
        """The same as the kernel reports it: with its port, plain IPv4 addresses, and neither zones nor `::`.

        Raises ValueError for an invalid address.
        """
        return attrs.evolve(
            self, port=self.port or VXLAN_PORT, local=_as_reported(self.local), group=_as_reported(self.group)
        )


@attrs.frozen(kw_only=True)
class STP:
    """Whether a bridge runs the spanning tree protocol."""

    enabled: bool = False
    """Whether it is on."""


@attrs.frozen(kw_only=True)
class BridgeVLAN:
    """Whether a bridge filters by VLAN."""

    filtering_enabled: bool = False
    """Whether it is on."""


@attrs.frozen(kw_only=True)
class BridgeMaster:
    """The options of a bridge."""

    stp: STP = STP()
    """The spanning tree protocol."""
    vlan: BridgeVLAN = BridgeVLAN()
    """VLAN filtering."""


@attrs.frozen(kw_only=True)
class BondMaster:
    """The options of a bond, by the kernel's names."""

    mode: BondMode = BondMode.ROUND_ROBIN
    """How the bond uses its links."""
    xmit_hash_policy: XmitHashPolicy = XmitHashPolicy.LAYER2
    """Which fields of a packet select the link that carries it."""
    lacp_rate: LACPRate = LACPRate.SLOW
    """The rate at which the LACP partner is requested to send."""
    arp_validate: ARPValidate = ARPValidate.NONE
    """Which ARP probes and replies are validated or filtered."""
    arp_all_targets: ARPAllTargets = ARPAllTargets.ANY
    """Whether one reachable ARP target is enough."""
    primary_index: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The index of the link that is preferred, 0 for none."""
    primary_reselect: PrimaryReselect = PrimaryReselect.ALWAYS
    """When the primary link takes over again."""
    fail_over_mac: FailOverMAC = FailOverMAC.NONE
    """How MAC addresses change at a failover."""
    ad_select: ADSelect = attrs.field(default=ADSelect.STABLE, metadata=_OPTIONAL)
    """How the active aggregator is selected."""
    miimon: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How often the carrier of the links is checked, in milliseconds."""
    updelay: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How long a link must have its carrier before it is used, in milliseconds."""
    downdelay: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How long a link must lack its carrier before it is left, in milliseconds."""
    arp_interval: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How often ARP targets are probed, in milliseconds."""
    resend_igmp: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How many IGMP reports are sent after a failover."""
    min_links: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How many links must be up for the bond to have a carrier."""
    lp_interval: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How often learning packets are sent to the switch, in seconds."""
    packets_per_slave: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How many packets go over a link before the next one is used, in mode balance-rr."""
    num_peer_notif: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How many times neighbours are notified after a failover."""
    tlb_logical_lb: int = attrs.field(default=0, metadata=_OPTIONAL)
    """Whether flows are rebalanced in mode balance-tlb: 1 or 0."""
    all_slaves_active: int = attrs.field(default=0, metadata=_OPTIONAL)
    """Whether duplicates that arrive on inactive links are delivered: 1 or 0."""
    use_carrier: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether the carrier is taken from the driver's notifications."""
    ad_actor_sys_prio: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The system priority for LACP."""
    ad_user_port_key: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The upper ten bits of the port key for LACP."""
    peer_notify_delay: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The time between notifications of neighbours, in milliseconds."""
    arp_ip_targets: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The IPv4 addresses to probe."""
    ns_ip6_targets: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The IPv6 addresses to probe."""
    ad_lacp_active: ADLACPActive = attrs.field(default=ADLACPActive.OFF, metadata=_OPTIONAL)
    """Whether LACP frames are sent without a request."""
    missed_max: int = attrs.field(default=0, metadata=_OPTIONAL)
    """How many ARP probes in a row may be missed before a link is down."""
    primary: str = attrs.field(default="", metadata=_OPTIONAL)
    """The name of the link that is preferred, "" for none."""


@attrs.frozen(kw_only=True)
class VRFMaster:
    """The options of a VRF."""

    table: RoutingTable = RoutingTable.MAIN
    """Its routing table."""


@attrs.frozen(kw_only=True)
class Veth:
    """The other end of a veth pair."""

    peer_name: str = ""
    """The name of the other end, "" when it is in another network namespace."""


@attrs.frozen(kw_only=True)
class WireguardPeerStatus:
    """A peer of the device. The preshared key is left out, because link statuses are not sensitive."""

    public_key: str
    """The public key of the peer, in base64."""
    endpoint: str = ""
    """The source of the peer's last valid packet, or where it is tried; "" for neither."""
    persistent_keepalive_interval: datetime.timedelta = datetime.timedelta()
    """How often a packet is sent that keeps mappings of NAT open; 0 for never."""
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))
    """The networks that are routed to the peer, and that it may send from."""


@attrs.frozen(kw_only=True)
class WireguardStatus:
    """A WireGuard device. The private key is never read."""

    public_key: str = attrs.field(default="", metadata=_OPTIONAL)
    """The public key of the device, in base64."""
    listen_port: int = 0
    """The UDP port."""
    firewall_mark: int = 0
    """The mark of the device's own packets."""
    peers: tuple[WireguardPeerStatus, ...] = ()
    """The peers, sorted by key."""


@attrs.frozen(kw_only=True)
class LinkStatusSpec:
    """One network interface. Hardware addresses are lower-case colon hex, "" when the link has none."""

    alias: str = attrs.field(default="", metadata=_OPTIONAL)
    """The alias of the link."""
    alt_names: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The alternative names of the link."""
    index: int = 0
    """The kernel's index of the link."""
    type: LinkType = LinkType.ETHER
    """The kind of hardware, as ARP knows it."""
    link_index: int = 0
    """The index of the parent (VLAN, macvlan, VXLAN) or of the peer (veth)."""
    flags: LinkFlags = attrs.field(default=LinkFlags(0))
    """The flags of the kernel."""
    hardware_addr: str = ""
    """The hardware address."""
    permanent_addr: str = ""
    """The hardware address that the card has by itself."""
    broadcast_addr: str = ""
    """The hardware address of all."""
    mtu: int = 0
    """The MTU in bytes."""
    queue_disc: str = ""
    """The queueing discipline."""
    master_index: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The index of the bond, bridge or VRF that the link belongs to."""
    operational_state: OperationalState = OperationalState.UNKNOWN
    """Whether packets can pass (RFC 2863)."""
    kind: str = ""
    """What a virtual link is, such as `vlan`, `bond` or `wireguard`; "" for others."""
    slave_kind: str = ""
    """What the link belongs to, such as `bond` or `bridge`."""
    bus_path: str = attrs.field(default="", metadata=_OPTIONAL)
    """The path of the device on its bus."""
    pci_id: str = attrs.field(default="", metadata=wire("pciID", omit_empty=True))
    """The PCI vendor and device, as `8086:15be`."""
    driver: str = attrs.field(default="", metadata=_OPTIONAL)
    """The name of the driver."""
    driver_version: str = attrs.field(default="", metadata=_OPTIONAL)
    """The version of the driver."""
    firmware_version: str = attrs.field(default="", metadata=_OPTIONAL)
    """The version of the firmware."""
    product_id: str = attrs.field(default="", metadata=wire("productID", omit_empty=True))
    """The product, by number."""
    vendor_id: str = attrs.field(default="", metadata=wire("vendorID", omit_empty=True))
    """The vendor, by number."""
    product: str = attrs.field(default="", metadata=_OPTIONAL)
    """The product, by name."""
    vendor: str = attrs.field(default="", metadata=_OPTIONAL)
    """The vendor, by name."""
    link_state: bool = False
    """Whether the link has a carrier."""
    speed_mbit: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The speed in Mbit/s; 4294967295 if unknown to the driver, 0 if the driver does not report it."""
    port: Port = Port.OTHER
    """The kind of port."""
    duplex: Duplex = Duplex.UNKNOWN
    """Whether both directions work at the same time."""
    vlan: VLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The tag, of a VLAN."""
    bridge_master: BridgeMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a bridge."""
    bond_master: BondMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a bond."""
    vrf_master: VRFMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a VRF."""
    wireguard: WireguardStatus | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The device, of a WireGuard link."""
    veth: Veth | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The other end, of a veth pair."""
    macvlan: MacVLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The mode, of a macvlan."""
    vxlan: VXLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a VXLAN."""
    ipvlan: IPVLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The mode, of an IPVLAN."""

    @property
    def physical(self) -> bool:
        """Whether this is a NIC: an Ethernet link that is not virtual."""
        return self.type == LinkType.ETHER and not self.kind


LinkStatus = ResourceType(
    "LinkStatuses.net.talos.dev",
    LinkStatusSpec,
    singular="LinkStatus",
    namespace=NAMESPACE,
    aliases=("link", "links"),
    columns={
        "Alias": ".alias",
        "Type": ".type",
        "Kind": ".kind",
        "HW Addr": ".hardwareAddr",
        "Oper State": ".operationalState",
        "Link State": ".linkState",
    },
)

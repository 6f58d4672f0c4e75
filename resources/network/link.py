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
    vlan_protocol: VLANProtocol = VLANProtocol.IEEE8021Q


@attrs.frozen(kw_only=True)
class MacVLAN:
    """The mode of a macvlan link: a further hardware address on its parent."""

    mode: MacvlanMode = MacvlanMode.BRIDGE


@attrs.frozen(kw_only=True)
class IPVLAN:
    """The mode of an IPVLAN link, which shares the hardware address of its parent. The originals have no such link."""

    mode: IPVLANMode = IPVLANMode.L2
    flags: IPVLANFlags = IPVLANFlags.BRIDGE


@attrs.frozen(kw_only=True)
class VXLAN:
    """A VXLAN: Ethernet in UDP packets to `port`, 0 for 4789.

    The packets go from the address `local`, or to the multicast `group`; "" for none. `id` is the VNI.
    """

    id: int = 0
    local: str = attrs.field(default="", metadata=_OPTIONAL)
    group: str = attrs.field(default="", metadata=_OPTIONAL)
    port: int = attrs.field(default=0, metadata=_OPTIONAL)
    learning: bool = attrs.field(default=False, metadata=_OPTIONAL)

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


@attrs.frozen(kw_only=True)
class BridgeVLAN:
    """Whether a bridge filters by VLAN."""

    filtering_enabled: bool = False


@attrs.frozen(kw_only=True)
class BridgeMaster:
    """The options of a bridge."""

    stp: STP = STP()
    vlan: BridgeVLAN = BridgeVLAN()


@attrs.frozen(kw_only=True)
class BondMaster:
    """The options of a bond, by the kernel's names. Delays and intervals are milliseconds, `lp_interval` is seconds.

    The primary member is present twice: by the kernel's index, and by name ("" if there is none).
    """

    mode: BondMode = BondMode.ROUND_ROBIN
    xmit_hash_policy: XmitHashPolicy = XmitHashPolicy.LAYER2
    lacp_rate: LACPRate = LACPRate.SLOW
    arp_validate: ARPValidate = ARPValidate.NONE
    arp_all_targets: ARPAllTargets = ARPAllTargets.ANY
    primary_index: int = attrs.field(default=0, metadata=_OPTIONAL)
    primary_reselect: PrimaryReselect = PrimaryReselect.ALWAYS
    fail_over_mac: FailOverMAC = FailOverMAC.NONE
    ad_select: ADSelect = attrs.field(default=ADSelect.STABLE, metadata=_OPTIONAL)
    miimon: int = attrs.field(default=0, metadata=_OPTIONAL)
    updelay: int = attrs.field(default=0, metadata=_OPTIONAL)
    downdelay: int = attrs.field(default=0, metadata=_OPTIONAL)
    arp_interval: int = attrs.field(default=0, metadata=_OPTIONAL)
    resend_igmp: int = attrs.field(default=0, metadata=_OPTIONAL)
    min_links: int = attrs.field(default=0, metadata=_OPTIONAL)
    lp_interval: int = attrs.field(default=0, metadata=_OPTIONAL)
    packets_per_slave: int = attrs.field(default=0, metadata=_OPTIONAL)
    num_peer_notif: int = attrs.field(default=0, metadata=_OPTIONAL)
    tlb_logical_lb: int = attrs.field(default=0, metadata=_OPTIONAL)
    all_slaves_active: int = attrs.field(default=0, metadata=_OPTIONAL)
    use_carrier: bool = attrs.field(default=False, metadata=_OPTIONAL)
    ad_actor_sys_prio: int = attrs.field(default=0, metadata=_OPTIONAL)
    ad_user_port_key: int = attrs.field(default=0, metadata=_OPTIONAL)
    peer_notify_delay: int = attrs.field(default=0, metadata=_OPTIONAL)
    arp_ip_targets: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    ns_ip6_targets: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    ad_lacp_active: ADLACPActive = attrs.field(default=ADLACPActive.OFF, metadata=_OPTIONAL)
    missed_max: int = attrs.field(default=0, metadata=_OPTIONAL)
    primary: str = attrs.field(default="", metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class VRFMaster:
    """The routing table of a VRF."""

    table: RoutingTable = RoutingTable.MAIN


@attrs.frozen(kw_only=True)
class Veth:
    """The other end of a veth pair, "" when it is in another network namespace."""

    peer_name: str = ""


@attrs.frozen(kw_only=True)
class WireguardPeerStatus:
    """A peer of the device: the endpoint is the source of its last valid packet.

    The preshared key is left out, because link statuses are not sensitive.
    """

    public_key: str
    endpoint: str = ""
    persistent_keepalive_interval: datetime.timedelta = datetime.timedelta()
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))


@attrs.frozen(kw_only=True)
class WireguardStatus:
    """A WireGuard device: keys are base64, peers are sorted by key. The private key is never read."""

    public_key: str = attrs.field(default="", metadata=_OPTIONAL)
    listen_port: int = 0
    firewall_mark: int = 0
    peers: tuple[WireguardPeerStatus, ...] = ()


@attrs.frozen(kw_only=True)
class LinkStatusSpec:
    """One network interface.

    `link_index` is the parent (VLAN, macvlan, VXLAN) or the peer (veth). Hardware addresses are lower-case colon hex,
    "" when the link has none. `speed_mbit` is 4294967295 if unknown to the driver, 0 if the driver does not report it.
    """

    alias: str = attrs.field(default="", metadata=_OPTIONAL)
    alt_names: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    index: int = 0
    type: LinkType = LinkType.ETHER
    link_index: int = 0
    flags: LinkFlags = attrs.field(default=LinkFlags(0))
    hardware_addr: str = ""
    permanent_addr: str = ""
    broadcast_addr: str = ""
    mtu: int = 0
    queue_disc: str = ""
    master_index: int = attrs.field(default=0, metadata=_OPTIONAL)
    operational_state: OperationalState = OperationalState.UNKNOWN
    kind: str = ""
    slave_kind: str = ""
    bus_path: str = attrs.field(default="", metadata=_OPTIONAL)
    pci_id: str = attrs.field(default="", metadata=wire("pciID", omit_empty=True))
    driver: str = attrs.field(default="", metadata=_OPTIONAL)
    driver_version: str = attrs.field(default="", metadata=_OPTIONAL)
    firmware_version: str = attrs.field(default="", metadata=_OPTIONAL)
    product_id: str = attrs.field(default="", metadata=wire("productID", omit_empty=True))
    vendor_id: str = attrs.field(default="", metadata=wire("vendorID", omit_empty=True))
    product: str = attrs.field(default="", metadata=_OPTIONAL)
    vendor: str = attrs.field(default="", metadata=_OPTIONAL)
    link_state: bool = False
    speed_mbit: int = attrs.field(default=0, metadata=_OPTIONAL)
    port: Port = Port.OTHER
    duplex: Duplex = Duplex.UNKNOWN
    vlan: VLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    bridge_master: BridgeMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    bond_master: BondMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    vrf_master: VRFMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    wireguard: WireguardStatus | None = attrs.field(default=None, metadata=_OPTIONAL)
    veth: Veth | None = attrs.field(default=None, metadata=_OPTIONAL)
    macvlan: MacVLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    vxlan: VXLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    ipvlan: IPVLAN | None = attrs.field(default=None, metadata=_OPTIONAL)

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

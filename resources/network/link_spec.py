"""LinkSpec: a desired network interface. The id is its name, in `network-config` prefixed by the layer."""

import datetime

import attrs

from nodespan.resources.network.enums import LinkType
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.link import IPVLAN, VLAN, VXLAN, BondMaster, BridgeMaster, MacVLAN, Veth, VRFMaster
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class BridgeSlave:
    """The bridge that a link is a port of."""

    master_name: str = ""
    """The name of the bridge."""


@attrs.frozen(kw_only=True)
class VRFSlave:
    """The VRF that a link belongs to."""

    master_name: str = ""
    """The name of the VRF."""


@attrs.frozen(kw_only=True)
class WireguardPeer:
    """A desired peer of a WireGuard link."""

    public_key: str
    """The public key of the peer, in base64."""
    preshared_key: str = attrs.field(default="", repr=False, metadata=_OPTIONAL)
    """A secret that both sides share in addition, in base64; "" for none."""
    endpoint: str = ""
    """Where the peer is, as `host:port`; a name is resolved when it is applied, "" leaves the device's."""
    persistent_keepalive_interval: datetime.timedelta = datetime.timedelta()
    """How often a packet is sent that keeps mappings of NAT open; 0 for never."""
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))
    """The networks that are routed to the peer, and that it may send from."""


@attrs.frozen(kw_only=True)
class WireguardSpec:
    """A desired WireGuard device.

    Dynamic peers are resources of their own (`WireguardPeerSpec`), in addition to those here.
    """

    private_key: str = attrs.field(default="", repr=False, metadata=_OPTIONAL)
    """The private key of the device, in base64; "" leaves its own."""
    listen_port: int = 0
    """The UDP port; 0 leaves the choice to the device."""
    firewall_mark: int = 0
    """The mark of the device's own packets."""
    peers: tuple[WireguardPeer, ...] = ()
    """The peers of the configuration."""
    loose_reverse_path: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether packets are accepted whose replies take another link, for example because a mark selects it."""


@attrs.frozen(kw_only=True)
class LinkSpecSpec:
    """A desired link."""

    name: str
    """The name of the link."""
    logical: bool = False
    """Whether the agent creates and deletes the link; others are only configured if they exist."""
    up: bool = False
    """Whether the link is set up."""
    mtu: int = 0
    """The MTU in bytes; 0 leaves the link's own."""
    kind: str = ""
    """What a virtual link is, such as `vlan`, `bond` or `wireguard`; "" for others."""
    type: LinkType = LinkType.NETROM
    """The kind of hardware, as ARP knows it."""
    hardware_addr: str = attrs.field(default="", metadata=_OPTIONAL)
    """The hardware address; "" leaves the link's own."""
    parent_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The name of the link below."""
    master_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The name of the bond that the link belongs to."""
    slave_index: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The position of the link in its bond."""
    bridge_slave: BridgeSlave | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The bridge that the link is a port of."""
    vrf_slave: VRFSlave | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The VRF that the link belongs to."""
    vlan: VLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The tag, of a VLAN."""
    bond_master: BondMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a bond."""
    bridge_master: BridgeMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a bridge."""
    vrf_master: VRFMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a VRF."""
    wireguard: WireguardSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The device, of a WireGuard link."""
    veth: Veth | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The other end, of a veth pair."""
    macvlan: MacVLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a macvlan."""
    vxlan: VXLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of a VXLAN."""
    ipvlan: IPVLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The options, of an IPVLAN."""
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that it comes from."""
    multicast: bool | None = None
    """Whether the link carries multicast; unset leaves the link's own."""

    @property
    def master(self) -> str:
        """The bond, bridge or VRF that the link is to belong to, "" for none."""
        slave = self.bridge_slave or self.vrf_slave
        return self.master_name or (slave.master_name if slave is not None else "")


LinkSpec = ResourceType("LinkSpecs.net.talos.dev", LinkSpecSpec, namespace=NAMESPACE, sensitive=True)

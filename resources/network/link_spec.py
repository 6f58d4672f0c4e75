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


@attrs.frozen(kw_only=True)
class VRFSlave:
    """The VRF that a link belongs to."""

    master_name: str = ""


@attrs.frozen(kw_only=True)
class WireguardPeer:
    """A desired peer: keys are base64, an empty endpoint leaves the device's.

    The endpoint is `host:port`; a name is resolved when it is applied.
    """

    public_key: str
    preshared_key: str = attrs.field(default="", repr=False, metadata=_OPTIONAL)
    endpoint: str = ""
    persistent_keepalive_interval: datetime.timedelta = datetime.timedelta()
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))


@attrs.frozen(kw_only=True)
class WireguardSpec:
    """A desired WireGuard device. Port 0 leaves the choice to the device; `private_key` "" leaves its own.

    Dynamic peers are resources of their own (`WireguardPeerSpec`), in addition to those here.
    `loose_reverse_path` accepts packets whose replies take another link, for example because a mark selects it.
    """

    private_key: str = attrs.field(default="", repr=False, metadata=_OPTIONAL)
    listen_port: int = 0
    firewall_mark: int = 0
    peers: tuple[WireguardPeer, ...] = ()
    loose_reverse_path: bool = attrs.field(default=False, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class LinkSpecSpec:
    """A desired link. The agent creates and deletes `logical` links; others are only configured if they exist.

    MTU 0, an empty hardware address and `multicast` None leave the link's own. `master_name` is the bond that this
    link is member number `slave_index` of.
    """

    name: str
    logical: bool = False
    up: bool = False
    mtu: int = 0
    kind: str = ""
    type: LinkType = LinkType.NETROM
    hardware_addr: str = attrs.field(default="", metadata=_OPTIONAL)
    parent_name: str = attrs.field(default="", metadata=_OPTIONAL)
    master_name: str = attrs.field(default="", metadata=_OPTIONAL)
    slave_index: int = attrs.field(default=0, metadata=_OPTIONAL)
    bridge_slave: BridgeSlave | None = attrs.field(default=None, metadata=_OPTIONAL)
    vrf_slave: VRFSlave | None = attrs.field(default=None, metadata=_OPTIONAL)
    vlan: VLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    bond_master: BondMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    bridge_master: BridgeMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    vrf_master: VRFMaster | None = attrs.field(default=None, metadata=_OPTIONAL)
    wireguard: WireguardSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    veth: Veth | None = attrs.field(default=None, metadata=_OPTIONAL)
    macvlan: MacVLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    vxlan: VXLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    ipvlan: IPVLAN | None = attrs.field(default=None, metadata=_OPTIONAL)
    layer: ConfigLayer = ConfigLayer.DEFAULT
    multicast: bool | None = None

    @property
    def master(self) -> str:
        """The bond, bridge or VRF that the link is to belong to, "" for none."""
        slave = self.bridge_slave or self.vrf_slave
        return self.master_name or (slave.master_name if slave is not None else "")


LinkSpec = ResourceType("LinkSpecs.net.talos.dev", LinkSpecSpec, namespace=NAMESPACE, sensitive=True)

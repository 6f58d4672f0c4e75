"""Devices of `machine.network.interfaces`.

Addresses and networks stay texts as written: their validation depends on the field.
"""

import datetime

import attrs

from nodespan.resources.config.bond import Bond
from nodespan.resources.config.notation import Unsigned16, Unsigned32
from nodespan.resources.config.selector import DeviceSelector
from nodespan.runtime.resource import wire

DEFAULT_ROUTE_METRIC = 1024


@attrs.frozen(kw_only=True)
class DeviceRoute:
    """A route over the device."""

    network: str = ""
    """The destination; "" is the default route."""
    gateway: str = ""
    """The next hop; "" makes a route of link scope."""
    source: str = ""
    """The preferred source address."""
    metric: Unsigned32 = 0
    """The metric; 0 stands for 1024."""
    mtu: Unsigned32 = 0
    """The MTU of the route, in bytes; 0 leaves it unset."""


@attrs.frozen(kw_only=True)
class DhcpOptions:
    """How a device requests its address."""

    route_metric: Unsigned32 = 0
    """The metric of routes from leases; 0 stands for 1024."""
    ipv4: bool = True
    """Whether DHCPv4 is used."""
    ipv6: bool = False
    """Whether DHCPv6 is used."""
    duidv6: str = ""
    """The DUID of the DHCPv6 client, in hexadecimal digits."""


@attrs.frozen(kw_only=True)
class CloudVip:
    """Access to a cloud's API, for a virtual IP that the cloud routes."""

    api_token: str = attrs.field(default="", repr=False)
    """The token for the API."""


@attrs.frozen(kw_only=True)
class Vip:
    """A virtual IP shared by the control-plane nodes."""

    ip: str = ""
    """The address."""
    equinix_metal: CloudVip | None = None
    """The API of Equinix Metal."""
    hcloud: CloudVip | None = None
    """The API of Hetzner Cloud."""


@attrs.frozen(kw_only=True)
class Vlan:
    """A VLAN (802.1q) on the device."""

    vlan_id: Unsigned16 = 0
    """The number of the VLAN, from 1 to 4094."""
    addresses: tuple[str, ...] = ()
    """Addresses with their prefix lengths."""
    cidr: str = ""
    """One address with its prefix length: an older key."""
    routes: tuple[DeviceRoute, ...] = ()
    """Routes over the VLAN."""
    dhcp: bool = False
    """Whether addresses are requested by DHCP."""
    dhcp_options: DhcpOptions | None = None
    """How they are requested."""
    mtu: Unsigned32 = 0
    """The MTU in bytes; 0 leaves it to the kernel."""
    vip: Vip | None = None
    """A virtual IP on the VLAN."""


@attrs.frozen(kw_only=True)
class Stp:
    """The spanning tree protocol of a bridge."""

    enabled: bool = False
    """Whether it is on."""


@attrs.frozen(kw_only=True)
class BridgeVlan:
    """VLAN filtering of a bridge."""

    vlan_filtering: bool = False
    """Whether the bridge filters by VLAN."""


@attrs.frozen(kw_only=True)
class Bridge:
    """A bridge over the named interfaces."""

    interfaces: tuple[str, ...] = ()
    """The names of the links that are its ports."""
    stp: Stp | None = None
    """The spanning tree protocol."""
    vlan: BridgeVlan | None = None
    """VLAN filtering."""


@attrs.frozen(kw_only=True)
class BridgePort:
    """Makes the device a port of a bridge."""

    master: str = ""
    """The name of the bridge."""


@attrs.frozen(kw_only=True)
class DeviceWireguardPeer:
    """A WireGuard peer of a device."""

    public_key: str = ""
    """The public key of the peer, in base64."""
    endpoint: str = ""
    """Where the peer is, as `host:port`; "" for a peer that connects first."""
    persistent_keepalive_interval: datetime.timedelta = datetime.timedelta()
    """How often a packet is sent that keeps mappings of NAT open; 0 for never."""
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))
    """The networks that are routed to the peer, and that it may send from."""


@attrs.frozen(kw_only=True)
class DeviceWireguard:
    """WireGuard settings of a device."""

    private_key: str = attrs.field(default="", repr=False)
    """The private key of the device, in base64."""
    listen_port: Unsigned16 = 0
    """The UDP port; 0 for any."""
    firewall_mark: Unsigned32 = 0
    """The mark of the device's own packets; 0 for none."""
    peers: tuple[DeviceWireguardPeer, ...] = ()
    """The peers."""


@attrs.frozen(kw_only=True)
class Device:
    """One link, named by `interface` or found by `deviceSelector`."""

    interface: str = ""
    """The name of the link."""
    device_selector: DeviceSelector | None = None
    """Properties by which the link is found, in place of its name."""
    addresses: tuple[str, ...] = ()
    """Addresses with their prefix lengths."""
    cidr: str = ""
    """One address with its prefix length: an older key."""
    routes: tuple[DeviceRoute, ...] = ()
    """Routes over the link."""
    mtu: Unsigned32 = 0
    """The MTU in bytes; 0 leaves the link's own."""
    dhcp: bool = False
    """Whether addresses are requested by DHCP."""
    dhcp_options: DhcpOptions | None = None
    """How they are requested."""
    ignore: bool = False
    """Whether nodespan changes nothing on the link."""
    dummy: bool = False
    """Whether the link is a dummy that is made."""
    bond: Bond | None = None
    """Makes the link a bond."""
    bridge: Bridge | None = None
    """Makes the link a bridge."""
    bridge_port: BridgePort | None = None
    """Makes the link a port of a bridge."""
    vlans: tuple[Vlan, ...] = ()
    """VLANs on the link."""
    wireguard: DeviceWireguard | None = None
    """Makes the link a WireGuard device."""
    vip: Vip | None = None
    """A virtual IP on the link."""

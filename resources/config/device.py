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
    """A route over the device. Without gateway it has link scope, without network it is the default route.

    Metric 0 stands for DEFAULT_ROUTE_METRIC, MTU 0 is unset.
    """

    network: str = ""
    gateway: str = ""
    source: str = ""
    metric: Unsigned32 = 0
    mtu: Unsigned32 = 0


@attrs.frozen(kw_only=True)
class DhcpOptions:
    """How a device requests its address. Route metric 0 stands for DEFAULT_ROUTE_METRIC."""

    route_metric: Unsigned32 = 0
    ipv4: bool = True
    ipv6: bool = False
    duidv6: str = ""


@attrs.frozen(kw_only=True)
class CloudVip:
    """Access to a cloud's API, for a virtual IP that the cloud routes."""

    api_token: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class Vip:
    """A virtual IP shared by the control-plane nodes."""

    ip: str = ""
    equinix_metal: CloudVip | None = None
    hcloud: CloudVip | None = None


@attrs.frozen(kw_only=True)
class Vlan:
    """A VLAN (802.1q) on the device. MTU 0 leaves it to the kernel."""

    vlan_id: Unsigned16 = 0
    addresses: tuple[str, ...] = ()
    cidr: str = ""
    routes: tuple[DeviceRoute, ...] = ()
    dhcp: bool = False
    dhcp_options: DhcpOptions | None = None
    mtu: Unsigned32 = 0
    vip: Vip | None = None


@attrs.frozen(kw_only=True)
class Stp:
    """The spanning tree protocol of a bridge."""

    enabled: bool = False


@attrs.frozen(kw_only=True)
class BridgeVlan:
    """VLAN filtering of a bridge."""

    vlan_filtering: bool = False


@attrs.frozen(kw_only=True)
class Bridge:
    """A bridge over the named interfaces."""

    interfaces: tuple[str, ...] = ()
    stp: Stp | None = None
    vlan: BridgeVlan | None = None


@attrs.frozen(kw_only=True)
class BridgePort:
    """Makes the device a port of the bridge `master`."""

    master: str = ""


@attrs.frozen(kw_only=True)
class DeviceWireguardPeer:
    """A WireGuard peer of a device. `endpoint` is host:port, or "" for a peer that connects first."""

    public_key: str = ""
    endpoint: str = ""
    persistent_keepalive_interval: datetime.timedelta = datetime.timedelta()
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))


@attrs.frozen(kw_only=True)
class DeviceWireguard:
    """WireGuard settings of a device. Listen port 0 is any port, firewall mark 0 is none."""

    private_key: str = attrs.field(default="", repr=False)
    listen_port: Unsigned16 = 0
    firewall_mark: Unsigned32 = 0
    peers: tuple[DeviceWireguardPeer, ...] = ()


@attrs.frozen(kw_only=True)
class Device:
    """One link, named by `interface` or found by `device_selector`. MTU 0 leaves the link's own.

    nodespan changes nothing on the interface of an ignored device.
    """

    interface: str = ""
    device_selector: DeviceSelector | None = None
    addresses: tuple[str, ...] = ()
    cidr: str = ""
    routes: tuple[DeviceRoute, ...] = ()
    mtu: Unsigned32 = 0
    dhcp: bool = False
    dhcp_options: DhcpOptions | None = None
    ignore: bool = False
    dummy: bool = False
    bond: Bond | None = None
    bridge: Bridge | None = None
    bridge_port: BridgePort | None = None
    vlans: tuple[Vlan, ...] = ()
    wireguard: DeviceWireguard | None = None
    vip: Vip | None = None

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
    """An address with its prefix length, and the metric of the route that comes with it (0 for the kernel's choice)."""

    address: str = ""
    route_priority: Unsigned32 = 0


@attrs.frozen(kw_only=True)
class LinkRoute:
    """A route over the link; table "" is the main table, metric 0 stands for 1024."""

    destination: str = ""
    gateway: str = ""
    source: str = ""
    metric: Unsigned32 = 0
    mtu: Unsigned32 = 0
    table: str = ""


@attrs.frozen(kw_only=True)
class LinkSettings:
    """The settings of any link. `multicast` None leaves the link's own."""

    name: str = ""
    up: bool = True
    mtu: Unsigned32 = 0
    multicast: bool | None = None
    addresses: tuple[LinkAddress, ...] = ()
    routes: tuple[LinkRoute, ...] = ()


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
    """A bond over links. None is unset, which leaves the choice to the kernel. Times in milliseconds."""

    kind: Literal["BondConfig"] = "BondConfig"
    links: tuple[str, ...] = ()
    bond_mode: BondMode | None = None
    hardware_addr: str = ""
    miimon: Unsigned32 | None = None
    updelay: Unsigned32 | None = None
    downdelay: Unsigned32 | None = None
    use_carrier: bool | None = None
    xmit_hash_policy: XmitHashPolicy | None = None
    arp_interval: Unsigned32 | None = None
    arp_ip_targets: tuple[str, ...] = ()
    ns_ip6_targets: tuple[str, ...] = ()
    arp_validate: ArpValidate | None = None
    arp_all_targets: ArpAllTargets | None = None
    lacp_rate: LacpRate | None = None
    fail_over_mac: FailOverMac | None = None
    ad_select: AdSelect | None = None
    ad_actor_sys_prio: Unsigned16 | None = None
    ad_user_port_key: Unsigned16 | None = None
    ad_lacp_active: AdLacpActive | None = attrs.field(default=None, metadata=wire("adLACPActive"))
    primary: str = ""
    primary_reselect: PrimaryReselect | None = None
    resend_igmp: Unsigned32 | None = attrs.field(default=None, metadata=wire("resendIGMP"))
    min_links: Unsigned32 | None = None
    lp_interval: Unsigned32 | None = None
    packets_per_slave: Unsigned32 | None = None
    num_peer_notif: Unsigned8 | None = None
    tlb_logical_lb: Unsigned8 | None = None
    all_slaves_active: Unsigned8 | None = None
    peer_notif_delay: Unsigned32 | None = None
    missed_max: Unsigned8 | None = None


class VlanMode(enum.StrEnum):
    """The protocol that carries the VLAN tag."""

    DOT1Q = "802.1q"
    DOT1AD = "802.1ad"


@attrs.frozen(kw_only=True)
class VLANConfig(CommonLink):
    """A VLAN on the link `parent`."""

    kind: Literal["VLANConfig"] = "VLANConfig"
    vlan_id: Unsigned16 = attrs.field(default=0, metadata=wire("vlanID"))
    vlan_mode: VlanMode = VlanMode.DOT1Q
    parent: str = ""


@attrs.frozen(kw_only=True)
class WireguardPeer:
    """A WireGuard peer. `endpoint` is ip:port, or "" for a peer that connects first."""

    public_key: str = ""
    preshared_key: str = attrs.field(default="", repr=False)
    endpoint: str = ""
    persistent_keepalive_interval: datetime.timedelta = datetime.timedelta()
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))


@attrs.frozen(kw_only=True)
class WireguardConfig(CommonLink):
    """A WireGuard link. Listen port 0 is any port, firewall mark 0 is none."""

    kind: Literal["WireguardConfig"] = "WireguardConfig"
    private_key: str = attrs.field(default="", repr=False)
    listen_port: Unsigned16 = 0
    firewall_mark: Unsigned32 = 0
    peers: tuple[WireguardPeer, ...] = ()


@attrs.frozen(kw_only=True)
class VlanFiltering:
    """Whether the bridge filters by VLAN."""

    filtering: bool = False


@attrs.frozen(kw_only=True)
class BridgeConfig(CommonLink):
    """A bridge over links."""

    kind: Literal["BridgeConfig"] = "BridgeConfig"
    hardware_addr: str = ""
    links: tuple[str, ...] = ()
    stp: Stp | None = None
    vlan: VlanFiltering | None = None


@attrs.frozen(kw_only=True)
class DummyLinkConfig(CommonLink):
    """A dummy link."""

    kind: Literal["DummyLinkConfig"] = "DummyLinkConfig"
    hardware_addr: str = ""


@attrs.frozen(kw_only=True)
class VRFConfig(CommonLink):
    """A routing domain of its own over links; `table` is the number of its routing table."""

    kind: Literal["VRFConfig"] = "VRFConfig"
    hardware_addr: str = ""
    links: tuple[str, ...] = ()
    table: str = ""


@attrs.frozen(kw_only=True)
class VethPeer(LinkSettings):
    """The other end of a pair of virtual links."""


@attrs.frozen(kw_only=True)
class VethConfig(CommonLink):
    """A pair of virtual links: what one sends the other receives."""

    kind: Literal["VethConfig"] = "VethConfig"
    peer: VethPeer = VethPeer()


class MacvlanMode(enum.StrEnum):
    """Whom a macvlan can reach of those on the same parent."""

    PRIVATE = "private"
    VEPA = "vepa"
    BRIDGE = "bridge"
    PASSTHRU = "passthru"
    SOURCE = "source"


@attrs.frozen(kw_only=True)
class MacVLANConfig(CommonLink):
    """A macvlan on the link `parent`: a further hardware address there."""

    kind: Literal["MacVLANConfig"] = "MacVLANConfig"
    mode: MacvlanMode = MacvlanMode.BRIDGE
    parent: str = ""
    hardware_addr: str = ""


@attrs.frozen(kw_only=True)
class VXLANConfig(CommonLink):
    """A VXLAN over the link `parent`: from the address `local`, or to the multicast group `group`. None is unset."""

    kind: Literal["VXLANConfig"] = "VXLANConfig"
    id: Unsigned32 = 0
    local: str = ""
    group: str = ""
    parent: str = ""
    port: Unsigned16 | None = None
    learning: bool | None = None
    hardware_addr: str = ""


@attrs.frozen(kw_only=True)
class LinkSelector:
    """A CEL expression over `link`."""

    match: str = ""


@attrs.frozen(kw_only=True)
class LinkAliasConfig:
    """An alias for the link that the selector matches, or with a name like `net%d` for each of several links."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["LinkAliasConfig"] = "LinkAliasConfig"
    name: str = ""
    selector: LinkSelector = LinkSelector()

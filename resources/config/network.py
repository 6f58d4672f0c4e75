"""The documents for virtual IPs, DHCP, routing rules, blackhole routes, probes and the ingress firewall."""

import datetime
import enum
from typing import Literal

import attrs

from nodespan.resources.config.notation import Unsigned32
from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class Layer2VIPConfig:
    """A virtual IP that the elected node holds on a link."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["Layer2VIPConfig"] = "Layer2VIPConfig"
    name: str = ""
    """The address."""
    link: str = ""
    """The name of the link."""


@attrs.frozen(kw_only=True)
class HCloudVIPConfig:
    """A virtual IP that the cloud routes to the elected node."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["HCloudVIPConfig"] = "HCloudVIPConfig"
    name: str = ""
    """The address."""
    link: str = ""
    """The name of the link."""
    api_token: str = attrs.field(default="", repr=False)
    """The token for the API of the cloud."""


class ClientIdentifier(enum.StrEnum):
    """How a DHCP client identifies itself."""

    NONE = "none"
    MAC = "mac"
    DUID = "duid"


@attrs.frozen(kw_only=True)
class DHCPv4Config:
    """DHCPv4 on a link."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["DHCPv4Config"] = "DHCPv4Config"
    name: str = ""
    """The name of the link."""
    route_metric: Unsigned32 = 0
    """The metric of routes from the lease; 0 stands for 1024."""
    ignore_hostname: bool = False
    """Whether the host name of the lease is not used."""
    ignore_routes: bool = False
    """Whether the routes of the lease are not used."""
    client_identifier: ClientIdentifier = ClientIdentifier.MAC
    """How the client identifies itself."""
    duid_raw: str = ""
    """The DUID, in hexadecimal digits, for `clientIdentifier: duid`."""


@attrs.frozen(kw_only=True)
class DHCPv6Config:
    """DHCPv6 on a link."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["DHCPv6Config"] = "DHCPv6Config"
    name: str = ""
    """The name of the link."""
    route_metric: Unsigned32 = 0
    """The metric of routes from the lease; 0 stands for 1024."""
    ignore_hostname: bool = False
    """Whether the host name of the lease is not used."""
    client_identifier: ClientIdentifier = ClientIdentifier.MAC
    """How the client identifies itself."""
    duid_raw: str = ""
    """The DUID, in hexadecimal digits, for `clientIdentifier: duid`."""


class RuleAction(enum.StrEnum):
    """What a routing rule does with a packet; unicast looks up the table."""

    UNICAST = "unicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


@attrs.frozen(kw_only=True)
class RoutingRuleConfig:
    """A routing rule."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["RoutingRuleConfig"] = "RoutingRuleConfig"
    name: str = ""
    """The priority of the rule."""
    src: str = ""
    """The source network, "" for any."""
    dst: str = ""
    """The destination network, "" for any."""
    table: str = ""
    """The routing table to look up, by name or number, "" for none."""
    action: RuleAction = RuleAction.UNICAST
    """What the rule does with a packet."""
    iif_name: str = ""
    """The link that a packet comes in by, "" for any."""
    oif_name: str = ""
    """The link that a packet of this node goes out by, "" for any."""
    fw_mark: Unsigned32 = 0
    """The mark of a packet; 0 with mask 0 matches any."""
    fw_mask: Unsigned32 = 0
    """The bits of the mark that are compared."""


@attrs.frozen(kw_only=True)
class BlackholeRouteConfig:
    """A network to which packets are dropped."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["BlackholeRouteConfig"] = "BlackholeRouteConfig"
    name: str = ""
    """The network."""
    metric: Unsigned32 = 0
    """The metric; 0 stands for 1024."""


DEFAULT_PROBE_INTERVAL = datetime.timedelta(seconds=1)
DEFAULT_PROBE_TIMEOUT = datetime.timedelta(seconds=10)
_UNSET = datetime.timedelta()


@attrs.frozen(kw_only=True)
class TCPProbeConfig:
    """A port that this node has to reach for its network to count as ready."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["TCPProbeConfig"] = "TCPProbeConfig"
    name: str = ""
    """The name of the probe, for conditions of virtual IPs."""
    interval: datetime.timedelta = _UNSET
    """How often it is tried; 0 stands for one second."""
    failure_threshold: int = 0
    """After how many failures in a row it counts as failed; 0 and 1 are the same."""
    endpoint: str = ""
    """`host:port`, which must accept a connection."""
    timeout: datetime.timedelta = _UNSET
    """How long a try may take; 0 stands for ten seconds."""


@attrs.frozen(kw_only=True)
class HTTPProbeConfig:
    """A page that this node has to reach for its network to count as ready."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["HTTPProbeConfig"] = "HTTPProbeConfig"
    name: str = ""
    """The name of the probe, for conditions of virtual IPs."""
    interval: datetime.timedelta = _UNSET
    """How often it is tried; 0 stands for one second."""
    failure_threshold: int = 0
    """After how many failures in a row it counts as failed; 0 and 1 are the same."""
    # It may hold a password.
    url: str = attrs.field(default="", repr=False)
    """The URL, which must answer with a status from 200 to 399. A user in it authenticates."""
    timeout: datetime.timedelta = _UNSET
    """How long a try may take; 0 stands for ten seconds."""


ProbeConfig = TCPProbeConfig | HTTPProbeConfig


class IngressAction(enum.StrEnum):
    """What happens to incoming packets that no rule is about."""

    ACCEPT = "accept"
    BLOCK = "block"


class RuleProtocol(enum.StrEnum):
    """The protocol of the ports of a rule."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    ICMPV6 = "icmpv6"


@attrs.frozen(kw_only=True)
class NetworkDefaultActionConfig:
    """What happens to incoming packets that no NetworkRuleConfig is about; `block` makes the rules exceptions of it."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["NetworkDefaultActionConfig"] = "NetworkDefaultActionConfig"
    ingress: IngressAction = IngressAction.ACCEPT
    """What happens to them."""


@attrs.frozen(kw_only=True)
class PortSelector:
    """Ports of a protocol."""

    ports: tuple[str, ...] = ()
    """The ports, each `80` or `8000-8100`."""
    protocol: RuleProtocol | None = None
    """The protocol."""


@attrs.frozen(kw_only=True)
class IngressSource:
    """A network that packets come from."""

    subnet: str = ""
    """The network."""
    except_: str = attrs.field(default="", metadata=wire("except"))
    """A part of the network that is left out. What is left out of any source of a rule is in none of them."""


@attrs.frozen(kw_only=True)
class NetworkRuleConfig:
    """From where packets to ports of this node are let in."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["NetworkRuleConfig"] = "NetworkRuleConfig"
    name: str = ""
    """The name of the rule."""
    port_selector: PortSelector = PortSelector()
    """The ports that the rule is about."""
    ingress: tuple[IngressSource, ...] = ()
    """From where packets to them are let in."""

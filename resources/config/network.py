"""The documents for virtual IPs, DHCP, routing rules and blackhole routes."""

import enum
from typing import Literal

import attrs

from nodespan.resources.config.notation import Unsigned32


@attrs.frozen(kw_only=True)
class Layer2VIPConfig:
    """A virtual IP, its address being the name, that the elected node holds on `link`."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["Layer2VIPConfig"] = "Layer2VIPConfig"
    name: str = ""
    link: str = ""


@attrs.frozen(kw_only=True)
class HCloudVIPConfig:
    """A virtual IP, its address being the name, that the cloud routes to the elected node."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["HCloudVIPConfig"] = "HCloudVIPConfig"
    name: str = ""
    link: str = ""
    api_token: str = attrs.field(default="", repr=False)


class ClientIdentifier(enum.StrEnum):
    """How a DHCP client identifies itself."""

    NONE = "none"
    MAC = "mac"
    DUID = "duid"


@attrs.frozen(kw_only=True)
class DHCPv4Config:
    """DHCPv4 on the link of this name. Route metric 0 stands for 1024."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["DHCPv4Config"] = "DHCPv4Config"
    name: str = ""
    route_metric: Unsigned32 = 0
    ignore_hostname: bool = False
    ignore_routes: bool = False
    client_identifier: ClientIdentifier = ClientIdentifier.MAC
    duid_raw: str = ""


@attrs.frozen(kw_only=True)
class DHCPv6Config:
    """DHCPv6 on the link of this name. Route metric 0 stands for 1024."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["DHCPv6Config"] = "DHCPv6Config"
    name: str = ""
    route_metric: Unsigned32 = 0
    ignore_hostname: bool = False
    client_identifier: ClientIdentifier = ClientIdentifier.MAC
    duid_raw: str = ""


class RuleAction(enum.StrEnum):
    """What a routing rule does with a packet; unicast looks up the table."""

    UNICAST = "unicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


@attrs.frozen(kw_only=True)
class RoutingRuleConfig:
    """A routing rule; its priority is the name. Table "" is none, mark 0 and mask 0 match any packet."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["RoutingRuleConfig"] = "RoutingRuleConfig"
    name: str = ""
    src: str = ""
    dst: str = ""
    table: str = ""
    action: RuleAction = RuleAction.UNICAST
    iif_name: str = ""
    oif_name: str = ""
    fw_mark: Unsigned32 = 0
    fw_mask: Unsigned32 = 0


@attrs.frozen(kw_only=True)
class BlackholeRouteConfig:
    """Packets to the network of this name are dropped. Metric 0 stands for 1024."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["BlackholeRouteConfig"] = "BlackholeRouteConfig"
    name: str = ""
    metric: Unsigned32 = 0

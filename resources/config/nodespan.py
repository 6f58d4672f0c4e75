"""NodespanConfig: the settings that only nodespan has."""

import datetime
import enum
from typing import Literal

import attrs

from nodespan.resources.config.vip_condition import VipCondition
from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class EtcdSettings:
    """The etcd that elects the owners of virtual IPs. `ca`, `cert` and `key` are paths of PEM files."""

    endpoints: tuple[str, ...] = ()
    ca: str = ""
    cert: str = ""
    key: str = ""


@attrs.frozen(kw_only=True)
class VipSettings:
    """How long an owner that falls silent keeps a virtual IP, and the conditions that must hold to own one.

    The originals take a minute. Nodes with different leases may share a virtual IP: each is waited for as its own lease
    says.
    """

    lease_ttl: datetime.timedelta = attrs.field(default=datetime.timedelta(seconds=5), metadata=wire("leaseTTL"))
    conditions: tuple[VipCondition, ...] = ()


@attrs.frozen(kw_only=True)
class DefaultsSettings:
    """What is done without being named, as the originals do it. All of it is off unless it is asked for here.

    `dhcp`: NICs that nothing mentions are set up and get their addresses by DHCPv4, and lo is set up with 127.0.0.1/8.
    `hostname`, `resolvers`, `time_servers`: what is in effect where the configuration does not say.
    """

    dhcp: bool = False
    hostname: bool = False
    resolvers: bool = False
    time_servers: bool = False


class NamingScheme(enum.StrEnum):
    """The edition of the rules for predictable names, by the version of systemd that it came with."""

    V255 = "v255"
    V257 = "v257"


@attrs.frozen(kw_only=True)
class LinkNameSettings:
    """Predictable names of links. They are always shown; `rename` gives them to the links."""

    rename: bool = False
    scheme: NamingScheme = NamingScheme.V255


@attrs.frozen(kw_only=True)
class NodespanConfig:
    """`pod_networks` is what `advertiseKubernetesNetworks` advertises."""

    api_version: Literal["nodespan.dev/v1alpha1"] = "nodespan.dev/v1alpha1"
    kind: Literal["NodespanConfig"] = "NodespanConfig"
    etcd: EtcdSettings = EtcdSettings()
    vip: VipSettings = VipSettings()
    pod_networks: tuple[str, ...] = ()
    defaults: DefaultsSettings = DefaultsSettings()
    link_names: LinkNameSettings = LinkNameSettings()

"""The machine configuration: the desired configuration of this node, as typed values."""

import datetime
from typing import TypeVar

import attrs

from nodespan.resources.config.bond import Bond
from nodespan.resources.config.device import Device
from nodespan.resources.config.ethernet import EthernetConfig
from nodespan.resources.config.host import (
    EnvironmentConfig,
    EtcFileConfig,
    HostnameConfig,
    KernelModuleConfig,
    ResolverConfig,
    StaticHostConfig,
    SysctlConfig,
    SysfsConfig,
    TimeSyncConfig,
    TrustedRootsConfig,
    UdevRulesConfig,
)
from nodespan.resources.config.kubernetes import ClusterNetwork, KubeClusterConfig, KubeNetworkConfig
from nodespan.resources.config.kubespan import (
    DiscoveryIdentityConfig,
    DiscoveryServiceConfig,
    KubeSpanConfig,
    KubeSpanEndpointsConfig,
)
from nodespan.resources.config.links import (
    BondConfig,
    BridgeConfig,
    CommonLink,
    DummyLinkConfig,
    LinkAliasConfig,
    LinkConfig,
    MacVLANConfig,
    VethConfig,
    VLANConfig,
    VRFConfig,
    VXLANConfig,
    WireguardConfig,
)
from nodespan.resources.config.main import Cluster, Machine, MachineType, MainDocument
from nodespan.resources.config.network import (
    BlackholeRouteConfig,
    DHCPv4Config,
    DHCPv6Config,
    HCloudVIPConfig,
    HTTPProbeConfig,
    Layer2VIPConfig,
    NetworkDefaultActionConfig,
    NetworkRuleConfig,
    RoutingRuleConfig,
    TCPProbeConfig,
)
from nodespan.resources.config.nodespan import NameMode, NodespanConfig
from nodespan.resources.config.selector import DeviceSelector
from nodespan.runtime.resource import ResourceType

Document = (
    BlackholeRouteConfig
    | BondConfig
    | BridgeConfig
    | DHCPv4Config
    | DHCPv6Config
    | DiscoveryIdentityConfig
    | DiscoveryServiceConfig
    | DummyLinkConfig
    | EnvironmentConfig
    | EtcFileConfig
    | EthernetConfig
    | HCloudVIPConfig
    | HTTPProbeConfig
    | HostnameConfig
    | KernelModuleConfig
    | KubeClusterConfig
    | KubeNetworkConfig
    | KubeSpanConfig
    | KubeSpanEndpointsConfig
    | Layer2VIPConfig
    | LinkAliasConfig
    | LinkConfig
    | MacVLANConfig
    | NetworkDefaultActionConfig
    | NetworkRuleConfig
    | ResolverConfig
    | RoutingRuleConfig
    | StaticHostConfig
    | SysctlConfig
    | SysfsConfig
    | TCPProbeConfig
    | TimeSyncConfig
    | TrustedRootsConfig
    | UdevRulesConfig
    | VLANConfig
    | VRFConfig
    | VXLANConfig
    | VethConfig
    | WireguardConfig
)
D = TypeVar("D")
# There is one configuration; its id is the version of its main document.
MACHINE_CONFIG_ID = "v1alpha1"


@attrs.frozen(kw_only=True)
class MachineConfigSpec:
    """One whole configuration."""

    main: MainDocument = attrs.field(factory=MainDocument)
    """The main document."""
    documents: tuple[Document, ...] = ()
    """The other documents, in the order of the text."""
    nodespan: NodespanConfig = attrs.field(factory=NodespanConfig)
    """The settings that only nodespan has."""
    text: str = attrs.field(default="", repr=False)
    """What the operator wrote."""

    @property
    def machine(self) -> Machine:
        """The machine section, with all defaults if there is none."""
        return self.main.machine or Machine()

    @property
    def cluster(self) -> Cluster:
        """The cluster section, with all defaults if there is none."""
        return self.main.cluster or Cluster()

    @property
    def names_members(self) -> bool:
        """Whether members of the cluster have names here: for a mode, or for the resolver if it is to know them."""
        if self.nodespan.names.mode is not NameMode.OFF:
            return True
        resolver = next(iter(self.documents_of(ResolverConfig)), None)
        host_dns = None if resolver is None else resolver.host_dns
        if host_dns is None or not host_dns.enabled:
            host_dns = self.machine.features.host_dns
        return host_dns is not None and host_dns.enabled and host_dns.resolve_member_names

    @property
    def time_is_kept(self) -> bool:
        """Whether it enables time synchronisation."""
        documents = self.documents_of(TimeSyncConfig)
        return documents[0].enabled if documents else not self.machine.time.disabled

    @property
    def boot_timeout(self) -> datetime.timedelta:
        """How long those who need the time wait for it after a start; 0 if that is not configured."""
        documents = self.documents_of(TimeSyncConfig)
        given = documents[0].boot_timeout if documents else self.machine.time.boot_timeout
        return max(datetime.timedelta(), given)

    @property
    def names_time(self) -> bool:
        """Whether it says anything of the clock."""
        time = self.machine.time
        return bool(self.documents_of(TimeSyncConfig) or time.disabled or time.servers or time.boot_timeout)

    def to_plain(self) -> str:
        """The form for clients: the text as the operator wrote it, secrets included, for the type is sensitive."""
        return self.text

    def documents_of(self, kind: type[D]) -> tuple[D, ...]:
        """The documents of this class, in the order of the text."""
        return tuple(document for document in self.documents if isinstance(document, kind))


MachineConfig = ResourceType("MachineConfigs.config.talos.dev", MachineConfigSpec, namespace="config", sensitive=True)

__all__ = [
    "MACHINE_CONFIG_ID",
    "BlackholeRouteConfig",
    "Bond",
    "BondConfig",
    "BridgeConfig",
    "Cluster",
    "ClusterNetwork",
    "CommonLink",
    "DHCPv4Config",
    "DHCPv6Config",
    "Device",
    "DeviceSelector",
    "DiscoveryIdentityConfig",
    "DiscoveryServiceConfig",
    "Document",
    "DummyLinkConfig",
    "EnvironmentConfig",
    "EtcFileConfig",
    "EthernetConfig",
    "HCloudVIPConfig",
    "HTTPProbeConfig",
    "HostnameConfig",
    "KernelModuleConfig",
    "KubeClusterConfig",
    "KubeNetworkConfig",
    "KubeSpanConfig",
    "KubeSpanEndpointsConfig",
    "Layer2VIPConfig",
    "LinkAliasConfig",
    "LinkConfig",
    "MacVLANConfig",
    "Machine",
    "MachineConfig",
    "MachineConfigSpec",
    "MachineType",
    "MainDocument",
    "NetworkDefaultActionConfig",
    "NetworkRuleConfig",
    "NodespanConfig",
    "ResolverConfig",
    "RoutingRuleConfig",
    "StaticHostConfig",
    "SysctlConfig",
    "SysfsConfig",
    "TCPProbeConfig",
    "TimeSyncConfig",
    "TrustedRootsConfig",
    "UdevRulesConfig",
    "VLANConfig",
    "VRFConfig",
    "VXLANConfig",
    "VethConfig",
    "WireguardConfig",
]

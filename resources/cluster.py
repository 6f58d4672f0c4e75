"""The cluster: its identity, its discovery services, and the nodes that were found."""

import enum

import attrs

from nodespan.runtime.resource import ResourceType, wire

NAMESPACE = "cluster"
# Affiliates by source, before they are merged: `service/<node id>`.
RAW_NAMESPACE = "cluster-raw"
CONFIG_NAMESPACE = "config"
CONTROL_PLANE_NAMESPACE = "controlplane"

DISCOVERY_CONFIG_ID = "cluster"
INFO_ID = "current"
LOCAL = "local"
# The public address of this node as the discovery service sees it: an AddressStatus in NAMESPACE.
PUBLIC_ADDRESS_ID = "service"
DISCOVERED = "discovered"
RESET_ID = "machine"

_OPTIONAL = wire(omit_empty=True)


class MachineType(enum.StrEnum):
    """The role of a node in its cluster, as far as this node knows."""

    UNKNOWN = "unknown"
    INIT = "init"
    CONTROLPLANE = "controlplane"
    WORKER = "worker"

    @classmethod
    def _missing_(cls, value: object) -> "MachineType":
        """A text from the wire never fails: unrecognized roles are UNKNOWN."""
        return cls.WORKER if value in ("", "join") else cls.UNKNOWN

    @property
    def is_control_plane(self) -> bool:
        """Whether the node takes part in the control plane."""
        return self in (MachineType.INIT, MachineType.CONTROLPLANE)


@attrs.frozen(kw_only=True)
class KubeSpanAffiliate:
    """How a node takes part in the mesh. Prefixes are as configured: host bits may be set."""

    public_key: str = ""
    """The public key of the node's tunnel, in base64."""
    address: str = ""
    """The address of the node in the mesh."""
    additional_addresses: tuple[str, ...] = ()
    """Networks behind the node, such as those of its pods."""
    endpoints: tuple[str, ...] = ()
    """Where the node's tunnel can be reached, as `address:port`."""
    exclude_advertised_networks: tuple[str, ...] = ()
    """Networks that are never routed to the node, even if it advertises them."""


@attrs.frozen(kw_only=True)
class ControlPlane:
    """The port at which a node serves the Kubernetes API."""

    port: int = 0
    """The port number."""


@attrs.frozen(kw_only=True)
class AffiliateSpec:
    """A node that announces itself as part of the cluster. Without a node name it is not a member."""

    node_id: str = ""
    """The id of the node in its cluster."""
    addresses: tuple[str, ...] = ()
    """The addresses of the node, without those of pods and services."""
    hostname: str = ""
    """The host name of the node."""
    nodename: str = attrs.field(default="", metadata=_OPTIONAL)
    """The name of the node in Kubernetes, or its host name."""
    operating_system: str = ""
    """The name and version of the node's operating system."""
    machine_type: MachineType = MachineType.UNKNOWN
    """The role of the node."""
    kubespan: KubeSpanAffiliate | None = attrs.field(default=None, metadata=_OPTIONAL)
    """How the node takes part in the mesh; unset if it does not."""
    control_plane: ControlPlane | None = attrs.field(default=None, metadata=_OPTIONAL)
    """Where the node serves the Kubernetes API; unset if it does not."""


@attrs.frozen(kw_only=True)
class MemberSpec:
    """A member of the cluster. The id is its node name."""

    node_id: str = ""
    """The id of the node in its cluster."""
    addresses: tuple[str, ...] = ()
    """The addresses of the node, without those of pods and services."""
    hostname: str = ""
    """The host name of the node."""
    machine_type: MachineType = MachineType.UNKNOWN
    """The role of the node."""
    operating_system: str = ""
    """The name and version of the node's operating system."""
    control_plane: ControlPlane | None = attrs.field(default=None, metadata=_OPTIONAL)
    """Where the node serves the Kubernetes API; unset if it does not."""


@attrs.frozen(kw_only=True)
class MemberNameSpec:
    """What one name of a member stands for. The id is the name in lower case, without a final dot."""

    addresses: tuple[str, ...] = ()
    """The addresses of the member that can be its: first the one in the mesh, then those that it announces."""
    canonical_name: str = ""
    """The name that its addresses lead back to: under the domain, if there is one."""
    node_id: str = ""
    """The id of the node in its cluster."""
    ttl: int = 0
    """For how many seconds an answer may be kept."""
    reverse_addresses: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The addresses that lead back to this name: those that no other node has. Other names have none."""


@attrs.frozen(kw_only=True)
class NameServiceStatusSpec:
    """How the programs of this machine get to know the names of members."""

    mode: str = ""
    """The mode by the configuration: `hosts`, `resolved`, `stub`, or `off` if only the resolver knows them."""
    domain: str = ""
    """The domain under which members have names, "" for none."""
    ready: bool = False
    """Whether programs get to know them in this way now."""
    servers: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """Where the node's own DNS server answers, as `address:port`."""
    link: str = attrs.field(default="", metadata=_OPTIONAL)
    """The link for which systemd-resolved knows of it."""
    message: str = ""
    """What programs have to do, or what is missing."""


@attrs.frozen(kw_only=True)
class DiscoveryService:
    """A discovery service that is configured."""

    name: str = ""
    """The name of its document, "" for the one of the main document."""
    endpoint: str = ""
    """Where it is, as `host:port`."""
    insecure: bool = False
    """Whether it is spoken to in plain text."""


@attrs.frozen(kw_only=True)
class DiscoveryConfigSpec:
    """The discovery services in use, and the cluster's id and key.

    The singular fields are those of the first service.
    """

    discovery_enabled: bool = False
    """Whether members of the cluster are looked for at all."""
    registry_kubernetes_enabled: bool = False
    """Whether the configuration enables the registry of Kubernetes, which is not provided here."""
    registry_service_enabled: bool = False
    """Whether discovery services are used."""
    service_endpoint: str = ""
    """Where the first service is, as `host:port`."""
    service_endpoint_insecure: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether the first service is spoken to in plain text."""
    service_encryption_key: bytes = attrs.field(default=b"", repr=False)
    """The secret of the cluster, decoded: 32 bytes, none without a secret."""
    service_cluster_id: str = attrs.field(default="", metadata=wire("serviceClusterID"))
    """The id by which the services know the cluster."""
    service_endpoints: tuple[DiscoveryService, ...] = ()
    """All services, in the order of the configuration."""


class ServiceState(enum.StrEnum):
    """How far this node has come with a discovery service."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class DiscoveryServiceStatusSpec:
    """Whether a discovery service is in use."""

    endpoint: str = ""
    """Where the service is, as `host:port`."""
    state: ServiceState = ServiceState.CONNECTING
    """How far this node has come with it."""
    stage: str = attrs.field(default="", metadata=_OPTIONAL)
    """What failed: `lookup`, `proxy`, `tcp`, `tls`, `http`, `deadline` or `service`."""
    message: str = attrs.field(default="", metadata=_OPTIONAL)
    """How it failed."""
    affiliates: int = 0
    """How many affiliates the service has reported."""
    unreadable: int = 0
    """How many of them have records that cannot be read, most often for they were encrypted with another secret."""
    own_endpoints: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The endpoints of this node that the service has: announced by it, now or lately, and reported by others."""


@attrs.frozen(kw_only=True)
class IdentitySpec:
    """This node's id in the cluster."""

    node_id: str = ""
    """32 random bytes as letters and digits, made once and kept in the state directory."""


@attrs.frozen(kw_only=True)
class InfoSpec:
    """The cluster that this node belongs to."""

    cluster_id: str = ""
    """The id of the cluster."""
    cluster_name: str = ""
    """The name of the cluster."""


@attrs.frozen(kw_only=True)
class EndpointSpec:
    """Addresses of the control plane."""

    addresses: tuple[str, ...] = ()
    """The addresses, without ports."""


@attrs.frozen(kw_only=True)
class MachineResetSignalSpec:
    """This node leaves the cluster permanently. Its existence is the signal."""


Affiliate = ResourceType(
    "Affiliates.cluster.talos.dev",
    AffiliateSpec,
    namespace=NAMESPACE,
    columns={"Hostname": ".hostname", "Machine Type": ".machineType", "Addresses": ".addresses"},
)
RAW_AFFILIATE = Affiliate.within(RAW_NAMESPACE)
Member = ResourceType(
    "Members.cluster.talos.dev",
    MemberSpec,
    namespace=NAMESPACE,
    columns={
        "Hostname": ".hostname",
        "Machine Type": ".machineType",
        "OS": ".operatingSystem",
        "Addresses": ".addresses",
    },
)
MemberName = ResourceType(
    "MemberNames.cluster.nodespan.dev",
    MemberNameSpec,
    namespace=NAMESPACE,
    columns={
        "Addresses": ".addresses",
        "Canonical Name": ".canonicalName",
        "Node ID": ".nodeId",
        "TTL": ".ttl",
    },
)
NameServiceStatus = ResourceType(
    "NameServiceStatuses.cluster.nodespan.dev",
    NameServiceStatusSpec,
    singular="NameServiceStatus",
    namespace=NAMESPACE,
    columns={
        "Mode": ".mode",
        "Domain": ".domain",
        "Ready": ".ready",
        "Servers": ".servers",
        "Message": ".message",
    },
)
DiscoveryConfig = ResourceType(
    "DiscoveryConfigs.cluster.talos.dev", DiscoveryConfigSpec, namespace=CONFIG_NAMESPACE, sensitive=True
)
DiscoveryServiceStatus = ResourceType(
    "DiscoveryServiceStatuses.cluster.nodespan.dev",
    DiscoveryServiceStatusSpec,
    singular="DiscoveryServiceStatus",
    namespace=NAMESPACE,
    columns={
        "Endpoint": ".endpoint",
        "State": ".state",
        "Affiliates": ".affiliates",
        "Unreadable": ".unreadable",
        "Message": ".message",
    },
)
Identity = ResourceType(
    "Identities.cluster.talos.dev", IdentitySpec, singular="Identity", namespace=NAMESPACE, columns={"ID": ".nodeId"}
)
Info = ResourceType(
    "Infos.cluster.talos.dev",
    InfoSpec,
    namespace=NAMESPACE,
    columns={"Cluster ID": ".clusterId", "Cluster Name": ".clusterName"},
)
Endpoint = ResourceType(
    "Endpoints.kubernetes.talos.dev",
    EndpointSpec,
    namespace=CONTROL_PLANE_NAMESPACE,
    columns={"Addresses": ".addresses"},
)
MachineResetSignal = ResourceType("MachineResetSignals.runtime.talos.dev", MachineResetSignalSpec, namespace="runtime")

__all__ = [
    "CONFIG_NAMESPACE",
    "CONTROL_PLANE_NAMESPACE",
    "DISCOVERED",
    "DISCOVERY_CONFIG_ID",
    "INFO_ID",
    "LOCAL",
    "NAMESPACE",
    "PUBLIC_ADDRESS_ID",
    "RAW_AFFILIATE",
    "RAW_NAMESPACE",
    "RESET_ID",
    "Affiliate",
    "AffiliateSpec",
    "ControlPlane",
    "DiscoveryConfig",
    "DiscoveryConfigSpec",
    "DiscoveryService",
    "Endpoint",
    "EndpointSpec",
    "Identity",
    "IdentitySpec",
    "Info",
    "InfoSpec",
    "KubeSpanAffiliate",
    "MachineResetSignal",
    "MachineResetSignalSpec",
    "MachineType",
    "Member",
    "MemberName",
    "MemberNameSpec",
    "MemberSpec",
    "NameServiceStatus",
    "NameServiceStatusSpec",
]

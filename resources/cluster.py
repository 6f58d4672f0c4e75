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
    """How a node takes part in the mesh. Prefixes are as configured: host bits may be set.

    `exclude_advertised_networks` are never routed to the node, even if they are advertised.
    """

    public_key: str = ""
    address: str = ""
    additional_addresses: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    exclude_advertised_networks: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ControlPlane:
    """The port at which a node serves the Kubernetes API."""

    port: int = 0


@attrs.frozen(kw_only=True)
class AffiliateSpec:
    """A node that announces itself as part of the cluster. Without a node name it is not a member."""

    node_id: str = ""
    addresses: tuple[str, ...] = ()
    hostname: str = ""
    nodename: str = attrs.field(default="", metadata=_OPTIONAL)
    operating_system: str = ""
    machine_type: MachineType = MachineType.UNKNOWN
    kubespan: KubeSpanAffiliate | None = attrs.field(default=None, metadata=_OPTIONAL)
    control_plane: ControlPlane | None = attrs.field(default=None, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class MemberSpec:
    """A member of the cluster. The id is its node name."""

    node_id: str = ""
    addresses: tuple[str, ...] = ()
    hostname: str = ""
    machine_type: MachineType = MachineType.UNKNOWN
    operating_system: str = ""
    control_plane: ControlPlane | None = attrs.field(default=None, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class DiscoveryService:
    """A discovery service: `endpoint` is host:port, `insecure` is plain text."""

    name: str = ""
    endpoint: str = ""
    insecure: bool = False


@attrs.frozen(kw_only=True)
class DiscoveryConfigSpec:
    """The discovery services in use, and the cluster's id and key. The singular fields are those of the first service.

    `service_encryption_key` is the cluster secret decoded: 32 bytes, none without a secret.
    """

    discovery_enabled: bool = False
    registry_kubernetes_enabled: bool = False
    registry_service_enabled: bool = False
    service_endpoint: str = ""
    service_endpoint_insecure: bool = attrs.field(default=False, metadata=_OPTIONAL)
    service_encryption_key: bytes = attrs.field(default=b"", repr=False)
    service_cluster_id: str = attrs.field(default="", metadata=wire("serviceClusterID"))
    service_endpoints: tuple[DiscoveryService, ...] = ()


class ServiceState(enum.StrEnum):
    """How far this node has come with a discovery service."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class DiscoveryServiceStatusSpec:
    """Whether a discovery service is in use. `stage` is what failed, and `message` how.

    Stages: lookup, proxy, tcp, tls, http, deadline, service. `unreadable` counts the affiliates whose records cannot be
    read.
    """

    endpoint: str = ""
    state: ServiceState = ServiceState.CONNECTING
    stage: str = attrs.field(default="", metadata=_OPTIONAL)
    message: str = attrs.field(default="", metadata=_OPTIONAL)
    affiliates: int = 0
    unreadable: int = 0


@attrs.frozen(kw_only=True)
class IdentitySpec:
    """This node's id in the cluster."""

    node_id: str = ""


@attrs.frozen(kw_only=True)
class InfoSpec:
    """The cluster that this node belongs to."""

    cluster_id: str = ""
    cluster_name: str = ""


@attrs.frozen(kw_only=True)
class EndpointSpec:
    """Addresses of the control plane."""

    addresses: tuple[str, ...] = ()


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
    "MemberSpec",
]

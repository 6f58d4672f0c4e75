"""KubeSpan and discovery settings: the sections of the main document and the documents that replace them."""

from typing import Literal

import attrs

from nodespan.resources.config.notation import Unsigned32
from nodespan.runtime.resource import wire

DEFAULT_DISCOVERY_ENDPOINT = "https://discovery.talos.dev/"


@attrs.frozen(kw_only=True)
class KubeSpanFilters:
    """`endpoints`: the addresses this node announces; None keeps all of them, an empty list none.

    `peer_endpoints`: the same for the endpoints of peers that this node tries. An entry is a network or an address,
    with `!` in front to take away what it contains.
    `exclude_advertised_networks`: networks that peers shall not route to this node.
    """

    endpoints: tuple[str, ...] | None = None
    peer_endpoints: tuple[str, ...] | None = None
    exclude_advertised_networks: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class KubeSpan:
    """`machine.network.kubespan`. MTU 0 is the default of 1420."""

    enabled: bool = False
    advertise_kubernetes_networks: bool = False
    allow_down_peer_bypass: bool = False
    harvest_extra_endpoints: bool = False
    mtu: Unsigned32 = 0
    filters: KubeSpanFilters | None = None


@attrs.frozen(kw_only=True)
class KubeSpanConfig:
    """The document that replaces `machine.network.kubespan`. MTU None is the default of 1420."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["KubeSpanConfig"] = "KubeSpanConfig"
    enabled: bool = False
    advertise_kubernetes_networks: bool = False
    allow_down_peer_bypass: bool = False
    harvest_extra_endpoints: bool = False
    mtu: Unsigned32 | None = None
    filters: KubeSpanFilters | None = None


@attrs.frozen(kw_only=True)
class KubeSpanEndpointsConfig:
    """More ip:port pairs under which this node can be reached, for example over a NAT mapping."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["KubeSpanEndpointsConfig"] = "KubeSpanEndpointsConfig"
    extra_announced_endpoints: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ServiceRegistry:
    """`cluster.discovery.registries.service`. An empty endpoint stands for DEFAULT_DISCOVERY_ENDPOINT."""

    disabled: bool = False
    endpoint: str = ""


@attrs.frozen(kw_only=True)
class KubernetesRegistry:
    """`cluster.discovery.registries.kubernetes`."""

    disabled: bool = False


@attrs.frozen(kw_only=True)
class Registries:
    """Where members of the cluster are looked up."""

    service: ServiceRegistry = ServiceRegistry()
    kubernetes: KubernetesRegistry = KubernetesRegistry()


@attrs.frozen(kw_only=True)
class Discovery:
    """`cluster.discovery`: how members of the cluster find each other."""

    enabled: bool = False
    registries: Registries = Registries()


@attrs.frozen(kw_only=True)
class DiscoveryIdentityConfig:
    """The document that replaces `cluster.id` and `cluster.secret`."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["DiscoveryIdentityConfig"] = "DiscoveryIdentityConfig"
    cluster_id: str = attrs.field(default="", metadata=wire("clusterID"))
    cluster_secret: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class DiscoveryServiceConfig:
    """A discovery service by the name `name`; any number of them may be used at the same time."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["DiscoveryServiceConfig"] = "DiscoveryServiceConfig"
    name: str = ""
    endpoint: str = ""

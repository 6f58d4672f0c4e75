"""KubeSpan and discovery settings: the sections of the main document and the documents that replace them."""

from typing import Literal

import attrs

from nodespan.resources.config.notation import Unsigned32
from nodespan.runtime.resource import wire

DEFAULT_DISCOVERY_ENDPOINT = "https://discovery.talos.dev/"


@attrs.frozen(kw_only=True)
class KubeSpanFilters:
    """Which addresses and networks take part in the mesh.

    An entry is a network or an address; `!` in front takes away what it contains.
    """

    endpoints: tuple[str, ...] | None = None
    """The networks whose addresses this node announces as endpoints; unset keeps all, an empty list none."""
    peer_endpoints: tuple[str, ...] | None = None
    """The networks of the endpoints of peers that this node tries; unset tries all, an empty list none."""
    exclude_advertised_networks: tuple[str, ...] = ()
    """Networks that peers shall not route to this node, as those of addresses that move."""


@attrs.frozen(kw_only=True)
class KubeSpan:
    """The mesh."""

    enabled: bool = False
    """Whether this node takes part in the mesh."""
    advertise_kubernetes_networks: bool = False
    """Whether peers send packets for the pod networks of this node through the tunnel to it."""
    allow_down_peer_bypass: bool = False
    """Whether packets to a peer that is down are sent outside of the tunnel, in clear text."""
    harvest_extra_endpoints: bool = False
    """Whether the endpoints at which peers are seen are announced to the other nodes."""
    mtu: Unsigned32 = 0
    """The MTU of the tunnel, in bytes; 0 stands for 1420."""
    filters: KubeSpanFilters | None = None
    """Which addresses and networks take part in the mesh."""


@attrs.frozen(kw_only=True)
class KubeSpanConfig:
    """The document that replaces `machine.network.kubespan`."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["KubeSpanConfig"] = "KubeSpanConfig"
    enabled: bool = False
    """Whether this node takes part in the mesh."""
    advertise_kubernetes_networks: bool = False
    """Whether peers send packets for the pod networks of this node through the tunnel to it."""
    allow_down_peer_bypass: bool = False
    """Whether packets to a peer that is down are sent outside of the tunnel, in clear text."""
    harvest_extra_endpoints: bool = False
    """Whether the endpoints at which peers are seen are announced to the other nodes."""
    mtu: Unsigned32 | None = None
    """The MTU of the tunnel, in bytes; unset stands for 1420."""
    filters: KubeSpanFilters | None = None
    """Which addresses and networks take part in the mesh."""


@attrs.frozen(kw_only=True)
class KubeSpanEndpointsConfig:
    """More endpoints under which this node can be reached, for example over a NAT mapping."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["KubeSpanEndpointsConfig"] = "KubeSpanEndpointsConfig"
    extra_announced_endpoints: tuple[str, ...] = ()
    """The endpoints, as `address:port`."""


@attrs.frozen(kw_only=True)
class ServiceRegistry:
    """`cluster.discovery.registries.service`: the discovery service."""

    disabled: bool = False
    """Whether no discovery service is used."""
    endpoint: str = ""
    """The URL of the service; "" stands for `https://discovery.talos.dev/`."""


@attrs.frozen(kw_only=True)
class KubernetesRegistry:
    """`cluster.discovery.registries.kubernetes`, which is not provided here."""

    disabled: bool = False
    """Whether the registry is off."""


@attrs.frozen(kw_only=True)
class Registries:
    """Where members of the cluster are looked up."""

    service: ServiceRegistry = ServiceRegistry()
    """The discovery service."""
    kubernetes: KubernetesRegistry = KubernetesRegistry()
    """The registry of Kubernetes."""


@attrs.frozen(kw_only=True)
class Discovery:
    """`cluster.discovery`: how members of the cluster find each other."""

    enabled: bool = False
    """Whether members of the cluster are looked for at all."""
    registries: Registries = Registries()
    """Where they are looked for."""


@attrs.frozen(kw_only=True)
class DiscoveryIdentityConfig:
    """The document that replaces `cluster.id` and `cluster.secret`."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["DiscoveryIdentityConfig"] = "DiscoveryIdentityConfig"
    cluster_id: str = attrs.field(default="", metadata=wire("clusterID"))
    """The id of the cluster, which its discovery services know it by; 32 bytes in base64 as the tools make them."""
    cluster_secret: str = attrs.field(default="", repr=False)
    """The secret of the cluster, 32 bytes in base64: it encrypts announcements, and is the preshared key of tunnels."""


@attrs.frozen(kw_only=True)
class DiscoveryServiceConfig:
    """A discovery service; any number of them may be used at the same time."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["DiscoveryServiceConfig"] = "DiscoveryServiceConfig"
    name: str = ""
    """The name of the document, which tells several services apart."""
    endpoint: str = ""
    """The URL of the service."""

"""KubeSpan: this node's identity in the mesh, its peers, and the state of each."""

import enum
from datetime import UTC, datetime

import attrs

from nodespan.runtime.resource import ResourceType, wire

NAMESPACE = "kubespan"
CONFIG_NAMESPACE = "config"

# The only identity of this node, and the only configuration of the feature.
LOCAL = "local"
KUBESPAN_CONFIG_ID = "kubespan"

# The timestamp for "never".
NEVER = datetime(1, 1, 1, tzinfo=UTC)


# The UDP port of the tunnel unless the configuration has another one, and the one that peers are tried at.
KUBESPAN_PORT = 51820


@attrs.frozen(kw_only=True)
class KubeSpanStaticPeer:
    """A peer that the configuration names: its address in the mesh, what else is reached through it, and its endpoints.

    Where a member with this public key is discovered, its own endpoints and addresses are added to these.
    """

    public_key: str
    label: str = attrs.field(default="", metadata=wire(omit_empty=True))
    address: str = attrs.field(default="", metadata=wire(omit_empty=True))
    endpoints: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs", omit_empty=True))


@attrs.frozen(kw_only=True)
class KubeSpanConfigSpec:
    """The settings in effect, from whichever documents.

    `shared_secret` is the preshared key of every peer. `endpoint_filters` None keeps all endpoints, () none of them;
    `peer_endpoint_filters` is the same for those of peers. `accepted_networks` may be led into the tunnel although they
    are as good as default routes, or this node's gateways or resolvers. `listen_port` is the UDP port of the tunnel,
    and `static_peers` are those that need no discovery.
    """

    enabled: bool = False
    cluster_id: str = ""
    shared_secret: str = attrs.field(default="", repr=False)
    force_routing: bool = True
    advertise_kubernetes_networks: bool = False
    mtu: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    endpoint_filters: tuple[str, ...] | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    harvest_extra_endpoints: bool = False
    extra_endpoints: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    exclude_advertised_networks: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    peer_endpoint_filters: tuple[str, ...] | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    accepted_networks: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    listen_port: int = KUBESPAN_PORT
    static_peers: tuple[KubeSpanStaticPeer, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))


@attrs.frozen(kw_only=True)
class KubeSpanIdentitySpec:
    """This node's address (/128) and key pair (base64) in the mesh, and the subnet (/64) that all nodes share."""

    address: str = ""
    subnet: str = ""
    private_key: str = attrs.field(default="", repr=False)
    public_key: str = ""


@attrs.frozen(kw_only=True)
class KubeSpanPeerSpecSpec:
    """A desired peer: the prefixes routed to it, and its announced endpoints, best first."""

    address: str = ""
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))
    endpoints: tuple[str, ...] = ()
    label: str = ""


class PeerState(enum.StrEnum):
    """Whether there are fresh handshakes with a peer; unknown while an endpoint is being tried."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@attrs.frozen(kw_only=True)
class KubeSpanPeerStatusSpec:
    """A peer as observed.

    `endpoint` is the one in use by the device, `last_used_endpoint` the last that this node set, "" for none.
    """

    endpoint: str = ""
    label: str = ""
    state: PeerState = PeerState.UNKNOWN
    receive_bytes: int = 0
    transmit_bytes: int = 0
    last_handshake_time: datetime = NEVER
    last_used_endpoint: str = ""
    last_endpoint_change: datetime = NEVER


@attrs.frozen(kw_only=True)
class KubeSpanEndpointSpec:
    """An observed endpoint of a peer, to be reported to the other nodes."""

    affiliate_id: str = attrs.field(default="", metadata=wire("affiliateID"))
    endpoint: str = ""


KubeSpanConfig = ResourceType(
    "KubeSpanConfigs.kubespan.talos.dev", KubeSpanConfigSpec, namespace=CONFIG_NAMESPACE, sensitive=True
)
KubeSpanIdentity = ResourceType(
    "KubeSpanIdentities.kubespan.talos.dev",
    KubeSpanIdentitySpec,
    singular="KubeSpanIdentity",
    namespace=NAMESPACE,
    columns={"Address": ".address", "PublicKey": ".publicKey"},
    sensitive=True,
)
KubeSpanPeerSpec = ResourceType(
    "KubeSpanPeerSpecs.kubespan.talos.dev",
    KubeSpanPeerSpecSpec,
    namespace=NAMESPACE,
    columns={"Label": ".label", "Endpoints": ".endpoints"},
)
KubeSpanPeerStatus = ResourceType(
    "KubeSpanPeerStatuses.kubespan.talos.dev",
    KubeSpanPeerStatusSpec,
    singular="KubeSpanPeerStatus",
    namespace=NAMESPACE,
    columns={
        "Label": ".label",
        "Endpoint": ".endpoint",
        "State": ".state",
        "Rx": ".receiveBytes",
        "Tx": ".transmitBytes",
    },
)
KubeSpanEndpoint = ResourceType(
    "KubeSpanEndpoints.kubespan.talos.dev",
    KubeSpanEndpointSpec,
    namespace=NAMESPACE,
    columns={"Endpoint": ".endpoint", "Affiliate ID": ".affiliateID"},
)

__all__ = [
    "CONFIG_NAMESPACE",
    "KUBESPAN_CONFIG_ID",
    "LOCAL",
    "NAMESPACE",
    "NEVER",
    "KubeSpanConfig",
    "KubeSpanConfigSpec",
    "KubeSpanEndpoint",
    "KubeSpanEndpointSpec",
    "KubeSpanIdentity",
    "KubeSpanIdentitySpec",
    "KubeSpanPeerSpec",
    "KubeSpanPeerSpecSpec",
    "KubeSpanPeerStatus",
    "KubeSpanPeerStatusSpec",
    "PeerState",
]

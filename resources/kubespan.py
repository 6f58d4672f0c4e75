"""KubeSpan: this node's identity in the mesh, its peers, and the state of each."""

import enum
from datetime import UTC, datetime, timedelta

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
    """A peer that the configuration names. What a discovered member with its key announces is added."""

    public_key: str
    """The public key of its tunnel, in base64."""
    label: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """What it is called."""
    address: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """Its address in the mesh."""
    endpoints: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """Where it is, as `address:port`, in the order of trials."""
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs", omit_empty=True))
    """What else is reached through it."""


@attrs.frozen(kw_only=True)
class KubeSpanConfigSpec:
    """The settings in effect, from whichever documents."""

    enabled: bool = False
    """Whether this node takes part in the mesh."""
    cluster_id: str = ""
    """The id of the cluster, from which the subnet of the mesh is derived."""
    shared_secret: str = attrs.field(default="", repr=False)
    """The preshared key of every peer, which is the secret of the cluster."""
    force_routing: bool = True
    """Whether packets to a peer that is down are dropped rather than sent outside of the tunnel."""
    advertise_kubernetes_networks: bool = False
    """Whether peers send packets for the pod networks of this node through the tunnel to it."""
    mtu: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    """The MTU of the tunnel, in bytes."""
    endpoint_filters: tuple[str, ...] | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    """Networks whose addresses this node announces as endpoints; unset keeps all, an empty list none."""
    harvest_extra_endpoints: bool = False
    """Whether the endpoints at which peers are seen are announced to the other nodes."""
    extra_endpoints: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """Further endpoints that this node announces as its own, as `address:port`."""
    exclude_advertised_networks: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """Networks that peers shall not route to this node."""
    peer_endpoint_filters: tuple[str, ...] | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    """Networks of the endpoints of peers that are tried; unset tries all, an empty list none."""
    accepted_networks: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """Networks that may be led into the tunnel although they are as good as default routes, or hold this node's
    gateways or resolvers.
    """
    listen_port: int = KUBESPAN_PORT
    """The UDP port of the tunnel."""
    measure_paths: bool = False
    """Whether the paths to peers are measured."""
    auto_mtu: bool = attrs.field(default=False, metadata=wire("autoMTU"))
    """Whether packets to a peer are kept as small as its path needs."""
    port_mapping: bool = False
    """Whether this node's router is asked to let the tunnel in."""
    static_peers: tuple[KubeSpanStaticPeer, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """Peers that need no discovery."""
    relays: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """The URLs of relays, of which the nearest is used."""


@attrs.frozen(kw_only=True)
class KubeSpanIdentitySpec:
    """This node's identity in the mesh."""

    address: str = ""
    """The address of this node in the mesh (/128), derived from the cluster's id and a hardware address."""
    subnet: str = ""
    """The subnet (/64) that the addresses of all nodes of the mesh are in."""
    private_key: str = attrs.field(default="", repr=False)
    """The private key of the tunnel, in base64."""
    public_key: str = ""
    """The public key of the tunnel, in base64: the id of this node among its peers."""


@attrs.frozen(kw_only=True)
class KubeSpanPeerSpecSpec:
    """A desired peer. The id is its public key."""

    address: str = ""
    """The address of the peer in the mesh."""
    allowed_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("allowedIPs"))
    """The prefixes that are routed to the peer."""
    endpoints: tuple[str, ...] = ()
    """The announced endpoints of the peer, as `address:port`, best first."""
    label: str = ""
    """The name of the peer's node."""


class PeerState(enum.StrEnum):
    """Whether there are fresh handshakes with a peer; unknown while an endpoint is being tried."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@attrs.frozen(kw_only=True)
class KubeSpanPeerStatusSpec:
    """A peer as observed. The id is its public key."""

    endpoint: str = ""
    """The endpoint that the device uses, "" for none."""
    label: str = ""
    """The name of the peer's node."""
    state: PeerState = PeerState.UNKNOWN
    """Whether the peer answers."""
    receive_bytes: int = 0
    """Bytes received from the peer since the tunnel was made."""
    transmit_bytes: int = 0
    """Bytes sent to the peer since the tunnel was made."""
    last_handshake_time: datetime = NEVER
    """The last handshake with the peer, by this node's wall clock; year 1 for never."""
    last_used_endpoint: str = ""
    """The last endpoint that this node set, "" for none."""
    last_endpoint_change: datetime = NEVER
    """When this node last set an endpoint; year 1 for never."""
    relay: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """The relay that the peer is reached over, "" for a direct path. The endpoints above are true ones all the same."""


@attrs.frozen(kw_only=True)
class KubeSpanEndpointSpec:
    """An observed endpoint of a peer, to be reported to the other nodes."""

    affiliate_id: str = attrs.field(default="", metadata=wire("affiliateID"))
    """The id of the peer's node in the cluster."""
    endpoint: str = ""
    """Where the peer is seen, as `address:port`."""


class RelayState(enum.StrEnum):
    """How far this node has come with a relay. A reserve is one that is not needed now."""

    RESERVE = "reserve"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class KubeSpanRelayStatusSpec:
    """A relay, and what this node has of it. The id is its host and port."""

    endpoint: str = ""
    """The host and port of the relay."""
    state: RelayState = RelayState.RESERVE
    """How far this node has come with it."""
    endpoints: tuple[str, ...] = ()
    """The addresses of this node at the relay; they stay while the connection is lost for a while."""
    announced: bool = False
    """Whether other nodes are told of these addresses."""
    round_trip: timedelta = timedelta()
    """The round trip as it was measured last, 0 for unknown."""
    addresses: tuple[str, ...] = ()
    """The addresses that the relay has for nodes."""
    ports: tuple[int, ...] = ()
    """The first and the last of the ports that it gives to nodes."""
    message: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """Why it cannot be used."""


class MappingProtocol(enum.StrEnum):
    """How a router is asked for a port mapping."""

    NONE = "none"
    PCP = "PCP"
    NAT_PMP = "NAT-PMP"
    UPNP = "UPnP"


class MappingState(enum.StrEnum):
    """How far this node has come with its port mapping."""

    ASKING = "asking"
    MAPPED = "mapped"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class KubeSpanPortMappingSpec:
    """The port of this node's router that leads to the tunnel. The only id is `local`."""

    state: MappingState = MappingState.ASKING
    """How far this node has come."""
    gateway: str = ""
    """The address of the router, which is the gateway of the IPv4 default route."""
    protocol: MappingProtocol = MappingProtocol.NONE
    """How the router was asked."""
    internal: str = ""
    """Where the router sends what comes in, as `address:port`: this node."""
    external: str = ""
    """Where the router lets packets in, as `address:port`; other nodes are told of it."""
    lifetime: timedelta = timedelta()
    """For how long the router grants it; it is renewed at half of that time. 0 is until it is given back."""
    behind_nat: bool = attrs.field(default=False, metadata=wire("behindNAT"))
    """Whether the address of the router is itself behind a NAT, as one of a carrier: few nodes reach it then."""
    foreign: bool = False
    """Whether the mapping was there before, made by somebody else: then it is used, and left as it is."""
    message: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """Why there is none, or why it could not be renewed."""


class NATKind(enum.StrEnum):
    """What the way out of this node makes of its address, as far as is known from what others see."""

    UNKNOWN = "unknown"
    NONE = "none"
    ONE_PORT = "one port"
    BY_DESTINATION = "by destination"


@attrs.frozen(kw_only=True)
class KubeSpanNATStatusSpec:
    """What this node looks like from outside, by IPv4. The only id is `local`."""

    kind: NATKind = NATKind.UNKNOWN
    """`none` for a public address of its own; `one port`, the same for everybody; `by destination`, one for each
    peer; `unknown` as long as no peer has reported another place than those that this node announces.
    """
    public_address: str = ""
    """The address that a discovery service sees."""
    seen: tuple[str, ...] = ()
    """Where others see this node, as `address:port`, beside what it announces itself."""


@attrs.frozen(kw_only=True)
class KubeSpanRelayedEndpointSpec:
    """An address that is reached over a relay. The id is the local address by which WireGuard knows it."""

    endpoint: str = ""
    """The true address, as the relay knows it."""
    relay: str = ""
    """The host and port of the relay."""
    requested: bool = False
    """Whether this node reaches a peer there, whose endpoint is at the relay; else something came from there."""


class PathKind(enum.StrEnum):
    """How packets get to a peer: straight, over a relay, or not at all."""

    DIRECT = "direct"
    RELAYED = "relayed"
    NONE = "none"


class TrialResult(enum.StrEnum):
    """What came of an endpoint: it is being tried, it is up, it was up, or it was given up."""

    TRYING = "trying"
    UP = "up"
    LOST = "lost"
    NO_ANSWER = "no answer"


@attrs.frozen(kw_only=True)
class PathTrial:
    """An endpoint that was tried, or that the peer itself came from."""

    endpoint: str = ""
    """The endpoint, as `address:port`."""
    since: datetime = NEVER
    """When it began to be tried, or to be used."""
    result: TrialResult = TrialResult.TRYING
    """What came of it."""


@attrs.frozen(kw_only=True)
class KubeSpanPathStatusSpec:
    """What the path to a peer is like, measured inside of the tunnel."""

    label: str = ""
    """The name of the peer."""
    address: str = ""
    """The address of the peer in the mesh."""
    path: PathKind = PathKind.NONE
    """How packets get to the peer."""
    endpoint: str = ""
    """Where the peer is reached, as `address:port`."""
    relay: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """The relay that packets go over; empty for a direct path."""
    since: datetime = NEVER
    """Since when the path is as it is, over this endpoint and relay."""
    round_trip: timedelta = timedelta()
    """The median round trip of the last rounds; 0 while none was answered."""
    worst_round_trip: timedelta = timedelta()
    """The longest round trip of the last rounds."""
    loss: float = 0.0
    """The part of the last rounds that was not answered, from 0 to 1."""
    path_mtu: int = attrs.field(default=0, metadata=wire("pathMTU"))
    """The size of the largest packet inside of the tunnel that gets through, in bytes; 0 while it is not known."""
    tunnel_mtu: int = attrs.field(default=0, metadata=wire("tunnelMTU"))
    """The size that the tunnel assumes, in bytes."""
    trials: tuple[PathTrial, ...] = ()
    """The latest endpoints that were tried; the last one is tried, or used, now."""


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
KubeSpanRelayStatus = ResourceType(
    "KubeSpanRelayStatuses.kubespan.nodespan.dev",
    KubeSpanRelayStatusSpec,
    singular="KubeSpanRelayStatus",
    namespace=NAMESPACE,
    columns={
        "Endpoint": ".endpoint",
        "State": ".state",
        "Endpoints": ".endpoints",
        "Round Trip": ".roundTrip",
        "Message": ".message",
    },
)
KubeSpanNATStatus = ResourceType(
    "KubeSpanNATStatuses.kubespan.nodespan.dev",
    KubeSpanNATStatusSpec,
    singular="KubeSpanNATStatus",
    namespace=NAMESPACE,
    columns={"Kind": ".kind", "Public Address": ".publicAddress", "Seen": ".seen"},
)
KubeSpanPortMapping = ResourceType(
    "KubeSpanPortMappings.kubespan.nodespan.dev",
    KubeSpanPortMappingSpec,
    namespace=NAMESPACE,
    columns={
        "State": ".state",
        "Gateway": ".gateway",
        "Protocol": ".protocol",
        "Internal": ".internal",
        "External": ".external",
        "Message": ".message",
    },
)
KubeSpanRelayedEndpoint = ResourceType(
    "KubeSpanRelayedEndpoints.kubespan.nodespan.dev",
    KubeSpanRelayedEndpointSpec,
    namespace=NAMESPACE,
    columns={"Endpoint": ".endpoint", "Relay": ".relay"},
)
KubeSpanPathStatus = ResourceType(
    "KubeSpanPathStatuses.kubespan.nodespan.dev",
    KubeSpanPathStatusSpec,
    singular="KubeSpanPathStatus",
    namespace=NAMESPACE,
    columns={
        "Label": ".label",
        "Path": ".path",
        "Endpoint": ".endpoint",
        "Round Trip": ".roundTrip",
        "Worst": ".worstRoundTrip",
        "Loss": ".loss",
        "MTU": ".pathMTU",
    },
)

__all__ = [
    "CONFIG_NAMESPACE",
    "KUBESPAN_CONFIG_ID",
    "KUBESPAN_PORT",
    "LOCAL",
    "NAMESPACE",
    "NEVER",
    "KubeSpanConfig",
    "KubeSpanConfigSpec",
    "KubeSpanEndpoint",
    "KubeSpanEndpointSpec",
    "KubeSpanIdentity",
    "KubeSpanIdentitySpec",
    "KubeSpanNATStatus",
    "KubeSpanNATStatusSpec",
    "KubeSpanPathStatus",
    "KubeSpanPathStatusSpec",
    "KubeSpanPeerSpec",
    "KubeSpanPeerSpecSpec",
    "KubeSpanPeerStatus",
    "KubeSpanPeerStatusSpec",
    "KubeSpanPortMapping",
    "KubeSpanPortMappingSpec",
    "KubeSpanRelayStatus",
    "KubeSpanRelayStatusSpec",
    "KubeSpanRelayedEndpoint",
    "KubeSpanRelayedEndpointSpec",
    "KubeSpanStaticPeer",
    "MappingProtocol",
    "MappingState",
    "NATKind",
    "PathKind",
    "PathTrial",
    "PeerState",
    "RelayState",
    "TrialResult",
]

"""The metrics of KubeSpan: peers by state, and of each its last handshake and its bytes."""

import datetime
from collections import Counter
from collections.abc import Iterator

from nodespan.resources.kubespan import (
    NEVER,
    KubeSpanPathStatus,
    KubeSpanPeerStatus,
    KubeSpanRelayStatus,
    PathKind,
    PeerState,
    RelayState,
)
from nodespan.runtime.metrics import Family, Kind, Metric, MetricSource
from nodespan.runtime.state import State

_LABELS = ("peer", "public_key")
_EACH = "one for each peer"
_AGE = "a tunnel in use has a handshake every two minutes: `time() - ...` above 275 is a peer that does not answer"

PEERS = Metric(
    name="nodespan_kubespan_peers",
    text="Peers by their state.",
    labels=("state",),
    series="3",
    remedy="`nodespan status` names those that are down; if all are, look at this node's firewall and its port",
)
UP = Metric(
    name="nodespan_kubespan_peer_up",
    text="1 while a peer answers, 0 while it is down or not known to be up.",
    labels=_LABELS,
    series=_EACH,
    remedy="`nodespan events -k peer` says since when; `nodespan doctor` on that node",
)
HANDSHAKE = Metric(
    name="nodespan_kubespan_peer_last_handshake_timestamp_seconds",
    text="When the last handshake with a peer was, in seconds since the epoch; 0 for never.",
    labels=_LABELS,
    series=_EACH,
    remedy=_AGE,
)
ENDPOINT_CHANGE = Metric(
    name="nodespan_kubespan_peer_last_endpoint_change_timestamp_seconds",
    text="When this node last chose another endpoint for a peer, in seconds since the epoch; 0 for never.",
    labels=_LABELS,
    series=_EACH,
    remedy="many changes: none of the peer's endpoints can be reached; `nodespan describe kubespanpeerspec` has them",
)
_OF_RELAYS = "one for each relay that members of the mesh name"
RELAYED = Metric(
    name="nodespan_kubespan_relayed_peers",
    text="Peers that are reached over a relay.",
    labels=("relay",),
    series=_OF_RELAYS,
    remedy="a direct path is faster: open the port of the mesh on one side (`nodespan doctor --only firewall`)",
)
RELAY_CONNECTED = Metric(
    name="nodespan_kubespan_relay_connected",
    text="1 while this node has an address at a relay.",
    labels=("relay",),
    series=_OF_RELAYS,
    remedy="0 for all: `nodespan get kubespanrelaystatuses` says why; one suffices",
)
RELAY_ROUND_TRIP = Metric(
    name="nodespan_kubespan_relay_round_trip_seconds",
    text="The round trip to a relay as it was measured last; nothing while it is not known.",
    labels=("relay",),
    series=_OF_RELAYS,
    remedy="what peers over this relay have beside their own way; a relay nearby is taken first",
)
ROUND_TRIP = Metric(
    name="nodespan_kubespan_peer_round_trip_seconds",
    text="The median round trip to a peer inside of the tunnel, of the last rounds that were answered.",
    labels=_LABELS,
    series=_EACH,
    remedy="`nodespan path NODE` says over which endpoint, and since when",
)
LOSS = Metric(
    name="nodespan_kubespan_peer_loss_ratio",
    text="The part of the last rounds to a peer that was not answered, from 0 to 1; nothing while there is no path.",
    labels=_LABELS,
    series=_EACH,
    remedy="of one peer: the way to it; of all: this node's own link",
)
PATH_MTU = Metric(
    name="nodespan_kubespan_peer_path_mtu_bytes",
    text="The largest packet inside of the tunnel that gets to a peer and back; nothing while it is not known.",
    labels=_LABELS,
    series=_EACH,
    remedy="less than the MTU of the tunnel: set `mtu` of KubeSpan at both ends, or `autoMTU`",
)
_BYTES = {
    Metric(
        name=f"nodespan_kubespan_peer_{direction}_bytes_total",
        text=f"Bytes {text} a peer, as its device counts them.",
        kind=Kind.COUNTER,
        labels=_LABELS,
        series=_EACH,
        remedy=remedy,
    ): f"{direction}_bytes"
    for direction, text, remedy in (
        ("receive", "received from", "`rate(...[5m])` is the traffic"),
        ("transmit", "sent to", "that grows while what is received does not: the peer does not answer"),
    )
}


def _collect(state: State) -> Iterator[Family]:
    peers = {(peer.spec.label, peer.id): peer.spec for peer in state.list(KubeSpanPeerStatus)}
    states: Counter[tuple[str, ...]] = Counter({(str(each),): 0 for each in PeerState})
    states.update((str(spec.state),) for spec in peers.values())
    yield PEERS.by(states)
    yield UP.by({peer: spec.state is PeerState.UP for peer, spec in peers.items()})
    yield HANDSHAKE.by({peer: _timestamp(spec.last_handshake_time) for peer, spec in peers.items()})
    yield ENDPOINT_CHANGE.by({peer: _timestamp(spec.last_endpoint_change) for peer, spec in peers.items()})
    yield RELAYED.by(Counter((spec.relay,) for spec in peers.values() if spec.relay))
    relays = {(relay.id,): relay.spec for relay in state.list(KubeSpanRelayStatus)}
    yield RELAY_CONNECTED.by({relay: spec.state is RelayState.CONNECTED for relay, spec in relays.items()})
    times = {relay: spec.round_trip.total_seconds() for relay, spec in relays.items()}
    yield RELAY_ROUND_TRIP.by({relay: seconds for relay, seconds in times.items() if seconds})
    paths = {(path.spec.label, path.id): path.spec for path in state.list(KubeSpanPathStatus)}
    yield ROUND_TRIP.by({peer: spec.round_trip.total_seconds() for peer, spec in paths.items() if spec.round_trip})
    yield LOSS.by({peer: spec.loss for peer, spec in paths.items() if spec.path is not PathKind.NONE})
    yield PATH_MTU.by({peer: spec.path_mtu for peer, spec in paths.items() if spec.path_mtu})
    for metric, field in _BYTES.items():
        yield metric.by({peer: getattr(spec, field) for peer, spec in peers.items()})


def _timestamp(moment: datetime.datetime) -> float:
    return 0.0 if moment == NEVER else moment.timestamp()


METRICS = MetricSource(
    title="The mesh",
    metrics=(
        PEERS,
        UP,
        HANDSHAKE,
        ENDPOINT_CHANGE,
        RELAYED,
        RELAY_CONNECTED,
        RELAY_ROUND_TRIP,
        ROUND_TRIP,
        LOSS,
        PATH_MTU,
        *_BYTES,
    ),
    collect=_collect,
)

"""The metrics of KubeSpan: peers by state, and of each its last handshake and its bytes."""

from collections import Counter
from collections.abc import Iterator

from nodespan.resources.kubespan import NEVER, KubeSpanPeerStatus, KubeSpanRelayStatus, PeerState, RelayState
from nodespan.runtime.samples import Samples
from nodespan.runtime.state import State


def collect(state: State) -> Iterator[Samples]:
    """The metrics, for one scrape."""
    peers = {(peer.spec.label, peer.id): peer.spec for peer in state.list(KubeSpanPeerStatus)}
    states: Counter[tuple[str, ...]] = Counter({(str(each),): 0 for each in PeerState})
    states.update((str(spec.state),) for spec in peers.values())
    yield Samples(name="nodespan_kubespan_peers", text="Peers by their state.", labels=("state",), values=states)
    labels = ("peer", "public_key")
    yield Samples(
        name="nodespan_kubespan_peer_last_handshake_seconds",
        text="When the last handshake with a peer was, in seconds since the epoch; 0 for never.",
        labels=labels,
        values={
            peer: 0.0 if spec.last_handshake_time == NEVER else spec.last_handshake_time.timestamp()
            for peer, spec in peers.items()
        },
    )
    relayed: Counter[tuple[str, ...]] = Counter((spec.relay,) for spec in peers.values() if spec.relay)
    yield Samples(
        name="nodespan_kubespan_relayed_peers",
        text="Peers that are reached over a relay.",
        labels=("relay",),
        values=relayed,
    )
    yield Samples(
        name="nodespan_kubespan_relay_connected",
        text="Whether this node has an address at a relay.",
        labels=("relay",),
        values={
            (relay.id,): float(relay.spec.state is RelayState.CONNECTED) for relay in state.list(KubeSpanRelayStatus)
        },
    )
    for direction, text in (("receive", "received from"), ("transmit", "sent to")):
        yield Samples(
            name=f"nodespan_kubespan_peer_{direction}_bytes_total",
            text=f"Bytes {text} a peer, as its device counts them.",
            labels=labels,
            values={peer: getattr(spec, f"{direction}_bytes") for peer, spec in peers.items()},
            is_counter=True,
        )

import attrs
import pytest

from nodespan.controllers.kubespan.known_relays import KnownRelays
from nodespan.controllers.kubespan.peer import desired_peer
from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.controllers.kubespan.relayed import Relayed, is_local
from nodespan.resources.kubespan import (
    KubeSpanConfigSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatusSpec,
    KubeSpanRelayedEndpointSpec,
    KubeSpanRelayStatusSpec,
    PeerState,
)

LOCAL, TRUE = "127.0.0.1:40001", "203.0.113.9:21007"
SPEC = KubeSpanRelayedEndpointSpec(endpoint=TRUE, relay="relay.example.org:3443")


def test_a_device_shows_the_true_endpoint_and_the_relay() -> None:
    relayed = Relayed()
    peers = {"a": ObservedPeer(endpoint=LOCAL, received=5), "b": ObservedPeer(endpoint="192.0.2.1:51820")}
    assert relayed.named(peers) is peers
    assert relayed.note(LOCAL, SPEC) == {TRUE}
    assert relayed.named(peers) == {
        "a": ObservedPeer(endpoint=TRUE, relay=SPEC.relay, received=5),
        "b": peers["b"],
    }


def test_a_local_address_that_stands_for_nothing_any_more_is_no_endpoint() -> None:
    relayed = Relayed()
    relayed.note(LOCAL, SPEC)
    assert relayed.note(LOCAL, None) == {TRUE}
    assert relayed.named({"a": ObservedPeer(endpoint=LOCAL)}) == {"a": ObservedPeer()}
    assert relayed.local_of(TRUE, SPEC.relay) == ""


def test_the_newest_local_address_of_an_endpoint_counts() -> None:
    relayed = Relayed()
    relayed.note(LOCAL, SPEC)
    relayed.note("127.0.0.1:40002", SPEC)
    relayed.note(LOCAL, None)
    assert relayed.local_of(TRUE, SPEC.relay) == "127.0.0.1:40002"


def test_an_endpoint_that_is_reached_over_two_relays_keeps_the_other_local_address() -> None:
    relayed = Relayed()
    relayed.note(LOCAL, SPEC)
    relayed.note("127.0.0.1:40002", SPEC)
    relayed.note("127.0.0.1:40002", None)
    assert relayed.local_of(TRUE, SPEC.relay) == LOCAL


def test_the_device_is_given_the_local_address_of_an_endpoint_at_a_relay() -> None:
    status = KubeSpanPeerStatusSpec(endpoint=TRUE, last_used_endpoint=TRUE)
    settings = KubeSpanConfigSpec(enabled=True), KubeSpanPeerSpecSpec(), status
    relayed = Relayed()
    relayed.note(LOCAL, attrs.evolve(SPEC, requested=True))
    assert desired_peer("key", *settings, relayed).endpoint == LOCAL
    assert desired_peer("key", *settings).endpoint == TRUE
    # One that has no local address yet, or none any more, is not sent to by UDP, past the stream.
    relays = KnownRelays()
    host, _, port = TRUE.rpartition(":")
    relays.note("relay", KubeSpanRelayStatusSpec(addresses=(host,), ports=(int(port), int(port))))
    assert desired_peer("key", *settings, Relayed(), relays).endpoint == ""
    assert desired_peer("key", *settings, relayed, relays).endpoint == LOCAL
    # A peer that answers there without a relay stays where it is, whatever a relay says that it has.
    up = attrs.evolve(status, state=PeerState.UP)
    assert desired_peer("key", settings[0], settings[1], up, Relayed(), relays).endpoint == TRUE
    roamed = KubeSpanPeerStatusSpec(endpoint="192.0.2.1:51820", last_used_endpoint=TRUE)
    assert desired_peer("key", settings[0], settings[1], roamed, relayed).endpoint == ""


def test_what_a_relay_says_of_a_source_changes_nothing_until_wireguard_has_heard_the_peer_there() -> None:
    settings = KubeSpanConfigSpec(enabled=True), KubeSpanPeerSpecSpec()
    direct = KubeSpanPeerStatusSpec(endpoint=TRUE, last_used_endpoint=TRUE)
    relayed = Relayed()
    # The relay, or somebody who can make packets seem to come from elsewhere, claims the address of the peer.
    relayed.note(LOCAL, SPEC)
    assert desired_peer("key", *settings, direct, relayed).endpoint == TRUE
    # The peer itself has come over another relay, and then over this one.
    assert desired_peer("key", *settings, attrs.evolve(direct, relay="other:3443"), relayed).endpoint == TRUE
    assert desired_peer("key", *settings, attrs.evolve(direct, relay=SPEC.relay), relayed).endpoint == LOCAL


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("127.0.0.1:5", True), ("127.9.9.9:5", True), ("[::1]:5", True), ("192.0.2.1:5", False), ("host:5", False)],
)
def test_a_local_endpoint_is_known_by_its_address(endpoint: str, expected: bool) -> None:
    assert is_local(endpoint) is expected

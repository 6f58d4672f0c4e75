import attrs
import pytest

from nodespan.controllers.kubespan.data_path import KEEPALIVE
from nodespan.controllers.kubespan.known_relays import KnownRelays
from nodespan.controllers.kubespan.peer import PeerController, desired_peer
from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.controllers.kubespan.relayed import Relayed, is_local
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    KubeSpanRelayedEndpointSpec,
    KubeSpanRelayStatus,
    KubeSpanRelayStatusSpec,
    PeerState,
)
from nodespan.resources.kubespan import (
    LOCAL as LOCAL_ID,
)
from nodespan.resources.network import WireguardPeerSpec
from nodespan.runtime.testing.kit import running
from tests.controllers.kubespan.direct_answers import found_while_down

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


def test_a_peer_is_kept_alive_once_the_device_has_an_endpoint_for_it() -> None:
    """The first handshake of a device that has none is lost, and the next one comes 5 s later."""
    settings = KubeSpanConfigSpec(enabled=True), KubeSpanPeerSpecSpec()
    host, _, port = TRUE.rpartition(":")
    relays, relayed = KnownRelays(), Relayed()
    relays.note("relay:3443", KubeSpanRelayStatusSpec(addresses=(host,), ports=(int(port), int(port))))
    nowhere, waiting = KubeSpanPeerStatusSpec(), KubeSpanPeerStatusSpec(endpoint=TRUE, last_used_endpoint=TRUE)
    roamed = KubeSpanPeerStatusSpec(endpoint="192.0.2.1:51820", last_used_endpoint="192.0.2.2:51820")

    def interval(status: KubeSpanPeerStatusSpec) -> float:
        return desired_peer("key", *settings, status, relayed, relays).persistent_keepalive_interval.total_seconds()

    assert [interval(status) for status in (nowhere, waiting, roamed)] == [0, 0, KEEPALIVE]
    # What the device uses already, whoever chose it.
    assert interval(attrs.evolve(waiting, state=PeerState.UP)) == KEEPALIVE
    assert interval(attrs.evolve(roamed, endpoint=TRUE, relay=SPEC.relay)) == KEEPALIVE
    relayed.note(LOCAL, attrs.evolve(SPEC, requested=True))
    assert interval(waiting) == KEEPALIVE


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


def test_an_endpoint_at_a_relay_waits_for_its_local_address_while_the_device_has_another() -> None:
    settings = KubeSpanConfigSpec(enabled=True), KubeSpanPeerSpecSpec()
    host, _, port = TRUE.rpartition(":")
    relays, relayed = KnownRelays(), Relayed()
    relays.note("relay:3443", KubeSpanRelayStatusSpec(addresses=(host,), ports=(int(port), int(port))))
    before = KubeSpanPeerStatusSpec(endpoint="192.0.2.1:51820", last_used_endpoint=TRUE, state=PeerState.UNKNOWN)
    assert desired_peer("key", *settings, before, relayed, relays).endpoint == ""
    relayed.note(LOCAL, attrs.evolve(SPEC, requested=True))
    for state in (PeerState.UNKNOWN, PeerState.DOWN):
        assert desired_peer("key", *settings, attrs.evolve(before, state=state), relayed, relays).endpoint == LOCAL
    # That of a peer that is up was found by the device.
    up = attrs.evolve(before, state=PeerState.UP)
    assert desired_peer("key", *settings, up, relayed, relays).endpoint == ""


def test_of_an_endpoint_where_a_peer_answers_directly_only_the_relay_dialled_there_is_believed() -> None:
    relays = KnownRelays()
    status = KubeSpanRelayStatusSpec(addresses=("192.0.2.7", "203.0.113.9", "2001:db8::9"), ports=(1024, 65535))
    relays.note("relay.example.org:3443", status)
    assert relays.have("192.0.2.7:51820")
    assert not relays.have("192.0.2.7:51820", answers_directly=True)
    for id, endpoint in (("203.0.113.9:3443", "203.0.113.9:51820"), ("[2001:db8::9]:3443", "[2001:db8::9]:51820")):
        assert not relays.have(endpoint, answers_directly=True)
        relays.note(id, status)
        assert relays.have(endpoint, answers_directly=True)
    assert not relays.have("192.0.2.7:51820", answers_directly=True)


@pytest.mark.virtual_clock
async def test_a_peer_that_answered_directly_is_sent_to_again_whatever_a_relay_claims_by_then() -> None:
    own, other = "192.0.2.7:51820", "192.0.2.7:51821"
    async with running(PeerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(enabled=True))
        await node.put(KubeSpanIdentity, LOCAL_ID, KubeSpanIdentitySpec())
        await node.put(KubeSpanRelayStatus, "evil.example.org:1", KubeSpanRelayStatusSpec())
        await node.put(KubeSpanPeerSpec, "peer", KubeSpanPeerSpecSpec(endpoints=(own, other)))
        for received in (1, 2):
            up = KubeSpanPeerStatusSpec(
                endpoint=own, last_used_endpoint=own, state=PeerState.UP, receive_bytes=received
            )
            await node.put(KubeSpanPeerStatus, "peer", up)
            await node.settled()
        claim = KubeSpanRelayStatusSpec(addresses=("192.0.2.7",), ports=(1024, 65535))
        await node.put(KubeSpanRelayStatus, "evil.example.org:1", claim)

        async def given(endpoint: str) -> str:
            status = KubeSpanPeerStatusSpec(endpoint=endpoint, last_used_endpoint=endpoint, state=PeerState.UNKNOWN)
            await node.put(KubeSpanPeerStatus, "peer", status)
            await node.settled()
            (peer,) = node.state.list(WireguardPeerSpec)
            return peer.spec.endpoint

        # It starts again: each of its endpoints is tried.
        assert await given(other) == ""
        assert await given(own) == own


@pytest.mark.virtual_clock
async def test_a_peer_that_is_down_is_given_up_where_it_answered_directly_though_only_bytes_sent_are_counted() -> None:
    own = "192.0.2.7:51820"
    up = KubeSpanPeerStatusSpec(endpoint=own, last_used_endpoint=own, state=PeerState.UP)
    async with running(PeerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(enabled=True))
        await node.put(KubeSpanIdentity, LOCAL_ID, KubeSpanIdentitySpec())
        relay = KubeSpanRelayStatusSpec(addresses=("192.0.2.7",), ports=(51000, 51999))
        await node.put(KubeSpanRelayStatus, "relay.example.org:1", relay)
        await node.put(KubeSpanPeerSpec, "peer", KubeSpanPeerSpecSpec(endpoints=(own,)))
        down = attrs.evolve(up, state=PeerState.DOWN)
        given = await found_while_down(
            node, up, down, lambda: [peer.spec.endpoint for peer in node.state.list(WireguardPeerSpec)]
        )
    assert set(map(tuple, given[:-2])) == {(own,)}
    assert given[-1] == [""]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("127.0.0.1:5", True), ("127.9.9.9:5", True), ("[::1]:5", True), ("192.0.2.1:5", False), ("host:5", False)],
)
def test_a_local_endpoint_is_known_by_its_address(endpoint: str, expected: bool) -> None:
    assert is_local(endpoint) is expected

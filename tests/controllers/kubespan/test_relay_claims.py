"""What peers show of their endpoints weighs more than what relays say of them."""

import attrs

from nodespan.controllers.kubespan.relay_claims import MEMORY, DirectEndpoints
from nodespan.resources.kubespan import KubeSpanPeerStatusSpec, PeerState

HERE, ELSEWHERE = "192.0.2.7:51820", "198.51.100.7:51820"
UP = KubeSpanPeerStatusSpec(endpoint=HERE, state=PeerState.UP, receive_bytes=100)
MORE = attrs.evolve(UP, receive_bytes=200)


def answers_after(*statuses: KubeSpanPeerStatusSpec, endpoint: str = HERE) -> bool:
    direct = DirectEndpoints()
    for status in statuses:
        direct.note("peer", status, 0.0)
    return direct.answers(endpoint, 0.0)


def test_a_peer_answers_directly_once_more_has_come_from_its_endpoint_and_over_no_relay() -> None:
    assert answers_after(UP, MORE)
    assert not answers_after(UP, MORE, endpoint=ELSEWHERE)
    # The status of a relayed endpoint has no relay for a moment when the relay is given up: that shows nothing.
    relayed = attrs.evolve(UP, relay="relay:3443")
    assert not answers_after(relayed, MORE)
    assert not answers_after(relayed, MORE, MORE)
    assert not answers_after(UP, attrs.evolve(MORE, relay="relay:3443"))
    assert not answers_after(UP, UP)
    assert not answers_after(UP, attrs.evolve(MORE, endpoint=ELSEWHERE), endpoint=ELSEWHERE)
    assert not answers_after(UP, attrs.evolve(MORE, state=PeerState.DOWN))
    assert not answers_after(attrs.evolve(UP, endpoint=""), attrs.evolve(MORE, endpoint=""), endpoint="")


def test_it_is_remembered_for_a_while_and_forgotten_then() -> None:
    direct = DirectEndpoints()
    direct.note("peer", UP, 0.0)
    direct.note("peer", MORE, 10.0)
    direct.note("other", attrs.evolve(UP, endpoint=ELSEWHERE), 20.0)
    direct.note("other", attrs.evolve(MORE, endpoint=ELSEWHERE), 20.0)
    direct.note("peer", attrs.evolve(MORE, receive_bytes=300), 30.0)
    # Both are silent from now on.
    direct.note("peer", attrs.evolve(MORE, state=PeerState.DOWN), 40.0)
    direct.forget("other")
    for now, expected in ((40.0, (True, True)), (20.0 + MEMORY, (True, False)), (30.0 + MEMORY, (False, False))):
        assert (direct.answers(HERE, now), direct.answers(ELSEWHERE, now)) == expected
        direct.expire(now)
        assert (direct.answers(HERE, now), direct.answers(ELSEWHERE, now)) == expected
    assert not direct._shown
    assert set(direct._seen) == set()

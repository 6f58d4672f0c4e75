"""Which endpoints are not a relay's, whatever it says: those at which peers answer without it. Pure rules.

A relay says which addresses and ports are its own, and a peer whose endpoint is one of them is reached by the stream to
it. A relay that said so of a peer's own address would get what goes there. Hence the word of a relay does not count for
an endpoint at which a peer answers directly: it was received from there twice in a row, with more bytes the second time
and no relay in between. That lasts for `MEMORY` after the last time, so that a claim that comes and goes changes
nothing, and a peer that has really moved to a relay is reached there in the end.
"""

import math

import attrs

from nodespan.resources.kubespan import KubeSpanPeerStatusSpec, PeerState

MEMORY = 600.0


@attrs.frozen
class _Seen:
    """Where a peer was up without a relay, and how many bytes had come."""

    endpoint: str
    received: int


class DirectEndpoints:
    """The endpoints at which peers answer directly."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        # When it was last shown of each endpoint, the one that was shown first being the first.
        self._shown: dict[str, float] = {}

    def note(self, peer: str, status: KubeSpanPeerStatusSpec, now: float) -> None:
        """A peer as it is now."""
        if status.state is not PeerState.UP or status.relay or not status.endpoint:
            self._seen.pop(peer, None)
            return
        before = self._seen.get(peer)
        self._seen[peer] = _Seen(status.endpoint, status.receive_bytes)
        if before is not None and before.endpoint == status.endpoint and status.receive_bytes > before.received:
            self._shown.pop(status.endpoint, None)
            self._shown[status.endpoint] = now

    def forget(self, peer: str) -> None:
        """A peer is gone."""
        self._seen.pop(peer, None)

    def answers(self, endpoint: str, now: float) -> bool:
        """Whether a peer answers there, or did so lately."""
        return now - self._shown.get(endpoint, -math.inf) < MEMORY

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while self._shown:
            endpoint, shown = next(iter(self._shown.items()))
            if now - shown < MEMORY:
                return
            del self._shown[endpoint]

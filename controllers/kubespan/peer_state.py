"""The state of a peer, and which of its endpoints to use: rules over values, without a clock.

A peer is judged by two ages: of the last handshake, and of the last time this node told the device to use another
endpoint. WireGuard makes a new handshake every 120 s while there is traffic, gives up on a session after 180 s, and
retries a handshake for 90 s, 5 s apart; that is where the numbers come from.

    age of the endpoint change   state
    more than 275 s              up if the last handshake is younger than 275 s, else down
    15 s to 275 s                up if there was a handshake since the change, else down
    less than 15 s               up if there was a handshake since the change, else unknown
    down, but no endpoint was ever used: unknown

The original moves to the next endpoint when a timer of 30 s finds a peer down. We look at a peer that is not up every
second and move as soon as one handshake has certainly failed; the wire sees the same handshakes, only sooner. A peer
with a fresh handshake keeps the endpoint that the device observed, whether or not it was this node that chose it: a
path that works is never given up for one that may work. And a path that has died is noticed by silence: a session
lasts for minutes without a new handshake, but whoever is sent something gives a sign of life within seconds.

A peer that no longer announces the address of its endpoint as its own has probably moved: it is asked at once, and has
less time to answer. (The endpoint itself stays in the list, for discovery services let endpoints go by age only.)
"""

import math

import attrs

from nodespan.resources.kubespan import PeerState

PEER_DOWN_INTERVAL = 275.0
ENDPOINT_CONNECTION_TIMEOUT = 15.0
# One handshake is retried after 5 s (REKEY_TIMEOUT); one second more for the answer and for our own looking.
HANDSHAKE_TIMEOUT = 6.0
# Whoever is sent something answers within 10 s (KEEPALIVE_TIMEOUT), if only with an empty packet.
SILENCE_TIMEOUT = 11.0
# The same for one that has withdrawn its endpoint. What asks it is answered at once; three are sent in this time.
WITHDRAWN_TIMEOUT = 3.0
# An empty packet, which nobody answers.
KEEPALIVE_BYTES = 32


def peer_state(
    *, since_handshake: float, since_endpoint_change: float, has_used_endpoint: bool, handshake_after_change: bool
) -> PeerState:
    """The state of a peer by the table above. Ages are in seconds, infinite for never."""
    if since_endpoint_change > PEER_DOWN_INTERVAL:
        is_up = since_handshake < PEER_DOWN_INTERVAL
    elif handshake_after_change:
        is_up = True
    elif since_endpoint_change < ENDPOINT_CONNECTION_TIMEOUT:
        return PeerState.UNKNOWN
    else:
        is_up = False
    if is_up:
        return PeerState.UP
    return PeerState.DOWN if has_used_endpoint else PeerState.UNKNOWN


def next_endpoint(endpoints: tuple[str, ...], *, last_used: str, observed: str) -> str | None:
    """The endpoint to try after `last_used` ("" for none so far); None if there is nothing else to try.

    One that is no longer in the list, and the very first time, begin with the first. A single endpoint is set again
    only if the device uses another.
    """
    if not endpoints:
        return None
    if last_used not in endpoints:
        return endpoints[0]
    following = endpoints[(endpoints.index(last_used) + 1) % len(endpoints)]
    return None if len(endpoints) == 1 and observed == last_used else following


@attrs.frozen(kw_only=True)
class Seen:
    """What the device says of a peer: the endpoint it uses ("" for none), the last handshake, and bytes in and out."""

    endpoint: str = ""
    last_handshake: float | None = None
    received: int = 0
    sent: int = 0


@attrs.frozen(kw_only=True)
class Path:
    """What is known of the way to a peer. Times are seconds on one clock, None for never.

    `endpoint` is what the device uses, `last_used` what this node last told it to. `heard` is when the bytes received
    last grew, and `sent_when_heard` how many had been sent by then; `probed` is since when the peer has been asked for
    a sign of life. `is_announced` is whether the peer was last seen to announce the address of `endpoint`,
    `is_withdrawn` whether it has ceased to and was not heard from since.
    """

    endpoint: str = ""
    last_used: str = ""
    last_handshake: float | None = None
    last_change: float | None = None
    received: int = 0
    sent: int = 0
    heard: float | None = None
    sent_when_heard: int = 0
    probed: float | None = None
    is_announced: bool = False
    is_withdrawn: bool = False

    def state(self, now: float) -> PeerState:
        """The state of the peer. What was heard from it after a change of endpoint counts as much as a handshake."""
        handshake, change = self.last_handshake, self.last_change
        heard_since = [at for at in (handshake, self.heard) if at is not None and (change is None or at > change)]
        return peer_state(
            since_handshake=math.inf if handshake is None else now - handshake,
            since_endpoint_change=math.inf if change is None else now - change,
            has_used_endpoint=bool(self.last_used),
            handshake_after_change=bool(heard_since) and handshake is not None,
        )

    def seen(self, seen: Seen | None, now: float) -> "Path":
        """With what the device says now; unchanged where it does not know the peer."""
        if seen is None:
            return self
        path = attrs.evolve(
            self,
            endpoint=seen.endpoint,
            last_handshake=seen.last_handshake,
            received=seen.received,
            sent=seen.sent,
        )
        # Fewer than before: the device was made anew and counts from zero.
        if seen.received != self.received or seen.sent < self.sent:
            return attrs.evolve(path, heard=now, sent_when_heard=seen.sent, probed=None, is_withdrawn=False)
        if path.probed is None and seen.sent > path.sent_when_heard + KEEPALIVE_BYTES:
            return attrs.evolve(path, probed=now)
        return path

    def announced(self, allowed_ips: tuple[str, ...], now: float, *, roamed: bool) -> "Path":
        """With what the peer announces now; `roamed` is whether the device has found another endpoint itself."""
        is_announced = host_prefix(self.endpoint) in allowed_ips
        if self.is_announced and not is_announced and not roamed:
            return attrs.evolve(self, is_announced=False, is_withdrawn=True, probed=now)
        is_withdrawn = self.is_withdrawn and not (is_announced or roamed)
        if (is_announced, is_withdrawn) == (self.is_announced, self.is_withdrawn):
            return self
        return attrs.evolve(self, is_announced=is_announced, is_withdrawn=is_withdrawn)

    def to(self, endpoint: str, now: float) -> "Path":
        """With the device told to use another endpoint."""
        return attrs.evolve(
            self,
            endpoint=endpoint,
            last_used=endpoint,
            last_change=now,
            probed=None,
            sent_when_heard=self.sent,
            is_announced=False,
            is_withdrawn=False,
        )

    @property
    def wanted_endpoint(self) -> str:
        """What to tell the device: the endpoint it was told before, or "" to leave it the one that it found itself."""
        return self.last_used if self.last_used and self.endpoint in ("", self.last_used) else ""

    def is_silent(self, now: float) -> bool:
        """Whether the peer has been asked for a sign of life for longer than a living one takes to give it."""
        timeout = WITHDRAWN_TIMEOUT if self.is_withdrawn else SILENCE_TIMEOUT
        return self.probed is not None and now - self.probed >= timeout


def host_prefix(endpoint: str) -> str:
    """The address of an endpoint as a prefix: `192.0.2.1/32` of `192.0.2.1:51820`."""
    host = endpoint.rpartition(":")[0].strip("[]")
    return f"{host}/128" if ":" in host else f"{host}/32"


def step(
    path: Path, endpoints: tuple[str, ...], seen: Seen | None, now: float, *, allowed_ips: tuple[str, ...] = ()
) -> tuple[Path, PeerState]:
    """One look at a peer: what is known of the way to it afterwards, and its state.

    A peer that is up keeps its endpoint, unless it has fallen silent. One that is not moves on when it was never told
    an endpoint, or when the one that it was told has had the time of one handshake without making one.
    """
    before = path.endpoint
    path = path.seen(seen, now)
    path = path.announced(allowed_ips, now, roamed=path.endpoint != before)
    state = path.state(now)
    if state is PeerState.UP:
        # What has fallen silent is what the device uses, and it may be the device that chose it.
        has_failed, tried = path.is_silent(now), path.endpoint if path.endpoint in endpoints else path.last_used
    else:
        has_failed, tried = _has_failed(path, now), path.last_used
    if has_failed:
        following = next_endpoint(endpoints, last_used=tried, observed=path.endpoint)
        if following is not None:
            return path.to(following, now), PeerState.UNKNOWN
    if path.wanted_endpoint:
        path = attrs.evolve(path, endpoint=path.wanted_endpoint)
    return path, state


def _has_failed(path: Path, now: float) -> bool:
    return path.last_change is None or now - path.last_change >= HANDSHAKE_TIMEOUT

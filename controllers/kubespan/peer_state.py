"""The state of a peer, and which of its endpoints to use: rules over values, without a clock.

Theory. WireGuard has no connections: it makes a handshake every 120 s while there is traffic, gives up a session after
180 s, and retries a handshake for 90 s, 5 s apart. So the state is inferred from ages: of the last handshake, of the
last time that this node gave the device another endpoint, and of the last packet received.

    age of the endpoint change   up if there was                        otherwise
    less than 15 s               a sign of life since the change        unknown
    15 s to 275 s                a sign of life since the change        down
    more than 275 s              a handshake less than 275 s ago        down
    any, but silent              never                                  down

`RULES` is this table as data; the first row whose age fits decides, and silence overrides `up`. A sign of life is a
handshake or a received packet; a packet without any handshake is none. A peer that would be down, but that this node
never gave an endpoint, is unknown.

`up` is never older than its evidence. A peer is probed when it was sent something that has to be answered, and when
nothing was received from it for 45 s: both ends send keepalives every 25 s, so a path that works is not quiet for
longer, and one on which not even sending works shows in no counter. A living peer answers a probe within 10 s, if only
with an empty packet; one that does not is silent.

The original moves to the next endpoint when a timer of 30 s finds a peer down. Here a peer that is not up is looked at
every second, and moves as soon as one handshake has certainly failed; the wire sees the same handshakes, only sooner. A
peer that is up keeps the endpoint that the device observed, whether or not it was this node that chose it: a path that
works is never given up for one that may work. A silent one moves; without another endpoint it is down where it is.

What is received may be the peer's own doing while nothing gets to it: on a path that is cut one way only it goes on
sending data, keepalives and handshakes that it begins. So each peer that comes up is asked once whether it answers
echo requests, which nearly all do. One that has answered is probed, too, when it was sent more than keepalives for 10 s
without an answer or a completed handshake, which takes both ways; and nothing but these two ends that. One that is
heard and does not answer for 11 s is left for its next endpoint, but stays `up`: its answers may be lost for another
reason (a firewall, a limit of their rate, a flood of others' answers), which also is why a path is not left for this
again before a handshake was due, within 135 s (REKEY_AFTER_TIME, and 15 s for its retries). If that did not come, the
peer is silent. A completed handshake without an answer shows that it answers no echoes any more: then all that is
received is a sign of life again, until it answers the next time.

A peer that no longer announces the address of its endpoint as its own has probably moved: it is probed at once, and has
less time to answer. (The endpoint itself stays in the list, since discovery services expire endpoints by age only.)
"""

import enum
import math
from collections.abc import Iterator

import attrs

from nodespan.kernel.net_counts import Traffic
from nodespan.kernel.wireguard.handshake import Handshake
from nodespan.resources.kubespan import PeerState

PEER_DOWN_INTERVAL = 275.0
ENDPOINT_CONNECTION_TIMEOUT = 15.0
# One handshake is retried after 5 s (REKEY_TIMEOUT); one second more for the answer and for the interval of looks.
HANDSHAKE_TIMEOUT = 6.0
# A peer that is sent something answers within 10 s (KEEPALIVE_TIMEOUT), if only with an empty packet.
SILENCE_TIMEOUT = 11.0
# The same for one that has withdrawn its endpoint. It answers a probe at once; three are sent in this time.
WITHDRAWN_TIMEOUT = 3.0
# Nothing received for longer than a keepalive takes, twice over.
QUIET_TIMEOUT = 45.0
# An empty packet, which is not answered.
KEEPALIVE_BYTES = 32
# What the link of the kernel's WireGuard counts for such a packet: the whole of what was received, and of what is sent
# all but its header. Others count for more, each way: they hold at least an IP header, or are parts of a handshake.
_KEEPALIVE_RECEIVED = 32
_KEEPALIVE_SENT = 16
# How long a peer that answers is believed to be reached after it has shown it, and what may be sent to it from then on:
# more than the keepalives between two handshakes, of which there are five.
PROOF_TIMEOUT = 10.0
# Both ends begin a new handshake 120 s after the last one (REKEY_AFTER_TIME) if they send, and retry it every 5 s.
HANDSHAKE_DUE = 135.0
_UNPROVEN_BYTES = 8 * KEEPALIVE_BYTES
# A handshake that seems to be this far in the future shows that the wall clock was set back since, in seconds.
_FUTURE = 1.0


class Evidence(enum.StrEnum):
    """What makes a peer `up`."""

    SIGN_OF_LIFE_SINCE_CHANGE = "a sign of life since the change"
    FRESH_HANDSHAKE = "a handshake less than 275 s ago"
    NONE = "never"


@attrs.frozen
class Rule:
    """A row of the table: for changes of the endpoint younger than `below` seconds."""

    age: str
    below: float
    evidence: Evidence
    otherwise: PeerState


RULES = (
    Rule("less than 15 s", ENDPOINT_CONNECTION_TIMEOUT, Evidence.SIGN_OF_LIFE_SINCE_CHANGE, PeerState.UNKNOWN),
    # 275 s itself belongs here, as in the original.
    Rule(
        "15 s to 275 s",
        math.nextafter(PEER_DOWN_INTERVAL, math.inf),
        Evidence.SIGN_OF_LIFE_SINCE_CHANGE,
        PeerState.DOWN,
    ),
    Rule("more than 275 s", math.inf, Evidence.FRESH_HANDSHAKE, PeerState.DOWN),
)
SILENCE_RULE = Rule("any, but silent", math.inf, Evidence.NONE, PeerState.DOWN)


def peer_state(
    *, since_handshake: float, since_endpoint_change: float, has_used_endpoint: bool, handshake_after_change: bool
) -> PeerState:
    """The state of a peer by the table above. Ages are in seconds, infinite for never."""
    rule = next((rule for rule in RULES if since_endpoint_change < rule.below), RULES[-1])
    is_fulfilled = {
        Evidence.SIGN_OF_LIFE_SINCE_CHANGE: handshake_after_change,
        Evidence.FRESH_HANDSHAKE: since_handshake < PEER_DOWN_INTERVAL,
        Evidence.NONE: False,
    }
    if is_fulfilled[rule.evidence]:
        return PeerState.UP
    return _unless_never_used(rule.otherwise, has_used_endpoint=has_used_endpoint)


def _unless_never_used(state: PeerState, *, has_used_endpoint: bool) -> PeerState:
    return PeerState.UNKNOWN if state is PeerState.DOWN and not has_used_endpoint else state


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
class ObservedPeer:
    """A peer as the device shows it: the endpoint it uses ("" for none), the last handshake, and bytes in and out.

    The handshake is in seconds of the wall clock of that moment. `relay` is the one that the peer is reached over.
    `answered` is whether it has answered an echo request since the last reading.
    """

    endpoint: str = ""
    relay: str = ""
    last_handshake: float | None = None
    received: int = 0
    sent: int = 0
    answered: bool = False


@attrs.frozen(kw_only=True)
class Path:
    """What is known of the path to a peer. Times are seconds on one clock that does not step, None for never.

    `endpoint` is what the device uses, `last_used` what this node gave it last. `heard` is when the bytes received last
    grew, and `sent_when_heard` how many had been sent by then; `probed` is since when the peer has been probed without
    an answer. `is_asked` is whether it was probed since it came up, `answers` whether an echo is what it answers with,
    on whatever endpoint; `proven` is when it last showed that it is reached, and `sent_when_proven` how many bytes had
    been sent by then. `left_deaf` is when a path was last left on which the peer was heard but did not answer.
    `is_announced` is whether the peer was last seen to announce the address of `endpoint`,
    `is_withdrawn` whether it has ceased to and was not heard from since.
    """

    endpoint: str = ""
    last_used: str = ""
    handshake: Handshake = attrs.field(factory=Handshake)
    last_change: float | None = None
    received: int = 0
    sent: int = 0
    heard: float | None = None
    sent_when_heard: int = 0
    probed: float | None = None
    is_asked: bool = False
    answers: bool = False
    proven: float | None = None
    sent_when_proven: int = 0
    left_deaf: float | None = None
    is_announced: bool = False
    is_withdrawn: bool = False

    @property
    def last_handshake(self) -> float | None:
        """When the last handshake was."""
        return self.handshake.at

    @property
    def last_sign(self) -> float:
        """When the peer was last heard from, or given a chance to be; minus infinity for never."""
        signs = (self.heard, self.last_handshake, self.last_change)
        return max((at for at in signs if at is not None), default=-math.inf)

    def read_again(self, now: float) -> "Path":
        """After a reading that showed nothing new."""
        return attrs.evolve(self, handshake=attrs.evolve(self.handshake, read=now))

    def state(self, now: float) -> PeerState:
        """The state of the peer."""
        handshake, change = self.last_handshake, self.last_change
        heard_since = [at for at in (handshake, self.heard) if at is not None and (change is None or at > change)]
        state = peer_state(
            since_handshake=math.inf if handshake is None else now - handshake,
            since_endpoint_change=math.inf if change is None else now - change,
            has_used_endpoint=bool(self.last_used),
            handshake_after_change=bool(heard_since) and handshake is not None,
        )
        if state is PeerState.UP and self.is_silent(now):
            return _unless_never_used(SILENCE_RULE.otherwise, has_used_endpoint=bool(self.last_used))
        return state

    def observed(self, observed: ObservedPeer | None, now: float, *, wall_offset: float = 0.0) -> "Path":
        """With what the device shows now, None if it does not know the peer; probed if that is due."""
        path = self if observed is None else self._with(observed, now, wall_offset)
        if path.probed is not None:
            return path
        if not path.is_asked and path.state(now) is PeerState.UP:
            return attrs.evolve(path, probed=now, is_asked=True)
        is_due = (
            path.sent > path.sent_when_heard + KEEPALIVE_BYTES
            or now - path.last_sign > QUIET_TIMEOUT
            or (path.has_to_prove and path.proven is not None and now - path.proven > PROOF_TIMEOUT)
        )
        return attrs.evolve(path, probed=now) if is_due else path

    @property
    def has_to_prove(self) -> bool:
        """Whether a peer that answers has been sent more than keepalives since it last showed that it is reached."""
        return self.answers and self.sent > self.sent_when_proven + _UNPROVEN_BYTES

    def _with(self, observed: ObservedPeer, now: float, wall_offset: float) -> "Path":
        is_first = self.handshake.read == -math.inf
        path = attrs.evolve(
            self,
            endpoint=observed.endpoint,
            handshake=self.handshake.observed(observed.last_handshake, now, wall_offset),
            received=observed.received,
            sent=observed.sent,
        )
        if observed.answered or path.last_handshake != self.last_handshake:
            path = attrs.evolve(path, proven=now, sent_when_proven=observed.sent)
        if is_first:
            # Nothing is known of when these bytes came, except that a handshake brought some.
            reported = observed.last_handshake
            is_doubtful = reported is not None and reported - wall_offset > now + _FUTURE
            return attrs.evolve(
                path,
                heard=path.last_handshake,
                sent_when_heard=observed.sent,
                probed=now if is_doubtful and self.probed is None else self.probed,
            )
        if observed.received < self.received or observed.sent < self.sent:
            # The device was replaced, and counts from zero: that is no sign of life.
            return attrs.evolve(path, sent_when_heard=observed.sent, sent_when_proven=observed.sent)
        return path._heard(observed, now) if observed.received > self.received or observed.answered else path

    def _heard(self, observed: ObservedPeer, now: float) -> "Path":
        path, answers = attrs.evolve(self, heard=now), self.answers or observed.answered
        if self.probed is not None and self.answers and not observed.answered:
            if self.last_handshake is None or self.last_handshake < self.probed:
                return path
            answers = False
        return attrs.evolve(path, sent_when_heard=observed.sent, probed=None, answers=answers, is_withdrawn=False)

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
        """With the device given another endpoint."""
        return attrs.evolve(
            self,
            endpoint=endpoint,
            last_used=endpoint,
            last_change=now,
            probed=None,
            is_asked=False,
            sent_when_heard=self.sent,
            is_announced=False,
            is_withdrawn=False,
        )

    @property
    def desired_endpoint(self) -> str:
        """What to give the device: the same endpoint as before, or "" to leave it the one that it found itself."""
        return self.last_used if self.last_used and self.endpoint in ("", self.last_used) else ""

    def is_silent(self, now: float) -> bool:
        """Whether the peer has been probed for longer than a living one takes to answer, and not even is heard."""
        timeout = WITHDRAWN_TIMEOUT if self.is_withdrawn else SILENCE_TIMEOUT
        if self.probed is None or now - self.probed < timeout:
            return False
        return not self._is_heard(now) or self.last_handshake is None or now - self.last_handshake >= HANDSHAKE_DUE

    def is_deaf(self, now: float) -> bool:
        """Whether the peer is heard, but does not answer: what it is sent may not get to it on this path."""
        return (
            self.probed is not None
            and now - self.probed >= SILENCE_TIMEOUT
            and self._is_heard(now)
            and (self.left_deaf is None or now - self.left_deaf >= HANDSHAKE_DUE)
        )

    def _is_heard(self, now: float) -> bool:
        """Whether something came while the peer was probed, which then was no proof, and that lately."""
        return (
            self.probed is not None
            and self.heard is not None
            and self.heard > self.probed
            and now - self.heard < SILENCE_TIMEOUT
        )


def host_prefix(endpoint: str) -> str:
    """The address of an endpoint as a prefix: `192.0.2.1/32` of `192.0.2.1:51820`."""
    host = endpoint.rpartition(":")[0].strip("[]")
    return f"{host}/128" if ":" in host else f"{host}/32"


def step(
    path: Path,
    endpoints: tuple[str, ...],
    observed: ObservedPeer | None,
    now: float,
    *,
    allowed_ips: tuple[str, ...] = (),
    wall_offset: float = 0.0,
) -> tuple[Path, PeerState]:
    """One look at a peer: what is known of the path to it afterwards, and its state.

    A peer that is up keeps its endpoint, unless it has become silent. One that is not moves on when it was never given
    an endpoint, or when the one that it was given has had the time of one handshake without making one. `wall_offset`
    is what the wall clock is ahead of `now`.
    """
    before = path.endpoint
    path = path.observed(observed, now, wall_offset=wall_offset)
    path = path.announced(allowed_ips, now, roamed=path.endpoint != before)
    state = path.state(now)
    is_silent = path.is_silent(now)
    is_deaf = not is_silent and path.is_deaf(now)
    if state is PeerState.UP or is_silent:
        # What has become silent is what the device uses, and it may be the device that chose it.
        has_failed, tried = is_silent or is_deaf, path.endpoint if path.endpoint in endpoints else path.last_used
    else:
        has_failed, tried = _has_failed(path, now), path.last_used
    if has_failed:
        following = next_endpoint(endpoints, last_used=tried, observed=path.endpoint)
        if following is not None:
            path = path.to(following, now)
            return attrs.evolve(path, left_deaf=now) if is_deaf else path, PeerState.UNKNOWN
    if path.desired_endpoint:
        path = attrs.evolve(path, endpoint=path.desired_endpoint)
    return path, state


def changes_at(path: Path, looked: float) -> float:
    """When a look may first find another state or endpoint than the look at `looked`, if the device shows the same."""
    return min((moment for moment in _moments(path) if moment >= looked), default=math.inf)


def found_nothing(before: Path, path: Path, now: float) -> bool:
    """Whether a look changed nothing; of a peer that is probed, more bytes sent are nothing."""
    before, path = before.read_again(now), path.read_again(now)
    return path == (before if path.probed is None else attrs.evolve(before, sent=path.sent))


def is_the_same(path: Path, before: ObservedPeer | None, observed: ObservedPeer | None) -> bool:
    """Whether a device that shows this, and showed that before, has nothing that a look needs to see.

    Of a peer that is probed, and was not heard from, more bytes sent say nothing: a peer that is down is sent a
    handshake every five seconds.
    """
    if before is observed or path.probed is None or before is None or observed is None:
        return before == observed
    return (
        before.sent <= observed.sent
        and before.received == observed.received
        and before.last_handshake == observed.last_handshake
        and before.endpoint == observed.endpoint
        and before.relay == observed.relay
        and before.answered == observed.answered
    )


def are_keepalives(before: Traffic, now: Traffic) -> bool:
    """Whether a link of the kernel's WireGuard has carried nothing but keepalives in between.

    As no packet counts for less, they are all of them if their bytes are those of as many keepalives.
    """
    received, sent = now.received - before.received, now.sent - before.sent
    return (
        received >= 0
        and sent >= 0
        and now.received_bytes - before.received_bytes == received * _KEEPALIVE_RECEIVED
        and now.sent_bytes - before.sent_bytes == sent * _KEEPALIVE_SENT
    )


def _moments(path: Path) -> Iterator[float]:
    """When time alone changes what `step` makes of a path: the limits of the rules above."""
    if path.last_change is not None:
        yield path.last_change + HANDSHAKE_TIMEOUT
        yield path.last_change + ENDPOINT_CONNECTION_TIMEOUT
        yield path.last_change + PEER_DOWN_INTERVAL
    if path.last_handshake is not None:
        yield path.last_handshake + PEER_DOWN_INTERVAL
    if path.probed is not None:
        yield path.probed + (WITHDRAWN_TIMEOUT if path.is_withdrawn else SILENCE_TIMEOUT)
        yield path.probed + SILENCE_TIMEOUT
        for at, limit in (
            (path.heard, SILENCE_TIMEOUT),
            (path.last_handshake, HANDSHAKE_DUE),
            (path.left_deaf, HANDSHAKE_DUE),
        ):
            if at is not None:
                yield at + limit
    else:
        yield path.last_sign + QUIET_TIMEOUT
        if path.has_to_prove and path.proven is not None:
            yield path.proven + PROOF_TIMEOUT


def _has_failed(path: Path, now: float) -> bool:
    return path.last_change is None or now - path.last_change >= HANDSHAKE_TIMEOUT

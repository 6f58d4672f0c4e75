"""The client's side of DHCPv6 (RFC 8415, 18.2) for addresses, as a state machine without I/O.

Theory of operation. All packets go to the multicast address of the link's servers. There is at most one lease:

    SOLICITING   after a short random delay, SOLICIT. The ADVERTISEs that come until it would be sent again are
                 compared, the most preferred server wins; later ones win at once   -> REQUESTING
    REQUESTING   REQUEST, naming the server. REPLY with an address                  -> BOUND
                 no address, or no answer to ten REQUESTs                           -> SOLICITING
    CONFIRMING   an earlier lease is remembered: CONFIRM. REPLY: it fits this link  -> BOUND; it does not -> SOLICITING
                 no answer for ten seconds: no server objects                       -> BOUND
    BOUND        at T1                                                              -> RENEWING
    RENEWING     RENEW, naming the server. REPLY -> BOUND; at T2                    -> REBINDING
    REBINDING    REBIND. REPLY of any server                                        -> BOUND
    RENEWING, REBINDING: from a server that does not know the lease it is requested -> REQUESTING, lease kept
    any          the lease expires: it is dropped                                   -> SOLICITING
    any          the client is stopped: RELEASE, if there is a lease                -> RELEASED

`TRANSITIONS` is this table as data; each change of state is checked against it.

Without an answer a packet is repeated with exponential backoff, within the bounds of the RFC. The kernel checks whether
another machine has the address (duplicate address detection).
"""

import enum
import math
import random
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv6Address

import attrs

from nodespan.controllers.network.dhcp.lease import Lease, Outgoing, Trouble
from nodespan.controllers.network.dhcp.lease6 import association_of, lease_of, leased_addresses
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message6 import (
    Association,
    Code,
    LeasedAddress6,
    Message6,
    MessageType,
    Status,
    decode,
    encode,
    encode_association,
    parse_status,
    xid_of,
)
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.transitions import Transitions, checked_transition

ALL_SERVERS = "ff02::1:2"

_UNUSABLE = "a DHCPv6 server answers, but its answer cannot be used"
_MOST_DELAY = 1.0
# How long an answer may take, in seconds, before it is reported as missing.
_PATIENCE = 4.0
_CONFIRM_TIME = 10.0
_REQUESTS = 10
_AFTER_FAILURES = Exponential(base=2.0, cap=120.0)
_HIGHEST_PREFERENCE = 255
_MOST_ELAPSED = 0xFFFF
_SHORTEST_SOL_MAX_RT, _LONGEST_SOL_MAX_RT = 60, 86400


class State(enum.StrEnum):
    """See the theory above."""

    SOLICITING = "soliciting"
    REQUESTING = "requesting"
    CONFIRMING = "confirming"
    BOUND = "bound"
    RENEWING = "renewing"
    REBINDING = "rebinding"
    RELEASED = "released"


TRANSITIONS: Transitions[State] = {
    # The lease runs out or is released in any state.
    state: frozenset({State.SOLICITING, State.RELEASED, *following})
    for state, following in {
        State.SOLICITING: {State.REQUESTING},
        State.REQUESTING: {State.BOUND},
        State.CONFIRMING: {State.BOUND},
        State.BOUND: {State.RENEWING},
        State.RENEWING: {State.BOUND, State.REBINDING, State.REQUESTING},
        State.REBINDING: {State.BOUND, State.REQUESTING},
        State.RELEASED: set[State](),
    }.items()
}


@attrs.frozen
class _Pace:
    """How a message is sent again: the first and the longest wait in seconds."""

    first: float
    longest: float


_PACES = {
    MessageType.SOLICIT: _Pace(1, 3600),
    MessageType.REQUEST: _Pace(1, 30),
    MessageType.CONFIRM: _Pace(1, 4),
    MessageType.RENEW: _Pace(10, 600),
    MessageType.REBIND: _Pace(10, 600),
}


@attrs.frozen(kw_only=True)
class Settings:
    """The identity of the client (a DUID, and a number for the link), and the options it requests."""

    duid: bytes
    iaid: int
    requested: tuple[int, ...] = ()


@attrs.frozen
class _Offer:
    server: bytes
    preference: int


class Client6:
    """One client on one link; see `lease.Client` for how it is driven.

    `remembered` is an earlier lease, whose addresses the link still has if `is_held`.
    """

    to_check = ""

    def __init__(
        self,
        settings: Settings,
        *,
        now: float,
        random: random.Random,
        remembered: Lease | None = None,
        is_held: bool = False,
    ) -> None:
        self._state = State.SOLICITING
        self.lease: Lease | None = None
        self.trouble: Trouble | None = None
        self._settings = settings
        self._random = random
        self._remembered = remembered
        self._offer: _Offer | None = None
        self._failures = 0
        self._longest_solicit = _PACES[MessageType.SOLICIT].longest
        # The exchange.
        self._xid = 0
        self._begun_at = self._sent_at = self._due = now
        self._sent = 0
        self._wait = 0.0
        # Why an answer to this exchange cannot be used, "" if there was none such.
        self._unusable = ""
        if remembered is not None and now < remembered.expires_at:
            self.lease = remembered if is_held else None
            self._state = State.CONFIRMING
            self._begin(State.CONFIRMING, now)
        else:
            self._begin(State.SOLICITING, now + self._random.uniform(0, _MOST_DELAY))

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = checked_transition(TRANSITIONS, self._state, state)

    @property
    def state_name(self) -> str:
        """The state, as it is shown."""
        return self.state.value

    @property
    def wake_at(self) -> float:
        """When the next step or the end of the lease is due, whichever is first."""
        return self._due if self.lease is None else min(self._due, self.lease.expires_at)

    # What happens.

    def advance(self, now: float) -> Sequence[Outgoing]:
        """See `lease.Client`."""
        if self.lease is not None and now >= self.lease.expires_at:
            self.trouble = Trouble(text="the lease has expired, no DHCPv6 server renews it", since=now)
            self.lease = None
            self._begin(State.SOLICITING, now)
        if now < self._due:
            return ()
        return _ON_TIME[self.state](self, now)

    def receive(self, now: float, payload: bytes) -> Sequence[Outgoing]:
        """See `lease.Client`. A packet for another client, or at the wrong time, is ignored."""
        try:
            message = decode(payload)
            if message.xid != self._xid or message.option(Code.CLIENT_ID) != self._settings.duid:
                return ()
            server = message.option(Code.SERVER_ID)
            if not server:
                self._unusable = f"{_UNUSABLE}: it does not have the server's identifier"
                return ()
            react = _ON_MESSAGE.get((self.state, message.type))
            return () if react is None else react(self, now, message, server)
        except MalformedError as error:
            if xid_of(payload) == self._xid:
                self._unusable = f"{_UNUSABLE}: {error}"
            raise

    def checked(self, now: float, *, is_taken: bool) -> Sequence[Outgoing]:  # noqa: ARG002
        """See `lease.Client`; there never is anything to check."""
        return ()

    def release(self, now: float) -> Sequence[Outgoing]:
        """See `lease.Client`."""
        lease, self.lease = self.lease, None
        self._begin(State.RELEASED, math.inf)
        if lease is None:
            return ()
        return self._packet(now, MessageType.RELEASE, _addresses_of(lease), server=bytes.fromhex(_plain(lease.server)))

    # Time passes.

    def _solicit(self, now: float) -> Sequence[Outgoing]:
        if self._offer is not None:
            return self._ask(now, self._offer)
        if self._sent:
            self._no_answer(now, "no DHCPv6 server answers: is there one on this network?")
        else:
            self._begun_at = now
        hint = () if self._remembered is None else _addresses_of(self._remembered)
        return self._send(now, MessageType.SOLICIT, hint)

    def _request(self, now: float) -> Sequence[Outgoing]:
        if self._sent:
            self._no_answer(now, "the DHCPv6 server does not answer after it has made an offer")
        if self._offer is None or self._sent >= _REQUESTS:
            self.lease = None
            self._begin(State.SOLICITING, now)
            return self.advance(now)
        hint = () if self._remembered is None else _addresses_of(self._remembered)
        return self._send(now, MessageType.REQUEST, hint, server=self._offer.server)

    def _confirm(self, now: float) -> Sequence[Outgoing]:
        lease = self._remembered
        if lease is None or now >= lease.expires_at:
            self._begin(State.SOLICITING, now)
            return self.advance(now)
        if now >= self._begun_at + _CONFIRM_TIME:
            self._no_answer(now, "no DHCPv6 server answers: is there one on this network?")
            self._settle(lease)
            return self.advance(now)
        packets = self._send(now, MessageType.CONFIRM, _addresses_of(lease))
        self._due = min(self._due, self._begun_at + _CONFIRM_TIME)
        return packets

    def _renew(self, now: float) -> Sequence[Outgoing]:
        lease = self._held()
        if self.state == State.BOUND:
            self._begin(State.RENEWING, now)
        if now >= lease.rebind_at:
            self._no_answer(now, "the DHCPv6 server does not renew the lease")
            self._begin(State.REBINDING, now)
            return self._rebind(now)
        if self._sent:
            self._no_answer(now, "the DHCPv6 server does not renew the lease")
        packets = self._send(now, MessageType.RENEW, _addresses_of(lease), server=bytes.fromhex(_plain(lease.server)))
        self._due = min(self._due, lease.rebind_at)
        return packets

    def _rebind(self, now: float) -> Sequence[Outgoing]:
        if self._sent:
            self._no_answer(now, "the DHCPv6 server does not renew the lease, nor does any other")
        return self._send(now, MessageType.REBIND, _addresses_of(self._held()))

    # Packets come.

    def _take_advertise(self, now: float, message: Message6, server: bytes) -> Sequence[Outgoing]:
        self._note_longest_solicit(message)
        association = association_of(message, self._settings.iaid)
        if association is None or parse_status(message.options) or not leased_addresses(association):
            self._unusable = f"the DHCPv6 server {server.hex(':')} has no address to lease"
            self.trouble = Trouble(text=self._unusable, since=now)
            return ()
        preference = int.from_bytes(message.option(Code.PREFERENCE) or b"\0")
        offer = _Offer(server, preference)
        if self._offer is None or offer.preference > self._offer.preference:
            self._offer = offer
        if self._sent > 1 or preference == _HIGHEST_PREFERENCE:
            return self._ask(now, self._offer)
        return ()

    def _take_reply(self, now: float, message: Message6, server: bytes) -> Sequence[Outgoing]:
        self._note_longest_solicit(message)
        if self.state == State.REQUESTING and (self._offer is None or server != self._offer.server):
            return ()
        association = association_of(message, self._settings.iaid)
        status = parse_status(message.options) or (Status.SUCCESS if association is None else association.status)
        if status == Status.SUCCESS and association is not None and leased_addresses(association):
            self._settle(lease_of(message, self._settings.iaid, self._sent_at))
            self.trouble = None
            return ()
        if status == Status.UNSPECIFIED_FAILURE or (association is None and status == Status.SUCCESS):
            # It is retried at the usual pace.
            return ()
        if status == Status.NO_BINDING and self.state in (State.RENEWING, State.REBINDING):
            return self._ask(now, _Offer(server, 0))
        what = f"refuses, with status {status}" if status else "takes its address back"
        self.trouble = Trouble(text=f"the DHCPv6 server {server.hex(':')} {what}", since=now)
        self.lease = None
        self._remembered = None
        pause = _AFTER_FAILURES.after(self._failures)
        self._failures += 1
        self._begin(State.SOLICITING, now + pause)
        return self.advance(now)

    def _take_confirmation(self, now: float, message: Message6, server: bytes) -> Sequence[Outgoing]:
        lease = self._remembered
        status = parse_status(message.options)
        if lease is not None and status == Status.SUCCESS:
            self._settle(lease)
            self.trouble = None
            return ()
        if status == Status.NOT_ON_LINK:
            text = f"the DHCPv6 server {server.hex(':')} reports that the lease does not belong to this network"
            self.trouble = Trouble(text=text, since=now)
            self.lease = None
            self._remembered = None
            self._begin(State.SOLICITING, now)
            return self.advance(now)
        return ()

    # Steps.

    def _settle(self, lease: Lease) -> None:
        self.lease = self._remembered = lease
        self.state, self._due = State.BOUND, lease.renew_at
        self._failures = 0

    def _ask(self, now: float, offer: _Offer) -> Sequence[Outgoing]:
        self._begin(State.REQUESTING, now)
        self._offer = offer
        return self._request(now)

    def _held(self) -> Lease:
        if self.lease is None:
            raise AssertionError(f"in state {self.state} there is a lease")
        return self.lease

    def _begin(self, state: State, at: float) -> None:
        """A new exchange."""
        self.state = state
        self._offer = None
        self._xid = self._random.getrandbits(24)
        self._begun_at = self._due = at
        self._sent, self._wait = 0, 0.0
        self._unusable = ""

    def _no_answer(self, now: float, text: str) -> None:
        if self.trouble is None and now < self._begun_at + _PATIENCE:
            return
        # The beginning stays while the text follows the state.
        since = self._begun_at if self.trouble is None else self.trouble.since
        self.trouble = Trouble(text=self._unusable or text, since=since)

    def _next_wait(self, type: MessageType) -> float:
        pace = _PACES[type]
        longest = self._longest_solicit if type == MessageType.SOLICIT else pace.longest
        if self._sent == 0:
            # The first SOLICIT waits for all servers, so never less than the second that they are given.
            return pace.first * (1 + self._random.uniform(0 if type == MessageType.SOLICIT else -0.1, 0.1))
        wait = self._wait * (2 + self._random.uniform(-0.1, 0.1))
        return wait if wait <= longest else longest * (1 + self._random.uniform(-0.1, 0.1))

    def _note_longest_solicit(self, message: Message6) -> None:
        data = message.option(Code.SOL_MAX_RT)
        if data is not None and _SHORTEST_SOL_MAX_RT <= int.from_bytes(data) <= _LONGEST_SOL_MAX_RT:
            self._longest_solicit = float(int.from_bytes(data))

    # Messages.

    def _send(
        self, now: float, type: MessageType, addresses: tuple[LeasedAddress6, ...], *, server: bytes = b""
    ) -> Sequence[Outgoing]:
        self._wait = self._next_wait(type)
        self._sent += 1
        self._sent_at = now
        self._due = now + self._wait
        return self._packet(now, type, addresses, server=server)

    def _packet(
        self, now: float, type: MessageType, addresses: tuple[LeasedAddress6, ...], *, server: bytes
    ) -> Sequence[Outgoing]:
        elapsed = min(max(int((now - self._begun_at) * 100), 0), _MOST_ELAPSED) if math.isfinite(self._begun_at) else 0
        association = Association(iaid=self._settings.iaid, addresses=addresses)
        asked = (*self._settings.requested, Code.SOL_MAX_RT)
        options = [
            (int(Code.CLIENT_ID), self._settings.duid),
            *([(int(Code.SERVER_ID), server)] if server else []),
            (int(Code.IA_NA), encode_association(association)),
            (int(Code.ELAPSED_TIME), elapsed.to_bytes(2)),
        ]
        if type not in (MessageType.CONFIRM, MessageType.RELEASE):
            options.append((int(Code.REQUESTED_OPTIONS), b"".join(code.to_bytes(2) for code in asked)))
        message = Message6(type=type, xid=self._xid, options=tuple(options))
        return (Outgoing(payload=encode(message), destination=ALL_SERVERS),)


def _addresses_of(lease: Lease) -> tuple[LeasedAddress6, ...]:
    return tuple(LeasedAddress6(address=IPv6Address(each.address.partition("/")[0])) for each in lease.addresses)


def _plain(server: str) -> str:
    return server.replace(":", "")


_OnTime = Callable[[Client6, float], Sequence[Outgoing]]
_OnMessage = Callable[[Client6, float, Message6, bytes], Sequence[Outgoing]]

_ON_TIME: Mapping[State, _OnTime] = {
    State.SOLICITING: Client6._solicit,
    State.REQUESTING: Client6._request,
    State.CONFIRMING: Client6._confirm,
    State.BOUND: Client6._renew,
    State.RENEWING: Client6._renew,
    State.REBINDING: Client6._rebind,
}
_ON_MESSAGE: Mapping[tuple[State, MessageType], _OnMessage] = {
    (State.SOLICITING, MessageType.ADVERTISE): Client6._take_advertise,
    (State.REQUESTING, MessageType.REPLY): Client6._take_reply,
    (State.CONFIRMING, MessageType.REPLY): Client6._take_confirmation,
    (State.RENEWING, MessageType.REPLY): Client6._take_reply,
    (State.REBINDING, MessageType.REPLY): Client6._take_reply,
}

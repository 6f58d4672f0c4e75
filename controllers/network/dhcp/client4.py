"""The client's side of DHCPv4 (RFC 2131, 4.4) as a state machine without I/O: time and packets go in, packets come out.

Theory of operation. There is at most one lease, and at most one exchange with servers:

    INIT        waits until it may begin, then DISCOVER is broadcast            -> SELECTING
    SELECTING   the first usable OFFER is taken: REQUEST, naming its server     -> REQUESTING
    REQUESTING  ACK -> CHECKING; NAK, or no answer to four REQUESTs             -> INIT
    REBOOTING   an earlier lease is remembered: REQUEST for it is broadcast.
                ACK -> CHECKING, or -> BOUND if the link still has the address; NAK -> INIT.
                No answer: with the address on the link it stays in use         -> BOUND
                                                               without it       -> INIT, asking for the same
    CHECKING    neighbours are probed: it is free -> BOUND; else: DECLINE    -> INIT, ten seconds later
    BOUND       at half of the lease (T1)                                       -> RENEWING
    RENEWING    REQUEST goes to the lease's server; ACK -> BOUND; at 7/8 (T2)   -> REBINDING
    REBINDING   REQUEST is broadcast; ACK of any server                         -> BOUND
    any         the lease expires: it is dropped                                -> INIT
    RENEWING, REBINDING: NAK: the lease is dropped                              -> INIT, at once
    RENEWING, REBINDING: ACK of another address                                 -> CHECKING

`TRANSITIONS` is this table as data; each change of state is checked against it.

Without an answer a packet is repeated with exponential backoff while there is no lease (4, 8, ... 64 s, plus or minus
one), and after half of the remaining time of the phase while there is one. All packets of an exchange have one
transaction id, and RENEWING and REBINDING are one exchange, so a late answer still counts.

A server that keeps refusing what it offers is met with backoff; the first refusal costs no delay.

The host's own name, if it has one, is in each request for a lease; a new name is sent soon, by renewing. A server that
only repeats that name has not given the host any.
"""

import enum
import math
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address

import attrs

from nodespan.controllers.network.dhcp.lease import Lease, Outgoing, Trouble
from nodespan.controllers.network.dhcp.lease4 import SHORTEST_RENEWAL, lease_of, server_of
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message4 import (
    ETHERNET,
    UNSPECIFIED,
    Code,
    Message4,
    MessageType,
    decode,
    encode,
    xid_of,
)
from nodespan.controllers.network.dhcp.names import text_of
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.transitions import Transitions, checked_transition

BROADCAST = "255.255.255.255"

_ANSWER_WAITS = Exponential(base=4.0, cap=64.0)
_AFTER_REFUSALS = Exponential(base=2.0, cap=64.0)
_JITTER = 1.0
_REQUESTS = 4
_REBOOT_REQUESTS = 2
_AFTER_DECLINE = 10.0
# From a new name to sending it: it may change again, and the address of a new lease has to be on the link.
_RENAMING = 1.0
# Between two requests while there is a lease; the RFC's minute is meant for leases of hours.
_SHARE_BETWEEN_RENEWALS = 1 / 20
_LONGEST_SPACING = 60.0
_LARGEST_MESSAGE = 1472
_MOST_SECONDS = 0xFFFF
_CHADDR_SIZE = 16
_MOST_TEXT = 80


class State(enum.StrEnum):
    """See the theory above."""

    INIT = "init"
    SELECTING = "selecting"
    REQUESTING = "requesting"
    REBOOTING = "rebooting"
    CHECKING = "checking"
    BOUND = "bound"
    RENEWING = "renewing"
    REBINDING = "rebinding"


TRANSITIONS: Transitions[State] = {
    # The lease runs out or is released in any state.
    state: frozenset({State.INIT, *following})
    for state, following in {
        State.INIT: {State.SELECTING},
        State.SELECTING: {State.REQUESTING},
        State.REQUESTING: {State.CHECKING},
        State.REBOOTING: {State.CHECKING, State.BOUND},
        State.CHECKING: {State.BOUND},
        State.BOUND: {State.RENEWING},
        State.RENEWING: {State.BOUND, State.REBINDING, State.CHECKING},
        State.REBINDING: {State.BOUND, State.CHECKING},
    }.items()
}


@attrs.frozen(kw_only=True)
class Settings:
    """The identity of the client, and the options it requests. `client_id` b"" sends none."""

    hardware_type: int = ETHERNET
    hardware_address: bytes
    client_id: bytes = b""
    requested: tuple[int, ...] = ()


class Client4:
    """One client on one link; see `lease.Client` for how it is driven.

    `remembered` is an earlier lease, whose address the link still has if `is_held`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: float,
        random: random.Random,
        remembered: Lease | None = None,
        is_held: bool = False,
    ) -> None:
        self._state = State.INIT
        self.lease: Lease | None = None
        self.trouble: Trouble | None = None
        self._due = now
        # The host's own name, and the one that the last message had.
        self._host_name = self._told_name = ""
        self._settings = settings
        self._random = random
        self._preferred = UNSPECIFIED if remembered is None else _address_of(remembered)
        self._offer: Message4 | None = None
        self._unchecked: Lease | None = None
        self._refusals = 0
        # Why an answer to this exchange cannot be used, "" if there was none such.
        self._unusable = ""
        # The exchange.
        self._xid = 0
        self._begun_at = self._sent_at = now
        self._sent = 0
        if remembered is not None and now < remembered.expires_at:
            self._state = State.REBOOTING
            self.lease = remembered if is_held else None
            self._begin(now)

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

    @property
    def to_check(self) -> str:
        """The address that another machine may have."""
        return "" if self._unchecked is None else str(_address_of(self._unchecked))

    # What happens.

    def call_host(self, now: float, name: str) -> None:
        """Set the host's own name, "" for none."""
        if name == self._host_name:
            return
        self._host_name = name
        if self.state == State.BOUND:
            self._due = min(self._due, now + _RENAMING)

    def advance(self, now: float) -> Sequence[Outgoing]:
        """See `lease.Client`."""
        if self.lease is not None and now >= self.lease.expires_at:
            self._complain(now, f"the lease of {_address_of(self.lease)} has expired, its server does not answer")
            self._restart(now)
        if now < self._due:
            return ()
        return _ON_TIME[self.state](self, now)

    def receive(self, now: float, payload: bytes) -> Sequence[Outgoing]:
        """See `lease.Client`. A packet for another client, or at the wrong time, is ignored."""
        try:
            message = decode(payload)
            if not message.is_reply or message.xid != self._xid or message.hardware_address != self._chaddr:
                return ()
            react = _ON_MESSAGE.get((self.state, message.type))
            return () if react is None else react(self, now, message)
        except MalformedError as error:
            if xid_of(payload) == self._xid:
                self._unusable = f"a DHCP server answers, but its answer cannot be used: {error}"
            raise

    def checked(self, now: float, *, is_taken: bool) -> Sequence[Outgoing]:
        """See `lease.Client`."""
        lease, self._unchecked = self._unchecked, None
        if lease is None or self.state != State.CHECKING:
            return ()
        if not is_taken:
            return self._bind(lease)
        address = _address_of(lease)
        self._complain(now, f"{address}, which the DHCP server {lease.server} leases, is in use by another machine")
        self._preferred = UNSPECIFIED
        server = IPv4Address(lease.server)
        self._restart(now + _AFTER_DECLINE)
        options = ((Code.SERVER_ID, server.packed), (Code.REQUESTED_ADDRESS, address.packed))
        return (self._to_all(self._message(MessageType.DECLINE, now, *options)),)

    def release(self, now: float) -> Sequence[Outgoing]:
        """See `lease.Client`."""
        lease, self.lease = self.lease, None
        self.state, self._due = State.INIT, math.inf
        if lease is None:
            return ()
        own = _address_of(lease)
        self._new_xid()
        message = self._message(
            MessageType.RELEASE, now, (Code.SERVER_ID, IPv4Address(lease.server).packed), client_address=own
        )
        return (Outgoing(payload=encode(message), destination=lease.server, source=str(own)),)

    # Time passes.

    def _discover(self, now: float) -> Sequence[Outgoing]:
        if self.state == State.INIT:
            self.state = State.SELECTING
            self._begin(now)
        else:
            self._no_answer("no DHCP server answers: is there one on this network, and is the cable in the right port?")
        self._note_sent(now, self._doubled_wait())
        return (self._to_all(self._message(MessageType.DISCOVER, now, *self._preference(), *self._questions())),)

    def _request(self, now: float) -> Sequence[Outgoing]:
        offer = self._offer
        if offer is None or self._sent >= _REQUESTS:
            self._restart(now)
            return self.advance(now)
        server = server_of(offer)
        if self._sent:
            self._no_answer(f"the DHCP server {server} does not answer after it has made an offer")
        self._note_sent(now, self._doubled_wait())
        options = ((Code.REQUESTED_ADDRESS, offer.your_address.packed), (Code.SERVER_ID, server.packed))
        return (self._to_all(self._message(MessageType.REQUEST, now, *options, *self._questions())),)

    def _reboot(self, now: float) -> Sequence[Outgoing]:
        if self._sent >= _REBOOT_REQUESTS:
            self._no_answer("no DHCP server answers: is there one on this network, and is the cable in the right port?")
            if self.lease is None:
                self._restart(now)
            else:
                self.state, self._due = State.BOUND, self.lease.renew_at
            return self.advance(now)
        self._note_sent(now, self._doubled_wait())
        return (self._to_all(self._message(MessageType.REQUEST, now, *self._preference(), *self._questions())),)

    def _renew(self, now: float) -> Sequence[Outgoing]:
        lease = self._held()
        if self.state == State.BOUND:
            self.state = State.RENEWING
            self._begin(now)
        if now >= lease.rebind_at:
            return self._rebind(now)
        if self._sent:
            self._no_answer(f"the DHCP server {lease.server} does not renew the lease")
        self._note_sent(now, self._spaced_wait(now, lease.rebind_at))
        message = self._message(MessageType.REQUEST, now, *self._questions(), client_address=_address_of(lease))
        return (Outgoing(payload=encode(message), destination=lease.server, source=str(_address_of(lease))),)

    def _rebind(self, now: float) -> Sequence[Outgoing]:
        lease = self._held()
        others = ", nor does any other" if self.state == State.REBINDING else ""
        self.state = State.REBINDING
        self._no_answer(f"the DHCP server {lease.server} does not renew the lease{others}")
        self._note_sent(now, self._spaced_wait(now, lease.expires_at))
        message = self._message(MessageType.REQUEST, now, *self._questions(), client_address=_address_of(lease))
        return (self._to_all(message, source=_address_of(lease)),)

    # Packets come.

    def _take_offer(self, now: float, message: Message4) -> Sequence[Outgoing]:
        # An offer that cannot become a lease is not requested.
        lease_of(message, now)
        self._offer = message
        self.state = State.REQUESTING
        self._sent = 0
        return self._request(now)

    def _take_ack(self, now: float, message: Message4) -> Sequence[Outgoing]:  # noqa: ARG002
        lease = lease_of(message, self._sent_at)
        if lease.hostname == self._told_name:
            lease = attrs.evolve(lease, hostname="")
        if self.state == State.REQUESTING and (self._offer is None or server_of(message) != server_of(self._offer)):
            return ()
        if self.lease is not None and _address_of(self.lease) == _address_of(lease):
            return self._bind(lease)
        self.lease, self._unchecked = None, lease
        self.state, self._due = State.CHECKING, math.inf
        return ()

    def _take_nak(self, now: float, message: Message4) -> Sequence[Outgoing]:
        server = server_of(message)
        if self.state == State.REQUESTING and (self._offer is None or server != server_of(self._offer)):
            return ()
        reason = _reason(message)
        self._complain(now, f"the DHCP server {server} refuses{f', saying {reason!r}' if reason else ''}")
        self._preferred = UNSPECIFIED
        delay = _AFTER_REFUSALS.after(self._refusals)
        self._refusals += 1
        self._restart(now + delay)
        return self.advance(now)

    # Steps.

    def _bind(self, lease: Lease) -> Sequence[Outgoing]:
        self.lease = lease
        self.state, self._due = State.BOUND, lease.renew_at
        if self._host_name != self._told_name:
            self._due = min(self._due, lease.obtained + _RENAMING)
        self.trouble, self._offer, self._unchecked = None, None, None
        self._preferred = _address_of(lease)
        self._refusals = 0
        return ()

    def _restart(self, at: float) -> None:
        """Drop the lease and the exchange, and look for a server from then on."""
        self.state, self._due = State.INIT, at
        self.lease = self._offer = self._unchecked = None

    def _held(self) -> Lease:
        if self.lease is None:
            raise AssertionError(f"in state {self.state} there is a lease")
        return self.lease

    def _begin(self, now: float) -> None:
        """A new exchange."""
        self._new_xid()
        self._begun_at, self._sent = now, 0
        self._unusable = ""

    def _new_xid(self) -> None:
        self._xid = self._random.getrandbits(32)

    def _note_sent(self, now: float, wait: float) -> None:
        self._sent += 1
        self._sent_at = now
        self._due = now + wait

    def _doubled_wait(self) -> float:
        return _ANSWER_WAITS.after(self._sent + 1) + self._random.uniform(-_JITTER, _JITTER)

    def _spaced_wait(self, now: float, end: float) -> float:
        """Half of what remains until the end of the phase, within bounds."""
        lease = self._held()
        share = (lease.expires_at - lease.obtained) * _SHARE_BETWEEN_RENEWALS
        spacing = min(max(share, SHORTEST_RENEWAL), _LONGEST_SPACING)
        return min(max((end - now) / 2, spacing), end - now)

    def _complain(self, now: float, text: str) -> None:
        self.trouble = Trouble(text=text, since=now)

    def _no_answer(self, text: str) -> None:
        # The beginning stays while the text follows the state.
        since = self._begun_at if self.trouble is None else self.trouble.since
        self.trouble = Trouble(text=self._unusable or text, since=since)

    # Messages.

    @property
    def _chaddr(self) -> bytes:
        # The field has no room for InfiniBand's addresses (RFC 4390).
        address = self._settings.hardware_address
        return address if len(address) <= _CHADDR_SIZE else b""

    def _message(
        self,
        type: MessageType,
        now: float,
        *options: tuple[int, bytes],
        client_address: IPv4Address = UNSPECIFIED,
    ) -> Message4:
        identifier = ((Code.CLIENT_ID, self._settings.client_id),) if self._settings.client_id else ()
        return Message4(
            type=type,
            xid=self._xid,
            # Only a client that cannot be reached by its hardware address needs broadcast answers.
            is_broadcast=not self._chaddr and client_address == UNSPECIFIED,
            seconds=min(max(int(now - self._begun_at), 0), _MOST_SECONDS),
            client_address=client_address,
            hardware_type=self._settings.hardware_type,
            hardware_address=self._chaddr,
            options=(*identifier, *options),
        )

    def _preference(self) -> tuple[tuple[int, bytes], ...]:
        if self._preferred == UNSPECIFIED:
            return ()
        return ((Code.REQUESTED_ADDRESS, self._preferred.packed),)

    def _questions(self) -> tuple[tuple[int, bytes], ...]:
        self._told_name = self._host_name
        name = ((Code.HOST_NAME, self._host_name.encode()),) if self._host_name else ()
        return (
            *name,
            (Code.REQUESTED_OPTIONS, bytes(self._settings.requested)),
            (Code.MAX_MESSAGE_SIZE, struct.pack("!H", _LARGEST_MESSAGE)),
        )

    def _to_all(self, message: Message4, source: IPv4Address | None = None) -> Outgoing:
        return Outgoing(payload=encode(message), destination=BROADCAST, source="" if source is None else str(source))


def _address_of(lease: Lease) -> IPv4Address:
    return IPv4Address(lease.addresses[0].address.partition("/")[0])


def _reason(message: Message4) -> str:
    """The text of a server's refusal."""
    try:
        text = text_of(message.option(Code.MESSAGE) or b"")
    except MalformedError:
        return ""
    return "".join(character for character in text if character.isprintable())[:_MOST_TEXT]


_OnTime = Callable[[Client4, float], Sequence[Outgoing]]
_OnMessage = Callable[[Client4, float, Message4], Sequence[Outgoing]]

_ON_TIME: Mapping[State, _OnTime] = {
    State.INIT: Client4._discover,
    State.SELECTING: Client4._discover,
    State.REQUESTING: Client4._request,
    State.REBOOTING: Client4._reboot,
    State.BOUND: Client4._renew,
    State.RENEWING: Client4._renew,
    State.REBINDING: Client4._rebind,
}
_ON_MESSAGE: Mapping[tuple[State, MessageType], _OnMessage] = {
    (State.SELECTING, MessageType.OFFER): Client4._take_offer,
    (State.REQUESTING, MessageType.ACK): Client4._take_ack,
    (State.REQUESTING, MessageType.NAK): Client4._take_nak,
    (State.REBOOTING, MessageType.ACK): Client4._take_ack,
    (State.REBOOTING, MessageType.NAK): Client4._take_nak,
    (State.RENEWING, MessageType.ACK): Client4._take_ack,
    (State.RENEWING, MessageType.NAK): Client4._take_nak,
    (State.REBINDING, MessageType.ACK): Client4._take_ack,
    (State.REBINDING, MessageType.NAK): Client4._take_nak,
}

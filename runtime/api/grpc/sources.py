"""Limits per source of connections: what the connections from one address may use together.

Theory of operation. The source that uses most loses first:

    a connection comes, and                  then
    its source has as many as one may have   the source's longest idle one is closed; if none is idle, the new one is
                                             refused
    the server has as many as it may have    the longest idle one of the source with most connections is closed; if none
                                             is idle, the oldest of that source; if no source has more than the new
                                             connection's, the new one is refused
    its source has more idle ones than       the longest idle one is closed
    it may have

    a response is to wait, and               then
    its connection or source holds too much  it is refused
    the server holds too much                the longest waiting responses of the source that holds most are given up;
                                             if no source holds more than this one, the new one is refused
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Hashable
from ipaddress import IPv4Address, IPv6Address

import trio

from nodespan.runtime.api.grpc.ledger import Ledger, Sized
from nodespan.runtime.api.grpc.limits import Limits
from nodespan.runtime.token_bucket import TokenBucket

_BURST = 10
_IPV6_SOURCE = 64
# Work is accounted for in lots: the clock and two buckets would cost more than what they count.
_SPENT_AT_ONCE = 40.0


def source_of(address: IPv4Address | IPv6Address) -> Hashable:
    """The source that an address belongs to."""
    if address.version == 4:
        return address
    return ipaddress.ip_network((address, _IPV6_SOURCE), strict=False)


class Source:
    """Counts what the connections of one source use."""

    __slots__ = ("carried", "held", "idle", "incomplete", "is_lasting", "key", "seats", "waiting", "work")

    def __init__(self, key: Hashable, limits: Limits, total: Ledger, now: float, *, is_lasting: bool) -> None:
        self.key = key
        # It may come again: otherwise it is one connection.
        self.is_lasting = is_lasting
        # Oldest first.
        self.seats: dict[Seat, None] = {}
        # Of these, the ones without a request in progress: the longest idle one first.
        self.idle: dict[Seat, None] = {}
        # How many are served by another process.
        self.carried = 0
        self.incomplete = 0
        self.held = Ledger(limits.held.source, total)
        # The responses that wait to be sent, oldest first.
        self.waiting: dict[Waiting, None] = {}
        self.work = TokenBucket(limits.work.source, limits.work.source * _BURST, now)

    def is_forgettable(self, now: float) -> bool:
        """Whether it has no connection, and may do as much as a new one."""
        return not self.seats and (not self.is_lasting or self.work.is_full(now))

    def longest_idle(self) -> "Seat | None":
        """The connection that has been idle for longest."""
        return next(iter(self.idle), None)


class Seat:
    """A connection's place. `idle_since` is None while a request is in progress."""

    __slots__ = ("_scope", "held", "idle_since", "is_carried", "is_closed", "on_close", "source", "unspent", "work")

    def __init__(self, source: Source, limits: Limits, now: float) -> None:
        self.source = source
        # Whether the connection is to be closed: its seat may be taken as soon as it has it.
        self.is_closed = False
        # What closes it: the scope of its task, where it has one, and what is called.
        self._scope: trio.CancelScope | None = None
        self.on_close: Callable[[], None] | None = None
        self.idle_since: float | None = now
        # Another process serves the connection, and has a seat for it.
        self.is_carried = False
        self.held = Ledger(limits.held.connection, source.held)
        self.work = TokenBucket(limits.work.connection, limits.work.connection * _BURST, now)
        self.unspent = 0.0

    @property
    def scope(self) -> trio.CancelScope:
        """A scope that is cancelled when the connection is to be closed."""
        if self._scope is None:
            self._scope = trio.CancelScope()
            if self.is_closed:
                self._scope.cancel()
        return self._scope

    def close(self) -> None:
        """Have the connection closed."""
        self.is_closed = True
        if self._scope is not None:
            self._scope.cancel()
        if self.on_close is not None:
            self.on_close()

    def spend(self, work: float) -> float:
        """Account for work done; returns for how many seconds not to read from the peer."""
        self.unspent += work
        return 0.0 if self.unspent < _SPENT_AT_ONCE else self.settle(trio.current_time())

    def settle(self, now: float) -> float:
        """Account for what is not yet; returns the same."""
        work, self.unspent = self.unspent, 0.0
        return max(self.work.spend(work, now), self.source.work.spend(work, now))


class Waiting:
    """A response that waits to be sent."""

    __slots__ = ("_give_up", "data", "seat")

    def __init__(self, seat: Seat, data: Sized, give_up: Callable[[], None]) -> None:
        self.seat = seat
        self.data = data
        self._give_up = give_up

    def give_up(self) -> None:
        """Drop the response to make room for others."""
        self.release()
        self._give_up()

    def release(self) -> None:
        """The response is sent or dropped."""
        if self.seat.source.waiting.pop(self, self) is None:
            self.seat.held.drop(self.data)


class Sources:
    """All sources that have connections, or had some and did much. `limits` are the server's.

    What a source did is remembered until it may do as much as a new one: connecting again must not win a new burst.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sources: dict[Hashable, Source] = {}
        self._total = Ledger(limits.held.total)
        # What was closed, refused or given up, by reason.
        self.turned_away: Counter[str] = Counter()
        # All that are open here, and how many of them another process serves, and counts.
        self.connections = 0
        self.carried = 0

    @property
    def limits(self) -> Limits:
        """What is allowed."""
        return self._limits

    @property
    def idle(self) -> int:
        """How many connections have no request in progress."""
        return sum(len(source.idle) for source in self._sources.values())

    @property
    def held(self) -> int:
        """The bytes that are held in all."""
        return self._total.used

    def __len__(self) -> int:
        return sum(len(source.seats) > source.carried for source in self._sources.values())

    def admit(self, address: IPv4Address | IPv6Address | None) -> Seat | None:
        """A seat for a new connection, None if it is to be refused."""
        now = trio.current_time()
        is_lasting = address is not None and self._limits.by_source
        key: Hashable = source_of(address) if address is not None and is_lasting else object()
        source = self._sources.get(key) or Source(key, self._limits, self._total, now, is_lasting=is_lasting)
        if not (self._make_room_at(source) and self._make_room(source)):
            return None
        seat = Seat(source, self._limits, now)
        self._sources[key] = source
        source.seats[seat] = None
        self.connections += 1
        self.became_idle(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """A connection is over."""
        source = seat.source
        source.idle.pop(seat, None)
        if source.seats.pop(seat, seat) is None:
            self.connections -= 1
            source.carried -= seat.is_carried
            self.carried -= seat.is_carried
            now = trio.current_time()
            seat.settle(now)
            if source.is_forgettable(now):
                del self._sources[source.key]

    def drop_idle(self) -> None:
        """Forget the sources without connections whose allowance is full again."""
        now = trio.current_time()
        for source in [source for source in self._sources.values() if source.is_forgettable(now)]:
            del self._sources[source.key]

    def became_idle(self, seat: Seat) -> None:
        """A connection has no request in progress any more."""
        source = seat.source
        if seat not in source.seats:
            return  # it is being closed
        seat.idle_since = trio.current_time()
        source.idle.pop(seat, None)
        source.idle[seat] = None
        if len(source.idle) > self._limits.idle_per_source:
            self._close(source.longest_idle(), "idle_of_source")

    def became_busy(self, seat: Seat) -> None:
        """A connection has a request in progress."""
        seat.idle_since = None
        seat.source.idle.pop(seat, None)

    def carry(self, seat: Seat) -> None:
        """A connection goes on to another process, where it counts for its source; here are only its bytes."""
        self.became_busy(seat)
        if seat in seat.source.seats and not seat.is_carried:
            seat.is_carried = True
            seat.source.carried += 1
            self.carried += 1

    def _make_room_at(self, source: Source) -> bool:
        if len(source.seats) - source.carried < self._limits.connections.source:
            return True
        return self._close(source.longest_idle(), "source")

    def _make_room(self, newcomer: Source) -> bool:
        if self.connections < self._limits.connections.total:
            return True
        greediest = max(self._sources.values(), key=lambda source: len(source.seats))
        victim = greediest.longest_idle()
        if victim is None and len(greediest.seats) > len(newcomer.seats) + 1:
            victim = next(iter(greediest.seats))
        return self._close(victim, "total")

    def _close(self, seat: Seat | None, reason: str) -> bool:
        self.turned_away[reason] += 1
        if seat is None:
            return False
        seat.close()
        self.leave(seat)
        return True

    def hold(self, seat: Seat, data: Sized, give_up: Callable[[], None]) -> Waiting | None:
        """Account for a response that waits to be sent, until it is released; None if too much waits already."""
        source = seat.source
        if not (seat.held.add(data) or (self._relieve(source, data) and seat.held.add(data))):
            self.turned_away["held"] += 1
            return None
        waiting = Waiting(seat, data, give_up)
        source.waiting[waiting] = None
        return waiting

    def _relieve(self, newcomer: Source, data: Sized) -> bool:
        """If the server holds too much, drop waiting responses of the source that holds most, until the data fits."""
        if self._total.has_room(data):
            return False
        greediest = max(self._sources.values(), key=lambda source: source.held.used)
        while greediest.waiting and greediest.held.used > newcomer.held.used + len(data):
            self.turned_away["held_given_up"] += 1
            next(iter(greediest.waiting)).give_up()
            if self._total.has_room(data):
                return True
        return False

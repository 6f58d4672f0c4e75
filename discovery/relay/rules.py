"""The rules of a relay: who is given which port, who may be sent to, and what is too much. No clock, no I/O.

Who may be sent to: a source is known to a client from its first packet until `DOOR_LIFETIME` after its last one. Only
known sources are sent anything, and only from the port that they have sent to. So a relay sends nobody a packet who did
not send one first, and nobody can have it call anybody.

A client has at most so many sources. When there are as many, one that was never answered gives way first, for anybody
can send from made-up addresses; one that was answered gives way only when it has been quiet for long.

Which port: the same key gets the port that it had, as long as it is kept for it; then the port that it asks for, if
nobody has it; else a free one. A port stays with its key for `KEPT` after the client has left, since others go on
sending to it; when no other is free, the one that was left first is given away.
"""

import hashlib
from collections import Counter
from typing import Any, TypeVar

import attrs

# A sender as a socket names it.
Where = tuple[Any, ...]

DOOR_LIFETIME = 180.0
# An answered source that was heard from less than so many seconds ago is not given up for a new one.
_QUIET = 60.0
KEPT = 600.0


@attrs.frozen(kw_only=True)
class RelayLimits:
    """What clients may use. Rates are bytes a second, with bursts of `burst` seconds; sizes are bytes.

    They go for each way by itself. A source is the address that a client connects from (IPv6: its /64). `queue` bounds
    what waits for a client that does not read fast enough, `total_queue` that of all together: the oldest is dropped.
    `window` is what a client may have under way to the relay, which it can send within one round trip, and
    `total_window` that of all together, beside what each has in any case: it lies in the kernel if it is not read.
    """

    clients: int = 4000
    clients_per_cluster: int = 1000
    clients_per_source: int = 250
    beginnings_per_source: int = 50
    rate: float = 12.5e6
    cluster_rate: float = 62.5e6
    total_rate: float = 125e6
    burst: float = 0.25
    sources: int = 256
    queue: int = 256 << 10
    total_queue: int = 256 << 20
    window: int = 1 << 20
    total_window: int = 64 << 20


@attrs.define(eq=False)
class Door:
    """A source that may be answered: its encoded address, and the one that the socket knows."""

    address: bytes
    where: Where
    heard: float
    is_answered: bool = False


class Doors:
    """The sources of one client."""

    __slots__ = ("_by_address", "_by_where", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_where: dict[Where, Door] = {}
        self._by_address: dict[bytes, Door] = {}

    def __len__(self) -> int:
        return len(self._by_where)

    def find(self, where: Where, now: float) -> Door | None:
        """The door of a source that has just sent a packet, if it is known."""
        door = self._by_where.get(where)
        if door is not None:
            door.heard = now
        return door

    def open(self, where: Where, address: bytes, now: float) -> Door | None:
        """A door for a new source; None if there are too many."""
        if (former := self._by_address.get(address)) is not None:
            # The same address on two links of this machine, which the encoded one does not tell apart.
            self._close(former)
        if len(self._by_where) >= self._limit and not self._make_room(now):
            return None
        door = self._by_where[where] = self._by_address[address] = Door(address, where, now)
        return door

    def for_answer(self, address: bytes, now: float) -> Door | None:
        """The door by which an address may be sent to; None if it may not."""
        door = self._by_address.get(address)
        if door is None:
            return None
        if now - door.heard > DOOR_LIFETIME:
            self._close(door)
            return None
        door.is_answered = True
        return door

    def _make_room(self, now: float) -> bool:
        oldest = min(self._by_where.values(), key=lambda door: (door.is_answered, door.heard))
        if oldest.is_answered and now - oldest.heard < _QUIET:
            return False
        self._close(oldest)
        return True

    def _close(self, door: Door) -> None:
        del self._by_where[door.where]
        del self._by_address[door.address]


class Ports:
    """Which client has which port of the range, both ends included."""

    def __init__(self, first: int, last: int) -> None:
        self._first = first
        self._size = last - first + 1
        self._holders: dict[int, bytes] = {}
        self._by_key: dict[bytes, int] = {}
        # Ports that are kept for a client that has left, the one that was left first being the first; and until when.
        self._kept: dict[int, float] = {}
        # Ports that other programs have.
        self._unusable: set[int] = set()

    @property
    def free(self) -> int:
        """How many could be given away."""
        return self._size - len(self._holders) + len(self._kept)

    @property
    def size(self) -> int:
        """How many there are."""
        return self._size

    def take(self, key: bytes, desired: int, now: float) -> int | None:
        """A port for a key; None if none is free. Give it back with `leave`, or `spoil` if it cannot be used."""
        self._drop_kept(now)
        port = self._by_key.get(key)
        if port is None and self._is_free(desired):
            port = desired
        if port is None:
            port = self._any_free(key)
        if port is None and self._kept:
            port = next(iter(self._kept))
            del self._by_key[self._holders.pop(port)]
        if port is not None:
            self._kept.pop(port, None)
            self._holders[port] = key
            self._by_key[key] = port
        return port

    def leave(self, key: bytes, now: float) -> None:
        """A client has left: keep its port for it."""
        self._kept[self._by_key[key]] = now + KEPT

    def spoil(self, key: bytes) -> None:
        """Another program has the port."""
        port = self._by_key.pop(key)
        del self._holders[port]
        self._unusable.add(port)

    def retry_spoiled(self) -> None:
        """Ports that other programs had may be free by now."""
        self._unusable.clear()

    def _is_free(self, port: int) -> bool:
        in_range = self._first <= port < self._first + self._size
        return in_range and port not in self._holders and port not in self._unusable

    def _any_free(self, key: bytes) -> int | None:
        if len(self._holders) >= self._size:
            return None
        # Where it begins depends on the key, so that a relay which has forgotten everything gives most the same again.
        start = int.from_bytes(hashlib.sha256(key).digest()[:4], "big")
        ports = (self._first + (start + step) % self._size for step in range(self._size))
        return next((port for port in ports if self._is_free(port)), None)

    def _drop_kept(self, now: float) -> None:
        while self._kept:
            port, until = next(iter(self._kept.items()))
            if until > now:
                return
            del self._kept[port]
            del self._by_key[self._holders.pop(port)]


class Census:
    """How many clients there are: in all, of each cluster and from each source."""

    def __init__(self, limits: RelayLimits) -> None:
        self._limits = limits
        self._clients = 0
        self._clusters: Counter[bytes] = Counter()
        self._sources: Counter[object] = Counter()
        self._beginnings: Counter[object] = Counter()

    @property
    def clients(self) -> int:
        """All of them."""
        return self._clients

    @property
    def clusters(self) -> int:
        """How many clusters they are of."""
        return len(self._clusters)

    def begin(self, source: object) -> str:
        """Count a client that has not proved its key yet. Returns why it may not try, "" if it may."""
        if self._beginnings[source] >= self._limits.beginnings_per_source:
            return "too many clients from this address begin at once"
        self._beginnings[source] += 1
        return ""

    def begun(self, source: object) -> None:
        """It has proved it, or is gone."""
        _count_down(self._beginnings, source)

    def refusal(self, cluster: bytes, source: object) -> str:
        """Why one more client is refused, "" if it is not."""
        limits = self._limits
        if self.clients >= limits.clients:
            return f"the relay is full: it has {limits.clients} clients"
        if self._clusters[cluster] >= limits.clients_per_cluster:
            return f"the cluster has {limits.clients_per_cluster} clients here, the maximum"
        if self._sources[source] >= limits.clients_per_source:
            return f"there are {limits.clients_per_source} clients from this address, the maximum"
        return ""

    def add(self, cluster: bytes, source: object) -> None:
        """One more client."""
        self._clients += 1
        self._clusters[cluster] += 1
        self._sources[source] += 1

    def remove(self, cluster: bytes, source: object) -> None:
        """One client less."""
        self._clients -= 1
        _count_down(self._clusters, cluster)
        _count_down(self._sources, source)


Key = TypeVar("Key")


def _count_down(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]

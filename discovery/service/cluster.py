"""The clusters: the affiliates in the state by cluster, and the watchers.

Watchers of a cluster are told together: at once if it was quiet, otherwise in beats, with a rest before each
that grows with the duration of the one before. So the growth of a large cluster leaves time for all others. Changes
between two beats are batched, encoded once, and sent as one message to all watchers at the same position. There is no
least rest: what takes a millisecond is repeated a millisecond later.

A watcher that can take a message at once gets it without a task of its own being run for it. Only one whose window or
socket is full is woken, to send the message when there is room.
"""

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import trio

from nodespan.discovery.service.affiliate import Affiliate, AffiliateSpec, address_of
from nodespan.discovery.service.change_log import ChangeLog
from nodespan.discovery.service.rules import MAX_AFFILIATES, is_sound
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc import Call, Code, RPCError, frame
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import State
from nodespan.runtime.waiter import Waiter

# The number of affiliates that may have changed since a watcher last read before it is dropped.
_MAX_BEHIND = 2048
# Increments are split into messages of about this many bytes: clients may refuse more than 4 MiB.
_MAX_INCREMENT = 1 << 20
# The ratio of rest to beat, in processor time, while changes keep coming, and the longest rest, in seconds. After this
# many seconds without a change, a quarter of the rest is enough.
_REST = 4
_LONGEST_REST = 0.5
_LULL = 0.02
# Small updates are sent within this many rounds of the loop. For larger ones, the beat lasts until most watchers are
# done: one that does not read must not delay the others.
_ROUNDS = 3
_MOST = 7 / 8
_LOOK_AGAIN = 0.01
_LOOKS = 100
# Watchers that are told before other tasks run: each costs some microseconds.
_TOLD_AT_ONCE = 50


@attrs.frozen
class Framed:
    """Messages ready to be sent, and their number."""

    data: bytes
    count: int


def encode_entry(spec: AffiliateSpec) -> bytes:
    """The encoded entry of an affiliate: a list or watch response is a concatenation of entries."""
    endpoints = (endpoint.data for endpoint in spec.endpoints)
    entry = wire.Affiliate(id=spec.affiliate, data=spec.data, endpoints=endpoints)
    return wire.WatchResponse(affiliates=(entry,)).SerializeToString()


@attrs.define(eq=False)
class Watcher:
    """A watch under way, and the position up to which it was told; its task `waits`, and is woken to send the rest."""

    call: Call
    position: int
    waits: Waiter = attrs.field(factory=Waiter)


class Cluster:
    """The affiliates of one cluster, and its watchers."""

    __slots__ = (
        "_arriving",
        "_ended",
        "_entries",
        "_increments",
        "_is_beating",
        "_log",
        "_nursery",
        "_rest_time",
        "_snapshot",
        "_told",
        "_watchers",
        "affiliates",
        "earliest",
        "latest",
        "revision",
    )

    def __init__(self, nursery: trio.Nursery) -> None:
        self.affiliates: dict[str, AffiliateSpec] = {}
        # How many reports are being stored of each affiliate that is not there yet.
        self._arriving: dict[str, int] = {}
        # No report ends before the one or after the other, in nanoseconds of the service's clock.
        self.earliest: float = math.inf
        self.latest: float = -math.inf
        # How often something was announced: whoever shows the cluster need not look again before it is another.
        self.revision = 0
        self._nursery = nursery
        self._log = ChangeLog(_MAX_BEHIND)
        self._entries: dict[str, bytes] = {}
        # Encoded since the latest change, for other watchers at the same position.
        self._snapshot: Framed | None = None
        self._increments: dict[int, Framed] = {}
        # Whoever waits for changes, and whoever is being sent some.
        self._watchers: dict[Watcher, None] = {}
        self._is_beating = False
        # The position that the watchers were told last, when that ended, and how long to rest from it at most.
        self._told = 0
        self._ended = self._rest_time = 0.0

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    @property
    def position(self) -> int:
        """The position of a watcher that has seen everything."""
        return self._log.position

    def expect(self, id: str) -> None:
        """Keep a place for an affiliate while it is being stored. Raises RPCError if the cluster is full."""
        affiliates, arriving = self.affiliates, self._arriving
        if id not in affiliates and id not in arriving:
            count = len(affiliates) + sum(each not in affiliates for each in arriving)
            if count >= MAX_AFFILIATES:
                raise RPCError(Code.RESOURCE_EXHAUSTED, f"the cluster has {MAX_AFFILIATES} affiliates, the maximum")
        arriving[id] = arriving.get(id, 0) + 1

    def expected(self, id: str) -> None:
        """End what `expect` began."""
        left = self._arriving.pop(id) - 1
        if left:
            self._arriving[id] = left

    def is_expected(self, id: str) -> bool:
        """Whether a report of this affiliate is being stored."""
        return id in self._arriving

    def put(self, spec: AffiliateSpec) -> None:
        """Set an affiliate; watchers are notified if its announcement changed."""
        before = self.affiliates.get(spec.affiliate)
        self.affiliates[spec.affiliate] = spec
        self._bound(spec)
        if before is None or before.announcement != spec.announcement:
            self._entries.pop(spec.affiliate, None)
            self._changed(spec.affiliate, gone=spec.withdrawn)

    def _bound(self, spec: AffiliateSpec) -> None:
        for expiry in (spec.expiry, *[endpoint.expiry for endpoint in spec.endpoints]):
            if expiry < self.earliest:
                self.earliest = expiry
            if expiry > self.latest:
                self.latest = expiry

    def tighten(self) -> None:
        """Bound the ends of the reports anew: some are gone."""
        self.earliest, self.latest = math.inf, -math.inf
        for spec in self.affiliates.values():
            self._bound(spec)

    def remove(self, id: str) -> None:
        """Remove an affiliate."""
        self.affiliates.pop(id, None)
        self._entries.pop(id, None)
        self._changed(id, gone=True)

    def _changed(self, id: str, *, gone: bool) -> None:
        self.revision += 1
        self._snapshot = None
        self._increments.clear()
        if not self._watchers:
            return
        self._log.record(id, gone=gone)
        if self._is_beating:
            return
        if len(self._watchers) <= _TOLD_AT_ONCE and trio.current_time() >= self._ended + self._rest_time:
            self._tell_few()
        else:
            self._is_beating = True
            self._nursery.start_soon(self._beat)

    async def _beat(self) -> None:
        """Rest from what was told before, tell the watchers, and again until nothing has changed since."""
        try:
            while self._told != self._log.position:
                await self._rest()
                await self._tell_all()
        finally:
            self._is_beating = False

    async def _tell_all(self) -> None:
        started = time.thread_time()
        self._told = self._log.position
        for number, watcher in enumerate(tuple(self._watchers), start=1):
            self._tell(watcher)
            if number % _TOLD_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        for _ in range(_ROUNDS):
            await trio.lowlevel.checkpoint()
        for _ in range(_LOOKS):
            if self._are_told():
                break
            await trio.sleep(_LOOK_AGAIN)
        self._took(started)

    def _tell_few(self) -> None:
        """Tell the watchers at once: there are few, and they were told nothing just now."""
        started = time.thread_time()
        self._told = self._log.position
        for watcher in self._watchers:
            self._tell(watcher)
        self._took(started)

    def _took(self, started: float) -> None:
        # By the processor's time: waiting for a slow watcher, or for other programs, asks for no rest.
        self._ended = trio.current_time()
        self._rest_time = min(_REST * (time.thread_time() - started), _LONGEST_REST)

    def _tell(self, watcher: "Watcher") -> None:
        """Send a watcher what it lacks; have its task do it if that has to wait for something."""
        if not watcher.waits or watcher.position == self._log.position:
            return
        framed = self.increment(watcher.position)
        if framed is not None and watcher.call.offer(framed.data, framed.count):
            watcher.position = self._log.position
        else:
            watcher.waits.wake()

    def _are_told(self) -> bool:
        busy = sum(not watcher.waits for watcher in self._watchers)
        return busy <= len(self._watchers) * (1 - _MOST)

    async def _rest(self) -> None:
        """Leave the processor to others: a quarter of the rest, and all of it while changes keep coming."""
        longest, end = self._rest_time, self._ended + self._rest_time
        await trio.sleep_until(end - longest * 3 / 4)
        position = -1
        while position != self._log.position and trio.current_time() < end:
            position = self._log.position
            await trio.sleep_until(min(end, trio.current_time() + min(_LULL, longest / 4)))

    # For watchers.

    def watch(self, call: Call) -> "Watcher":
        """Record changes, and have them sent to a watcher when it waits for them, until it is to `leave`."""
        watcher = Watcher(call, self._log.position)
        self._watchers[watcher] = None
        return watcher

    def leave(self, watcher: "Watcher") -> None:
        """A watcher is over."""
        del self._watchers[watcher]
        if not self._watchers:
            self._log.clear()

    async def wait_beyond(self, watcher: "Watcher") -> None:
        """Wait for changes that could not be sent to the watcher at once. Always a checkpoint.

        Changes that nobody was told yet are those of the next beat: if each watcher that has caught up sent them by
        itself, all would send each single change, and leave no time in which more of them could come.
        """
        await trio.lowlevel.checkpoint()
        while watcher.position >= self._told:
            await watcher.waits.wait()

    def snapshot(self) -> Framed:
        """The one message with all affiliates."""
        if self._snapshot is None:
            self._snapshot = Framed(frame(b"".join(map(self._entry, self.affiliates))), 1)
        return self._snapshot

    def increment(self, position: int) -> Framed | None:
        """The changes since a position; None if some were dropped."""
        framed = self._increments.get(position)
        if framed is None:
            changes = self._log.since(position)
            if changes is None:
                return None
            messages = [frame(message) for message in _join(map(self._entry, changes.changed))]
            if changes.gone:
                entries = (wire.Affiliate(id=id) for id in changes.gone)
                messages.append(frame(wire.WatchResponse(affiliates=entries, deleted=True).SerializeToString()))
            framed = self._increments[position] = Framed(b"".join(messages), len(messages))
        return framed

    def _entry(self, id: str) -> bytes:
        entry = self._entries.get(id)
        if entry is None:
            entry = self._entries[id] = encode_entry(self.affiliates[id])
        return entry


def _join(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Entries as messages of bounded size."""
    pending: list[bytes] = []
    size = 0
    for entry in entries:
        if pending and size + len(entry) > _MAX_INCREMENT:
            yield b"".join(pending)
            pending, size = [], 0
        pending.append(entry)
        size += len(entry)
    if pending:
        yield b"".join(pending)


class Clusters:
    """All clusters of a state, updated by its changes until `close` is called.

    A state that others may write, too, is checked: what breaks the rules is ignored.
    """

    def __init__(self, state: State, nursery: trio.Nursery, *, checked: bool = False) -> None:
        self._nursery = nursery
        self._clusters: dict[str, Cluster] = {}
        view = state.view(Affiliate)
        see = self._see_checked if checked else self._see
        for resource in view.list():
            see(resource, None, destroyed=False)
        # Ends the updates.
        self.close = view.subscribe(see)

    def _see_checked(self, resource: Resource[Any], _before: Resource[Any] | None, destroyed: bool) -> None:
        if is_sound(resource):
            self._see(resource, None, destroyed)
            return
        cluster_id, id = address_of(resource.id)
        cluster = self._clusters.get(cluster_id)
        if cluster is not None and id in cluster.affiliates:
            cluster.remove(id)

    def _see(self, resource: Resource[Any], _before: Resource[Any] | None, destroyed: bool) -> None:
        spec: AffiliateSpec = resource.spec
        if destroyed:
            self.mention(spec.cluster).remove(spec.affiliate)
        else:
            self.mention(spec.cluster).put(spec)

    def mention(self, id: str) -> Cluster:
        """The cluster, created if missing."""
        cluster = self._clusters.get(id)
        if cluster is None:
            cluster = self._clusters[id] = Cluster(self._nursery)
        return cluster

    def find(self, id: str) -> Cluster | None:
        """The cluster, None if unknown."""
        return self._clusters.get(id)

    def items(self) -> tuple[tuple[str, Cluster], ...]:
        """All clusters with their ids."""
        return tuple(self._clusters.items())

    def drop_unused(self) -> int:
        """Drop the clusters without affiliates and watchers; returns their number."""
        unused = [id for id, cluster in self._clusters.items() if not cluster.affiliates and not cluster.watchers]
        for id in unused:
            del self._clusters[id]
        return len(unused)

"""Spreads the changes of a kind over the calls that watch it, by one task for all of them.

A task of its own for each watch would be woken for each change, and then the task that writes to its connection: that
is most of what a change costs when many watch it. Here one of them, the leader, waits for changes and sends each call
what is new, at once, where the call can take it without waiting. Only what it cannot take is left to its own task,
which waits as long as the client does. The leader is whoever comes first; when it leaves, another one takes over.
"""

from collections.abc import Callable

import trio

from nodespan.runtime.api.grpc import Call
from nodespan.runtime.state.collection import Collection
from nodespan.runtime.state.events import Event
from nodespan.runtime.state.watching import AggregatedWatch

# So many calls are served before others run.
_AT_ONCE = 32
# The message of a batch, None if it is not to be sent at once.
Framed = Callable[[list[Event]], bytes | None]


class Member:
    """A call that watches. `batch` is what was left to its own task."""

    __slots__ = ("batch", "call", "framed", "lot", "watch")

    def __init__(self, call: Call, watch: AggregatedWatch, framed: Framed) -> None:
        self.call = call
        self.watch = watch
        self.framed = framed
        self.batch: list[Event] | None = None
        self.lot = trio.lowlevel.ParkingLot()


class FanOut:
    """The calls that watch one collection and are waiting for changes."""

    def __init__(self) -> None:
        # All of them, also those that are sending.
        self.members = 0
        self._waiting: dict[Member, None] = {}
        self._leader: Member | None = None

    async def next(self, member: Member) -> list[Event]:
        """Wait for a batch that its own task has to send. What could be sent at once was sent meanwhile."""
        await trio.lowlevel.checkpoint()
        # What came while it was sending, or the contents at the start.
        if batch := member.watch.take():
            return batch
        self._waiting[member] = None
        try:
            while (batch := member.batch or []) == []:
                if self._leader is None:
                    await self._lead(member)
                else:
                    await member.lot.park()
            member.batch = None
            return batch
        finally:
            del self._waiting[member]
            if self._leader is None:
                self._pass_on()

    async def _lead(self, member: Member) -> None:
        self._leader = member
        try:
            while True:
                # The leader before may have left in the middle.
                await self._spread()
                if member.batch is not None:
                    return
                await member.watch.until_pending()
        finally:
            self._leader = None

    def _pass_on(self) -> None:
        """Have another one lead. One that is leaving, too, comes by here itself."""
        for other in self._waiting:
            if other.batch is None:
                other.lot.unpark()
                return

    async def _spread(self) -> None:
        for number, member in enumerate(tuple(self._waiting), 1):
            if member in self._waiting and member.batch is None and (batch := member.watch.take()):
                data = member.framed(batch)
                if data is None or not member.call.offer(data, len(batch)):
                    member.batch = batch
                    member.lot.unpark()
            if number % _AT_ONCE == 0:
                await trio.lowlevel.checkpoint()


class FanOuts:
    """By collection, for as long as somebody watches it."""

    def __init__(self) -> None:
        self._by_collection: dict[Collection, FanOut] = {}

    @property
    def count(self) -> int:
        """How many collections are watched."""
        return len(self._by_collection)

    def join(self, member: Member) -> FanOut:
        """The one of the member's collection."""
        fan_out = self._by_collection.setdefault(member.watch.collection, FanOut())
        fan_out.members += 1
        return fan_out

    def leave(self, member: Member) -> None:
        """The member watches no more."""
        fan_out = self._by_collection[member.watch.collection]
        fan_out.members -= 1
        if not fan_out.members:
            del self._by_collection[member.watch.collection]

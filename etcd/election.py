"""Elections, in etcd's own layout: the same for this client, for etcd's Go library, and for `etcdctl elect`.

Theory. Each candidate has one key, the election's prefix followed by the id of its lease in hexadecimal; it is bound to
the lease, and its value is the candidate's name. The keys are a queue in the order of their creation, and the first
leads. A candidate therefore waits for the deletion of the key right before its own, and looks again then: the one in
front may have given up without having led. No candidate is woken in vain, and none is overtaken.

Leading is not owning: the lease's keeper decides that, by its clock.

A candidate does not trust its election before its key has stood in the queue for nearly the TTL. The successor of
another leader has waited for longer anyway. The time is for an etcd that was restored from an old snapshot: it may not
know the current owner, and a queue that looks empty is not. By then every such owner has given up by its own clock, if
its TTL is not longer.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from nodespan.etcd.client import EtcdClient
from nodespan.etcd.errors import CompactedError, HistoryError, LeaseGoneError, NotLeaderError, UnavailableError
from nodespan.etcd.lease_clock import settling_time
from nodespan.etcd.lease_keeper import LeaseKeeper
from nodespan.etcd.values import Compare, Delete, EventKind, Get, KeyValue, Put, RangeAnswer, Sort, TxnAnswer

Answered = TypeVar("Answered")

_PAUSE = 0.2
# The queue is read again after so many seconds also without an event: a lost event costs no more than this.
_READ_AGAIN = 10.0


@attrs.frozen(kw_only=True)
class LeaderRecord:
    """A candidate's key; the leader's is the one with the lowest create revision."""

    key: str
    value: str
    create_revision: int
    lease: int

    @classmethod
    def of(cls, found: KeyValue) -> "LeaderRecord":
        """Read it from the key. Bytes that are not UTF-8 are kept as escapes."""
        key, value = (text.decode(errors="backslashreplace") for text in (found.key, found.value))
        return cls(key=key, value=value, create_revision=found.create_revision, lease=found.lease)


@attrs.frozen
class Leadership:
    """An election won by one candidate. It ends with its key; `confirm` checks that."""

    client: EtcdClient
    key: str
    create_revision: int

    async def confirm(self) -> None:
        """Check with a majority that the key still stands. Raises NotLeaderError, UnavailableError."""
        key = self.key.encode()
        if not (await self.client.txn(compare=[Compare.created(key, self.create_revision)], repeat=True)).succeeded:
            raise NotLeaderError(f"the key {self.key} is gone")


class Election:
    """One candidate, with a lease of its own that the keeper keeps. To be used by one task at a time.

    `prefix` names the election and ends with a slash; `value` identifies the candidate. `settle`: how long its key
    must stand before the election is trusted, in seconds; `settling_time` of the lease's TTL if not given.
    """

    def __init__(
        self, client: EtcdClient, keeper: LeaseKeeper, *, prefix: str, value: str, settle: float | None = None
    ) -> None:
        self.key = f"{prefix}{keeper.lease.hex}"
        self._name = self.key.encode()
        self._client = client
        self._keeper = keeper
        self._prefix = prefix
        self._value = value
        self._settle = settling_time(keeper.lease.ttl) if settle is None else settle
        self._own: KeyValue | None = None

    async def campaign(self) -> Leadership:
        """Wait until this candidate leads. Outages of etcd are waited for.

        Raises LeaseGoneError once the lease or the key is lost. Cancelled, the candidate stays in the queue until it
        resigns or its lease ends; another campaign continues from its place.
        """
        async with self._keeper.while_not_lost():
            own = self._own = await _patiently(self._stand)
            self._keeper.guard(own.key, own.create_revision)
            settled = trio.current_time() + self._settle
            await self._until_first(own)
            if trio.current_time() < settled:
                await trio.sleep_until(settled)
                await self._until_first(own)
            leadership = Leadership(self._client, self.key, own.create_revision)
            try:
                await _patiently(leadership.confirm)
            except NotLeaderError:
                # The keeper guards the same key, and knows the reason.
                raise LeaseGoneError(await self._keeper.wait_lost()) from None
            self._keeper.guard(own.key, own.create_revision, oldest_of=self._prefix.encode())
            return leadership

    async def proclaim(self, value: str) -> None:
        """Change the value of this candidate. Raises NotLeaderError if its key is gone, UnavailableError."""
        while True:
            own = self._own
            if own is None:
                raise NotLeaderError("a candidate that does not stand has no value to change")
            answer = await self._client.txn(
                compare=[Compare.created(own.key, own.create_revision), Compare.modified(own.key, own.mod_revision)],
                success=[Put(key=own.key, value=value.encode(), lease=own.lease), Get(key=own.key)],
                failure=[Get(key=own.key)],
                repeat=True,
            )
            found = _found(answer)
            if found is None or found.create_revision != own.create_revision:
                raise NotLeaderError(f"the key {self.key} is gone")
            self._own = found
            if found.value == value.encode():
                return

    async def resign(self) -> bool:
        """Leave the queue, and return whether the key was still in it. Raises UnavailableError.

        The next candidate acts at once: give up what the election guards before. The lease stays.
        """
        own, self._own = self._own, None
        if own is None:
            return False
        self._keeper.unguard()
        answer = await self._client.txn(
            compare=[Compare.created(own.key, own.create_revision)], success=[Delete(key=own.key)], repeat=True
        )
        return answer.succeeded

    async def leader(self) -> LeaderRecord | None:
        """The leader, None for none. Raises UnavailableError."""
        return (await _first(self._client, self._prefix))[0]

    async def candidates(self) -> tuple[LeaderRecord, ...]:
        """The queue, the leader first. Raises UnavailableError."""
        found = await self._client.range(self._prefix.encode(), prefix=True, sort=Sort.CREATED_ASCENDING)
        return tuple(map(LeaderRecord.of, found.key_values))

    async def _stand(self) -> KeyValue:
        put = Put(key=self._name, value=self._value.encode(), lease=self._keeper.lease.id)
        get = Get(key=self._name)
        compare = [Compare.created(self._name, 0)]
        found = _found(await self._client.txn(compare=compare, success=[put, get], failure=[get], repeat=True))
        if found is None:
            raise NotLeaderError(f"the key {self.key} is gone")
        return found

    async def _until_first(self, own: KeyValue) -> None:
        while (before := await _patiently(lambda: self._before(own))).key_values:
            await _until_deleted(self._client, before.key_values[0].key, before.header.revision)

    async def _before(self, own: KeyValue) -> RangeAnswer:
        return await self._client.range(
            self._prefix.encode(),
            prefix=True,
            sort=Sort.CREATED_DESCENDING,
            limit=1,
            max_create_revision=own.create_revision - 1,
            keys_only=True,
        )


class Observation:
    """The leader of an election, None for none: the current one first, then each new one.

    To be iterated by one task; one that leads only between two looks may be left out. Raises UnavailableError when no
    member answers; iterating it again continues.
    """

    def __init__(self, client: EtcdClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._revision: int | None = None
        self._leader: LeaderRecord | None = None

    def __aiter__(self) -> AsyncIterator[LeaderRecord | None]:
        return self

    async def __anext__(self) -> LeaderRecord | None:
        while True:
            is_first = self._revision is None
            if self._revision is not None:
                await self._event_after(self._revision)
            leader, self._revision = await _first(self._client, self._prefix)
            if is_first or leader != self._leader:
                self._leader = leader
                return leader

    async def _event_after(self, revision: int) -> None:
        with trio.move_on_after(_READ_AGAIN), contextlib.suppress(CompactedError, HistoryError):
            async with self._client.watch(self._prefix.encode(), prefix=True, from_revision=revision + 1) as events:
                await anext(events)


def observe(client: EtcdClient, prefix: str) -> Observation:
    """Follow the leader of the election of this prefix."""
    return Observation(client, prefix)


async def _first(client: EtcdClient, prefix: str) -> tuple[LeaderRecord | None, int]:
    found = await client.range(prefix.encode(), prefix=True, sort=Sort.CREATED_ASCENDING, limit=1)
    return next(map(LeaderRecord.of, found.key_values), None), found.header.revision


async def _until_deleted(client: EtcdClient, key: bytes, revision: int) -> None:
    """Wait until a key is deleted, or until it is time to look again."""
    forgotten = contextlib.suppress(CompactedError, HistoryError, UnavailableError)
    with trio.move_on_after(_READ_AGAIN), forgotten:
        async with client.watch(key, from_revision=revision + 1) as events:
            async for event in events:
                if event.kind is EventKind.DELETE:
                    return


async def _patiently(ask: Callable[[], Awaitable[Answered]]) -> Answered:
    while True:
        try:
            return await ask()
        except UnavailableError:
            await trio.sleep(_PAUSE)


def _found(answer: TxnAnswer) -> KeyValue | None:
    last = answer.answers[-1]
    return last.key_values[0] if isinstance(last, RangeAnswer) and last.key_values else None

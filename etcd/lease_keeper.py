"""Keeps a lease alive, and knows at each moment whether its holder may act as its holder.

Theory of operation. A beat is a renewal and, after it, a linearizable read that confirms it
(`nodespan.etcd.lease_clock` has the reason). The read is of the key that is bound to the lease, so a deletion of the
key by another client is noticed within a beat too. The holder acts only while the lease is VALID:

    VALID      no confirmed renewal in time, by the holder's own clock              -> INVALID
    INVALID    a confirmed renewal                                                  -> VALID
    any        etcd reports that it is over, its key is gone, etcd was restored to another past, or the holder has
               given it up or abandoned it                                          -> LOST

`TRANSITIONS` is this table as data; each change of state is checked against it.

INVALID does not depend on what etcd thinks. A lease becomes valid again because etcd may have kept it all the time: a
new leader of etcd extends all leases, so after most outages they live on, with their keys, and the order of an election
does. LOST is final.
"""

import contextlib
import enum
import math
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import attrs
import trio

from nodespan.etcd.errors import EtcdError, HistoryError, LeaseGoneError, MemberFailedError
from nodespan.etcd.history import History
from nodespan.etcd.lease_clock import LeaseClock, beat_interval, valid_for
from nodespan.etcd.values import Lease, RangeAnswer, Renewal, Sort
from nodespan.runtime.background import background
from nodespan.runtime.process.boot_alarm import Until, waiting_on
from nodespan.runtime.process.boot_time import boot_time
from nodespan.runtime.ticks import due_by
from nodespan.runtime.transitions import Transitions, checked_transition

# Between two attempts while there is no confirmed renewal.
_PAUSE = 0.1
_ANY_KEY = b"\0"


class LeaseState(enum.StrEnum):
    """See the theory above."""

    VALID = "valid"
    INVALID = "invalid"
    LOST = "lost"


TRANSITIONS: Transitions[LeaseState] = {
    LeaseState.VALID: frozenset({LeaseState.INVALID, LeaseState.LOST}),
    LeaseState.INVALID: frozenset({LeaseState.VALID, LeaseState.LOST}),
    LeaseState.LOST: frozenset(),
}


class LeaseService(Protocol):
    """The part of etcd that keeping a lease needs; `EtcdClient` is one."""

    @property
    def timeout(self) -> float: ...
    async def grant(self, ttl: float) -> Lease: ...
    async def keepalive(self, lease: int, *, within: float | None = None) -> Renewal: ...
    async def revoke(self, lease: int, *, within: float | None = None) -> None: ...
    async def range(
        self,
        key: bytes,
        *,
        prefix: bool = False,
        sort: Sort | None = None,
        limit: int = 0,
        keys_only: bool = False,
        within: float | None = None,
    ) -> RangeAnswer: ...


@contextlib.asynccontextmanager
async def kept_lease(
    service: LeaseService,
    ttl: float,
    *,
    clock: Callable[[], float] = boot_time,
    until: Until | None = None,
    revoke_within: float = 3.0,
    probe: bytes = _ANY_KEY,
) -> AsyncIterator["LeaseKeeper"]:
    """Get a lease of about `ttl` seconds and keep it alive for as long as the block.

    While it guards no key, `probe` is the key that is read to confirm renewals, whether it exists or not: one that the
    user of the client may read.

    `until` waits until the clock shows a time; without it a clock other than `boot_time` is looked at now and then, ten
    times a second.

    At the block's end the lease is revoked, unless `abandon` was called, and with it its keys are deleted. Others that
    wait for that act at once: give up what the lease guards before. Revoking takes at most `revoke_within` seconds and
    cannot be cancelled; if it fails, the lease expires by itself, a TTL later.

    Raises what `grant` raises.
    """
    sent = clock()
    keeper = LeaseKeeper(service, await service.grant(ttl), clock, sent, probe)
    until = until or waiting_on(clock)
    try:
        async with background(keeper.run), background(lambda: keeper.expire(until)):
            yield keeper
    finally:
        with trio.CancelScope(shield=True):
            await keeper.revoke(revoke_within)


@attrs.frozen
class _Guarded:
    """The key that is bound to the lease, and the prefix of the keys of which it must be the oldest, None for none."""

    key: bytes
    create_revision: int
    oldest_of: bytes | None = None


class LeaseKeeper:
    """A lease that is kept alive; `kept_lease` makes it. Its clock is the one that `valid_until` is read on."""

    def __init__(
        self, service: LeaseService, lease: Lease, clock: Callable[[], float], sent: float, probe: bytes
    ) -> None:
        self.lease = lease
        self._probe = probe
        self._service = service
        self._clock = clock
        # Granting went through a majority: it needs no confirmation.
        self._deadline = LeaseClock().renewed(sent=sent, ttl=lease.ttl)
        self._history = History()
        self._guarded: _Guarded | None = None
        self._trouble = ""
        self._lost: str | None = None
        self._state = LeaseState.VALID
        self._is_abandoned = False
        # Replaced at each change.
        self._changed = trio.Event()

    @property
    def state(self) -> LeaseState:
        """The state at this moment, by the clock given."""
        state = LeaseState.VALID if self._clock() < self.valid_until else LeaseState.INVALID
        if self._lost is not None:
            state = LeaseState.LOST
        self._state = checked_transition(TRANSITIONS, self._state, state)
        return state

    @property
    def valid_until(self) -> float:
        """Until when the holder may act, on the clock given; minus infinity once the lease is lost."""
        return -math.inf if self._lost is not None else self._deadline.valid_until

    @property
    def is_valid(self) -> bool:
        """Whether the holder may act now."""
        return self.state is LeaseState.VALID

    @property
    def trouble(self) -> str:
        """Why the last beat failed, "" if it did not."""
        return self._trouble

    @property
    def lost(self) -> str | None:
        """Why the lease is lost, None while it is not."""
        return self._lost

    def guard(self, key: bytes, create_revision: int, *, oldest_of: bytes | None = None) -> None:
        """From now on the lease counts as lost when this key, created at this revision, is gone.

        And when it is not the oldest key of a prefix, if one is given. That does not happen while etcd's history goes
        on; but in one that was restored from a snapshot, a candidate may be first that had resigned since.
        """
        self._guarded = _Guarded(key, create_revision, oldest_of)

    def unguard(self) -> None:
        """From now on the lease does not depend on a key."""
        self._guarded = None

    async def wait_valid(self) -> None:
        """Wait until the holder may act. Raises LeaseGoneError once the lease is lost."""
        while not self.is_valid:
            await self._wait_changed()

    async def wait_renewed(self) -> None:
        """Wait until `valid_until` changes. Raises LeaseGoneError once the lease is lost."""
        before = self.valid_until
        while self.valid_until == before:
            await self._wait_changed()

    async def wait_invalid(self) -> str:
        """Wait until the holder may not act any more, and return the reason; it may be allowed to again later."""
        while self.is_valid:
            await self._changed.wait()
        if self._lost is not None:
            return self._lost
        return f"the lease was not renewed in time: {self._trouble or 'this process was stopped for too long'}"

    async def wait_lost(self) -> str:
        """Wait until the lease is lost, and return the reason."""
        while self._lost is None:
            await self._changed.wait()
        return self._lost

    @contextlib.asynccontextmanager
    async def while_not_lost(self) -> AsyncIterator[None]:
        """Run a block until it ends, or until the lease is lost: then it is cancelled, and LeaseGoneError raised."""
        with trio.CancelScope() as scope:

            async def end() -> None:
                await self.wait_lost()
                scope.cancel()

            async with background(end):
                yield
        if scope.cancelled_caught:
            raise LeaseGoneError(self._lost or "")

    def abandon(self) -> None:
        """Stop renewing the lease, and let it expire instead of revoking it at the block's end; it is lost at once.

        For when it is not certain that what the lease guards was given up: no other may get it before it expires.
        """
        self._is_abandoned = True
        self._lose("the lease was abandoned, to expire at etcd")

    async def run(self) -> None:
        """Renew the lease until it is lost."""
        interval = beat_interval(self.lease.ttl)
        while self._lost is None:
            # Never later than the interval from now, however the beats of other tasks fall.
            due = due_by(interval)
            try:
                await self._beat()
            except (LeaseGoneError, HistoryError) as error:
                self._trouble = str(error)
                self._lose(str(error))
            except EtcdError as error:
                self._trouble = str(error)
                await trio.sleep(_PAUSE)
            else:
                self._trouble = ""
                self._notify()
                await trio.sleep_until(due)

    async def expire(self, until: Until) -> None:
        """Notify those who wait when the holder may not act any more, until the lease is lost.

        The deadline is looked at when the one known before has come: renewals cost no waking.
        """
        while self.lost is None:
            await until(self.valid_until)
            if not self.is_valid:
                self._notify()
            while self.state is LeaseState.INVALID:
                await self._changed.wait()

    async def revoke(self, within: float) -> None:
        """Give the lease up, trying for some seconds to revoke it; `trouble` is why that failed, if it did."""
        self._lose("the lease was given up")
        if self._is_abandoned:
            return
        try:
            await self._service.revoke(self.lease.id, within=within)
        except EtcdError as error:
            self._trouble = str(error)

    async def _beat(self) -> None:
        # Leaves time for a second attempt within the life of the lease, also of a short one.
        within = min(self._service.timeout, valid_for(self.lease.ttl) / 2)
        sent = self._clock()
        renewal = await self._service.keepalive(self.lease.id, within=within)
        guarded = self._guarded
        seen = await self._look(guarded, within)
        self._history = self._history.of_cluster(renewal.header).followed_by(seen.header)
        if renewal.header.raft_term != seen.header.raft_term:
            raise MemberFailedError("the lease was renewed by a member that the majority does not follow")
        if guarded is self._guarded and guarded and not _stands(guarded, seen):
            raise LeaseGoneError(
                "its key at etcd was deleted by another client"
                if guarded.oldest_of is None
                else "at etcd this candidate is not the first any more: its key was deleted, or etcd was restored"
            )
        self._deadline = self._deadline.renewed(sent=sent, ttl=renewal.ttl)

    async def _look(self, guarded: _Guarded | None, within: float) -> RangeAnswer:
        if guarded is None or guarded.oldest_of is None:
            key = guarded.key if guarded else self._probe
            return await self._service.range(key, limit=1, keys_only=True, within=within)
        return await self._service.range(
            guarded.oldest_of, prefix=True, sort=Sort.CREATED_ASCENDING, limit=1, keys_only=True, within=within
        )

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait_changed(self) -> None:
        if self._lost is not None:
            raise LeaseGoneError(self._lost)
        await self._changed.wait()


def _stands(guarded: _Guarded, seen: RangeAnswer) -> bool:
    return any(
        (found.key, found.create_revision) == (guarded.key, guarded.create_revision) for found in seen.key_values
    )

"""A state that many processes share: resources at etcd, read from a local view that one watch keeps current.

Theory of operation. Each resource is a key; its value is the stored form of the resource, its version the number of
times that etcd has written the key. A write is one transaction: it holds only if the key was last changed at the
revision that the view shows. So of several writers of a version one succeeds, and no write is based on a stale read.

The view is filled by a read of all keys, as of one revision, and kept current by one watch from there on: what others
wrote and what this process wrote is reported in the order in which etcd committed it. A write returns when the view
shows it, so a writer reads its own writes. A refusal is raised only when the view shows its reason, so a caller that
reads again and retries makes progress. Tasks of one process that update one resource take turns, but for those of a
lease.

Each write has a token of its own in the value. A transaction whose answer was lost may be repeated: the token shows
if it fails because the first one had succeeded.

While etcd cannot be reached, the view stays as it is, and `outage` has since when; writes wait for as long as they are
allowed to. Afterwards the watch continues where it ended. If etcd has compacted what came in between, or was restored
from a snapshot, all is read again, and the differences are reported as changes.
"""

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import structlog
import trio

from nodespan.etcd.client import EtcdClient
from nodespan.etcd.errors import EtcdError, LeaseGoneError, RefusedError
from nodespan.etcd.errors import UnavailableError as EtcdUnavailableError
from nodespan.etcd.feed import Feed
from nodespan.etcd.keys import key_of, root_of
from nodespan.etcd.lease_keeper import kept_lease
from nodespan.etcd.marks import EtcdCollection
from nodespan.etcd.stored_value import TOKEN_SIZE, ValueCodec, token_of
from nodespan.etcd.tls_files import TLSFiles
from nodespan.etcd.values import Compare, Delete, Get, KeyValue, Operation, Put, RangeAnswer, TxnAnswer
from nodespan.runtime.background import background
from nodespan.runtime.controller import Logger
from nodespan.runtime.errors import ConflictError, StateError, UnavailableError
from nodespan.runtime.resource import (
    KindLike,
    Phase,
    Pointer,
    Resource,
    ResourceType,
    kind_of,
)
from nodespan.runtime.state import rules
from nodespan.runtime.state.base import ExpectedPhase, Mutate, Outage, proposed
from nodespan.runtime.state.collection import COOKIE_SIZE, Collections, History
from nodespan.runtime.state.sealing import Seal, SealError, credential_key, load_key
from nodespan.runtime.state.viewed import ViewedState

S = TypeVar("S")

PREFIX = "/nodespan"
PATIENCE = 5.0
_PAUSE = 0.1
_RESOURCE_EXHAUSTED = 8
# A full etcd is not tried again at once.
_FULL_PAUSE = 1.0
# So long a transaction that is not to be sent twice waits for its member; in seconds.
_ONCE = 2.0
_NOT_WRITTEN = "nothing was written"
_MAYBE_WRITTEN = "it may have been written all the same"
_NOT_SHOWN = "it was written, but is not shown yet"


@contextlib.asynccontextmanager
async def open_etcd(
    client: EtcdClient,
    *,
    types: Iterable[ResourceType[Any]] = (),
    prefix: str = PREFIX,
    patience: float = PATIENCE,
    key: Path | None = None,
    history: History | None = None,
    now: Callable[[], int] = time.time_ns,
    log: Logger | None = None,
) -> AsyncIterator["EtcdState"]:
    """The state below this prefix of keys, kept current for as long as the block. The client must be open.

    It is usable at once, and empty until it has been read: wait for `until_available`. A write waits through an outage
    for at most `patience` seconds and then raises UnavailableError; with 0 it does not wait while an outage is known.
    `key` is the file of the key that seals sensitive types, the same for all processes: by default systemd's
    credential `nodespan-state.key`. Without one, resources of these types can be neither read nor written.

    Raises ValueError for a bad prefix.
    """
    state = EtcdState(
        client, prefix=prefix, patience=patience, key=key, history=history or History.of(), now=now, log=log
    )
    state.learn(types)
    async with background(state.run):
        try:
            yield state
        finally:
            state.close()


class EtcdState(ViewedState):
    """Resources at etcd, shared by all processes that use the same prefix. `open_etcd` makes one.

    Beyond the errors of every state, writes raise UnavailableError while etcd cannot be reached or is full; its text
    says if the write may have been committed all the same. `destroy` also raises ConflictError if the resource was
    changed by another process at the same moment: what is destroyed is what the caller could have seen.
    """

    def __init__(
        self,
        client: EtcdClient,
        *,
        prefix: str,
        patience: float,
        key: Path | None,
        history: History,
        now: Callable[[], int],
        log: Logger | None,
    ) -> None:
        cookie = secrets.token_bytes(COOKIE_SIZE)
        super().__init__(Collections(lambda kind: EtcdCollection(kind, history, cookie, self._complete)))
        self._client = client
        self._root = root_of(prefix)
        self._patience = patience
        self._now = now
        self._key_path = key or credential_key()
        self._cached_seal: Seal | None = None
        self._codec = ValueCodec(self._seal)
        # What this process is writing, by token: it need not be decoded when it comes back.
        self._written: dict[bytes, _Written] = {}
        self._waiting: set[trio.CancelScope] = set()
        # Of the resources that tasks of this process are changing.
        self._turns: dict[Pointer[Any], trio.Lock] = {}
        self._feed = Feed(
            client, self._root, self._collections, self._decode, structlog.get_logger() if log is None else log
        )

    def _complete(self) -> int:
        return self._feed.complete_revision

    def close(self) -> None:
        """End the writes that are under way, and refuse later ones, by UnavailableError. The view stays as it is."""
        self._feed.close()
        for scope in self._waiting:
            scope.cancel()

    async def run(self) -> None:
        """Keep the view current, until cancelled."""
        await self._feed.run()

    @property
    def collections(self) -> Collections:
        """The collections that readers see, for a state that shares them."""
        return self._collections

    @property
    def unreadable(self) -> dict[Pointer[Any], str]:
        """The resources whose value at etcd cannot be read, and why."""
        return dict(self._feed.unreadable)

    def outage(self, namespace: str) -> Outage | None:
        del namespace  # all of them are at one etcd
        return self._feed.outage

    async def until_available(self, namespace: str = "") -> None:
        del namespace
        await self._feed.until_available()

    @contextlib.asynccontextmanager
    async def leased(self, ttl: float) -> AsyncIterator["LeasedState"]:
        """The same state, for resources that must not outlive their writer: what is written by it is bound to a lease.

        When the block ends these resources are destroyed, whatever finalizers they have, as they are about `ttl`
        seconds after this process was lost. If the lease is lost, the block is cancelled and UnavailableError raised.
        """
        try:
            async with kept_lease(self._client, ttl, probe=self._root) as keeper, keeper.while_not_lost():
                yield LeasedState(self, keeper.lease.id)
        except EtcdError as error:
            raise UnavailableError(str(error)) from None

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:
        for type in types:
            self._codec.learn(type)
            self._feed.learned(type.name)

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        return await self.create_leased(resource, owner, lease=0)

    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        return await self.update_leased(resource, owner, expected_phase, lease=None)

    async def create_leased(self, resource: Resource[S], owner: str, *, lease: int) -> Resource[S]:
        """Create a resource, bound to a lease, or with 0 to none."""
        new = rules.created(None, resource, owner, self._now())
        key = key_of(self._root, new.pointer)
        async with self._patient(new.pointer) as attempt:
            if await self._put(attempt, key, 0, new, lease):
                return new
            self._check_readable(new.pointer)
            raise rules.already_exists(resource.metadata)

    async def update_leased(
        self, resource: Resource[S], owner: str, expected_phase: ExpectedPhase, *, lease: int | None
    ) -> Resource[S]:
        """Update a resource, and bind it to a lease; with None it stays bound to the one it is bound to."""
        pointer = resource.pointer
        key = key_of(self._root, pointer)
        async with self._patient(pointer) as attempt:
            while True:
                self._check_readable(pointer)
                entry = self._feed.entries.get(key)
                try:
                    new = rules.updated(
                        self.find(resource.kind, resource.id), resource, owner, expected_phase, self._now()
                    )
                except StateError:
                    if await self._is_current(key):
                        raise
                    continue
                assert entry is not None
                if await self._put(attempt, key, entry.mod_revision, new, entry.lease if lease is None else lease):
                    return new

    async def update_with_conflicts(
        self,
        kind: KindLike[S],
        id: str,
        mutate: Mutate[S],
        *,
        owner: str = "",
        expected_phase: ExpectedPhase = Phase.RUNNING,
    ) -> Resource[S]:
        pointer = kind_of(kind).pointer(id)
        if pointer in self._turns:
            # What has nothing to write, or may not, waits for nobody.
            current = self.get(kind, id)
            if proposed(current, mutate, expected_phase) is current:
                return current
        async with self._turn(pointer):
            return await super().update_with_conflicts(kind, id, mutate, owner=owner, expected_phase=expected_phase)

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        pointer = kind_of(kind).pointer(id)
        key = key_of(self._root, pointer)
        async with self._patient(pointer) as attempt:
            while True:
                self._check_readable(pointer)
                revision = self._feed.mod_revision(key)
                try:
                    rules.check_destroy(self.find(pointer.kind, id), pointer.kind, id, owner)
                except StateError:
                    if await self._is_current(key):
                        raise
                    continue
                break
            answer = await self._commit(attempt, key, revision, Delete(key=key), once=True)
            if answer.succeeded:
                attempt.outcome = _NOT_SHOWN
                self._feed.written(key, None, answer.header.revision)
                await self._feed.until_revision(answer.header.revision)
            else:
                found = _found(answer)
                await self._until_shown(key, revision, found)
                if found is None:
                    if not attempt.was_repeated:
                        rules.check_destroy(None, pointer.kind, id, owner)
                    # Another destroyed it at the same moment, or this call did when it was sent the first time.
                    return
                message = f"resource {pointer} was changed by another process while it was to be destroyed"
                raise ConflictError(message, namespace=pointer.namespace, type=pointer.type)

    # How a write goes.

    @contextlib.asynccontextmanager
    async def _turn(self, pointer: Pointer[Any]) -> AsyncIterator[None]:
        """Wait until no other task changes the resource, for as long as a write may: then UnavailableError.

        The write itself has its time after that.

        All at once would fail each other: of a hundred tasks one succeeds, and the others send their transaction again.
        """
        lock = self._turns.setdefault(pointer, trio.Lock())
        try:
            if lock.locked():
                async with self._patient(pointer, late="other tasks of this process write it all the time"):
                    await lock.acquire()
            else:
                lock.acquire_nowait()
            try:
                yield
            finally:
                lock.release()
        finally:
            if not lock.locked():
                self._turns.pop(pointer, None)

    @contextlib.asynccontextmanager
    async def _patient(self, pointer: Pointer[Any], *, late: str = "no answer in time") -> AsyncIterator["_Attempt"]:
        """End what waits in the block when its time is over, with UnavailableError."""
        attempt = _Attempt()
        outage = self._feed.outage
        if outage is not None and (self._feed.is_closed or not self._patience):
            raise _unavailable(pointer, outage.reason, attempt)
        with trio.move_on_after(max(self._patience, self._client.timeout)) as scope:
            self._waiting.add(scope)
            try:
                yield attempt
            except LeaseGoneError as error:
                raise _unavailable(pointer, str(error), attempt) from None
            except RefusedError as error:
                attempt.outcome = _NOT_WRITTEN
                if error.code != _RESOURCE_EXHAUSTED:
                    message = f"resource {pointer} cannot be written: {error}"
                    raise StateError(message, namespace=pointer.namespace, type=pointer.type) from None
                self._feed.refused(str(error), _FULL_PAUSE)
                raise _unavailable(pointer, str(error), attempt) from None
            finally:
                self._waiting.discard(scope)
        if scope.cancelled_caught:
            outage = self._feed.outage
            raise _unavailable(pointer, outage.reason if outage is not None else late, attempt)

    def _check_readable(self, pointer: Pointer[Any]) -> None:
        reason = self._feed.unreadable.get(pointer)
        if reason is not None:
            message = f"resource {pointer} at etcd cannot be read, so it cannot be changed: {reason}"
            raise StateError(message, namespace=pointer.namespace, type=pointer.type)

    async def _put(self, attempt: "_Attempt", key: bytes, revision: int, new: Resource[Any], lease: int) -> bool:
        """Write a key that was last changed at this revision; if it was not, wait until the view shows that."""
        token = secrets.token_hex(TOKEN_SIZE // 2).encode()
        value = self._codec.encode(new, token)
        written = self._written[token] = _Written(new)
        try:
            answer = await self._commit(attempt, key, revision, Put(key=key, value=value, lease=lease))
            if answer.succeeded:
                attempt.outcome = _NOT_SHOWN
                revision = answer.header.revision
                before = self._feed.entries.get(key)
                self._feed.written(
                    key,
                    KeyValue(
                        key=key,
                        value=value,
                        create_revision=revision if before is None else before.create_revision,
                        mod_revision=revision,
                        version=new.metadata.version or 0,
                        lease=lease,
                    ),
                    revision,
                )
                await self._feed.until_revision(revision)
                return True
            await self._until_shown(key, revision, _found(answer))
            # It is ours if this transaction was sent before: whose first answer was lost.
            return written.is_shown
        finally:
            del self._written[token]

    async def _commit(
        self, attempt: "_Attempt", key: bytes, revision: int, operation: Operation, *, once: bool = False
    ) -> TxnAnswer:
        """Do this if the key was last changed at the revision, else read it; through outages.

        With `once` it is sent a second time only after the answer to the first was lost, for a transaction whose own
        success cannot be told from another's afterwards.
        """
        while True:
            attempt.outcome = _MAYBE_WRITTEN
            # A create that is sent twice would hold again after a destruction in between.
            repeat = revision != 0 and (attempt.was_repeated or not once)
            attempt.was_repeated |= repeat
            try:
                answer = await self._client.txn(
                    compare=[Compare.modified(key, revision)],
                    success=[operation],
                    failure=[Get(key=key)],
                    repeat=repeat,
                    within=_ONCE if once and not repeat else None,
                )
            except EtcdUnavailableError as error:
                attempt.was_repeated |= error.maybe_applied
                await trio.sleep(_PAUSE)
            else:
                attempt.outcome = _NOT_WRITTEN
                return answer

    async def _is_current(self, key: bytes) -> bool:
        """Whether the view shows this key as it is at etcd; if not, wait until the view has changed."""
        revision = self._feed.mod_revision(key)
        while True:
            try:
                answer = await self._client.range(key)
            except EtcdUnavailableError:
                await trio.sleep(_PAUSE)
            else:
                break
        found = answer.key_values[0] if answer.key_values else None
        if revision == (0 if found is None else found.mod_revision):
            return True
        await self._until_shown(key, revision, found)
        return False

    async def _until_shown(self, key: bytes, revision: int, found: KeyValue | None) -> None:
        """Wait until the view shows what was found instead of a key of this revision."""
        if found is None:
            await self._feed.until_changed(key, revision)
        else:
            await self._feed.until_revision(found.mod_revision)

    def _seal(self) -> Seal:
        """The seal of secrets. Raises SealError, OSError."""
        if self._cached_seal is None:
            if self._key_path is None:
                raise SealError("it is a secret, and this state was opened without a key")
            self._cached_seal = Seal(load_key(self._key_path))
        return self._cached_seal

    def _decode(self, pointer: Pointer[Any], key_value: KeyValue) -> Resource[Any]:
        written = self._written.get(token_of(key_value.value))
        if written is None or written.resource.pointer != pointer:
            return self._codec.decode(pointer, key_value.version, key_value.value)
        written.is_shown = True
        return written.resource


class LeasedState(ViewedState):
    """The state of a lease's holder: what it writes is bound to the lease. `EtcdState.leased` makes one."""

    def __init__(self, state: EtcdState, lease: int) -> None:
        super().__init__(state.collections)
        self._state = state
        self._lease = lease

    def outage(self, namespace: str) -> Outage | None:
        return self._state.outage(namespace)

    async def until_available(self, namespace: str) -> None:
        await self._state.until_available(namespace)

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        return await self._state.create_leased(resource, owner, lease=self._lease)

    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        return await self._state.update_leased(resource, owner, expected_phase, lease=self._lease)

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        await self._state.destroy(kind, id, owner=owner)


@attrs.define
class _Attempt:
    """What is known of a write: for its error, and whether its transaction may have been sent more than once."""

    outcome: str = _NOT_WRITTEN
    was_repeated: bool = False


@attrs.define
class _Written:
    """What this process writes, and whether it came back."""

    resource: Resource[Any]
    is_shown: bool = False


def _unavailable(pointer: Pointer[Any], reason: str, attempt: _Attempt) -> UnavailableError:
    message = f"resource {pointer} cannot be written at etcd: {reason}; {attempt.outcome}"
    return UnavailableError(message, namespace=pointer.namespace, type=pointer.type)


def _found(answer: TxnAnswer) -> KeyValue | None:
    (read,) = answer.answers
    assert isinstance(read, RangeAnswer)
    return read.key_values[0] if read.key_values else None


__all__ = [
    "EtcdClient",
    "EtcdState",
    "LeasedState",
    "TLSFiles",
    "open_etcd",
]

"""The reading half of a state on etcd: one watch that keeps the local collections current, and knows how current.

Theory of operation. `Feed.run` reads all keys as of one revision, then follows one watch from there on. When the watch
fails it begins again where it ended; when that part of the history is gone (compacted, or etcd was restored), it reads
all keys again and reports what differs. A key whose value cannot be read is named in `unreadable`, and is otherwise
as if it had not been written: a resource that was read before stays as it was.

A write of this process may be shown from its own answer, before its event has come, if its revision is the next one:
then nothing can have happened in between. Its event must be what comes then; anything else is another history.

`outage` follows from when a member in touch with a majority last answered, not from errors: a connection that is silent
is an outage too.
"""

from collections.abc import Callable, MutableMapping
from typing import Any

import attrs
import trio

from nodespan.etcd.client import EtcdClient
from nodespan.etcd.errors import CompactedError, EtcdError, HistoryError
from nodespan.etcd.keys import pointer_of
from nodespan.etcd.marks import EtcdCollection
from nodespan.etcd.stored_value import UnknownTypeError, ValueUnreadableError
from nodespan.etcd.values import Event, EventKind, KeyValue
from nodespan.etcd.watch import Events
from nodespan.runtime.controller import Logger
from nodespan.runtime.process.boot_time import boot_time_ns
from nodespan.runtime.resource import Pointer, Resource
from nodespan.runtime.state.base import Outage

# No answer for so many seconds: an outage. A watch asks more often (see `nodespan.etcd.watch`).
_SILENCE = 3.0
# Between two attempts while etcd cannot be reached, and two looks whether it can be again.
_PAUSE = 0.25
_PAGE = 1000
_PAGE_WITHIN = 10.0
# After so many events others get a turn.
_BURST = 64
# Of the problems with values, so many are kept.
_MOST_UNREADABLE = 1000


# Reads a value. Raises ValueUnreadableError.
Decode = Callable[[Pointer[Any], KeyValue], Resource[Any]]


@attrs.frozen
class Entry:
    """A key as etcd has it."""

    pointer: Pointer[Any]
    mod_revision: int
    create_revision: int
    version: int
    lease: int
    # A hash of the value: a restored etcd may have another one at the same revision.
    content: int


class Feed:
    """The keys below `root`, and the collections that they feed."""

    def __init__(
        self,
        client: EtcdClient,
        root: bytes,
        collections: MutableMapping[tuple[str, str], Any],
        decode: Decode,
        log: Logger,
    ) -> None:
        self.entries: dict[bytes, Entry] = {}
        # Why the value of a resource cannot be read.
        self.unreadable: dict[Pointer[Any], str] = {}
        # Resources of types that are not known here, by type.
        self._unknown: dict[str, dict[bytes, KeyValue]] = {}
        # Everything up to here is in the collections.
        self.revision = 0
        # And everything of the revisions up to here.
        self.complete_revision = 0
        self.outage: Outage | None = Outage(boot_time_ns(), "not connected yet", is_loaded=False)
        self._client = client
        self._root = root
        self._collections = collections
        self._decode = decode
        self._log = log
        self._events: Events | None = None
        self._answered = trio.current_time()
        self._reason = ""
        self._is_loaded = False
        # Of the history that is followed.
        self._cluster_id, self._term = 0, 0
        self._available = trio.lowlevel.ParkingLot()
        # Shown from their own answers, and not yet confirmed by their events: keys by revision.
        self._ahead: dict[int, bytes] = {}
        self._awaited: dict[int, trio.Event] = {}
        self._changes: dict[bytes, trio.Event] = {}
        self.is_closed = False
        # Until when writes are known to be refused, and why.
        self._refused_until = -1.0

    # For readers and writers.

    async def until_available(self) -> None:
        """Wait until there is no outage. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.outage is not None:
            await self._available.park()

    async def until_revision(self, revision: int) -> None:
        """Wait until a change at this revision, which is one below the root, is in the collections."""
        if self.revision < revision:
            event = self._awaited.get(revision)
            if event is None:
                event = self._awaited[revision] = trio.Event()
            await event.wait()

    async def until_changed(self, key: bytes, revision: int) -> None:
        """Wait until a key has changed that was last changed at this revision; 0: that there was none."""
        while self.mod_revision(key) == revision:
            event = self._changes.get(key)
            if event is None:
                event = self._changes[key] = trio.Event()
            await event.wait()
            if revision == 0:
                return  # it was there for a moment

    def written(self, key: bytes, written: KeyValue | None, revision: int) -> None:
        """This process wrote a key, or deleted it (None), at this revision: show it, if nothing came in between."""
        if revision == self.complete_revision + 1 and self._events is not None:
            self._ahead[revision] = key
            if written is None:
                self._delete(key, revision)
            else:
                self._put(written, revision)
            self._reached(revision)
            self.complete_revision = revision

    def mod_revision(self, key: bytes) -> int:
        """When the key was last changed; 0 if there is none."""
        entry = self.entries.get(key)
        return 0 if entry is None else entry.mod_revision

    def refused(self, reason: str, seconds: float) -> None:
        """etcd refuses writes at the moment: send none for so long."""
        self._refused_until = trio.current_time() + seconds
        self._reason = reason
        if self.outage is None:
            self._set_outage(Outage(boot_time_ns(), reason))

    def learned(self, type: str) -> None:
        """A type is known from now on: report its resources."""
        for key_value in self._unknown.pop(type, {}).values():
            self._put(key_value)

    def close(self) -> None:
        """Nothing is followed any more."""
        self.is_closed = True
        self.outage = Outage(boot_time_ns(), "it is closed", self._is_loaded)

    # The tasks.

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._judge)
            while True:
                try:
                    await self._follow()
                except (CompactedError, HistoryError) as error:
                    self._is_loaded_again_because(str(error))
                except EtcdError as error:
                    self._failed(str(error))
                    await trio.sleep(_PAUSE)

    async def _follow(self) -> None:
        if self.revision == 0:
            await self._read_all()
        else:
            await self._check_history()
        async with self._client.watch(self._root, prefix=True, from_revision=self.revision + 1) as events:
            # From its first proof on the watch notes by itself when a member answered.
            events.proved = self._answered
            self._events = events
            self._ahead.clear()
            try:
                count = 0
                async for event in events:
                    self._apply(event, is_last=not events.has_more_of(event.key_value.mod_revision))
                    count += 1
                    if count % _BURST == 0:
                        await trio.lowlevel.checkpoint()
            finally:
                self._answered = events.proved
                self._events = None

    async def _check_history(self) -> None:
        """Raise HistoryError if etcd is not the one that was followed: a new watch cannot know."""
        page = await self._client.range(self._root, limit=1, keys_only=True, within=_PAGE_WITHIN)
        header = page.header
        if header.cluster_id != self._cluster_id or header.revision < self.revision or header.raft_term < self._term:
            raise HistoryError("etcd was restored, or is another cluster")
        self._term = header.raft_term

    async def _judge(self) -> None:
        """Keep `outage` true."""
        while True:
            now = trio.current_time()
            silent = now - (self._answered if self._events is None else self._events.proved)
            if silent > _SILENCE or not self._is_loaded:
                reason = self._reason or f"no member of etcd has answered for {_SILENCE:g} s"
                began = self.outage.began if self.outage is not None else boot_time_ns() - round(silent * 1e9)
                self._set_outage(Outage(began, reason, self._is_loaded))
                await trio.sleep(_PAUSE)
            elif now < self._refused_until:
                await trio.sleep_until(self._refused_until)
            else:
                self._reason = ""
                self._set_outage(None)
                await trio.sleep(max(_PAUSE, _SILENCE - silent))

    def _set_outage(self, outage: Outage | None) -> None:
        if self.is_closed:
            return
        before, self.outage = self.outage, outage
        if outage is None:
            self._available.unpark_all()
            if before is not None:
                self._log.info("etcd can be reached", root=self._root.decode())
        elif before is None:
            self._log.warning("etcd cannot be reached", root=self._root.decode(), reason=outage.reason)

    def _failed(self, reason: str) -> None:
        self._reason = reason
        if self.outage is not None:
            self.outage = attrs.evolve(self.outage, reason=reason)

    def _is_loaded_again_because(self, reason: str) -> None:
        self._log.warning("all resources are read again", root=self._root.decode(), reason=reason)
        self.revision = self.complete_revision = 0

    # Contents.

    async def _read_all(self) -> None:
        """Take over all keys as of one revision, and report what differs as changes."""
        found: dict[bytes, KeyValue] = {}
        after, revision = b"", 0
        while True:
            page = await self._client.range(
                self._root, prefix=True, limit=_PAGE, after=after, revision=revision, within=_PAGE_WITHIN
            )
            revision = revision or page.header.revision
            self._cluster_id, self._term = page.header.cluster_id, page.header.raft_term
            self._answered = trio.current_time()
            found.update((each.key, each) for each in page.key_values)
            if len(page.key_values) < _PAGE:
                break
            after = page.key_values[-1].key
        was_loaded = self._is_loaded
        for key in sorted(self.entries.keys() - found.keys()):
            self._delete(key)
        for key in sorted(found):
            entry = self.entries.get(key)
            content = hash(found[key].value)
            if entry is not None and (entry.mod_revision, entry.content) == (found[key].mod_revision, content):
                continue
            if entry is not None and (
                entry.create_revision != found[key].create_revision or entry.version > found[key].version
            ):
                self._delete(key)
            self._put(found[key])
        for collection in self._collections.values():
            collection.after_gap(revision)
        self.revision = self.complete_revision = revision
        for awaited in [each for each in self._awaited if each <= revision]:
            self._awaited.pop(awaited).set()
        self._is_loaded = True
        if not was_loaded:
            self._log.info("read from etcd", root=self._root.decode(), resources=len(found), revision=revision)

    def _apply(self, event: Event, *, is_last: bool) -> None:
        key_value = event.key_value
        revision = key_value.mod_revision
        if revision <= self.complete_revision:
            if self._ahead.pop(revision, None) != key_value.key:
                raise HistoryError(f"etcd was restored: its revision {revision} is not what this process wrote")
            return
        if event.kind is EventKind.DELETE:
            self._delete(key_value.key, revision)
        else:
            self._put(key_value, revision)
        self._reached(revision)
        if is_last:
            self.complete_revision = revision

    def _reached(self, revision: int) -> None:
        self.revision = revision
        awaited = self._awaited.pop(revision, None)
        if awaited is not None:
            awaited.set()

    def _delete(self, key: bytes, revision: int | None = None) -> None:
        entry = self.entries.pop(key, None)
        if entry is None:
            self.unreadable.pop(Pointer("", "", key.decode(errors="backslashreplace")), None)
        else:
            self.unreadable.pop(entry.pointer, None)
            self._unknown.get(entry.pointer.type, {}).pop(key, None)
            collection = self._collection(entry.pointer, revision)
            current = collection.items.get(entry.pointer.id)
            if current is not None:
                collection.remove(current)
        self._notify(key)

    def _put(self, key_value: KeyValue, revision: int | None = None) -> None:
        key = key_value.key
        known = self.entries.get(key)
        try:
            pointer = pointer_of(self._root, key) if known is None else known.pointer
        except ValueError as error:
            self._name_unreadable(Pointer("", "", key.decode(errors="backslashreplace")), str(error))
            return
        self.entries[key] = Entry(
            pointer,
            key_value.mod_revision,
            key_value.create_revision,
            key_value.version,
            key_value.lease,
            hash(key_value.value),
        )
        try:
            resource = self._decode(pointer, key_value)
        except UnknownTypeError:
            self._unknown.setdefault(pointer.type, {})[key] = key_value
        except ValueUnreadableError as error:
            self._name_unreadable(pointer, str(error))
        else:
            self.unreadable.pop(pointer, None)
            collection = self._collection(pointer, revision)
            current = collection.items.get(pointer.id)
            if current is None:
                collection.put_new(resource)
            else:
                collection.put(resource, current)
        self._notify(key)

    def _collection(self, pointer: Pointer[Any], revision: int | None) -> EtcdCollection:
        collection: EtcdCollection = self._collections[pointer.kind]
        if revision is not None:
            collection.at(revision)
        return collection

    def _name_unreadable(self, pointer: Pointer[Any], reason: str) -> None:
        if self.unreadable.get(pointer) != reason:
            self._log.warning("a value at etcd cannot be read", resource=str(pointer), reason=reason)
        # Writes depend on this where there is an entry, and entries are kept anyway.
        if pointer.type or pointer in self.unreadable or len(self.unreadable) < _MOST_UNREADABLE:
            self.unreadable[pointer] = reason

    def _notify(self, key: bytes) -> None:
        changed = self._changes.pop(key, None)
        if changed is not None:
            changed.set()

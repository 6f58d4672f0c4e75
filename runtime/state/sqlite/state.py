"""The state over a file: reads on a view in memory, writes that return when they are durable.

A write is decided on what is committed, and holds its resource until it is committed itself: another writer of the same
resource waits for that and is decided on what came of it. So there is one write of a resource at a time, writes of
different resources share a transaction, and nothing that fails has to be taken back from what others already saw.
"""

import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
import trio

from nodespan.runtime.errors import StateOpenError, UnavailableError
from nodespan.runtime.process.boot_time import boot_time_ns
from nodespan.runtime.resource import (
    Kind,
    KindLike,
    Phase,
    Resource,
    ResourceType,
    kind_of,
)
from nodespan.runtime.state import rules
from nodespan.runtime.state.base import ExpectedPhase, Outage
from nodespan.runtime.state.collection import COOKIE_SIZE, Collection, Collections, History
from nodespan.runtime.state.sealing import Seal, SealError, credential_key, load_key, make_key
from nodespan.runtime.state.sqlite.database import DELETE, FACT, SET_ASIDE, UPSERT, Opened, opened
from nodespan.runtime.state.sqlite.rows import COLUMNS, Row, RowCodec, RowError
from nodespan.runtime.state.sqlite.writer import Write, Writer
from nodespan.runtime.state.viewed import ViewedState

S = TypeVar("S")
_Key = tuple[str, str, str]

SYNCHRONOUS = ("FULL", "NORMAL")
_KEY_CHECK = "key check"
_TYPE, _SEALED = COLUMNS.index("type"), COLUMNS.index("sealed")
# In seconds: when a file that could not be opened is tried again, and how long the last writes may take at the end.
_RETRY_INTERVAL = 5.0
_END_PATIENCE = 20.0


class SqliteState(ViewedState):
    """Resources in a SQLite file. Use `open_sqlite`.

    A write returns when it is durable. Cancelling one leaves it unknown whether it was committed: the view shows it if
    it was. Raises UnavailableError for writes while the disk is full or fails; reads go on, and the next write tries
    again. A bookmark is good for as long as the state is open.

    Values are decoded by the classes that were learned, here or by `register_types`; those of other types are kept in
    the file and not shown.
    """

    def __init__(
        self, path: Path, *, key: Path | None = None, history: History, now: Callable[[], int], log: Any
    ) -> None:
        cookie = secrets.token_bytes(COOKIE_SIZE)
        super().__init__(Collections(lambda kind: Collection(kind, history, cookie)))
        self.path = path
        self._now = now
        self._log = log
        self._key_path = key or credential_key() or Path(f"{path}.key")
        self._cached_seal: Seal | None = None
        self._codec = RowCodec(self._seal)
        self._busy: dict[_Key, Write] = {}
        self._unknown: dict[str, list[Row]] = {}
        self._facts: dict[str, bytes] = {}
        self._has_sealed = False
        self._writer: Writer | None = None
        self._outage: Outage | None = Outage(boot_time_ns(), f"{path} is not open", is_loaded=False)
        self._back = trio.lowlevel.ParkingLot()

    # Opening and closing, for `open_sqlite`.

    def begin(self, found: Opened) -> None:
        """Take the contents of the file, and write to it from now on."""
        if found.damaged is not None:
            self._log.error(
                "the file of a state was damaged: it was set aside, and what can be read of it is in a new one",
                path=str(self.path),
                set_aside=str(found.damaged),
                damage=found.damage,
                recovered=len(found.rows),
            )
        self._facts = found.facts
        self._has_sealed = any(row[_SEALED] for row in found.rows)
        if _KEY_CHECK in self._facts or self._has_sealed:
            self._seal()
        self._writer = Writer(found.connection, self.path)
        for row in found.rows:
            self._unknown.setdefault(row[_TYPE], []).append(row)
        self._decode([type for type in self._unknown if self._codec.knows(type)])
        self._outage = None
        self._back.unpark_all()

    async def end(self) -> None:
        """Commit what waits; later writes fail."""
        writer, self._writer = self._writer, None
        self._outage = Outage(boot_time_ns(), f"{self.path} is closed")
        if writer is not None:
            with trio.CancelScope(deadline=trio.current_time() + _END_PATIENCE, shield=True):
                await writer.close()

    def failed(self, reason: str) -> None:
        """The file could not be opened; logged once for each reason."""
        began = boot_time_ns() if self._outage is None else self._outage.began
        if self._outage is None or self._outage.reason != reason:
            self._log.error("a state cannot be opened, and is tried again", error=reason)
        self._outage = Outage(began, reason, is_loaded=False)

    # What there is.

    def outage(self, namespace: str) -> Outage | None:
        del namespace
        return self._outage

    async def until_available(self, namespace: str) -> None:
        await super().until_available(namespace)
        while self._outage is not None:
            await self._back.park()

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:
        new = [type for type in types if not self._codec.knows(type.name)]
        for type in new:
            self._codec.learn(type)
        self._decode([type.name for type in new if type.name in self._unknown])

    def unknown_types(self) -> Counter[str]:
        return Counter({type: len(rows) for type, rows in self._unknown.items()})

    def _decode(self, types: Iterable[str]) -> None:
        contents: dict[Kind[Any], list[Resource[Any]]] = {}
        for type in types:
            for row in self._unknown.pop(type):
                try:
                    resource = self._codec.decode(row)
                except RowError as error:
                    self._set_row_aside(row, str(error))
                    continue
                contents.setdefault(resource.kind, []).append(resource)
                if self._codec.is_secret(type) and not row[_SEALED]:
                    self._submit(row[:3], self._storing(resource), lambda: None)  # it was no secret before
        for kind, resources in contents.items():
            if kind in self._collections:
                # Somebody looked at it before: what they may watch are changes.
                self._collections[kind].resync({resource.id: resource for resource in resources})
            else:
                self._collections[kind].load(resources)

    def _set_row_aside(self, row: Row, reason: str) -> None:
        key = row[:3]
        address = "{1}({0}/{2})".format(*key)
        self._log.error(
            "a stored resource cannot be read: it was moved to the table set_aside",
            path=str(self.path),
            resource=address,
            reason=reason,
        )
        self._submit(key, ((SET_ASIDE, (reason, *key)), (DELETE, key)), lambda: None)

    # Writes.

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        given = resource.metadata
        kind: Kind[S] = Kind(given.namespace, given.type)
        await self._turn((*kind, given.id))
        collection = self._collections[kind]
        stored = rules.created(collection.items.get(given.id), resource, owner, self._now())
        await self._write((*kind, given.id), stored, partial(collection.put_new, stored))
        return stored

    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        given = resource.metadata
        kind: Kind[S] = Kind(given.namespace, given.type)
        await self._turn((*kind, given.id))
        collection = self._collections[kind]
        current = collection.items.get(given.id)
        stored = rules.updated(current, resource, owner, expected_phase, self._now())
        assert current is not None  # else the rule raised
        await self._write((*kind, given.id), stored, partial(collection.put, stored, current))
        return stored

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        address = kind_of(kind)
        await self._turn((*address, id))
        collection = self._collections[address]
        current = rules.check_destroy(collection.items.get(id), address, id, owner)
        await self._write((*address, id), None, partial(collection.remove, current))

    async def _turn(self, key: _Key) -> None:
        """Wait until no write of this resource is under way."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while (busy := self._busy.get(key)) is not None:
            await busy.finished.wait()

    async def _write(self, key: _Key, stored: Resource[Any] | None, done: Callable[[], None]) -> None:
        if stored is None:
            write = self._submit(key, ((DELETE, key),), done)
        else:
            write = self._submit(key, self._storing(stored), done)
        await write.finished.wait()
        if write.error is not None:
            if isinstance(write.error, UnavailableError):
                write.error.namespace, write.error.type, _ = key
            raise write.error

    def _submit(self, key: _Key, statements: tuple[tuple[str, Any], ...], done: Callable[[], None]) -> Write:
        if self._writer is None:
            reason = "" if self._outage is None else self._outage.reason
            raise UnavailableError(f"nothing can be written: {reason}", namespace=key[0], type=key[1])

        def settled() -> None:
            del self._busy[key]
            if write.error is None:
                self._facts.update(values for statement, values in statements if statement is FACT)

        write = Write(statements, done, settled)
        self._busy[key] = write
        self._writer.put(write)
        return write

    # Secrets.

    def _seal(self) -> Seal:
        """The seal of this file's secrets. Raises SealError, OSError."""
        if self._cached_seal is None:
            self._cached_seal = self._load_seal()
        return self._cached_seal

    def _load_seal(self) -> Seal:
        check = self._facts.get(_KEY_CHECK)
        try:
            seal = Seal(load_key(self._key_path))
        except FileNotFoundError:
            if check is not None or self._has_sealed:
                raise SealError(
                    f"{self.path} has sealed resources, and their key {self._key_path} is missing"
                ) from None
            make_key(self._key_path)
            seal = Seal(load_key(self._key_path))
        if check is not None:
            try:
                seal.open(_KEY_CHECK.encode(), check)
            except SealError:
                raise SealError(f"{self._key_path} is not the key that {self.path} was sealed with") from None
        return seal

    def _storing(self, resource: Resource[Any]) -> tuple[tuple[str, Any], ...]:
        """The statements that store a resource, and with the first sealed one a value to know the key by."""
        row = self._codec.encode(resource)
        if self._cached_seal is None or _KEY_CHECK in self._facts:
            return ((UPSERT, row),)
        check = self._cached_seal.seal(_KEY_CHECK.encode(), b"")
        return (UPSERT, row), (FACT, (_KEY_CHECK, check))


@asynccontextmanager
async def open_sqlite(
    path: Path,
    *,
    types: Iterable[ResourceType[Any]] = (),
    synchronous: str = "FULL",
    key: Path | None = None,
    history: History | None = None,
    wait: bool = False,
    now: Callable[[], int] = time.time_ns,
    log: Any = None,
) -> AsyncGenerator[SqliteState, None]:
    """A state in this file, which is made if it is missing; closed at the end of the block.

    `synchronous` NORMAL is faster and may cost the last writes at a power cut, not at a crash of the process. `key` is
    the file of the key that seals sensitive types, made when it is first needed: by default systemd's credential
    `nodespan-state.key`, else the path with `.key` at its end.

    Raises StateOpenError if the file cannot be used. With `wait`, the state has an outage instead, and opening is tried
    again and again. A damaged file is set aside: the log names it, and what can be read of it goes on in a new one.
    """
    if synchronous not in SYNCHRONOUS:
        raise ValueError(f"synchronous is {' or '.join(SYNCHRONOUS)}, not {synchronous!r}")
    log = structlog.get_logger() if log is None else log
    state = SqliteState(path, key=key, history=history or History.of(), now=now, log=log)
    state.learn(types)
    if wait:
        async with trio.open_nursery() as nursery:
            await nursery.start(_keep_open, state, synchronous)
            yield state
            nursery.cancel_scope.cancel()
    else:
        async with _open(state, synchronous):
            yield state


@asynccontextmanager
async def _open(state: SqliteState, synchronous: str) -> AsyncGenerator[None, None]:
    file = opened(state.path, synchronous=synchronous)
    found = await trio.to_thread.run_sync(file.__enter__)
    try:
        try:
            state.begin(found)
        except (SealError, OSError) as error:
            raise StateOpenError(str(error)) from error
        try:
            yield
        finally:
            await state.end()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(file.__exit__, None, None, None)


async def _keep_open(state: SqliteState, synchronous: str, *, task_status: trio.TaskStatus[None]) -> None:
    """Open the file, as soon as that is possible, until cancelled. Reports as started after the first attempt."""
    has_started = False
    while True:
        try:
            async with _open(state, synchronous):
                if not has_started:
                    task_status.started()
                await trio.sleep_forever()
        except StateOpenError as error:
            state.failed(str(error))
        if not has_started:
            task_status.started()
            has_started = True
        await trio.sleep(_RETRY_INTERVAL)

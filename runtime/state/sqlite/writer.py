"""The thread that writes: one transaction for all that waits.

While a transaction is being committed, writes gather, and become the next one. So one writer alone waits for one
commit, and a hundred at once wait for two.
"""

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from nodespan.runtime.errors import UnavailableError
from nodespan.runtime.state.sqlite.database import text_of

Statement = tuple[str, Sequence[Any]]


@attrs.define(eq=False)
class Write:
    """Statements that are committed together.

    In the event loop, `done` is called if they were, and then `settled` in any case.
    """

    statements: tuple[Statement, ...]
    done: Callable[[], None]
    settled: Callable[[], None]
    finished: trio.Event = attrs.field(factory=trio.Event)
    error: Exception | None = None


class Writer:
    """Commits writes in a thread of its own. Made and used in the event loop."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._token = trio.lowlevel.current_trio_token()
        self._waiting: list[Write] = []
        # Whether a batch is being committed, or about to be put together.
        self._in_flight = False
        self._batches: queue.SimpleQueue[list[Write] | None] = queue.SimpleQueue()
        self._idle = trio.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name=f"writer of {path}", daemon=True)
        self._thread.start()

    def put(self, write: Write) -> None:
        """Commit this next, or with what is committed next."""
        self._waiting.append(write)
        if not self._in_flight:
            # After the tasks that are ready to run: what they write at the same time is one transaction.
            self._in_flight = True
            self._idle = trio.Event()
            self._token.run_sync_soon(self._send)

    async def drain(self) -> None:
        """Wait until nothing is left to commit."""
        await self._idle.wait()

    async def close(self) -> None:
        """Commit what waits, and end the thread."""
        await self.drain()
        self._batches.put(None)
        await trio.to_thread.run_sync(self._thread.join)

    def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        self._batches.put(batch)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            error = self._commit(batch)
            try:
                self._token.run_sync_soon(self._finished, batch, error)
            except trio.RunFinishedError:
                return

    def _commit(self, batch: list[Write]) -> Exception | None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in batch:
                for statement, values in write.statements:
                    connection.execute(statement, values)
            connection.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            return error
        return None

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            # SQLite may have done it already, and what it says of a disk that fails was said by the error before.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _finished(self, batch: list[Write], error: Exception | None) -> None:
        for write in batch:
            if error is None:
                write.done()
            elif isinstance(error, sqlite3.Error):
                write.error = UnavailableError(f"{text_of(self._path, error)}: nothing was written")
                write.error.__cause__ = error
            else:
                write.error = error
            write.settled()
            write.finished.set()
        if self._waiting:
            self._send()
        else:
            self._in_flight = False
            self._idle.set()

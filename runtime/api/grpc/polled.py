"""Connections, for all of which one task reads.

Theory of operation. One epoll says which sockets have something, and one task asks it, and reads and handles what there
is: without a task, a nursery and a cancel scope for each connection, and without a change of the epoll for each read.
A connection has a task of its own only while it waits for something else than its peer, and is not in the epoll then:

    what happens                                   then
    something has come                             it is read and handled, once, up to a number of bytes and frames
    of that there is more than one turn's work,    a task handles the rest, and rests; after that the connection is
    or it was more than the connection may do,     read as before
    or answers wait for the peer
    something has come of a call both ways         a task lets its handler pace the peer; while much comes, it reads on
    the peer has left                              it ends
    the peer breaks the rules, or is silent for    a task says goodbye, and then it ends
    too long; or the server stops
    its seat is taken away                         it ends, by a task: what takes it may be in the middle of something
    the server has waited long enough              all end

A round reads a bounded number of connections once each; the kernel puts those that have more behind the others. Then,
and within the round after some milliseconds, other tasks have their turn. So a connection, and what it may make the
server do, is bounded as one with its own task.

Over TLS it is the same: a read decrypts all that has come, so the epoll knows of everything there is to read (`wire`).

The end of a connection ends its calls, and closes its socket at once: what a call still does on its way out is written
to nowhere, and never to another connection that got the same number of file.
"""

import select
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import h2.exceptions
import trio

from nodespan.runtime.api.grpc.connection import Connection, Shared
from nodespan.runtime.api.grpc.method import Peer
from nodespan.runtime.api.grpc.output import MAX_WAITING
from nodespan.runtime.api.grpc.rare_lines import RareLine
from nodespan.runtime.api.grpc.sources import Seat
from nodespan.runtime.api.grpc.status import Code, Status
from nodespan.runtime.api.grpc.wire import Wire

# So many connections are read before other tasks have their turn.
_ROUND = 32
# And after so many seconds, within a round: what came for 32 connections may be work for 100 ms.
_SLICE = 0.005
# Reads that follow within so many seconds, and how many of them make a task that waits for the next cheaper than a task
# for each.
_SOON = 0.1
_BUSY = 8
_WAS_LOST = Status(Code.CANCELLED, "the connection was lost")


class Reader:
    """Reads for the connections of a server, whose tasks run in the nursery: have `run` run there too."""

    def __init__(self, nursery: trio.Nursery, shared: Shared) -> None:
        self.nursery = nursery
        self.shared = shared
        self.unwatched = RareLine(shared.service.log.warning, "a connection ends: it cannot be watched")
        # Whether it does not read any more.
        self.is_over = False
        self._poll = select.epoll()
        self._by_file: dict[int, Polled] = {}
        self._connections: set[Polled] = set()
        self._is_stopping = False
        # How many connections may still come after it was told to stop.
        self._expected = 0
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Read until `stop` was called and all connections have ended. When cancelled, end all."""
        poll = self._poll
        file = poll.fileno()
        try:
            with self._scope:
                while True:
                    await trio.lowlevel.wait_readable(file)
                    ends = time.monotonic() + _SLICE
                    for each, _ in poll.poll(0, _ROUND):
                        if time.monotonic() >= ends:
                            # The round goes on: those that are left are behind the others in the kernel's order by now.
                            await trio.lowlevel.checkpoint()
                            ends = time.monotonic() + _SLICE
                        self._read(each)
        finally:
            self.is_over = True
            for connection in tuple(self._connections):
                connection.end()
            trio.lowlevel.notify_closing(file)
            poll.close()

    def _read(self, file: int) -> None:
        # It may have ended since, and another may have its number: of that, what has come is read.
        if (connection := self._by_file.get(file)) is not None:
            connection.readable()

    def stop(self) -> None:
        """No more connections come, but those that are expected."""
        self._is_stopping = True
        self._end_if_done()

    def add(self, connection: "Polled") -> None:
        """One more connection, until it is removed."""
        self._connections.add(connection)
        self.shared.connections.add(connection)

    def remove(self, connection: "Polled") -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self.shared.connections.discard(connection)
        self._end_if_done()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """A connection may be added in here, also after `stop`."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._is_stopping and not self._connections and not self._expected:
            self._scope.cancel()

    def watch(self, file: int, connection: "Polled") -> None:
        """Read what comes, until `leave`. Raises OSError, and watches nothing, if the kernel has no room for it."""
        self._poll.register(file, select.EPOLLIN)
        self._by_file[file] = connection

    def leave(self, file: int) -> None:
        """Read no more; it need not be watched."""
        if self._by_file.pop(file, None) is not None:
            self._poll.unregister(file)


class Polled(Connection):
    """A connection that a reader reads for, and which holds its seat until it is over: make it, then `open` it."""

    __slots__ = ("_has_ended", "_in_a_row", "_is_leaving", "_read_at", "_reader", "_reading")

    def __init__(self, reader: Reader, wire: Wire, peer: Peer, seat: Seat, received: bytes | None = None) -> None:
        super().__init__(reader.shared, wire, peer, seat, received)
        self._reader = reader
        # Where a task reads, or handles what was read.
        self._reading: trio.CancelScope | None = None
        # When its calls both ways were last read for, and how many reads followed one another closely.
        self._read_at = 0.0
        self._in_a_row = 0
        self._is_leaving = False
        self._has_ended = False
        reader.add(self)
        seat.on_close = self._abandon

    def open(self) -> None:
        """Greet the peer, and read what it says."""
        self._guarded(self._begin)

    def _begin(self) -> None:
        if not self._is_watched():
            return
        self.output.wake()
        data, self._received = self._received, b""
        if self._wire.has_early:
            more = self._wire.read_now()
            if more == b"":
                self.end()
                return
            data += more or b""
        if data:
            self._handle(data)

    def _is_watched(self) -> bool:
        """Have the reader read from now on; if it cannot, the connection ends, and no other."""
        try:
            self._reader.watch(self._wire.file, self)
        except OSError as error:
            # The limit of the user (fs.epoll.max_user_watches), or memory.
            self._reader.unwatched.due(error=str(error))
            self.end()
            return False
        return True

    def readable(self) -> None:
        """Something has come: read it, once."""
        self._guarded(self._read_once)

    def _read_once(self) -> None:
        data = self._wire.read_now()
        if data:
            self._handle(data)
        elif data is not None:
            self.end()
        else:
            # Over TLS: something that was no data, and may have to be answered.
            self.output.wake()
            if rest := self._wire.pause():
                self._read_by_task(is_more=False, rest=rest)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            self.service.log.exception("a connection failed")
            self.end()

    def _handle(self, data: bytes) -> None:
        try:
            is_more, rest = self._take(data)
        except h2.exceptions.ProtocolError:
            self._stop_reading()
            return
        if self._unanswered > MAX_WAITING and not self.output.is_writing:
            self._unanswered = 0
        if is_more or rest or self._duplex or self._unanswered > MAX_WAITING:
            self._read_by_task(is_more, rest)

    def _read_by_task(self, is_more: bool, rest: float) -> None:
        if not (self._is_leaving or self._has_ended):
            self._reader.leave(self._wire.file)
            self._reading = trio.CancelScope()
            self._start(self._read_on, self._reading, is_more, rest)

    async def _read_on(self, reading: trio.CancelScope, is_more: bool, rest: float) -> None:
        """Handle what is left, and read on while much comes for a call both ways."""
        try:
            with reading:
                await self._catch_up(is_more, rest)
                while self._duplex and self._is_busy():
                    await self._read()
        except h2.exceptions.ProtocolError:
            reading.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end()
        if self._has_ended:
            return
        self._reading = None
        if reading.cancel_called:
            self._is_leaving = True
            await self._depart()
        else:
            self._is_watched()

    def _is_busy(self) -> bool:
        now = trio.current_time()
        self._in_a_row = self._in_a_row + 1 if now - self._read_at < _SOON else 0
        self._read_at = now
        return self._in_a_row >= _BUSY

    def _start(self, work: Callable[..., Awaitable[object]], *args: Any) -> None:
        self._reader.nursery.start_soon(self._perform, work, *args, name=work)

    async def _perform(self, work: Callable[..., Awaitable[object]], *args: Any) -> None:
        """A task of this connection: if it fails, the connection does, and no other."""
        try:
            await work(*args)
        except Exception:
            self.service.log.exception("a connection failed")
            self.end()

    # The end.

    def stop(self) -> None:
        """Accept no new calls, end the streams, let the other calls finish, then close; at once if that fails."""
        self._guarded(super().stop)

    def expire(self, now: float) -> None:
        """End it if the peer has not said hello in time, or has asked for nothing for too long."""
        self._guarded(partial(super().expire, now))

    def end_slow_requests(self, now: float) -> None:
        """End the requests that have not come in time."""
        self._guarded(partial(super().end_slow_requests, now))

    def _stop_reading(self) -> None:
        if self._is_leaving or self._has_ended:
            return
        if self._reading is not None:
            self._reading.cancel()  # that task says goodbye
            return
        self._is_leaving = True
        self._reader.leave(self._wire.file)
        self._start(self._depart)

    async def _depart(self) -> None:
        try:
            await self._say_goodbye()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone: there is nothing to report to
        finally:
            self.end()

    def _abandon(self) -> None:
        """The seat is needed for another."""
        if not self._has_ended:
            self._reader.leave(self._wire.file)
            self._start(self._end_soon)

    async def _end_soon(self) -> None:
        self.end()

    def _lost(self) -> None:
        self.end()

    def end(self) -> None:
        """Cancel its calls, close it, and release what it holds; no more happens if that was done already.

        What fails of that is logged: this raises nothing.
        """
        if self._has_ended:
            return
        self._has_ended = True
        # Each of these whatever happens to the others: a socket or a seat that is kept here is never released, and an
        # error would end those who look after all connections.
        for step in (self._cut, self._wire.close, self.close, self._give_up_seat):
            try:
                step()
            except Exception:
                self.service.log.exception("a connection failed")

    def _cut(self) -> None:
        self._seat.on_close = None
        if self._reading is not None:
            self._reading.cancel()
        for stream in tuple(self._streams.values()):
            stream.end(_WAS_LOST)
        self._reader.leave(self._wire.file)

    def _give_up_seat(self) -> None:
        self._shared.sources.leave(self._seat)
        self._reader.remove(self)

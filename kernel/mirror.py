"""A copy, in memory, of one kind of kernel object, kept true by the kernel's notifications.

The copy is correct because of the order of operations. The socket subscribes before the first dump, so that no change
is missed between the two. While a dump runs no notification is consumed: those that arrive meanwhile are applied
afterwards, and applying one that the dump contained already is harmless, since the last one about an object wins.
Before a dump the queued notifications are discarded, for the dump contains them. When the kernel reports lost
notifications (ENOBUFS, which comes before those that are still queued), the copy is not trusted until the next dump.

Changes without notifications (see the kinds) are found by a dump every minute, or at once if the code that makes one
calls `look_again`. That dump is made and compared in a thread, which wakes the loop only if it differs, and says
nothing but that: then the mirror is filled again, by the order above.
"""

import errno
import math
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import trio

from nodespan.kernel.netlink_counts import counts_of
from nodespan.kernel.netns import in_netns
from nodespan.kernel.rtnetlink import Message, RtnlSocket, encoded_of, is_foreign_port, open_rtnl_socket, parse
from nodespan.kernel.socket_filter import Instruction, attach
from nodespan.runtime.looks import QuietLook
from nodespan.runtime.slices import Slices
from nodespan.runtime.ticks import due_after

K = TypeVar("K")
V = TypeVar("V")

RESYNC_INTERVAL = 60.0
_SECONDS_APART = 10
_DEBOUNCE = 0.05
# A dump that takes long comes back no sooner than after this many times its own duration.
_REST = 4.0
_DUMP_ATTEMPTS = 5
_BURST = 0.01
# For how long notifications are processed before changes are reported.
_REPORT = 0.1
# So many objects are read at a time, each as the last notification about it describes it: some milliseconds.
_TOGETHER = 100
# So many of the objects that a dump has found changed are reported at a time: some milliseconds.
_REPORTED = 500
_DATAGRAM = 65536
RECEIVE_BUFFER = 8 << 20
_SO_RCVBUFFORCE = 33
# For how many objects the port of the last change is remembered.
_REMEMBERED = 10_000
_mirrors: trio.lowlevel.RunVar["set[Mirror[Any, Any]]"] = trio.lowlevel.RunVar("mirrors")


@attrs.frozen(kw_only=True)
class Effect(Generic[K, V]):
    """The effect of one notification: new values of objects (None: gone), objects to read again, or a dump to make.

    `announced` are reported as changed even if they look the same.
    """

    changes: Mapping[K, V | None] = attrs.field(factory=dict)
    announced: frozenset[K] = frozenset()
    reread: frozenset[K] = frozenset()
    resync: bool = False


class ObjectKind(ABC, Generic[K, V]):
    """A kind of kernel object: the groups of its notifications, how it is listed, and what notifications mean.

    Values are immutable and equal if nothing that matters differs. Instances keep no state.
    """

    groups: ClassVar[int]
    # What to drop of the groups before it is received; `fold` would find nothing in it.
    filter: ClassVar[Sequence[Instruction]] = ()

    @abstractmethod
    def dump(self, kernel: RtnlSocket) -> Iterable[Message]:
        """All messages about the kind; blocks."""

    @abstractmethod
    def collect(self, messages: Iterable[Message]) -> dict[K, V]:
        """The objects that these messages of a dump describe."""

    @abstractmethod
    def fold(self, items: Mapping[K, V], message: Message) -> Effect[K, V]:
        """What a notification does to `items`. Called for every message of the groups."""

    def described(self, message: Message) -> K | None:  # noqa: ARG002
        """The one object whose whole state a notification describes, so that a later such one makes it void.

        None: the notification counts, whatever follows. Objects that many notifications describe say so, for their
        attributes need not be read then. Such notifications announce their object.
        """
        return None

    def reread(self, kernel: RtnlSocket, key: K) -> V | None:
        """One object as it is now, None if it is gone; blocks. Needed only if `fold` asks for it."""
        raise NotImplementedError(f"{type(self).__name__} cannot read {key!r} alone")


@attrs.frozen(kw_only=True)
class Changes(Generic[K, V]):
    """What happened to a mirror: what changed objects were before, None for new ones, and which were announced."""

    before: Mapping[K, V | None] = attrs.field(factory=dict)
    announced: frozenset[K] = frozenset()

    @property
    def keys(self) -> frozenset[K]:
        """All objects that changed or were announced."""
        return self.announced | self.before.keys()


class _Listed:
    """What was listed by now, as a number."""

    def __init__(self) -> None:
        self.digest = 0

    def passed(self, messages: Iterable[Message]) -> Iterator[Message]:
        """The same messages, noted as they pass."""
        for message in messages:
            self.digest = hash((self.digest, message.type, message.fields, encoded_of(message)))
            yield message


class Mirror(Generic[K, V]):
    """The objects of a kind, and which of them changed. Made by `open_mirror`; one task may wait for changes."""

    def __init__(
        self, kind: ObjectKind[K, V], netns: str | None, on_change: Callable[[], None], receive_buffer: int
    ) -> None:
        self.items: Mapping[K, V] = MappingProxyType({})
        self._kind = kind
        self._netns = netns
        self._on_change = on_change
        self._items: dict[K, V] = {}
        # What objects that changed since the last `take` were before, and those that were announced.
        self._before: dict[K, V | None] = {}
        self._announced: set[K] = set()
        self._news = trio.Event()
        # When a dump is due by which the mirror is filled again, and when one that it is compared with.
        self._resync_at = 0.0
        self._compare_at = 0.0
        self._compared: dict[K, V] = {}
        # Each mirror in a second of its own: to compare thousands of objects keeps the loop from the processor.
        self._earlier = len(_all_mirrors()) % _SECONDS_APART
        # How often the mirror has changed, also as of that; and for a version what a list was that agreed with it.
        self._version = self._compared_version = 0
        self._agreed: tuple[int, int] | None = None
        self._comparing = QuietLook(self._differs, self._found_different)
        # The wait of the task that follows.
        self._waiting = trio.CancelScope()
        self._rest = _DEBOUNCE
        self._lost = False
        self._doubtful = False
        self._ports: dict[K, int] = {}
        self._taking_in = trio.Lock()
        # Replaced whenever it has woken the task that follows.
        self._caught_up = trio.Event()
        self._counts = counts_of(type(kind).__name__.lower())
        self._socket = _subscribe(kind, netns, receive_buffer)
        _all_mirrors().add(self)

    def shows(self, kind: type[ObjectKind[Any, Any]], netns: str | None) -> bool:
        """Whether it is of this kind, or one like it, in this namespace."""
        return isinstance(self._kind, kind) and self._netns == netns

    def changed_by(self, key: K) -> int:
        """The netlink port over which an object was last changed, 0 if that is not known (see `Message`)."""
        return self._ports.get(key, 0)

    def take(self) -> frozenset[K]:
        """The keys of all objects that appeared, changed, went or were announced since the last call; at first, all."""
        return self.take_changes().keys

    def take_changes(self) -> Changes[K, V]:
        """As `take`, with what the objects were before."""
        changes = Changes(before=self._before, announced=frozenset(self._announced))
        self._before = {}
        self._announced.clear()
        if self._news.is_set():
            self._news = trio.Event()
        return changes

    async def changed(self) -> frozenset[K]:
        """Wait until there is something to take, and take it. A checkpoint; nothing is lost by cancelling."""
        await trio.lowlevel.checkpoint()
        await self._news.wait()
        return self.take()

    @property
    def is_certain(self) -> bool:
        """Whether the mirror is correct as of the last notification processed; if not, a dump is due."""
        return not self._doubtful

    @property
    def is_comparing(self) -> bool:
        """Whether a thread is looking whether the kernel has what is here."""
        return self._comparing.is_under_way

    async def catch_up(self) -> None:
        """Process the notifications that have arrived: changes made before the call are in the mirror when it returns.

        Except where the mirror is not certain. A checkpoint; after a loss it waits for a dump.
        """
        async with self._taking_in:
            if not self._lost:
                await self._take_in()
            if self._lost:
                await self._resync()
        if self._caught_up.statistics().tasks_waiting:
            self._caught_up.set()
            self._caught_up = trio.Event()

    async def look(self, keys: Iterable[K]) -> None:
        """Read these objects again, after changes without a notification. Waits for a worker thread."""
        async with self._taking_in:
            await self._take_in(frozenset(keys))

    async def resync(self) -> None:
        """List everything again and report what differs. Waits for a worker thread, which is not interrupted."""
        async with self._taking_in:
            await self._resync()

    async def _resync(self) -> None:
        doubtful = self._doubtful
        # Until the dump is there; a cancelled caller leaves the rest to the next one.
        self._lost = True
        self._resync_soon()
        await self._discard_queued()
        started = trio.current_time()
        items, before, complete = await trio.to_thread.run_sync(self._dump_and_compare)
        self._counts.dumps += 1
        self._lost = self._doubtful = False
        now = trio.current_time()
        self._rest = max(_DEBOUNCE, _REST * (now - started))
        self._resync_at = math.inf if complete else now + self._rest
        self._compare_at = due_after(RESYNC_INTERVAL - self._earlier)
        self._items = items
        self._version += 1
        self.items = MappingProxyType(items)
        await self._report_all(before)
        if doubtful and not before:
            # Wake those that wait for certainty.
            self._on_change()

    async def follow(self) -> None:
        """Process notifications until cancelled. Raises OSError if the kernel refuses."""
        while True:
            now = trio.current_time()
            if now >= self._resync_at:
                await self._resync_if_due()
                continue
            if now >= self._compare_at:
                self._compare()
            with trio.move_on_at(min(self._resync_at, self._compare_at)) as self._waiting:
                await trio.lowlevel.wait_readable(self._socket)
            if not self._waiting.cancelled_caught:
                await self._take_in_burst()

    async def _resync_if_due(self) -> None:
        async with self._taking_in:
            # Another task may have made the dump meanwhile.
            if trio.current_time() >= self._resync_at:
                await self._resync()

    def _compare(self) -> None:
        """Begin to look whether the kernel has what is here."""
        self._compare_at = due_after(RESYNC_INTERVAL)
        if not self._comparing.is_under_way:
            self._compared, self._compared_version = dict(self._items), self._version
            self._counts.dumps += 1
            self._comparing.begin()

    def _differs(self) -> bool:
        """In a worker thread: whether the mirror has to be filled again, if only since it has changed meanwhile.

        A list of the same messages as the last that agreed with the mirror, if that has not changed since, is not read.
        """
        compared, version = self._compared, self._compared_version
        self._compared = {}
        with open_rtnl_socket(self._netns) as kernel:
            listed = _Listed()
            for _ in listed.passed(self._kind.dump(kernel)):
                continue
            if not kernel.interrupted and (version, listed.digest) == self._agreed:
                return False
            for _ in range(_DUMP_ATTEMPTS):
                kernel.interrupted = False
                listed = _Listed()
                items = self._kind.collect(listed.passed(self._kind.dump(kernel)))
                if not kernel.interrupted:
                    break
            if kernel.interrupted or items != compared:
                return True
        self._agreed = version, listed.digest
        return False

    def _found_different(self, failure: Exception | None) -> None:  # noqa: ARG002  # the dump that follows fails, too
        self._resync_by(trio.current_time())

    async def _take_in_burst(self) -> None:
        """Take in what arrives soon: notifications come in bursts, and ten cost little more than one.

        That of a change of our own is taken in by the task that made it, when its thread is back: then nothing is left.
        """
        with trio.move_on_after(_BURST):
            await self._caught_up.wait()
            return
        async with self._taking_in:
            await self._take_in()

    def close(self) -> None:
        """Close the socket."""
        _all_mirrors().discard(self)
        self._socket.close()

    async def _take_in(self, reread_too: frozenset[K] = frozenset()) -> None:
        touched: set[K] = set()
        reread = set(reread_too)
        done = False
        try:
            await self._receive_all(touched, reread)
            if reread:
                found = await trio.to_thread.run_sync(self._reread, reread)
                self._apply(Effect(changes=found), touched, set())
            done = True
        finally:
            if not done:
                self._resync_soon()
            self._report(touched)

    async def _receive_all(self, touched: set[K], reread: set[K]) -> None:
        started = trio.current_time()
        slices = Slices()
        # The last notification about each object, of those that make earlier ones void, in the order of the kernel.
        last: dict[K, Message] = {}
        while (data := self._receive()) is not None:
            if not self._lost:
                for message in parse(data):
                    self._note(message, last, touched, reread)
            if slices.is_over or len(last) >= _TOGETHER:
                self._fold_all(last, touched, reread)
                await slices.rest()
                if trio.current_time() - started > _REPORT:
                    break
        self._fold_all(last, touched, reread)

    def _note(self, message: Message, last: dict[K, Message], touched: set[K], reread: set[K]) -> None:
        """Keep a notification that a later one may make void; fold any other, after those that came before it."""
        key = self._kind.described(message)
        if key is None:
            if last:
                self._fold_all(last, touched, reread)
            self._fold(message, touched, reread)
            return
        void = last.get(key)
        if void is not None:
            if void.port != message.port and (is_foreign_port(void.port) or is_foreign_port(message.port)):
                # What another program changed is told from what was changed by others before and afterwards.
                self._fold_all(last, touched, reread)
            else:
                del last[key]
                touched.add(key)
                self._announced.add(key)
        last[key] = message

    def _fold_all(self, last: dict[K, Message], touched: set[K], reread: set[K]) -> None:
        for message in last.values():
            self._fold(message, touched, reread)
        last.clear()

    def _fold(self, message: Message, touched: set[K], reread: set[K]) -> None:
        self._apply(self._kind.fold(self._items, message), touched, reread, message.port)

    def _apply(self, effect: Effect[K, V], touched: set[K], reread: set[K], port: int = 0) -> None:
        for key, value in effect.changes.items():
            if self._items.get(key) == value:
                continue
            touched.add(key)
            self._version += 1
            self._before.setdefault(key, self._items.get(key))
            self._ports.pop(key, None)
            if port:
                self._ports[key] = port
                if len(self._ports) > _REMEMBERED:
                    del self._ports[next(iter(self._ports))]
            if value is None:
                del self._items[key]
            else:
                self._items[key] = value
        touched |= effect.announced
        self._announced |= effect.announced
        reread |= effect.reread
        if effect.resync:
            self._resync_soon()

    def _resync_soon(self) -> None:
        self._doubtful = True
        self._resync_by(trio.current_time() + self._rest)

    def _resync_by(self, due: float) -> None:
        """Have the task that follows make a dump by then. It may wait for a notification that the caller has read."""
        self._resync_at = min(self._resync_at, due)
        if self._waiting.deadline > self._resync_at:
            self._waiting.deadline = self._resync_at

    def _report(self, touched: Collection[K]) -> None:
        if touched:
            self._news.set()
            self._on_change()

    async def _report_all(self, before: Mapping[K, V | None]) -> None:
        """Report, in slices, that objects changed which were these before. A cancelled caller has reported them all."""
        keys = list(before)
        slices = Slices()

        def report_some(count: int) -> None:
            some = keys[-count:]
            del keys[-count:]
            for key in some:
                self._before.setdefault(key, before[key])
                self._ports.pop(key, None)
            self._report(some)

        try:
            while keys:
                report_some(_REPORTED)
                await slices.rest()
        finally:
            if keys:
                report_some(len(keys))

    def _receive(self) -> bytes | None:
        """The next datagram, b"" after a loss, None if nothing is queued."""
        try:
            return self._socket.recv(_DATAGRAM)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._counts.overruns += 1
            self._lost = True
            self._resync_soon()
            return b""

    async def _discard_queued(self) -> None:
        slices = Slices()
        while self._receive() is not None:
            await slices.rest()

    def _dump_and_compare(self) -> tuple[dict[K, V], dict[K, V | None], bool]:
        """In a worker thread: the objects; those that changed as they were before; and whether all are of one moment.

        What is known does not change meanwhile: the caller holds the lock.
        """
        items, complete = self._dump()
        before: dict[K, V | None] = {key: value for key, value in self._items.items() if key not in items}
        for key, value in items.items():
            known = self._items.get(key)
            if known is None or known != value:
                before[key] = known
            else:
                # The objects that readers have: to compare them with themselves later costs nothing.
                items[key] = known
        return items, before, complete

    def _dump(self) -> tuple[dict[K, V], bool]:
        """In a worker thread: the objects, and whether they are of one moment."""
        with open_rtnl_socket(self._netns) as kernel:
            for _ in range(_DUMP_ATTEMPTS):
                kernel.interrupted = False
                items = self._kind.collect(self._kind.dump(kernel))
                if not kernel.interrupted:
                    break
            return items, not kernel.interrupted

    def _reread(self, keys: Iterable[K]) -> dict[K, V | None]:
        with open_rtnl_socket(self._netns) as kernel:
            return {key: self._kind.reread(kernel, key) for key in keys}


async def look_again(kind: type[ObjectKind[K, Any]], netns: str | None, keys: Iterable[K]) -> None:
    """Have all mirrors of a kind in this trio run read these objects again, after a change without a notification.

    Waits for a worker thread.
    """
    found = frozenset(keys)
    for mirror in tuple(_all_mirrors()):
        # Others are closed meanwhile.
        if mirror in _all_mirrors() and mirror.shows(kind, netns):
            await mirror.look(found)


def _all_mirrors() -> "set[Mirror[Any, Any]]":
    try:
        return _mirrors.get()
    except LookupError:
        found: set[Mirror[Any, Any]] = set()
        _mirrors.set(found)
        return found


def _subscribe(kind: ObjectKind[Any, Any], netns: str | None, receive_buffer: int) -> socket.socket:
    with in_netns(netns):
        subscription = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
    try:
        try:
            subscription.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
        except PermissionError:
            # Without privileges the system's limit applies; losses are detected, and repaired by a dump.
            subscription.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if kind.filter:
            # On a kernel without filters more is received, and says nothing.
            with suppress(OSError):
                attach(subscription, kind.filter)
        subscription.bind((0, kind.groups))
    except BaseException:
        subscription.close()
        raise
    return subscription


def _nothing() -> None:
    pass


@asynccontextmanager
async def open_mirror(
    kind: ObjectKind[K, V],
    *,
    netns: str | None = None,
    on_change: Callable[[], None] = _nothing,
    receive_buffer: int = RECEIVE_BUFFER,
) -> AsyncIterator[Mirror[K, V]]:
    """Mirror the objects of a kind in a network namespace (a path; None: the own one).

    On entry the mirror is complete, and every object counts as changed. `on_change` is called, in this thread, after
    each round of changes. The block is cancelled, and raises OSError, if the kernel refuses to answer.
    """
    mirror = Mirror(kind, netns, on_change, receive_buffer)
    try:
        await mirror.resync()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mirror.follow)
            yield mirror
            nursery.cancel_scope.cancel()
    finally:
        mirror.close()

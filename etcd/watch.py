"""A watch that survives its members: events of a key or a prefix, in order, none twice and none left out.

Theory of operation. An open watch is silent when its member is stopped or cut off from the majority, as it is when
nothing happens. So beside each stream the same member gets, in short intervals, a linearizable read, which only a
member in touch with a majority can answer; one that this client has made for another reason, as the keeper of a lease
does, is as good. A member that fails in this, or whose stream ends, is left for the next one,
and the watch goes on there after the last revision that was seen completely. If no member has answered for a while, the
watch ends with the failure of each.

A slow reader slows its member down: what is not received stays there, and at most a window of it is held here.
A member also reports from time to time how far an idle watch has come, so that it continues there and not in a part of
the history that was compacted since. A large answer comes in fragments; its events are passed on together.

The reads also show when etcd was restored: a watch that begins at a revision that the restored etcd has not reached yet
would wait for it silently.
"""

import collections
import contextlib
from collections.abc import AsyncIterator, Callable

import attrs
import trio

from nodespan.etcd.errors import CompactedError, EtcdError, MemberFailedError, UnavailableError, cancel_error
from nodespan.etcd.history import History
from nodespan.etcd.members import Members
from nodespan.etcd.methods import RANGE, WATCH
from nodespan.etcd.values import Event, Get, Header, RangeAnswer, watch_request
from nodespan.etcd.wire import etcd_pb2 as wire
from nodespan.runtime.background import background

# Between two reads, and how long one may take: a dead member is noticed within the sum of both.
BEAT = 0.75
_BEAT_LIMIT = 1.0
# No member for so long: the watch is over.
_GIVE_UP = 5.0
_PAUSE = 0.1
# Answers that are not received yet. With more of them the stream is not read until they are.
_MOST_WAITING = 64


class Events:
    """The events of one watch, to be iterated by one task.

    Raises CompactedError if the watch would have to start in a part of the history that is compacted, HistoryError if
    etcd was restored, UnavailableError if no member could be watched for five seconds; then it is over.
    """

    def __init__(self, batches: trio.MemoryReceiveChannel[tuple[Event, ...]]) -> None:
        self._batches = batches
        self._waiting: collections.deque[Event] = collections.deque()
        self.failure: EtcdError | None = None
        # When a member in touch with a majority last answered, by trio's clock: it had sent all events until then.
        self.proved = trio.current_time()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            try:
                self._waiting.extend(await self._batches.receive())
            except trio.EndOfChannel:
                raise self.failure or StopAsyncIteration from None
        return self._waiting.popleft()

    def has_more_of(self, revision: int) -> bool:
        """Whether the next event is of this revision, too: those of one revision come together."""
        return bool(self._waiting) and self._waiting[0].key_value.mod_revision == revision


@contextlib.asynccontextmanager
async def watched(
    members: Members, key: bytes, *, prefix: bool, from_revision: int, previous: bool = False
) -> AsyncIterator[Events]:
    """Watch a key, or all keys that begin with it, from this revision on, which is at least 1."""
    send, receive = trio.open_memory_channel[tuple[Event, ...]](_MOST_WAITING)
    events = Events(receive)
    async with background(_Watch(members, key, prefix, from_revision, previous, send, events).run):
        yield events


@attrs.frozen(kw_only=True)
class _Notice:
    """One answer in the stream."""

    header: Header
    created: bool
    canceled: bool
    compact_revision: int
    reason: str
    # More events of the same revision follow.
    is_fragment: bool
    events: tuple[Event, ...]

    @classmethod
    def of(cls, answer: wire.WatchResponse) -> "_Notice":
        return cls(
            header=Header.of(answer),
            created=answer.created,
            canceled=answer.canceled,
            compact_revision=answer.compact_revision,
            reason=answer.cancel_reason,
            is_fragment=answer.fragment,
            events=tuple(map(Event.of, answer.events)),
        )


@attrs.define
class _Watch:
    _members: Members
    _key: bytes
    _prefix: bool
    _next: int
    _previous: bool
    _send: trio.MemorySendChannel[tuple[Event, ...]]
    _events: Events
    _history: History = attrs.field(init=False)
    # Of the fragments that have come of an answer.
    _pieces: tuple[Event, ...] = attrs.field(default=(), init=False)
    # Events wait to be received: what the member has sent since is not taken yet.
    _is_behind: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._history = History(revision=self._next - 1)

    async def run(self) -> None:
        reasons: dict[str, str] = {}
        with self._send:
            while True:
                endpoint = self._members.in_order[0]
                failure = await self._follow(endpoint)
                if isinstance(failure, MemberFailedError):
                    reasons[endpoint] = str(failure)
                    self._members.avoid(endpoint)
                    if trio.current_time() - self._events.proved > _GIVE_UP:
                        failure = UnavailableError(reasons)
                if isinstance(failure, MemberFailedError):
                    await trio.sleep(_PAUSE)
                else:
                    self._events.failure = failure
                    return

    async def _follow(self, endpoint: str) -> EtcdError:
        """Read one member's stream until it fails."""
        self._pieces, self._is_behind = (), False
        failures: list[EtcdError] = []
        async with trio.open_nursery() as nursery:

            def end(failure: EtcdError) -> None:
                failures.append(failure)
                nursery.cancel_scope.cancel()

            async def read() -> None:
                try:
                    await self._read(endpoint)
                except EtcdError as error:
                    end(error)
                end(MemberFailedError("it has ended the watch"))

            # While no read of the watch itself is under way.
            rest = trio.CancelScope()

            def is_asked() -> Callable[[Header], None]:
                # A read shows what was known when it was asked for, and need not show more.
                asked, known = trio.current_time(), self._history

                def was_read(header: Header) -> None:
                    # It shows nothing of a stream that has ended, though the block that hears of it has not yet.
                    if nursery.cancel_scope.cancel_called or trio.current_time() - asked > _BEAT_LIMIT:
                        return
                    try:
                        self._is_proved(header, known)
                    except EtcdError as error:
                        end(error)
                    # Moving it wakes nothing.
                    rest.deadline = trio.current_time() + BEAT

                return was_read

            async def prove() -> None:
                nonlocal rest
                try:
                    while True:
                        await self._prove(endpoint)
                        with trio.CancelScope(deadline=trio.current_time() + BEAT) as rest:
                            await trio.sleep_forever()
                except EtcdError as error:
                    end(error)

            with self._members.reads_told(endpoint, is_asked):
                nursery.start_soon(read)
                nursery.start_soon(prove)
                await trio.sleep_forever()
        return failures[0]

    async def _read(self, endpoint: str) -> None:
        request = watch_request(self._key, prefix=self._prefix, from_revision=self._next, previous=self._previous)
        async with self._members.stream(endpoint, WATCH, request, _Notice.of) as notices:
            async for notice in notices:
                if notice.canceled and notices.is_login_over(notice.reason):
                    raise MemberFailedError("the login was over")
                await self._take(notice)

    async def _take(self, notice: _Notice) -> None:
        """Pass the notice on; the member sends no more than there is room for."""
        self._history = self._history.of_cluster(notice.header)
        if notice.canceled:
            if notice.compact_revision:
                raise CompactedError(notice.compact_revision)
            raise cancel_error(notice.reason)
        events = self._pieces + notice.events
        if notice.is_fragment:
            self._pieces = events
            return
        self._pieces = ()
        if events:
            self._is_behind = True
            await self._send.send(events)
            self._is_behind = False
            self._next = events[-1].key_value.mod_revision + 1
            self._history = self._history.reaching(self._next - 1)
        elif not notice.created:
            # All events until then were before it.
            self._next = max(self._next, notice.header.revision + 1)

    async def _prove(self, endpoint: str) -> None:
        # A key that any user with the right to watch may read, whether it exists or not.
        first = Get(key=self._key or b"\0", limit=1, keys_only=True)
        await self._members.ask(endpoint, RANGE, first.request(), RangeAnswer.of, within=_BEAT_LIMIT)

    def _is_proved(self, header: Header, known: History) -> None:
        """After a linearizable read that the member has answered, who was asked when this was `known`.

        Raises HistoryError.
        """
        known.followed_by(header)
        self._history = self._history.of_cluster(header).reaching(header.revision)
        if not self._is_behind:
            self._events.proved = trio.current_time()

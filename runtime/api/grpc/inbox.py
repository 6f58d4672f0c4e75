"""What comes on a call whose both ends send messages at any time.

The handler first takes messages one by one (`receive`), which is enough for a few; from `pass_to` on each is passed to
a function as it comes, without a task in between. What is passed on is the function's business, hence there is no limit
of the server on it: the function must not keep more than it can afford, and `pace` is awaited after each read, so that
a peer may be slowed down and others have their turn.

What lies here, of messages that are not taken or not complete, is accounted for as other requests are: on behalf of the
connection and its source. Until `pass_to` the call is an incomplete request, of which a source may have so many, and
each for so long.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from nodespan.runtime.api.grpc.framing import MessageReader
from nodespan.runtime.api.grpc.ledger import Ledger
from nodespan.runtime.api.grpc.status import Code, RPCError, Status
from nodespan.runtime.waiter import Waiter

# Bytes that may wait for `receive`. A peer that sends more before it is asked to breaks the rules of its method.
_MOST_WAITING = 64 << 10
# And so many messages: the smallest take many times their bytes.
_MOST_MESSAGES = 1000
# Accounted for in steps, as it changes with every frame. The first is for what a call takes in any case.
_STEP = 16 << 10
# What a frame is counted as, beside its bytes.
_FRAME_COST = 64


class Owner(Protocol):
    """The request whose messages these are."""

    def end(self, status: Status) -> None:
        """End the call with an error."""
        ...

    def passed_on(self, window: int) -> None:
        """Messages are passed on from now on, and the peer gets this window for them."""
        ...


class Inbox:
    """The messages of one call, of at most `limit` bytes each. `held` is where what lies here is accounted for."""

    __slots__ = (
        "_accounted",
        "_deliver",
        "_has_ended",
        "_held",
        "_is_released",
        "_news",
        "_owner",
        "_pace",
        "_reader",
        "received",
    )

    def __init__(self, limit: int, owner: Owner, held: Ledger) -> None:
        self._reader = MessageReader(limit)
        self._held = held
        self._accounted = 0
        self._is_released = False
        self._owner = owner
        self._deliver: Callable[[bytes], None] | None = None
        self._pace: Callable[[int], Awaitable[None]] | None = None
        self._news = Waiter()
        self._has_ended = False
        # Bytes since the last pause, each frame with a little more: many small ones are not for free.
        self.received = 0

    async def receive(self) -> bytes | None:
        """The next message; None after the last. For one task, before `pass_to`; always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while (message := self._reader.take()) is None:
            if self._has_ended:
                return None
            await self._news.wait()
        self._account()
        return message

    async def ended(self) -> None:
        """Wait until the peer has said that it sends no more. For the same task."""
        while not self._has_ended:
            await self._news.wait()

    def pass_to(
        self, deliver: Callable[[bytes], None], pace: Callable[[int], Awaitable[None]], *, window: int = 0
    ) -> None:
        """From now on give each message to `deliver`, and after reads await `pace`; both may raise RPCError.

        `window` is how many bytes the peer may have under way, if that is to be more than the usual 64 KiB: it is what
        can be sent within one round trip.
        """
        while (message := self._reader.take()) is not None:
            deliver(message)
        self._account()
        self._deliver, self._pace = deliver, pace
        self._owner.passed_on(window)

    # What the connection does.

    @property
    def is_passing_on(self) -> bool:
        """Whether messages are passed on as they come."""
        return self._deliver is not None

    def feed(self, data: bytes) -> None:
        """A part of the body."""
        self.received += len(data) + _FRAME_COST
        reader, deliver = self._reader, self._deliver
        try:
            reader.feed(data)
            if deliver is None:
                self._account()
                if len(reader) > _MOST_WAITING or reader.waiting > _MOST_MESSAGES:
                    raise RPCError(Code.RESOURCE_EXHAUSTED, "more messages than are asked for")
                self._news.wake()
                return
            while (message := reader.take()) is not None:
                deliver(message)
            self._account()
        except RPCError as error:
            self._owner.end(error.status)

    def release(self) -> None:
        """The call is over: nothing is accounted for any more."""
        self._held.shrink(self._accounted)
        self._accounted = 0
        self._is_released = True

    def _account(self) -> None:
        """Account for what lies here. Raises RPCError if it is too much."""
        needed = (len(self._reader) // _STEP + 1) * _STEP
        if needed == self._accounted or self._is_released:
            return
        if needed < self._accounted:
            self._held.shrink(self._accounted - needed)
        elif not self._held.grow(needed - self._accounted):
            raise RPCError(Code.RESOURCE_EXHAUSTED, "too many large requests at once")
        self._accounted = needed

    def end(self) -> None:
        """The peer has sent all."""
        self._has_ended = True
        self._news.wake()

    async def rest(self) -> None:
        """Let the peer and others have their turn, after a read."""
        received, self.received = self.received, 0
        if received and self._pace is not None:
            try:
                await self._pace(received)
            except RPCError as error:
                self._owner.end(error.status)

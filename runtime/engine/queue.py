"""The queue of a queue controller: keys wait once each, and are handed out to one worker at a time.

A put while the key waits only replaces the value. A put while the key is being worked on is held back, the latest
wins, and waits as soon as the work is released. So no key is worked on twice at once, no change is lost, and the queue
is never longer than the number of distinct keys.
"""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from nodespan.runtime.waiters import Waiters

K = TypeVar("K")
V = TypeVar("V")


class KeyedQueue(Generic[K, V]):
    """Keys with their latest values, ordered by the time from which they may be taken; equal times in FIFO order.

    `put`, `release` and `take_ready` never wait. Times are those of trio's clock, in seconds.

    While `add_worker` is set it is called when a key comes to wait and no worker waits for one, and when none is left
    that would wake for a delayed one. `starting` are the workers that it has started and that have not begun.
    """

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        # Holds every key of _values that is not delayed, exactly once.
        self._ready: deque[K] = deque()
        # Key → its release time. Entries of the heap that differ from it are stale.
        self._delayed: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0
        # The keys being worked on, with the values put meanwhile.
        self._held: dict[K, list[V]] = {}
        self._held_count = 0
        self._idle = Waiters()
        self.add_worker: Callable[[], None] | None = None
        self.starting = 0

    def __len__(self) -> int:
        """Keys that wait, and changes held back; keys being worked on are not counted."""
        return len(self._values) + self._held_count

    @property
    def held(self) -> int:
        """Keys that are being worked on."""
        return len(self._held)

    def put(self, key: K, value: V) -> None:
        """Add the key for the next free worker, even if it was delayed."""
        held = self._held.get(key)
        if held is not None:
            if held:
                held[0] = value
            else:
                held.append(value)
                self._held_count += 1
            return
        if self._heap:
            self._release_due()
            if self._delayed.pop(key, None) is not None:
                self._values.pop(key)
        if key not in self._values:
            self._ready.append(key)
            if self._idle.tasks:
                self._idle.wake_first()
            elif self.add_worker is not None:
                self.add_worker()
        self._values[key] = value

    def take_ready(self) -> tuple[K, V] | None:
        """The next key that is due, held until `release`; None if there is none."""
        if not self._has_ready():
            return None
        key = self._ready.popleft()
        self._held[key] = []
        if self._heap and self.add_worker is not None and not self._idle.tasks and not self.starting:
            # This worker may be busy when the next delayed key is due.
            self.add_worker()
        return key, self._values.pop(key)

    async def take(self) -> tuple[K, V]:
        """Wait, cancellably, for the next key that is due. Always a checkpoint."""
        # Parking is a checkpoint, so only what is ready needs one of its own.
        if self._has_ready():
            await trio.lowlevel.checkpoint()
        while (taken := self.take_ready()) is None:
            if self._heap:
                with trio.move_on_at(self._heap[0][0]):
                    await self._idle.wait()
            else:
                await self._idle.wait()
        return taken

    def _has_ready(self) -> bool:
        if self._heap:
            self._release_due()
        return bool(self._ready)

    def release(self, key: K, value: V, *, after: float | None = None) -> None:
        """The work on the key is done; `after` so many seconds it is due again with this value.

        A value put meanwhile is due at once instead.
        """
        held = self._held.pop(key)
        if held:
            self._held_count -= 1
            self.put(key, held[0])
        elif after is not None:
            self._delay(key, value, trio.current_time() + after)

    def _delay(self, key: K, value: V, until: float) -> None:
        self._values[key] = value
        self._delayed[key] = until
        self._sequence += 1
        if len(self._heap) > 2 * len(self._delayed) + 64:
            # Mostly stale: keys that are delayed again and again would pile up otherwise.
            self._heap = [entry for entry in self._heap if self._delayed.get(entry[2]) == entry[0] and entry[2] != key]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (until, self._sequence, key))
        if self._heap[0][2] == key:
            self._wake_one()  # a worker has to wake earlier than planned

    def _release_due(self) -> None:
        """Move the delayed keys that are due to the ready ones."""
        now = trio.current_time()
        while self._heap:
            until, _, key = self._heap[0]
            if self._delayed.get(key) != until:
                heapq.heappop(self._heap)
            elif until <= now:
                heapq.heappop(self._heap)
                del self._delayed[key]
                self._ready.append(key)
                self._wake_one()
            else:
                return

    def _wake_one(self) -> None:
        if self._idle.tasks:
            self._idle.wake_first()
        elif self.add_worker is not None:
            self.add_worker()

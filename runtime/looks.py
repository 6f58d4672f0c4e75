"""Looks from a thread at what notifies nobody. The loop is woken by a look that has found something, and by no other.

The result of a call in a worker thread wakes the loop, and that of a look nearly always is that nothing has changed.
"""

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import trio
from outcome import Outcome, Value

from nodespan.runtime.ticks import due_after

T = TypeVar("T")

_SECOND = 1.0
# Looks that are begun within so many seconds share a thread. What takes longer has others go on without it.
_TOGETHER = 0.5


class _Threads:
    """Where looks are taken: one after the other by one thread, as most are far cheaper than a thread that wakes.

    Those behind one that takes long are taken by another thread once anything is begun, or asked for again.
    """

    def __init__(self) -> None:
        # Of all threads: what waits to be taken, and the latest thread that takes it, None once that has ended.
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._latest: object = None
        # Of the loop: when that thread was started.
        self._started = -math.inf

    def begin(self, look: Callable[[], None]) -> None:
        """Have a look taken. Raises RuntimeError if there may be no more threads; then it is not."""
        self._waiting.append(look)
        try:
            self.hurry()
        except RuntimeError:
            with contextlib.suppress(ValueError):  # another thread has taken it by now
                self._waiting.remove(look)
                raise

    def hurry(self) -> None:
        """See to it that what waits is taken. Raises RuntimeError if there may be no more threads."""
        now, latest = trio.current_time(), object()
        with self._lock:
            if not self._waiting or (self._latest is not None and now < self._started + _TOGETHER):
                return
            self._latest = latest
        try:
            trio.lowlevel.start_thread_soon(lambda: self._take(latest), lambda ended: ended.unwrap())
        except RuntimeError:
            with self._lock:
                self._latest = None
            raise
        self._started = now

    def _take(self, me: object) -> None:
        """In a thread."""
        while True:
            with self._lock:
                if not self._waiting:
                    if self._latest is me:
                        self._latest = None
                    return
                look = self._waiting.popleft()
            look()


_THREADS: "trio.lowlevel.RunVar[_Threads]" = trio.lowlevel.RunVar("threads of looks")


def _threads() -> _Threads:
    try:
        return _THREADS.get()
    except LookupError:
        threads = _Threads()
        _THREADS.set(threads)
        return threads


async def until_found(look: Callable[[], bool], interval: float) -> None:
    """Call `look` in a worker thread about every `interval` seconds until it returns true. Raises what it raises.

    A look that takes longer than the interval is waited for, and not begun a second time. To cancel does not wait for
    the one that is under way; what that finds is dropped.
    """
    has_ended = trio.Event()
    failures: list[Exception] = []

    def end(failure: Exception | None) -> None:
        if failure is not None:
            failures.append(failure)
        has_ended.set()

    looking = QuietLook(look, end)
    while True:
        with trio.move_on_at(due_after(interval)):
            await has_ended.wait()
        if failures:
            raise failures[0]
        if has_ended.is_set():
            return
        looking.begin()


class QuietLook:
    """A look in a worker thread, which is taken again and again, but by one thread at a time.

    `found` is called in the loop with the failure of a look, or with None after one that has returned true.
    """

    def __init__(self, look: Callable[[], bool], found: Callable[[Exception | None], None]) -> None:
        self._look = look
        self._found = found
        self._token = trio.lowlevel.current_trio_token()
        self.is_under_way = False

    def begin(self) -> None:
        """Begin the next look, unless one is under way or what it has found has not been heard of.

        Raises RuntimeError if there may be no more threads.
        """
        if self.is_under_way:
            # It may wait behind one that takes long.
            _threads().hurry()
            return
        self.is_under_way = True
        try:
            _threads().begin(self._run)
        except RuntimeError:  # there are as many threads as there may be
            self.is_under_way = False
            raise

    def _run(self) -> None:
        """In the thread."""
        failure: Exception | None = None
        try:
            has_found = self._look()
        except Exception as error:
            has_found, failure = True, error
        if not has_found:
            self.is_under_way = False
            return
        # The agent may have ended meanwhile.
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._hear, failure)

    def _hear(self, failure: Exception | None) -> None:
        self.is_under_way = False
        self._found(failure)


class QuietJob(Generic[T]):
    """A job in a worker thread that nearly always finds nothing: then what it returns waits for the next second.

    `found_nothing` is called in the thread, with what the job has returned. All else wakes the loop at once, and so
    does a job that is still under way by the next second.
    """

    def __init__(self, job: Callable[[], T], found_nothing: Callable[[T], bool]) -> None:
        self._job = job
        self._found_nothing = found_nothing
        self._token = trio.lowlevel.current_trio_token()
        # The one that waits for it, until it goes on.
        self._task: trio.lowlevel.Task | None = None
        # Of both threads: what came of it, and whether the loop waits for nothing else.
        self._lock = threading.Lock()
        self._outcome: Outcome[tuple[T, bool]] | None = None
        self._is_awaited = False

    def hurry(self) -> None:
        """There is more to do: wait no longer than the job takes."""
        with self._lock:
            self._is_awaited, has_ended = True, self._outcome is not None
        if has_ended:
            self._go_on()

    async def run(self) -> T:
        """Run it, once. Returns what it returns, and raises what it raises.

        To cancel waits for its end, for a thread cannot be stopped. What came of it is returned all the same, as trio's
        own threads do: what was done must be known. The next checkpoint raises.
        """

        def give_up_waiting(_: object) -> trio.lowlevel.Abort:
            self.hurry()
            return trio.lowlevel.Abort.FAILED

        trio.lowlevel.start_thread_soon(self._run, self._deliver)
        self._task = trio.lowlevel.current_task()
        with trio.move_on_at(due_after(_SECOND)):
            await trio.lowlevel.wait_task_rescheduled(give_up_waiting)
        assert self._outcome is not None
        return self._outcome.unwrap()[0]

    def _run(self) -> tuple[T, bool]:
        """In the thread."""
        result = self._job()
        return result, self._found_nothing(result)

    def _deliver(self, ended: "Outcome[tuple[T, bool]]") -> None:
        """In the thread."""
        with self._lock:
            self._outcome = ended
            is_silent = not self._is_awaited and isinstance(ended, Value) and ended.value[1]
        if not is_silent:
            # The agent may have ended meanwhile.
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._go_on)

    def _go_on(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

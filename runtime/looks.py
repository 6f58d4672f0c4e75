"""Looks from a thread at what notifies nobody. The loop is woken by a look that has found something, and by no other.

The result of a call in a worker thread wakes the loop, and that of a look nearly always is that nothing has changed.
"""

import contextlib
from collections.abc import Callable

import trio

from nodespan.runtime.ticks import due_after


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
        if not self.is_under_way:
            self.is_under_way = True
            try:
                trio.lowlevel.start_thread_soon(self._run, lambda ended: ended.unwrap())
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

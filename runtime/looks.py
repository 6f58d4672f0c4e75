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
    looking = _Looking(look)
    while True:
        with trio.move_on_at(due_after(interval)):
            await looking.has_ended.wait()
        if looking.failure is not None:
            raise looking.failure
        if looking.has_ended.is_set():
            return
        looking.begin()


class _Looking:
    """Looks one after the other, until one finds something or fails."""

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._token = trio.lowlevel.current_trio_token()
        self._is_under_way = False
        self.failure: Exception | None = None
        self.has_ended = trio.Event()

    def begin(self) -> None:
        """Begin the next look, unless one is under way."""
        if not self._is_under_way:
            self._is_under_way = True
            trio.lowlevel.start_thread_soon(self._run, lambda ended: ended.unwrap())

    def _run(self) -> None:
        """In the thread."""
        failure: Exception | None = None
        try:
            has_found = self._look()
        except Exception as error:
            has_found, failure = True, error
        if not has_found:
            self._is_under_way = False
            return
        # The agent may have ended meanwhile.
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._end, failure)

    def _end(self, failure: Exception | None) -> None:
        self.failure = failure
        self.has_ended.set()

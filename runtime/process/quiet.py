"""Detects quiescence: the moment at which every task of a trio run waits."""

from collections.abc import Callable

import trio

_POLL = 0.01


class _Instrument(trio.abc.Instrument):
    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
        self._threads = trio.to_thread.current_default_thread_limiter()
        self.was_quiet = False

    def before_io_wait(self, timeout: float) -> None:
        # trio is about to sleep: no task can run. It does not wake for an event set here, so this only takes a note.
        if timeout > 0 and not self._threads.borrowed_tokens and not self._is_busy():
            self.was_quiet = True


async def wait_quiet(is_busy: Callable[[], bool]) -> None:
    """Wait for a moment at which every task waits, none of them for a thread, and `is_busy` returns False.

    Tasks that sleep count as waiting. `is_busy` is called often; it must neither block nor raise.
    """
    instrument = _Instrument(is_busy)
    trio.lowlevel.add_instrument(instrument)
    try:
        while not instrument.was_quiet:  # noqa: ASYNC110  # an instrument cannot wake tasks
            await trio.sleep(_POLL)
    finally:
        trio.lowlevel.remove_instrument(instrument)

"""Interruption: the first signal ends the work in progress, no signal ends the clean-up."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, once. Only for the main thread."""
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undivided() -> Iterator[None]:
    """What begins in the block is known when it ends: a signal that comes in between raises KeyboardInterrupt then.

    Python may raise it within the very call that has started a process, which nobody could end then.
    """
    _held.append(None)
    try:
        yield
    finally:
        _held.pop()
        if _came and not _held:
            number = _came.pop()
            _came.clear()
            _interrupt(number, None)


_held: list[None] = []
_came: list[int] = []


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _held:
        _came.append(number)
        return
    ignore_signals()
    signal.default_int_handler(number, frame)


def ignore_signals() -> None:
    """Until the end of the `interruptible` block, ignore signals in this process and the programs it starts."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)

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


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore_signals()
    signal.default_int_handler(number, frame)


def ignore_signals() -> None:
    """Until the end of the `interruptible` block, ignore signals in this process and the programs it starts."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)

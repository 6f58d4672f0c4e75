"""How often the garbage collector runs a full collection, and what it leaves out.

Nearly all objects of an agent are immutable resources, which live long and form no cycles. With the default thresholds
the collector would traverse them so often that a change costs more the more resources there are. A hundred thousand
more objects come with the code, and never go: traversing them takes a tenth of a second, in which nothing else runs.
"""

import contextlib
import ctypes
import gc
import linecache

import trio

_THRESHOLDS = (20_000, 20, 100)
# When, in seconds after the start, a process has read its configuration and loaded what that asks for; and how often
# it gives back what a burst has left.
_LOADED = 20.0
_INTERVAL = 600.0


def tune() -> None:
    """Set the collector up for a process that holds many resources."""
    gc.set_threshold(*_THRESHOLDS)


def settle() -> None:
    """Leave all present objects out of collections, to the end of the process, and give free memory back.

    For moments at which nearly all that exists will last: after the start, and after code was loaded. Blocks for some
    milliseconds.
    """
    # The sources of generated methods, of which a traceback would show a line: two megabytes.
    linecache.clearcache()
    gc.freeze()
    give_back()


def give_back() -> None:
    """Give memory that is free within the process back to the system; nothing where the C library cannot do that."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


async def keep_small() -> None:
    """Settle at the start, and once code was loaded for the configuration; then give memory back now and then.

    For a task of a process that runs one agent: runs until cancelled.
    """
    settle()
    await trio.sleep(_LOADED)
    settle()
    while True:
        await trio.sleep(_INTERVAL)
        give_back()

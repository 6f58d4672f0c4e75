"""How often the garbage collector runs a full collection, what it leaves out, and what memory is given back.

Nearly all objects of an agent are immutable resources, which live long and form no cycles. With the default thresholds
the collector would traverse them so often that a change costs more the more resources there are. A hundred thousand
more objects come with the code, and never go: traversing them takes a tenth of a second, in which nothing else runs.
Young objects are collected often, and a few at a time, for nothing else runs meanwhile either: where resources replace
each other the number that starts a collection grows slowly, and there are several times as many by then.

A start touches far more than what runs afterwards needs: memory that was freed, and the machine code of Python and its
libraries, of which most is for loading the rest. Both are given back: the one to the system, the other to its cache of
files, from where a page that is needed again comes within a microsecond.
"""

import ctypes
import gc
import linecache
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import attrs
import trio

_THRESHOLDS = (2_000, 5, 4_000)
# When, in seconds after the start, a process has read its configuration and loaded what that asks for; and how often
# it gives back what a burst has left.
_LOADED = 20.0
_INTERVAL = 600.0
# Code that is there for so many seconds is loaded, and stays.
_LASTING = 5.0
# Of malloc(3) and madvise(2).
_ARENA_MAX = -8
_DONTNEED = 4


def tune() -> None:
    """Set the collector and the allocator up for a process that holds many resources, before most of it is loaded."""
    gc.set_threshold(*_THRESHOLDS)
    # Only one thread at a time runs Python code. By default each has an arena of its own, and each keeps what it freed.
    c_library = ctypes.CDLL(None)
    if hasattr(c_library, "mallopt"):
        c_library.mallopt(_ARENA_MAX, 1)


def settle() -> None:
    """Leave all present objects out of collections, to the end of the process.

    For moments at which nearly all that exists will last: after the start, and after code was loaded. Blocks for some
    milliseconds.
    """
    forget_sources()
    # What the directories of modules hold: looked up again by the next import of a module that is not loaded.
    sys.path_importer_cache.clear()
    gc.collect(0)
    gc.freeze()


def forget_sources() -> None:
    """Drop the files of which the log of a failure has shown lines: each is kept as a whole, a megabyte in all."""
    linecache.clearcache()


def give_back(lasting: Collection["Region"]) -> None:
    """Give memory that is free within the process, and code that is not in use, back to the system.

    Only of regions that are there as they were some time ago: other threads load code meanwhile, and what is a file now
    may be memory in a moment. Blocks for some ten milliseconds, in which other threads run. Nothing where the C library
    cannot do that.
    """
    c_library = ctypes.CDLL(None)
    if hasattr(c_library, "malloc_trim"):
        c_library.malloc_trim(0)
    madvise = c_library.madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for region in present_regions():
        # Advice: where it is refused, as for memory that is locked, the pages stay.
        if region in lasting:
            madvise(region.start, region.length, _DONTNEED)


def present_regions() -> frozenset["Region"]:
    """The regions of this process that show files as they are. Blocks for some ten milliseconds."""
    return frozenset(clean_regions(Path("/proc/self/smaps").read_text(errors="replace").splitlines()))


@attrs.frozen
class Region:
    """A part of the address space, and the file there: its device and inode."""

    start: int
    length: int
    file: tuple[str, str]


def clean_regions(smaps: Iterable[str]) -> Iterator[Region]:
    """The regions, by the lines of /proc/PID/smaps, that show files as they are: what is dropped can be read again.

    One that was ever written to, as relocated pointers are that are read-only afterwards, has pages of its own.
    """
    region: Region | None = None
    resident = 0
    for line in smaps:
        name, *values = line.split(None, 5)
        if not name.endswith(":"):
            start, _, end = name.partition("-")
            permissions, inode, path = values[0], values[3], values[4] if len(values) > 4 else ""
            is_file = inode != "0" and path.startswith("/") and not path.startswith("/dev/")
            is_private = "w" not in permissions and permissions.endswith("p")
            first = int(start, 16)
            region = Region(first, int(end, 16) - first, (values[2], inode)) if is_file and is_private else None
        elif name == "Rss:":
            resident = int(values[0])
        elif name == "Anonymous:" and region is not None and resident and values[0] == "0":
            yield region


async def keep_small() -> None:
    """Settle at the start, and once code was loaded for the configuration; give back what is not needed now and then.

    For a task of a process that runs one agent: runs until cancelled.
    """
    settle()
    lasting = await _present_before(_LOADED)
    settle()
    while True:
        # Here, where most of what shows them runs: who looks a file up twice finds it twice.
        forget_sources()
        await trio.to_thread.run_sync(give_back, lasting)
        lasting = await _present_before(_INTERVAL)


async def _present_before(wait: float) -> frozenset[Region]:
    """Wait, and return the regions that were there shortly before the end."""
    await trio.sleep(wait - _LASTING)
    regions = await trio.to_thread.run_sync(present_regions)
    await trio.sleep(_LASTING)
    return regions

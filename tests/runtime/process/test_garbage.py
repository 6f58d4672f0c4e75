"""What a process gives back of its memory."""

import gc
import linecache
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from nodespan.runtime.process import garbage
from nodespan.runtime.process.garbage import Region, clean_regions

SMAPS = """\
7f0000000000-7f0000004000 r--p 00000000 fe:00 12 /usr/lib/a.so
Size:                 16 kB
Rss:                  16 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
7f0000004000-7f0000008000 r-xp 00004000 fe:00 12 /usr/lib/a name with blanks.so (deleted)
Rss:                   4 kB
Anonymous:             0 kB
7f0000008000-7f000000a000 r--p 00008000 fe:00 12 /usr/lib/relocated.so
Rss:                   8 kB
Anonymous:             4 kB
7f000000a000-7f000000c000 rw-p 0000a000 fe:00 12 /usr/lib/written.so
Rss:                   8 kB
Anonymous:             0 kB
7f000000c000-7f000000e000 r-xp 0000a000 fe:00 12 /usr/lib/not-resident.so
Rss:                   0 kB
Anonymous:             0 kB
7f000000e000-7f0000010000 r--s 00000000 00:05 3 /dev/dri/card0
Rss:                   8 kB
Anonymous:             0 kB
7f0000010000-7f0000012000 r--p 00000000 00:00 0 \n\
Rss:                   8 kB
Anonymous:             0 kB
7ffe00000000-7ffe00002000 r-xp 00000000 00:00 0 [vdso]
Rss:                   8 kB
Anonymous:             0 kB
"""
PROCESS = """
import ctypes, sys
from pathlib import Path
from nodespan.runtime.process import garbage

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile:"))

garbage.tune()
before = resident()
garbage.settle()
garbage.give_back(garbage.present_regions())
# All of it still works.
import decimal, json, sqlite3, ssl
ssl.create_default_context()
assert json.loads("[1.5]") == [1.5] and decimal.Decimal(2).sqrt() > 1
sqlite3.connect(":memory:").execute("SELECT 1")
print(before, resident())
"""


def test_only_what_a_file_holds_unchanged_is_dropped() -> None:
    found = list(clean_regions(SMAPS.splitlines()))
    file = ("fe:00", "12")
    assert found == [Region(0x7F0000000000, 0x4000, file), Region(0x7F0000004000, 0x4000, file)]


def test_only_what_was_there_before_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []

    def madvise(start: int, length: int, advice: int) -> int:
        dropped.append(start)
        return 0

    known, new = Region(0x1000, 0x1000, ("fe:00", "1")), Region(0x3000, 0x1000, ("fe:00", "2"))
    # A library was unloaded, and another one is there now.
    replaced = Region(0x5000, 0x1000, ("fe:00", "3"))
    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace(madvise=madvise))
    monkeypatch.setattr(garbage, "present_regions", lambda: frozenset({known, new, replaced}))
    garbage.give_back({known, Region(0x5000, 0x1000, ("fe:00", "4"))})
    assert dropped == [known.start]


async def test_files_of_which_a_log_has_shown_lines_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []

    def give_back(lasting: object) -> None:
        kept.append(__file__ in linecache.cache)
        # For the next time: something fails meanwhile.
        traceback.format_stack()
        if len(kept) == 3:
            trio.from_thread.run_sync(nursery.cancel_scope.cancel)

    for name in ("_LOADED", "_LASTING", "_INTERVAL"):
        monkeypatch.setattr(garbage, name, 0.0)
    monkeypatch.setattr(garbage, "give_back", give_back)
    monkeypatch.setattr(garbage, "present_regions", lambda: frozenset[Region]())
    traceback.format_stack()
    assert __file__ in linecache.cache
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(garbage.keep_small)
    finally:
        gc.unfreeze()
    assert kept == [False, False, False]


@pytest.mark.process
def test_a_process_gives_back_code_and_goes_on() -> None:
    command = (sys.executable, "-c", PROCESS)
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before

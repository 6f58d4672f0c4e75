"""The process of an errand: it reads a request, calls one function with it, writes the answer, and ends.

See `errand`, which starts it. It loads nothing of the agent, so that it starts fast.
"""

import importlib
import os
import resource
import signal
import sys
from typing import Final

# The first byte of what is answered: an answer, or why there is none.
DONE, REFUSED, FAILED, REPLACED = b"\x00", b"\x01", b"\x02", b"\x03"
LARGEST: Final = 8 << 20
SIZE_BYTES: Final = 8


class ErrandRefusedError(Exception):
    """What the function of an errand raises, with a text for whoever sent it: the request cannot be done."""


def stamp() -> str:
    """What changes when this program is installed again, even in the same version."""
    status = os.stat(__file__)
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def call(function: str, request: bytes) -> bytes:
    """Call a function, MODULE:NAME, from bytes to bytes. Raises what it raises."""
    module, _, name = function.partition(":")
    answer = getattr(importlib.import_module(module), name)(request)
    assert isinstance(answer, bytes)
    return answer


def main() -> int:
    """Do the errand of the arguments: the function, the stamp of who asks, and after how many seconds to be gone."""
    function, expected, seconds = sys.argv[1:]
    # It ends by itself even if whoever started it is gone, or is stopped.
    signal.alarm(int(seconds))
    _leave_no_core()
    # What the function prints is no part of the answer.
    output = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    if stamp() != expected:
        return _answer(output, REPLACED, b"")
    importlib.import_module(function.partition(":")[0])
    # From here on there are secrets: what is said of an accident would have them pass by.
    os.dup2(nothing, 2)
    size = int.from_bytes(_read(SIZE_BYTES), "big")
    request = _read(size)
    if len(request) < size:
        return 1  # whoever asked is gone
    try:
        return _answer(output, DONE, call(function, request))
    except ErrandRefusedError as error:
        return _answer(output, REFUSED, str(error).encode())
    except Exception as error:  # told back; its text may hold what the request does
        return _answer(output, FAILED, _where(error).encode())


def _leave_no_core() -> None:
    """Have no picture of the memory written when the process crashes: it has keys.

    A limit of one byte does that also where a program takes the pictures from a pipe (core(5)).
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    least = 0 if most == 0 else 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (least, least))
    except OSError:
        # A sandbox that lets no limit be set is no reason to go without certificates: the agent has these keys, too.
        return


def _read(size: int) -> bytes:
    return sys.stdin.buffer.read(min(size, LARGEST + 1))


def _answer(output: int, kind: bytes, content: bytes) -> int:
    with open(output, "wb") as file:
        file.write(kind + content)
    return 0


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" in {trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}"
    return f"{type(error).__name__}{place}"

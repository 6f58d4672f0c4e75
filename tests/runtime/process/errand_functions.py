"""What the processes of the tests of errands do."""

import os
import signal
import sys
from pathlib import Path

from nodespan.runtime.process.errand_runner import LARGEST, ErrandRefusedError


def echo(request: bytes) -> bytes:
    os.write(1, b"not an answer")
    os.write(2, b"nor this")
    return request[::-1]


def surroundings(request: bytes) -> bytes:
    """What else of this process could tell of its request: where that is found, and the numbers of open files."""
    told = [name for name in ("cmdline", "environ") if request in Path(f"/proc/self/{name}").read_bytes()]
    files = {int(name) for name in os.listdir("/proc/self/fd")}
    limits = [line for line in Path("/proc/self/limits").read_text().splitlines() if line.startswith("Max core")]
    return f"{told} {len(files)} {limits[0].split()[4:6]}".encode()


def modules(_request: bytes) -> bytes:
    return " ".join(sys.modules).encode()


def refuse(request: bytes) -> bytes:
    raise ErrandRefusedError(f"not today: {request.decode()}")


def fail(request: bytes) -> bytes:
    raise ValueError(f"this is secret: {request.decode()}")


def die(_request: bytes) -> bytes:
    os.write(2, b"this is secret")
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def much(_request: bytes) -> bytes:
    return bytes(LARGEST + 1)


def wait(request: bytes) -> bytes:
    """Say in a file who waits, and do so."""
    Path(request.decode()).write_text(f"{os.getpid()}\n")
    signal.pause()
    return b""


def seconds_left(_request: bytes) -> bytes:
    """After how many seconds the process ends by itself."""
    return str(signal.alarm(0)).encode()

"""A lock that one process at a time can hold; the kernel releases it when the process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LockedError(Exception):
    """Another process holds the lock; `holder` is its pid, or `unknown`."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is locked by another process (pid {holder})")
        self.holder = holder


# How often one who is refused looks who the holder is, while that writes or removes its pid.
_LOOKS = 100


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of this file, created if it is missing; it contains the holder's pid meanwhile.

    Does not wait. Raises LockedError, OSError.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(lock, path)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def _take(lock: int, path: Path) -> None:
    for _ in range(_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if holder := os.pread(lock, 32, 0).decode(errors="replace").strip():
                raise LockedError(path, holder) from None
            os.sched_yield()
        else:
            return
    raise LockedError(path, "unknown")

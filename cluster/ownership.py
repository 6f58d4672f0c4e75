"""The owner of a cluster: a lock on one of its files, which the kernel releases when the owner ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from nodespan.cluster.plan import Plan


@contextmanager
def owned(plan: Plan) -> Iterator[None]:
    """Become the owner of the cluster, whose directory exists. Raises BlockingIOError if it has an owner."""
    file = os.open(plan.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def owner_of(plan: Plan) -> int | None:
    """The pid of the cluster's owner, None if it has none."""
    try:
        file = os.open(plan.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(file, 32, 0) or b"0") or None
    finally:
        os.close(file)
    return None

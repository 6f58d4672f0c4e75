"""The snapshots of several processes: files beside the one of a single process, each with the clusters of its process.

FILE is that of one process, FILE.2-of-4 the second of four. Before the processes start, the files are brought to their
number: every cluster is in the file of its process then. Where a cluster is in several files, the newest one counts.

FILE.lock is locked while a service runs, by all its processes: the files of a running one stay as they are.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodespan.discovery.service import snapshot_file
from nodespan.discovery.service.processes.team import owner_of
from nodespan.runtime.process.logger import Logger
from nodespan.runtime.whole_file import make_directory

# How long, in seconds, to wait for the processes of a service that was killed, and between two looks.
_PATIENCE = 5.0
_PAUSE = 0.05


def part_of(path: Path, place: int, count: int) -> Path:
    """The file of a process, the places of which begin with 0."""
    return path if count == 1 else path.with_name(f"{path.name}.{place + 1}-of-{count}")


@contextmanager
def arranged(path: Path, count: int, log: Logger, *, patience: float = _PATIENCE) -> Iterator[None]:
    """For as long as the block lasts the files are those of so many processes.

    Raises OSError if they cannot be, or if a running service of several processes, or of another number, uses them.
    The processes of one that was killed end within moments: they are waited for. Blocks.
    """
    try:
        lock = _open_lock(path)
    except OSError as error:
        # Without a folder for it there is nothing to save either, which the service survives.
        log.warning("the snapshots cannot be locked", path=str(path), error=str(error))
        arrange(path, count, log)
        yield
        return
    try:
        if _is_locked(lock, patience if count > 1 or _strays(path, count) else 0.0):
            arrange(path, count, log)
        elif count > 1 or _strays(path, count):
            reason = "a running service has its snapshots there: stop it, or give this one another file"
            raise OSError(errno.EBUSY, reason, str(path))
        else:
            log.warning("another running service has the same snapshot", path=str(path))
        yield
    finally:
        os.close(lock)


def _is_locked(lock: int, patience: float) -> bool:
    """Take the lock; False if another service keeps it for so many seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE)
        else:
            return True


def _open_lock(path: Path) -> int:
    make_directory(path.parent, mode=0o700)
    lock = path.with_name(f"{path.name}.lock")
    return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def arrange(path: Path, count: int, log: Logger) -> None:
    """Bring the files to so many processes. Raises OSError, after which all records are still in some file.

    A file that is damaged is read as far as that goes, and kept under another name.
    """
    wanted = [part_of(path, place, count) for place in range(count)]
    left = _strays(path, count)
    if not left:
        return
    found = sorted(_files(path), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    records: dict[str, bytes] = {}
    for file in found:
        if not _read(file, records, log):
            snapshot_file.keep_damaged(file)
    for place, part in enumerate(wanted):
        snapshot_file.write(part, (record for id, record in records.items() if owner_of(id, count) == place))
    for file in left:
        file.unlink()
    log.info("the snapshots were spread over the processes", processes=count, clusters=len(records))


def _strays(path: Path, count: int) -> list[Path]:
    """The files of another number of processes."""
    wanted = {part_of(path, place, count) for place in range(count)}
    return [file for file in _files(path) if file not in wanted]


def _files(path: Path) -> Iterator[Path]:
    part = re.compile(re.escape(path.name) + r"(\.[1-9][0-9]*-of-[1-9][0-9]*)?")
    if path.parent.is_dir():
        for file in path.parent.iterdir():
            if part.fullmatch(file.name) and file.is_file():
                yield file


def _read(file: Path, records: dict[str, bytes], log: Logger) -> bool:
    """Add the clusters of a file that are not there yet; False if it is damaged."""
    try:
        with file.open("rb") as content:
            for record in snapshot_file.read_records(content):
                records.setdefault(record.id, snapshot_file.encode_record(record))
    except snapshot_file.SnapshotError as error:
        log.warning("snapshot read only in part", path=str(file), error=str(error))
        return False
    return True

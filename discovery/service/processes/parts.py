"""The snapshots of several processes: files beside the one of a single process, each with the clusters of its process.

FILE is that of one process, FILE.2-of-4 the second of four. Before the processes start, the files are brought to their
number: every cluster is in the file of its process then. Where a cluster is in several files, the newest one counts.

FILE.lock is locked while a service runs, by all its processes: the files of a running one stay as they are.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodespan.discovery.service import snapshot_file
from nodespan.discovery.service.processes.team import owner_of
from nodespan.runtime.process.logger import Logger
from nodespan.runtime.whole_file import make_directory


def part_of(path: Path, place: int, count: int) -> Path:
    """The file of a process, the places of which begin with 0."""
    return path if count == 1 else path.with_name(f"{path.name}.{place + 1}-of-{count}")


@contextmanager
def arranged(path: Path, count: int, log: Logger) -> Iterator[None]:
    """For as long as the block lasts the files are those of so many processes.

    Raises OSError if they cannot be, or if a service of another number of processes uses them.
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
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _strays(path, count):
                reason = "a running service of another number of processes has its snapshots there"
                raise OSError(errno.EBUSY, reason, str(path)) from None
            log.warning("another running service has the same snapshot", path=str(path))
        else:
            arrange(path, count, log)
        yield
    finally:
        os.close(lock)


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

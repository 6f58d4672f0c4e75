"""The snapshots of several processes: files beside the one of a single process, each with the clusters of its process.

FILE is that of one process, FILE.2-of-4 the second of four. Before the processes start, the files are brought to their
number: every cluster is in the file of its process then. Where a cluster is in several files, the newest one counts.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from nodespan.discovery.service import snapshot_file
from nodespan.discovery.service.processes.team import owner_of
from nodespan.runtime.process.logger import Logger


def part_of(path: Path, place: int, count: int) -> Path:
    """The file of a process, the places of which begin with 0."""
    return path if count == 1 else path.with_name(f"{path.name}.{place + 1}-of-{count}")


def arrange(path: Path, count: int, log: Logger) -> None:
    """Bring the files to so many processes. Raises OSError, after which all records are still in some file.

    A file that is damaged is read as far as that goes, and kept under another name.
    """
    wanted = [part_of(path, place, count) for place in range(count)]
    found = sorted(_files(path), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    left = [file for file in found if file not in wanted]
    if not left:
        return
    records: dict[str, bytes] = {}
    damaged = [file for file in found if not _read(file, records, log)]
    for place, part in enumerate(wanted):
        snapshot_file.write(part, (record for id, record in records.items() if owner_of(id, count) == place))
    for file in damaged:
        if file not in wanted:
            file.replace(file.with_name(f"{file.name}.damaged"))
    for file in left:
        file.unlink(missing_ok=True)
    log.info("the snapshots were spread over the processes", processes=count, clusters=len(records))


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

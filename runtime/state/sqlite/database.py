"""The file: how it is opened, made, brought to today's format, and what becomes of a damaged one. All calls block.

A file is one process's: a lock beside it says so, and SQLite's own exclusive mode keeps other programs out. Its mode is
0600. `application_id` marks it as ours, `user_version` is its format: a new file gets the formats one after the other,
as an old one gets those that it lacks. A newer one is refused.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs

from nodespan.runtime.errors import StateOpenError
from nodespan.runtime.lock_file import LockedError, locked
from nodespan.runtime.state.sqlite.rows import COLUMNS, Row
from nodespan.runtime.whole_file import make_directory, sync_directory

APPLICATION_ID = 0x6E6F6465  # "node"
# What makes each format of the one before; the first makes it of nothing. Never change one that was released.
FORMATS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE resources (
               namespace TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
               owner TEXT NOT NULL, phase TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
               labels TEXT, annotations TEXT, finalizers TEXT, sealed INTEGER NOT NULL, spec BLOB NOT NULL,
               PRIMARY KEY (namespace, type, id))""",
        """CREATE TABLE set_aside (
               namespace TEXT, type TEXT, id TEXT, version INTEGER, owner TEXT, phase TEXT, created INTEGER,
               updated INTEGER, labels TEXT, annotations TEXT, finalizers TEXT, sealed INTEGER, spec BLOB,
               reason TEXT NOT NULL, moved TEXT NOT NULL)""",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
    ),
)
_NAMES = ", ".join(COLUMNS)
_SELECT = f"SELECT {_NAMES} FROM resources"  # noqa: S608  # our own names
UPSERT = (
    f"INSERT INTO resources ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608
    f"ON CONFLICT (namespace, type, id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[3:])}"
)
DELETE = "DELETE FROM resources WHERE namespace = ? AND type = ? AND id = ?"
SET_ASIDE = (
    f"INSERT INTO set_aside ({_NAMES}, reason, moved) "  # noqa: S608
    f"SELECT {_NAMES}, ?, datetime('now') FROM resources WHERE namespace = ? AND type = ? AND id = ?"
)
FACT = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"
_MAGIC = b"SQLite format 3\0"
# So many queries are spent on what is left in a damaged file.
_MOST_QUERIES = 20_000
_BUSY_TIMEOUT = 1.0


class _DamagedError(Exception):
    """The file is ours, and not what SQLite expects."""


@attrs.frozen
class Opened:
    """A file that is open: its connection, its contents, and where a damaged one before it was put."""

    connection: sqlite3.Connection
    rows: list[Row]
    facts: dict[str, bytes]
    damaged: Path | None = None
    damage: str = ""


def text_of(path: Path, error: sqlite3.Error) -> str:
    """What happened to the file, in words."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return f"the disk of {path} is full"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return f"{path} cannot be written: it, or its file system, is read-only"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another program has {path} open"
        case _:
            return f"{path}: {error}"


@contextmanager
def opened(path: Path, *, synchronous: str) -> Iterator[Opened]:
    """The file, open and locked. Raises StateOpenError."""
    lock = Path(f"{path}.lock")
    try:
        make_directory(path.parent, mode=0o700)
        was_ours = lock.exists()
        # Before there is a lock: a refused file must not pass for ours at the next try.
        _prepare(path, was_ours=was_ours)
        with locked(lock), closing_database(_open(path, synchronous, was_ours=was_ours)) as found:
            yield found
    except LockedError as error:
        raise StateOpenError(f"another process (pid {error.holder}) uses {path}") from None
    except sqlite3.Error as error:
        raise StateOpenError(text_of(path, error)) from error
    except OSError as error:
        raise StateOpenError(f"{error.filename or path}: {error.strerror}") from error


@contextmanager
def closing_database(found: Opened) -> Iterator[Opened]:
    """Close the connection at the end; the log is moved into the file first, so that one file is left."""
    with closing(found.connection):
        yield found


def _open(path: Path, synchronous: str, *, was_ours: bool) -> Opened:
    _prepare(path, was_ours=was_ours)
    try:
        return _read(path, synchronous)
    except _DamagedError as error:
        damage = str(error)
    rows, facts = _salvage(path)
    fresh = Path(f"{path}.recovered")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    _prepare(fresh, was_ours=True)
    with closing(_read(fresh, "FULL").connection) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(UPSERT, rows)
        connection.executemany(FACT, facts.items())
        connection.execute("COMMIT")
    # Until here a failure leaves everything for the next try.
    aside = _set_aside(path)
    fresh.rename(path)
    sync_directory(path.parent)
    return attrs.evolve(_read(path, synchronous), damaged=aside, damage=damage)


def _prepare(path: Path, *, was_ours: bool) -> None:
    """Make a missing file, of mode 0600 from its first moment; refuse what was never ours."""
    try:
        status = path.stat()
    except FileNotFoundError:
        # Another process may be as far as this; the lock decides.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            sync_directory(path.parent)
        return
    if not stat.S_ISREG(status.st_mode):
        raise StateOpenError(f"{path} is not a regular file")
    with path.open("rb") as file:
        magic = file.read(len(_MAGIC))
    if magic and magic != _MAGIC and not was_ours:
        raise StateOpenError(f"{path} is a file of something else: choose another path, or move it away")


def _read(path: Path, synchronous: str) -> Opened:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _check_owner(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        _bring_up_to_date(connection, path)
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise _DamagedError(health)
        rows = connection.execute(_SELECT).fetchall()
        facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    except sqlite3.DatabaseError as error:
        connection.close()
        # Text that is no UTF-8 is found by Python, without a code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _DamagedError(str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return Opened(connection, rows, facts)


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StateOpenError(f"{path} is a database of another program: choose another path, or move it away")
    if version > len(FORMATS):
        raise StateOpenError(
            f"{path} has format {version}, and this nodespan reads formats up to {len(FORMATS)}: a newer one wrote it; "
            "run that one, or move the file away to start without its contents"
        )


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == len(FORMATS):
        return
    if version:
        # What the older program can still read, should this one be taken back.
        backup = Path(f"{path}.format-{version}")
        backup.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(backup),))
        backup.chmod(0o600)
    connection.execute("BEGIN IMMEDIATE")
    for statements in FORMATS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(FORMATS)}")
    connection.execute("COMMIT")


def _set_aside(path: Path) -> Path:
    """Rename the file and its log; the names say when."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for attempt in range(1000):
        aside = Path(f"{path}.damaged-{stamp}" + (f"-{attempt}" if attempt else ""))
        if not aside.exists():
            break
    for suffix in ("-wal", "-shm", ""):
        source = Path(f"{path}{suffix}")
        if source.exists():
            source.rename(f"{aside}{suffix}")
    sync_directory(path.parent)
    return aside


def _salvage(path: Path) -> tuple[list[Row], dict[str, bytes]]:
    """The rows that can be read of a damaged file, by their numbers, around those that cannot."""
    found: dict[int, Row] = {}
    facts: dict[str, bytes] = {}
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        try:
            connection.execute("SELECT 1 FROM resources WHERE 0")
        except sqlite3.Error:
            return [], {}  # not even the names of the tables are left
        try:
            facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
        except sqlite3.Error:
            facts = {}
        try:
            (last,) = connection.execute("SELECT max(rowid) FROM resources NOT INDEXED").fetchone()
        except sqlite3.Error:
            last = 1 << 20
        ranges = [(1, last or 0)]
        for _ in range(_MOST_QUERIES):
            if not ranges:
                break
            first, last = ranges.pop()
            if last < first or _read_range(connection, first, last, found) or first == last:
                continue
            middle = (first + last) // 2
            ranges += [(middle + 1, last), (first, middle)]
    unique = {row[:3]: row for row in found.values()}
    return [row for row in unique.values() if _is_whole(row)], facts


def _read_range(connection: sqlite3.Connection, first: int, last: int, found: dict[int, Row]) -> bool:
    query = f"SELECT rowid, {_NAMES} FROM resources NOT INDEXED WHERE rowid BETWEEN ? AND ?"  # noqa: S608
    try:
        for number, *row in connection.execute(query, (first, last)):
            found[number] = tuple(row)
    except sqlite3.Error:
        return False
    return True


_TYPES = (str, str, str, int, str, str, int, int)


def _is_whole(row: Row) -> bool:
    return all(isinstance(value, type) for value, type in zip(row, _TYPES, strict=False)) and isinstance(row[-1], bytes)

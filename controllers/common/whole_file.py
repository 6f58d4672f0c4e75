"""Files that are replaced as a whole, and are on the disk before anybody is told so.

All calls block.
"""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

_MODE = 0o600


def replace_file(path: Path, text: str) -> None:
    """Make the file hold the text: entirely or, whatever happens, not at all. Raises OSError.

    A new file is readable by this user only; one that is there keeps its mode and its
    owner. A symbolic link stays one, and what it points to is replaced.
    """
    path = path.resolve()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            _copy_rights(path, file.fileno())
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Remove the file for good; one that is missing is no error. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory be on the disk. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _copy_rights(path: Path, handle: int) -> None:
    try:
        known = path.stat()
    except FileNotFoundError:
        os.fchmod(handle, _MODE)
        return
    os.fchmod(handle, stat.S_IMODE(known.st_mode))
    if (known.st_uid, known.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(handle, known.st_uid, known.st_gid)

"""Files that are replaced as a whole: one mechanism for every file that we write as root.

A reader gets the old content or the new one, also after a power cut, and never a part. The new content is written to
a temporary file in the same directory, flushed, and renamed over the old one. Three rules prevent others from
redirecting a process that runs as root to other files:

- Only a regular file is ever replaced, never a device, a socket, a FIFO or a directory.
- The temporary file has an unpredictable name and is opened with O_EXCL: a link planted there is not followed.
- A symbolic link in the path is followed only in a directory where root and this user alone can make one.

A process that is killed leaves its temporary file behind. The next one that writes the same file removes it; a lock on
each temporary file tells those from the ones that are being written. All calls block.
"""

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_MODE = 0o600
_MOST_LINKS = 40  # as many as the kernel follows (path_resolution(7))


def replace_file(path: Path, content: str | bytes | Iterable[bytes], *, mode: int | None = None) -> int:
    """Make the file hold the content, entirely or not at all; returns its size in bytes.

    A new file is readable by this user only; an existing one keeps its mode and owner. `mode`, permission bits,
    overrides both. A symbolic link stays, and the file that it points to is replaced. Raises OSError, with the
    reason in words where one of the rules above forbids it.
    """
    path = check_target(path)

    def prepare(descriptor: int) -> None:
        _copy_rights(path, descriptor)
        if mode is not None:
            os.fchmod(descriptor, mode)

    return put_file(path, content, prepare=prepare)


def check_target(path: Path) -> Path:
    """The file that replace_file would replace, with links resolved. Raises OSError, in words, if it would refuse."""
    path = follow_links(path)
    _check_regular(path)
    return path


def put_file(
    path: Path,
    content: str | bytes | Iterable[bytes],
    *,
    prepare: Callable[[int], None] | None = None,
    confirm: Callable[[], None] | None = None,
) -> int:
    """As replace_file, but a symbolic link at `path` is refused, and `prepare` sets the rights.

    `prepare` is called with the descriptor of the temporary file, of mode 0600, before it takes the name. `confirm` is
    called right before it does, when all is on the disk: if it raises, the file stays as it is.
    """
    _check_regular(path)
    with _temporary(path) as (name, descriptor):
        if prepare is not None:
            prepare(descriptor)
        size = _fill(descriptor, content)
        if confirm is not None:
            confirm()
        os.replace(name, path)
    sync_directory(path.parent)
    return size


def create_file(path: Path, content: str | bytes | Iterable[bytes]) -> None:
    """Write a file that must not exist yet, readable by this user only. Raises FileExistsError, other OSErrors."""
    with _temporary(path) as (name, descriptor):
        _fill(descriptor, content)
        os.link(name, path)  # unlike a rename it does not replace an existing file
    sync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Remove the file durably; a missing one is no error. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def make_directory(path: Path, *, mode: int) -> None:
    """Make a directory of this mode whatever the umask is, and those above it of 0755. Existing ones stay as they are.

    Raises OSError.
    """
    missing = [path, *path.parents]
    while missing and missing[-1].is_dir():
        missing.pop()
    for each in reversed(missing):
        try:
            each.mkdir(mode=0o700)
        except FileExistsError:
            if not each.is_dir():
                raise
            continue  # another process was faster
        wanted = mode if each == path else 0o755
        each.chmod(wanted)


def sync_directory(path: Path) -> None:
    """Flush the names of a directory to the disk. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def follow_links(path: Path) -> Path:
    """The path with every symbolic link resolved; the last part may be missing.

    Raises OSError (ELOOP) for a link in a directory that others may write, for they could have made it.
    """
    found = Path("/")
    rest = list(reversed(Path(os.path.abspath(path)).parts[1:]))
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            found = found.parent
            continue
        step = found / part
        try:
            target = os.readlink(step)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise
            found = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        _check_directory(found, step)
        if os.path.isabs(target):
            found = Path("/")
        rest.extend(reversed([each for each in target.split("/") if each not in ("", ".")]))
    return found


def _check_directory(directory: Path, link: Path) -> None:
    status = directory.stat()
    strangers = status.st_uid not in (0, os.geteuid())
    shared = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid()))
    if strangers or shared:
        raise OSError(
            errno.ELOOP, f"a symbolic link in {directory}, where others may make one, is not followed", str(link)
        )


def _check_regular(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file, so it is not replaced", str(path))


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[str, int]]:
    """A new file beside the path, locked while it is in use, and gone afterwards under this name."""
    prefix = f".{path.name}.nodespan-"
    _remove_leftovers(path.parent, prefix)
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    try:
        os.fchmod(descriptor, _MODE)  # whatever the umask is
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield name, descriptor
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _remove_leftovers(directory: Path, prefix: str) -> None:
    with os.scandir(directory) as entries:
        names = [entry.path for entry in entries if entry.name.startswith(prefix)]
    for name in names:
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_uid == os.geteuid():
                    os.unlink(name)
            finally:
                os.close(descriptor)


def _fill(descriptor: int, content: str | bytes | Iterable[bytes]) -> int:
    """Write and flush the content; returns its size in bytes."""
    with os.fdopen(os.dup(descriptor), "wb") as file:
        for part in _parts(content):
            file.write(part)
        size = file.tell()
    os.fsync(descriptor)
    return size


def _parts(content: str | bytes | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(content, str):
        return (content.encode(),)
    return (content,) if isinstance(content, bytes) else content


def _copy_rights(path: Path, descriptor: int) -> None:
    try:
        known = path.lstat()
    except FileNotFoundError:
        return
    if (known.st_uid, known.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, known.st_uid, known.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(known.st_mode))

"""Changes files of the machine reversibly, and restores them.

If another program changes such a file, its content becomes the new base: our edit is applied on top again (damped if
this repeats), and what is restored in the end is what that program wrote last.
"""

import contextlib
import errno
import itertools
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from nodespan.controllers.common.damping import Damper
from nodespan.controllers.host.edits import Edit
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.originals import FileContent, Originals, Record, digest
from nodespan.runtime.whole_file import put_file, sync_directory

_DEFAULT_MODE = 0o644
_DIRECTORY_MODE = 0o755


class ManagedFiles:
    """The changed files of one agent, below the root of a host. All calls block; thread-safe."""

    def __init__(self, host: Host, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.host = host
        self._originals = Originals(directory)
        self._clock = clock
        self._damper = Damper()
        self._lock = threading.Lock()

    def owned(self, owner: str) -> Mapping[str, str]:
        """The paths that a controller has changed, by its keys."""
        with self._lock:
            return {record.key: path for path, record in self._originals.all().items() if record.owner == owner}

    def damages(self) -> tuple[str, ...]:
        """Errors of unreadable records: their files can be neither changed nor restored."""
        with self._lock:
            return tuple(str(error) for error in self._originals.damaged())

    def left_behind(self) -> list[str]:
        """The files that are still to be restored, and those of which that is not known. Raises OSError."""
        with self._lock:
            changed = [f"{path} was not restored" for path in sorted(self._originals.all())]
            return changed + [str(error) for error in self._originals.damaged()]

    def apply(self, owner: str, key: str, path: str, edit: Edit, *, mode: int | None = None) -> bool:
        """Make the file at an absolute path be as the edit says; no mode leaves the one it has.

        Returns whether those who read it are to be told, which stays true until `settle`. Raises HostError and OSError.
        """
        with self._lock:
            if self.host.refusal:
                raise HostError(self.host.refusal)
            target = self.host.resolve(path)
            name = self.host.shown(target)
            record = self._originals.get(name)
            if record is not None and (record.owner, record.key) != (owner, key):
                raise HostError(f"{name} is written by {record.owner} for {record.key!r} already: name it only once")
            current = read_file(target)
            original = _base(record, current, edit)
            content = edit.apply(None if original is None else original.content)
            desired = _desired(content, mode, original)
            if current == desired and record is not None and record.edit == edit and record.mode == mode:
                return record.unsettled
            is_ours = record is not None and current is not None and digest(current.content) in record.written
            if record is not None and record.edit == edit and record.mode == mode and not is_ours:
                self._check_war(name)
            kept = Record(
                path=name,
                owner=owner,
                key=key,
                original=original,
                # What is there now, if it is ours, and what is about to be.
                written=(*((digest(current.content),) if is_ours and current else ()), digest(content)),
                edit=edit,
                mode=mode,
                directories=self._own_directories(target, record),
            )
            self._originals.put(kept)
            if current != desired:
                write_file(target, desired, like=current is not None)
                self._damper.done(name, self._clock())
            return True

    def settle(self, owner: str, key: str) -> None:
        """Record that the readers of the file have been notified."""
        with self._lock:
            record = self._find(owner, key)
            if record is not None and record.unsettled:
                self._originals.put(attrs.evolve(record, unsettled=False))

    def restore(self, owner: str, key: str) -> str:
        """Restore a file to its last foreign content; returns why it was left as it is, "" if restored.

        What was kept of it stays until `forget`. Raises HostError and OSError.
        """
        with self._lock:
            record = self._find(owner, key)
            if record is None:
                return ""
            target = self.host.root / record.path.lstrip("/")
            current = read_file(target)
            if current is None:
                if record.original is not None and record.written:
                    return f"{record.path} was removed by another program, and stays removed"
            elif digest(current.content) in record.written:
                _put_back(target, record)
            elif record.original is None or current.content != record.original.content:
                others = record.edit.strip(current.content)
                if others is None:
                    return f"{record.path} was changed by another program, and is left as it is"
                write_file(target, attrs.evolve(current, content=others), like=True)
            for directory in reversed(record.directories):
                with contextlib.suppress(OSError):  # it may be in use by others
                    (self.host.root / directory.lstrip("/")).rmdir()
            return ""

    def forget(self, owner: str, key: str) -> None:
        """Drop the record of a restored file."""
        with self._lock:
            record = self._find(owner, key)
            if record is not None:
                self._originals.forget(record.path)
                self._damper.forget(record.path)

    def signature(self, owner: str) -> tuple[object, ...]:
        """A value that changes whenever one of the controller's files changes."""
        with self._lock:
            paths = [path for path, record in self._originals.all().items() if record.owner == owner]
        return tuple((path, _signature(self.host.root / path.lstrip("/"))) for path in sorted(paths))

    def _find(self, owner: str, key: str) -> Record | None:
        records = self._originals.all().values()
        return next((record for record in records if (record.owner, record.key) == (owner, key)), None)

    def _check_war(self, name: str) -> None:
        if not self._damper.may_try(name, self._clock()):
            raise HostError(f"{name} keeps being changed by another program: find out which, or do not name it")

    def _own_directories(self, target: Path, record: Record | None) -> tuple[str, ...]:
        """The directories that are there, or will be, for files of ours only: the last to be put back removes them."""
        made = {directory for other in self._originals.all().values() for directory in other.directories}
        own = set(record.directories if record else ())
        for directory in itertools.takewhile(self.host.root.__ne__, target.parents):
            if directory.exists() and self.host.shown(directory) not in made:
                break
            own.add(self.host.shown(directory))
        return tuple(sorted(own))


def _base(record: Record | None, current: FileContent | None, edit: Edit) -> FileContent | None:
    """The last foreign content, derived from the current content."""
    if current is None:
        return current
    if record is None:
        return attrs.evolve(current, content=edit.foreign(current.content))
    original = record.original
    if digest(current.content) in record.written:
        return original
    if original is not None and current.content == original.content:
        return current
    others = record.edit.strip(current.content)
    return current if others is None else attrs.evolve(original or current, content=others)


def _desired(content: bytes, mode: int | None, original: FileContent | None) -> FileContent:
    if original is not None:
        return attrs.evolve(original, content=content, mode=original.mode if mode is None else mode)
    return FileContent(
        content=content, mode=_DEFAULT_MODE if mode is None else mode, uid=os.geteuid(), gid=os.getegid()
    )


def _put_back(target: Path, record: Record) -> None:
    if record.original is not None:
        write_file(target, record.original, like=True)
        return
    target.unlink()
    sync_directory(target.parent)


def read_file(path: Path) -> FileContent | None:
    """A regular file, None if missing. Raises HostError for any other kind, OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise HostError(f"{path} is not a regular file") from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise HostError(f"{path} is not a regular file")
    with os.fdopen(descriptor, "rb") as stream:
        return FileContent(
            content=stream.read(), mode=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid
        )


def write_file(path: Path, desired: FileContent, *, like: bool) -> None:
    """Replace a file atomically, even across a power failure; `like` keeps the extended attributes of the old.

    Raises HostError for a file that is a mount of its own, OSError.
    """
    _make_directory(path.parent)

    def prepare(descriptor: int) -> None:
        if (desired.uid, desired.gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, desired.uid, desired.gid)
        os.fchmod(descriptor, desired.mode)
        if like:
            _copy_attributes(path, descriptor)

    try:
        put_file(path, desired.content, prepare=prepare)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise HostError(f"{path} is a mount of its own, as containers have it, and is left as it is") from error
        # By its public path.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _make_directory(path: Path) -> None:
    """Create a world-readable directory and its parents, regardless of the umask."""
    if path.is_dir():
        return
    if path.exists() or path.is_symlink():
        raise HostError(f"{path} is not a directory")
    _make_directory(path.parent)
    path.mkdir(exist_ok=True)
    path.chmod(_DIRECTORY_MODE)
    sync_directory(path.parent)


def _copy_attributes(path: Path, descriptor: int) -> None:
    """Mainly the label of a security module."""
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            os.setxattr(descriptor, name, os.getxattr(path, name, follow_symlinks=False))
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENODATA, errno.ENOENT, errno.EPERM):
            raise


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid)

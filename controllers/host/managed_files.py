"""Changes files of the machine reversibly, and restores them.

If another program changes such a file, its content becomes the new base: our edit is applied on top again (damped if
this repeats), and what is restored in the end is what that program wrote last.

Many programs write a file in place: they empty it, then fill it. What is read in between is no base, and a file that
replaces theirs at that moment leaves their text without a name. So foreign content counts once no program has the file
open for writing and it has been the same for a second, and nothing is replaced that changed since it was read.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

import attrs

from nodespan.controllers.common.damping import Damper
from nodespan.controllers.host.edits import Edit
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.originals import FileContent, Originals, Record, digest
from nodespan.runtime.whole_file import put_file, sync_directory

_DEFAULT_MODE = 0o644
_DIRECTORY_MODE = 0o755
# Seconds for which foreign content must have been the same, and for which that is waited for, look by look.
SETTLED = 1.0
_PATIENCE, _LOOK = 3.0, 0.1
# A process without write permission cannot have written the file.
FORBIDDEN = (errno.EPERM, errno.EACCES, errno.EROFS)
_T = TypeVar("_T")


class _UnsettledError(HostError):
    """Another program may be writing the file: what was read of it may be a part."""


class ManagedFiles:
    """The changed files of one agent, below the root of a host. All calls block; thread-safe."""

    def __init__(
        self,
        host: Host,
        directory: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.host = host
        self._originals = Originals(directory)
        self._clock = clock
        self._sleep = sleep
        self._damper = Damper()
        self._left: dict[str, list[str]] = {}
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
        return self._settled(lambda: self._apply(owner, key, path, edit, mode))

    def _apply(self, owner: str, key: str, path: str, edit: Edit, mode: int | None) -> bool:
        with self._lock:
            if self.host.refusal:
                raise HostError(self.host.refusal)
            target = self.host.resolve(path)
            name = self.host.shown(target)
            record = self._originals.get(name)
            if record is not None and (record.owner, record.key) != (owner, key):
                raise HostError(f"{name} is written by {record.owner} for {record.key!r} already: name it only once")
            for former in self._records(owner, key):
                if former.path != name:
                    # The path leads elsewhere since.
                    self._give_back(former)
            current, seen = _read(target, name)
            if _is_foreign(current, record):
                _check_settled(target, name, seen)
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
                write_file(target, desired, like=current is not None, confirm=_unchanged(target, name, seen))
                self._damper.done(name, self._clock())
            return True

    def _settled(self, work: Callable[[], _T]) -> _T:
        """What the work returns, once no other program is writing its file; that is waited for without the lock."""
        for _ in range(round(_PATIENCE / _LOOK)):
            try:
                return work()
            except _UnsettledError:
                self._sleep(_LOOK)
        return work()

    def settle(self, owner: str, key: str) -> None:
        """Record that the readers of the file have been notified."""
        with self._lock:
            for record in self._records(owner, key):
                if record.unsettled:
                    self._originals.put(attrs.evolve(record, unsettled=False))

    def restore(self, owner: str, key: str) -> str:
        """Restore a file to its last foreign content; returns why it was left as it is, "" if restored.

        What was kept of it stays until `forget`. Raises HostError and OSError.
        """
        return self._settled(lambda: self._restore(owner, key))

    def _restore(self, owner: str, key: str) -> str:
        with self._lock:
            return "; ".join(filter(None, map(self._restore_file, self._records(owner, key))))

    def _give_back(self, former: Record) -> None:
        """Restore what is no place of a path any more, and drop its record."""
        try:
            left = self._restore_file(former)
        except OSError as error:
            # The new place does not wait for that: it is tried again with the next look at this one.
            if error.errno not in FORBIDDEN:
                raise
            return
        self._forget_file(former)
        if left:
            self._left.setdefault(former.owner, []).append(left)

    def take_left(self, owner: str) -> list[str]:
        """What `apply` has left as it is at places to which paths led before, and why; each once."""
        with self._lock:
            return self._left.pop(owner, [])

    def _restore_file(self, record: Record) -> str:
        target = self.host.root / record.path.lstrip("/")
        try:
            current, seen = _read(target, record.path)
        except HostError:
            what = f"{record.path} is not a regular file any more"
            return f"{what}: another program has replaced it, and it is left as it is"
        if _is_foreign(current, record):
            _check_settled(target, record.path, seen)
        confirm = _unchanged(target, record.path, seen)
        if current is None:
            if record.original is not None and record.written:
                return f"{record.path} was removed by another program, and stays removed"
        elif digest(current.content) in record.written:
            _put_back(target, record, confirm)
        elif record.original is None or current.content != record.original.content:
            others = record.edit.strip(current.content)
            if others is None:
                return f"{record.path} was changed by another program, and is left as it is"
            write_file(target, attrs.evolve(current, content=others), like=True, confirm=confirm)
        for directory in reversed(record.directories):
            with contextlib.suppress(OSError):  # it may be in use by others
                (self.host.root / directory.lstrip("/")).rmdir()
        return ""

    def forget(self, owner: str, key: str) -> None:
        """Drop the record of a restored file."""
        with self._lock:
            for record in self._records(owner, key):
                self._forget_file(record)

    def _forget_file(self, record: Record) -> None:
        self._originals.forget(record.path)
        self._damper.forget(record.path)

    def signature(self, owner: str) -> tuple[object, ...]:
        """A value that changes whenever one of the controller's files changes."""
        with self._lock:
            paths = [path for path, record in self._originals.all().items() if record.owner == owner]
        return tuple((path, _signature(self.host.root / path.lstrip("/"))) for path in sorted(paths))

    def are_as_applied(self, owner: str, path_of: Callable[[str], str]) -> bool:
        """Whether each of the controller's files is where its path leads now, and has what `apply` has made of it.

        `path_of` is the path that was given for a key. It costs more than `signature`, and does not depend on when that
        was taken.
        """
        with self._lock:
            records = [record for record in self._originals.all().values() if record.owner == owner]
        return all(self._is_as_applied(record, path_of(record.key)) for record in records)

    def _is_as_applied(self, record: Record, path: str) -> bool:
        try:
            target = self.host.resolve(path)
            current = read_file(target)
        except (HostError, OSError):
            return False
        if current is None or self.host.shown(target) != record.path:
            return False
        is_ours = digest(current.content) == record.written[-1]
        return is_ours and current == _desired(current.content, record.mode, record.original)

    def _records(self, owner: str, key: str) -> list[Record]:
        """One, unless an earlier version has left that of a place to which the path led before."""
        return [each for each in self._originals.all().values() if (each.owner, each.key) == (owner, key)]

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


def _put_back(target: Path, record: Record, confirm: Callable[[], None]) -> None:
    if record.original is not None:
        write_file(target, record.original, like=True, confirm=confirm)
        return
    confirm()
    target.unlink()
    sync_directory(target.parent)


_Signature: TypeAlias = tuple[int, ...] | None


def _is_foreign(current: FileContent | None, record: Record | None) -> bool:
    """Whether this content is another program's, and new: what was recorded of it was complete."""
    if current is None or record is None:
        return current is not None
    if digest(current.content) in record.written:
        return False
    return record.original is None or current.content != record.original.content


def _check_settled(path: Path, name: str, seen: _Signature) -> None:
    """Raise _UnsettledError if another program may still be writing what was read with this signature."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise _UnsettledError(f"{name} is being written by another program") from error
    try:
        status = os.fstat(descriptor)
        # One of the future was set on purpose, or the clock was: waiting would not end.
        is_young = 0 <= time.time() - status.st_mtime < SETTLED
        if is_young or _is_being_written(descriptor) or _signature_of(os.fstat(descriptor)) != seen:
            raise _UnsettledError(f"{name} is being written by another program")
    finally:
        os.close(descriptor)


def _is_being_written(descriptor: int) -> bool:
    """Whether any process has the file open for writing: then the kernel gives no lease for reading.

    Where there are no leases (another user's file, a network) that is not known.
    """
    try:
        # Who opens the file at this moment makes the kernel signal us, by default with one that would end the process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _unchanged(path: Path, name: str, seen: _Signature) -> Callable[[], None]:
    """Raises _UnsettledError if the file is not any more as it was read."""

    def confirm() -> None:
        if _signature(path) != seen:
            raise _UnsettledError(f"{name} is being written by another program")

    return confirm


def read_file(path: Path) -> FileContent | None:
    """A regular file, None if missing. Raises HostError for any other kind, OSError."""
    return _read(path, str(path))[0]


def _read(path: Path, name: str) -> tuple[FileContent | None, _Signature]:
    """As read_file, and the signature that the file had before it was read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise HostError(_not_regular(name)) from error
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise HostError(_not_regular(name))
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read()
    mode = stat.S_IMODE(status.st_mode)
    return FileContent(content=content, mode=mode, uid=status.st_uid, gid=status.st_gid), _signature_of(status)


def _not_regular(name: str) -> str:
    return f"{name} is not a regular file: see what it is (ls -lL), and move it away"


def write_file(path: Path, desired: FileContent, *, like: bool, confirm: Callable[[], None] | None = None) -> None:
    """Replace a file atomically, even across a power failure; `like` keeps the extended attributes of the old.

    `confirm` is called right before, and prevents it by raising. Raises HostError for a file that is a mount of its
    own, OSError.
    """
    _make_directory(path.parent)

    def prepare(descriptor: int) -> None:
        if (desired.uid, desired.gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, desired.uid, desired.gid)
        os.fchmod(descriptor, desired.mode)
        if like:
            _copy_attributes(path, descriptor)

    try:
        put_file(path, desired.content, prepare=prepare, confirm=confirm)
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


def _signature(path: Path) -> _Signature:
    try:
        return _signature_of(path.lstat())
    except OSError:
        return None


def _signature_of(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid)

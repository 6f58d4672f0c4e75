"""Reads files that a user names: of a bounded size, and not what one would wait for."""

import errno
import os
import select
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nodespan.runtime.text.escaping import escaped

# In bytes: of certificates, keys, passwords. All authorities of a distribution together are a quarter of it.
LARGEST_PEM: Final = 4 * 2**20
_PIECE = 2**16
# Seconds until a user reads what a command waits for.
_SILENCE = 3.0
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NoFileError(OSError):
    """What a name leads to is no file but a pipe, a socket or a device: `kind`."""

    def __init__(self, kind: str, file: Path) -> None:
        super().__init__(errno.EINVAL, f"this is {kind}, and must be a file", str(file))
        self.kind = kind


class TooLargeError(OSError):
    """There is more to read than was allowed."""

    def __init__(self, most: int, file: Path | None) -> None:
        text = f"there are more than {most:,} bytes, which is too large: check that this is the right file"
        super().__init__(errno.EFBIG, text, None if file is None else str(file))


def read_named(file: Path, most: int, *, streams: bool = False) -> bytes:
    """The content of a file of at most so many bytes. Blocks. Raises NoFileError, TooLargeError, other OSErrors.

    Their `strerror` is for the user, and they name the file. What is read again and again must not wait: only a
    command, which reads a file once for a user who waits, takes `streams` too, to their ends. It says on stderr that it
    waits for a pipe from which nothing comes: a program may ask for a password first, or there is none.
    """
    # Before it is opened, for opening alone starts some devices, a watchdog among them.
    status = os.stat(file)
    if not streams:
        _check_kind(status, file)
    is_pipe = stat.S_ISFIFO(status.st_mode)
    # Nothing waits here should it have been replaced by a pipe since, nor before the user knows.
    flags = 0 if streams and not is_pipe else os.O_NONBLOCK
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | flags)
    try:
        if not streams:
            _check_kind(os.fstat(descriptor), file)
        elif is_pipe:
            _wait_for(descriptor, file)
        return read_at_most(lambda size: os.read(descriptor, size), most, file)
    except OSError as error:
        if error.filename is not None:
            raise
        # A read does not say of which file it was: a directory, or one in which nothing is to be read now (/proc/kmsg).
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        os.close(descriptor)


def read_at_most(read: Callable[[int], bytes], most: int, file: Path | None = None) -> bytes:
    """What `read` returns until it returns nothing. Raises TooLargeError if that is more than `most` bytes."""
    pieces, size = [], 0
    while piece := read(min(_PIECE, most + 1 - size)):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise TooLargeError(most, file)
    return b"".join(pieces)


def _check_kind(status: os.stat_result, file: Path) -> None:
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise NoFileError(kind, file)


def _wait_for(pipe: int, file: Path) -> None:
    """Wait until there is something to read, or the end, and have reads wait from now on."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    if not waiting.poll(_SILENCE * 1000):
        sys.stderr.write(f"waiting for a program to write to {escaped(str(file))}, which is a pipe; Ctrl-C ends that\n")
        sys.stderr.flush()
        waiting.poll()
    os.set_blocking(pipe, True)

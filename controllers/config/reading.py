"""Reads the files of a configuration: text, or a problem per file that cannot be read."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Final

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.problem import Problem
from nodespan.controllers.config.sources import LARGEST_TEXT, SourceText, expand

_STDIN = "<stdin>"
_ON_NOTHING = "check that this is the right file; if it is to say nothing, put a comment into it"
# In bytes, of all files together: a character has at most four.
LARGEST: Final = 4 * LARGEST_TEXT
_PIECE = 2**16
_TOO_LARGE = f"there are more than {LARGEST:,} bytes, which is too large for a configuration"
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableError(Exception):
    """A file that no configuration is read from: the text says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def read_sources(*paths: FilePath | None, streams: bool = False) -> tuple[list[SourceText], list[Problem]]:
    """The texts of files (of a directory all that end in .yaml; None is standard input), and what cannot be read.

    `streams` as in `read_file`. Never raises. Blocks on the disk.
    """
    files: list[tuple[str, bytes]] = []
    problems: list[Problem] = []
    left = LARGEST
    for path in paths:
        try:
            found: tuple[FilePath | None, ...] = (None,) if path is None else expand(path)
            if path is not None and not found:
                problems.append(_unreadable(path, "no file in this directory ends in .yaml", "put one there"))
            for file in found:
                name = _STDIN if file is None else str(file)
                try:
                    raw = read_stdin(left) if file is None else read_file(file, left, streams=streams)
                except UnreadableError as error:
                    problems.append(_unreadable(FilePath(name), str(error), error.hint))
                    continue
                left -= len(raw)
                files.append((name, raw))
        except OSError as error:
            message = f"cannot read the configuration: {error.strerror or type(error).__name__}"
            place = FilePath(error.filename or path or _STDIN)
            problems.append(_unreadable(place, message, "check the path and the permissions of the file"))
    sources: list[SourceText] = []
    for name, raw in files:
        decode(raw, name, sources, problems)
    return sources, problems


def read_file(file: FilePath, most: int = LARGEST, *, streams: bool = False) -> bytes:
    """The content of a file of at most so many bytes. Blocks. Raises UnreadableError, OSError.

    An agent reads its files again and again, and must not wait for one: only a command, which reads a file once for a
    user who waits, takes `streams` too, to their ends.
    """
    # Before it is opened, for opening alone starts some devices, a watchdog among them.
    if not streams:
        _check_kind(os.stat(file))
    # Nothing waits here should it have been replaced by a pipe since.
    flags = 0 if streams else os.O_NONBLOCK
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | flags)
    try:
        if not streams:
            _check_kind(os.fstat(descriptor))
        return _limited(lambda size: os.read(descriptor, size), most)
    except OSError as error:
        # A read does not say of which file it was: a directory, or one in which nothing is to be read now (/proc/kmsg).
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        os.close(descriptor)


def read_stdin(most: int = LARGEST) -> bytes:
    """Standard input to its end, at most so many bytes. Raises UnreadableError, OSError."""
    return _limited(sys.stdin.buffer.read, most)


def _check_kind(status: os.stat_result) -> None:
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise UnreadableError(
                f"this is {kind}, from which no configuration can be read again",
                "write the configuration to a file that only its user can read, such as one below /run, and name that",
            )


def _limited(read: Callable[[int], bytes], most: int) -> bytes:
    pieces, size = [], 0
    while piece := read(min(_PIECE, most + 1 - size)):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise UnreadableError(_TOO_LARGE, "check that this is the right file")
    return b"".join(pieces)


def decode(raw: bytes, name: str, sources: list[SourceText], problems: list[Problem]) -> None:
    """Adds the content of a file to `sources`, or its problem to `problems`."""
    try:
        text = raw.decode()
        if text.strip("\ufeff \t\r\n"):
            sources.append(SourceText(name=name, text=text))
        else:
            # Some programs truncate a file before they write it; that must not remove the whole configuration.
            problems.append(_unreadable(FilePath(name), "there is nothing in this file", _ON_NOTHING))
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode(errors="replace").removeprefix("\ufeff")
        problems.append(
            Problem(
                severity=Severity.ERROR,
                message=f"the byte 0x{raw[error.start]:02x} here is not UTF-8",
                file=name,
                line=before.count("\n") + 1,
                column=len(before) - before.rfind("\n"),
                hint="save the file as UTF-8; check that this is the right file",
            )
        )


def _unreadable(path: FilePath, message: str, hint: str) -> Problem:
    return Problem(severity=Severity.ERROR, message=message, file=str(path), hint=hint)

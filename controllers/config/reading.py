"""Reads the files of a configuration: text, or a problem per file that cannot be read."""

import sys
from pathlib import Path as FilePath
from typing import Final

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.problem import Problem
from nodespan.controllers.config.sources import LARGEST_TEXT, SourceText, expand
from nodespan.runtime.named_file import NoFileError, TooLargeError, read_at_most, read_named

_STDIN = "<stdin>"
_ON_NOTHING = "check that this is the right file; if it is to say nothing, put a comment into it"
# In bytes, of all files together: a character has at most four.
LARGEST: Final = 4 * LARGEST_TEXT
_TOO_LARGE = f"there are more than {LARGEST:,} bytes, which is too large for a configuration"


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
    """The content of a file, as `read_named` reads it. Raises UnreadableError, OSError."""
    try:
        return read_named(file, most, streams=streams)
    except NoFileError as error:
        raise UnreadableError(
            f"this is {error.kind}, from which no configuration can be read again",
            "write the configuration to a file that only its user can read, such as one below /run, and name that",
        ) from error
    except TooLargeError as error:
        raise _too_large() from error


def read_stdin(most: int = LARGEST) -> bytes:
    """Standard input to its end, at most so many bytes. Raises UnreadableError, OSError."""
    try:
        return read_at_most(sys.stdin.buffer.read, most)
    except TooLargeError as error:
        raise _too_large() from error


def _too_large() -> UnreadableError:
    return UnreadableError(_TOO_LARGE, "check that this is the right file")


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

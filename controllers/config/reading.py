"""Reads the files of a configuration: text, or a problem per file that cannot be read."""

import sys
from pathlib import Path as FilePath

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.problem import Problem
from nodespan.controllers.config.sources import SourceText, expand

_STDIN = "<stdin>"
_ON_NOTHING = "check that this is the right file; if it is to say nothing, put a comment into it"


def read_sources(*paths: FilePath | None) -> tuple[list[SourceText], list[Problem]]:
    """The texts of files (of a directory all that end in .yaml; None is standard input), and what cannot be read.

    Never raises. Blocks on the disk.
    """
    files: list[tuple[str, bytes]] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            if path is None:
                files.append((_STDIN, sys.stdin.buffer.read()))
                continue
            found = expand(path)
            if not found:
                problems.append(_unreadable(path, "no file in this directory ends in .yaml", "put one there"))
            files += [(str(file), file.read_bytes()) for file in found]
        except OSError as error:
            message = f"cannot read the configuration: {error.strerror or type(error).__name__}"
            place = FilePath(error.filename or path or _STDIN)
            problems.append(_unreadable(place, message, "check the path and the permissions of the file"))
    sources: list[SourceText] = []
    for name, raw in files:
        decode(raw, name, sources, problems)
    return sources, problems


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

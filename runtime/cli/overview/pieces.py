"""The files of an archive for support in pieces, on their way from a node to whoever puts them into one archive.

A node collects them in a process of its own (`main`), which writes a piece a line, as JSON: a file begins with its
name, and goes on in the pieces without one. Whoever receives them does not trust the node: `FilesOfNode` bounds how
much it takes, and takes no name that leads out of the folder of the node.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from nodespan.runtime.overview.support import SupportFile
from nodespan.runtime.text.escaping import escaped

_PIECE = 64 * 2**10
_MOST_FILES = 10_000
# Of memory.
_MOST_BYTES = 64 * 2**20
# What a character takes if one of its text is of the rarest; the bytes of those that are all ASCII are one each.
_WIDEST = 4
_LONGEST_NAME = 300
# Whoever collects must not be in the way of the agent.
_NICENESS = 10


def pieces(files: Iterable[SupportFile]) -> Iterator[dict[str, str]]:
    """The files as pieces."""
    for file in files:
        yield {"name": file.name, "text": file.text[:_PIECE]}
        for start in range(_PIECE, len(file.text), _PIECE):
            yield {"text": file.text[start : start + _PIECE]}


@attrs.define
class _File:
    name: str
    texts: list[str] = attrs.field(factory=list)
    characters: int = 0
    width: int = 1

    @property
    def size(self) -> int:
        """Bytes that it takes at most, also as one text."""
        return self.characters * self.width

    def add(self, text: str) -> None:
        self.texts.append(text)
        self.characters += len(text)
        if not text.isascii():
            self.width = _WIDEST


class FilesOfNode:
    """Makes files out of the pieces of one node."""

    def __init__(self) -> None:
        self._files: list[_File] = []
        self._size = 0

    def take(self, piece: dict[str, Any]) -> None:
        """Take the next piece. Raises ValueError, TypeError for one that is not usable, or too many."""
        text, name = piece.get("text"), piece.get("name")
        if not isinstance(text, str):
            raise TypeError("a piece of a file has no text")
        if name is not None:
            self._files.append(_File(_safe(name)))
        if not self._files:
            raise ValueError("the first piece of a file has no name")
        file = self._files[-1]
        before = file.size
        file.add(text)
        self._size += file.size - before
        if len(self._files) > _MOST_FILES or self._size > _MOST_BYTES:
            raise ValueError(
                f"it has more than {_MOST_FILES:,} files or {_MOST_BYTES // 2**20} MiB: "
                "run nodespan support on the node itself"
            )

    @property
    def files(self) -> list[SupportFile]:
        """The files so far."""
        return [SupportFile(file.name, "".join(file.texts)) for file in self._files]


def _safe(name: object) -> str:
    """The name of a file of a node, which stays below the folder of the node. Raises ValueError."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise ValueError("the name of a file is no text, or too long")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"the name of a file leads elsewhere: {escaped(name)}")
    return "".join(char if char.isprintable() and char != "\\" else "_" for char in name)


def main() -> int:
    """Write the files of the agent at a socket, whose own directory is named next; returns the exit status."""
    from nodespan.runtime.cli.overview.support import collected, parts
    from nodespan.runtime.cli.overview.surroundings import surroundings_of

    socket, state_dir = sys.argv[1:]
    os.nice(_NICENESS)
    surroundings = surroundings_of(argparse.Namespace(socket=socket, node=None, state_dir=state_dir, config=[]))
    try:
        for piece in pieces(collected(surroundings, parts(socket))):
            # Names and texts may hold bytes that are not UTF-8; as escapes they pass.
            sys.stdout.write(json.dumps(piece, ensure_ascii=True) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody waits for it any more; there is nothing left to flush at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0

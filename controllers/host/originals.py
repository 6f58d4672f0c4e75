"""The original content of changed files: recorded before the first change, kept until it has been undone.

There is one record per file. It is written before the file is, and says what the file was (or that there was none) and
the digests of all that we have written or were about to write since. So a process that was killed at any point leaves a
file that is either as others wrote it or has one of these digests, and a record that tells which.
"""

import base64
import contextlib
import hashlib
import json
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from nodespan.controllers.host.edits import Edit, edit_from_plain, edit_to_plain
from nodespan.controllers.host.host import HostError
from nodespan.runtime.whole_file import make_directory, put_file

_LONGEST_NAME = 200
_SUFFIX = ".json"


class DamagedRecordError(HostError):
    """A record cannot be read. The text says which and what to do."""


def digest(content: bytes) -> str:
    """The SHA-256 of a content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@attrs.frozen(kw_only=True)
class FileContent:
    """A file with its permission bits and its owner. Attributes are the extended ones."""

    content: bytes = attrs.field(repr=False)
    mode: int
    uid: int
    gid: int


@attrs.frozen(kw_only=True)
class Record:
    """One changed file.

    `owner` is the controller and `key` its key of the file. `original` is the last foreign content, None for no file.
    `written` are the digests of ours. `edit` is what was done last, `directories` are those made for it, inner ones
    last. `unsettled`: the readers of the file have not been notified yet.
    """

    path: str
    owner: str
    key: str
    original: FileContent | None
    written: tuple[str, ...]
    edit: Edit
    mode: int | None = None
    directories: tuple[str, ...] = ()
    unsettled: bool = True


class Originals:
    """The records of a directory, read once. All calls block. One process at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records: dict[str, Record] | None = None
        self._damaged: dict[Path, DamagedRecordError] = {}

    def all(self) -> Mapping[str, Record]:
        """The readable records, by path. Raises OSError."""
        return self._load()

    def get(self, path: str) -> Record | None:
        """The record of a file. Raises DamagedRecordError, OSError."""
        found = self._load().get(path)
        damage = self._damaged.get(self._file(path))
        if damage is not None:
            raise damage
        return found

    def damaged(self) -> tuple[DamagedRecordError, ...]:
        """The errors of the unreadable records."""
        self._load()
        return tuple(self._damaged.values())

    def _load(self) -> dict[str, Record]:
        if self._records is None:
            self._records = {}
            for file in sorted(self._directory.iterdir()) if self._directory.is_dir() else ():
                if file.suffix != _SUFFIX:
                    file.unlink()  # left half-written by a killed process
                    continue
                try:
                    record = _read(file)
                except DamagedRecordError as error:
                    self._damaged[file] = error
                else:
                    self._records[record.path] = record
        return self._records

    def put(self, record: Record) -> None:
        """Store a record, replacing the previous one; it is on disk when this returns."""
        records = self._load()
        make_directory(self._directory, mode=0o700)
        file = self._file(record.path)
        put_file(file, json.dumps(_to_plain(record), indent=1))
        records[record.path] = record

    def forget(self, path: str) -> None:
        """Remove the record: there is nothing left to undo."""
        records = self._load()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file(path))
        records.pop(path, None)

    def _file(self, path: str) -> Path:
        name = urllib.parse.quote(path.strip("/"), safe="")
        return self._directory / f"{name if len(name) <= _LONGEST_NAME else digest(path.encode())}{_SUFFIX}"


def _to_plain(record: Record) -> dict[str, Any]:
    plain = attrs.asdict(record, recurse=False)
    plain["edit"] = _encoded(edit_to_plain(record.edit))
    plain["original"] = None if record.original is None else _encoded(attrs.asdict(record.original))
    return plain


def _read(file: Path) -> Record:
    try:
        plain = json.loads(file.read_text())
        original = plain["original"]
        plain |= {
            "edit": edit_from_plain(_decoded(plain["edit"])),
            "original": None if original is None else FileContent(**_decoded(original)),
            "written": tuple(plain["written"]),
            "directories": tuple(plain["directories"]),
        }
        return Record(**plain)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedRecordError(
            f"{file} is damaged: what the file was before is not known any more; repair the file by hand, "
            "then remove the record"
        ) from error


def _encoded(plain: dict[str, Any]) -> dict[str, Any]:
    """With contents as base64, for they need not be text."""
    return {
        key: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
        for key, value in plain.items()
    }


def _decoded(plain: dict[str, Any]) -> dict[str, Any]:
    return {
        key: base64.b64decode(value["base64"]) if isinstance(value, dict) else value for key, value in plain.items()
    }

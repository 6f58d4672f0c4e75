"""Turns the entries of `machine.files` into one edit per file: pure rules.

Entries of one path apply in order: what is appended to a file that is created or overwritten is part of it.
"""

from collections.abc import Iterable

import attrs

from nodespan.controllers.common.machine_files import entry_error
from nodespan.controllers.host.edits import Appended, Edit, Whole
from nodespan.resources.config.main import MachineFile


@attrs.frozen(kw_only=True)
class PlannedFile:
    """One file: its edit, its mode (None keeps the current one), and the positions of its entries."""

    path: str
    edit: Edit
    mode: int | None
    entries: tuple[int, ...]


@attrs.frozen
class FilePlan:
    """The files, and the errors of rejected entries by their positions."""

    files: tuple[PlannedFile, ...]
    errors: dict[int, str]


def plan_files(entries: Iterable[tuple[int, MachineFile]]) -> FilePlan:
    """Group entries (with their configuration positions) by file, in order of first mention."""
    by_path: dict[str, list[tuple[int, MachineFile]]] = {}
    errors: dict[int, str] = {}
    for index, file in entries:
        if error := entry_error(file):
            errors[index] = error
        else:
            by_path.setdefault(file.path, []).append((index, file))
    return FilePlan(tuple(_planned(path, parts) for path, parts in by_path.items()), errors)


def _planned(path: str, parts: list[tuple[int, MachineFile]]) -> PlannedFile:
    edit: Edit | None = None
    mode: int | None = None
    for _, file in parts:
        content = file.content.encode()
        if file.op == "append":
            edit = Appended(content) if edit is None else _extended(edit, content)
        else:
            # An overwrite after an entry that creates the file finds it present.
            must_exist = file.op == "overwrite" and not isinstance(edit, Whole)
            edit = Whole(content, must_exist or (isinstance(edit, Whole) and edit.must_exist))
        # 0 means unset: a file without any permission makes no sense.
        mode = file.permissions or mode
    assert edit is not None  # there is no path without an entry
    return PlannedFile(path=path, edit=edit, mode=mode, entries=tuple(index for index, _ in parts))


def _extended(edit: Edit, content: bytes) -> Edit:
    if isinstance(edit, Whole):
        return attrs.evolve(edit, content=edit.apply(b"") + b"\n" + content)
    assert isinstance(edit, Appended)  # nothing else is made here
    return Appended(edit.content + b"\n" + content)

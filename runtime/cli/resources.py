"""`nodespan create`, `apply -f`, `edit`, `delete`, `label`: the resources that users write."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nodespan.runtime.api.protocol import MAX_REQUEST
from nodespan.runtime.cli.client import Connection, ask
from nodespan.runtime.cli.editor import run_editor
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.named_file import read_at_most, read_named

_STDIN = "-"
# What the agent takes of all that is about a file.
_LARGEST = MAX_REQUEST
_SUFFIXES = (".yaml", ".yml")


def write_files(socket_path: str, verb: str, names: Iterable[str]) -> int:
    """Send files, in the order they are given; `verb` is create or apply. Raises CommandError."""
    for file, text in _read(names):
        _send(socket_path, {"verb": verb, "file": file, "text": text})
    return 0


def delete(socket_path: str, type: str, ids: Iterable[str], *, namespace: str, wait: bool) -> int:
    """Delete resources one after the other. Raises CommandError."""
    for id in ids:
        _send(socket_path, {"verb": "delete", "type": type, "id": id, "namespace": namespace, "wait": wait})
    return 0


def label(socket_path: str, type: str, id: str, changes: Iterable[str], *, namespace: str) -> int:
    """Set labels (`app=web`) and remove them (`app-`). Raises CommandError."""
    labels: dict[str, str | None] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if equals and name:
            labels[name] = value
        elif change.endswith("-") and len(change) > 1:
            labels[change[:-1]] = None
        else:
            raise CommandError(f"{change!r} is not a change of a label: write app=web to set one, app- to remove it")
    _send(socket_path, {"verb": "label", "type": type, "id": id, "namespace": namespace, "labels": labels})
    return 0


def edit(socket_path: str, type: str, id: str, *, namespace: str) -> int:
    """Open a resource in $VISUAL or $EDITOR, and send what was saved, unless nothing was. Raises CommandError."""
    request = {"call": "get", "type": type, "namespace": namespace, "id": id, "selectors": [], "form": "yaml"}
    (before,) = [answer["yaml"] for answer in ask(socket_path, request) if "yaml" in answer]
    status, file = run_editor(before)
    after = file.read_text(encoding="utf-8")
    if status != 0 or after == before or not after.strip():
        file.unlink()
        print("the editor failed, nothing was changed" if status else "nothing was changed", file=sys.stderr)
        return status
    try:
        _send(socket_path, {"verb": "replace", "file": str(file), "text": after})
    except CommandError as error:
        raise CommandError(f"{error}\nwhat you wrote is in {file}") from error
    file.unlink()
    return 0


def _send(socket_path: str, request: dict[str, Any]) -> None:
    with Connection(socket_path, {"call": "write", **request}) as answers:
        for answer in answers:
            print(f"{answer['type'].lower()}/{answer['id']} {answer['done']}", flush=True)


def _read(names: Iterable[str]) -> list[tuple[str, str]]:
    """Each file with its text, of a directory those that end in .yaml or .yml. All are read before one is sent."""
    found = []
    for name in names:
        try:
            if name == _STDIN:
                found.append(("<stdin>", read_at_most(sys.stdin.buffer.read, _LARGEST).decode()))
                continue
            path = Path(name)
            files = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES) if path.is_dir() else [path]
            if not files:
                raise CommandError(f"{name}: no file in this directory ends in .yaml")
            found += [(str(file), read_named(file, _LARGEST, streams=True).decode()) for file in files]
        except UnicodeDecodeError as error:
            raise CommandError(f"{name}: the text is not UTF-8") from error
        except OSError as error:
            raise CommandError(f"{error.filename or name}: {error.strerror}") from error
    return found

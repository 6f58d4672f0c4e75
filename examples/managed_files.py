"""Example: a controller that applies something, with the generic reconciler: files in a directory of its own.

    export MANAGED_FILES=/tmp/managed
    nodespan agent --controllers examples.managed_files:ManagedFilesController

Other controllers write `ManagedFile` resources. A file that differs is written, also when it was changed by hand; one
that no resource desires any more is removed, also when it was left by an earlier process; a file that cannot be written
is retried with backoff and shown in `nodespan get controllers`, while the others apply.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import attrs

from nodespan.runtime.controller import Decision, ItemDriver, ReconcilerController
from nodespan.runtime.resource import ResourceType


@attrs.frozen(kw_only=True)
class ManagedFileSpec:
    """What a file contains; its name is the id of the resource."""

    content: str


ManagedFile = ResourceType("ManagedFiles.example.dev", ManagedFileSpec, namespace="example", aliases=("mf",))


# The difference between desired and observed, as a value: what to write, None for a file to remove.
@attrs.frozen
class FileChange:
    """What to do with a file."""

    content: str | None


def plan(desired: ManagedFileSpec | None, observed: str | None) -> FileChange | Decision[FileChange] | None:
    """The rule: pure, so a table of cases tests it. `desired` is None for what is to go, `observed` for what is not."""
    if desired is None:
        return None if observed is None else FileChange(None)
    if "\0" in desired.content:
        # Nothing will be done as long as the spec is as it is; that is logged, and the other files apply.
        return Decision(refused="a file cannot contain NUL")
    return None if observed == desired.content else FileChange(desired.content)


class Files(ItemDriver[str, FileChange]):
    """The I/O, and nothing else. These methods block, and run in a worker thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def observe(self, ids: Collection[str]) -> Mapping[str, str]:
        """What these files contain, of those that are there."""
        paths = {id: self._path(id) for id in ids}
        return {id: path.read_text() for id, path in paths.items() if path.is_file()}

    def owned(self) -> Iterable[str]:
        """Everything in the directory is the controller's."""
        return [path.name for path in self._directory.glob("[!.]*") if path.is_file()]

    def apply(self, id: str, work: FileChange) -> None:
        """Write or remove one file, in one step. An error is shown, and the file is retried."""
        path = self._path(id)
        if work.content is None:
            path.unlink(missing_ok=True)
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(work.content)
        new.replace(path)

    def _path(self, id: str) -> Path:
        # Whatever an id contains, the file is in the directory.
        return self._directory / id.replace("/", "_")


class ManagedFilesController(ReconcilerController[ManagedFileSpec, str, FileChange]):
    """Keeps the files of the directory $MANAGED_FILES (./managed unless set)."""

    def __init__(self, directory: Path | None = None) -> None:
        super().__init__(
            "example.ManagedFilesController",
            input=ManagedFile,
            plan=plan,
            driver=Files(directory or Path(os.environ.get("MANAGED_FILES", "managed"))),
        )

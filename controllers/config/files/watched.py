"""The files that a configuration is read from, and whether they changed since they were last read."""

import os
import stat
from pathlib import Path
from typing import Final

from nodespan.controllers.config.sources import expand
from nodespan.runtime.actions import ActionError

# Within the state directory: the configuration that was applied.
APPLIED_FILE: Final = "config.yaml"
# What changes when files appear, vanish, are written or replaced; None for one that is missing.
_Signature = tuple[tuple[str, tuple[int, ...] | None], ...]


class WatchedFiles:
    """The paths that the agent was given; without any, the file that configurations are applied to.

    A path may be a directory. All methods block, for the time of a few `stat` calls.
    """

    def __init__(self, given: tuple[Path, ...], applied: Path) -> None:
        self.paths = given or (applied,)
        self._is_optional = not given
        self._applied = applied
        self._signature: _Signature = ()

    def mark_read(self) -> None:
        """Note the state of the files; call it before reading them, so that no later change is missed."""
        self._signature = _signature(self.paths)

    def have_changed(self) -> bool:
        """Whether the files differ from those that were last read."""
        return _signature(self.paths) != self._signature

    def is_awaited(self) -> bool:
        """Whether nothing has been applied yet, which is no error: the agent was given no file."""
        return self._is_optional and not self._applied.exists()

    def unused(self) -> Path | None:
        """The file of an applied configuration that is ignored because the agent was given others."""
        return self._applied if not self._is_optional and self._applied.exists() else None

    def target(self) -> Path:
        """The one file that `nodespan apply` replaces. Raises ActionError if there is no such file."""
        target = self.paths[0]
        if len(self.paths) == 1 and not target.is_dir() and (target.is_file() or not target.exists()):
            return target
        named = ", ".join(map(str, self.paths))
        raise ActionError(
            f"the agent was started with --config {named}, which is not one file that could be replaced: "
            "change the files there, and the change takes effect by itself; or start the agent without --config"
        )


def _signature(paths: tuple[Path, ...]) -> _Signature:
    found: list[tuple[str, tuple[int, ...] | None]] = []
    for path in paths:
        name, status = str(path), _status(path)
        if status is None or not stat.S_ISDIR(status.st_mode):
            found.append((name, _state_of(status)))
        else:
            found += [(str(file), _state_of(_status(file))) for file in _files_of(path)]
    return tuple(found)


def _files_of(path: Path) -> tuple[Path, ...]:
    try:
        return expand(path) or (path,)
    except OSError:
        return (path,)


def _status(path: Path) -> os.stat_result | None:
    # Every second, where the method of a Path takes several times as long.
    try:
        return os.stat(path)
    except OSError:
        return None


def _state_of(status: os.stat_result | None) -> tuple[int, ...] | None:
    if status is None:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

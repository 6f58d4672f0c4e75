"""A map from names to JSON values that survives the end of the process at any point.

Each change is one line, appended and flushed before `change` returns, so that a change costs the same however long the
record is. A last line that was cut off by the end of the process is ignored: nothing depends on it yet. The file is
readable by this user only, and valid for one network namespace of one boot: what it describes is gone after a reboot,
and in a container that was started again.
"""

import errno
import json
import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nodespan.controllers.common.boot_clock import BootClock, NamespaceClock
from nodespan.runtime.whole_file import replace_file

_MODE = 0o600
# The file is rewritten, without what is superseded, when it has this many lines more than twice the known names.
_SLACK = 200


class Journal:
    """Thread-safe. Without a path the map is in memory only. All calls may block, for the first one reads the file.

    A damaged file is put aside when it is read; `load` says so then.
    """

    def __init__(self, path: Path | None, clock: BootClock | None = None) -> None:
        self._path = path
        self._clock = NamespaceClock() if clock is None else clock
        self._lock = threading.Lock()
        self._values: dict[str, Any] | None = None
        # The names of each kind, which is what they begin with: "lost" of "lost/2".
        self._kinds: defaultdict[str, set[str]] = defaultdict(set)
        # Lines in the file; None: it has to be rewritten before anything is appended.
        self._lines: int | None = None
        self._damage = ""

    @property
    def is_durable(self) -> bool:
        """Whether what is known outlives this process."""
        return self._path is not None

    def load(self) -> str:
        """Read the file unless it was read; returns what was wrong with it, "" for nothing. Raises OSError."""
        with self._lock:
            self._known()
            return self._damage

    def get(self, name: str) -> Any:
        """The value, None for none. Raises OSError."""
        values = self._values
        if values is not None:
            # Without the lock, which a change holds until it is on the disk: the event loop asks too.
            return values.get(name)
        with self._lock:
            return self._known().get(name)

    def all(self) -> dict[str, Any]:
        """A copy of the map. Raises OSError."""
        with self._lock:
            return dict(self._known())

    def names(self, kind: str) -> frozenset[str]:
        """The names that begin with this and a slash. Costs what it returns. Raises OSError."""
        with self._lock:
            self._known()
            return frozenset(self._kinds.get(kind, ()))

    def change(self, values: Mapping[str, Any]) -> None:
        """Set these, None removes: together or, if OSError is raised or the process ends, not at all."""
        with self._lock:
            known = self._known()
            changes = {name: value for name, value in values.items() if known.get(name) != value}
            if not changes:
                return
            self._write(changes, known)
            for name, value in changes.items():
                self._set(known, name, value)

    def _known(self) -> dict[str, Any]:
        if self._values is None:
            found = {} if self._path is None else self._read(self._path)
            values: dict[str, Any] = {}
            for name, value in found.items():
                self._set(values, name, value)
            self._values = values
        return self._values

    def _set(self, known: dict[str, Any], name: str, value: Any) -> None:
        kind = name.partition("/")[0]
        if value is None:
            known.pop(name, None)
            self._kinds[kind].discard(name)
        else:
            known[name] = value
            self._kinds[kind].add(name)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return {}
        *lines, rest = content.split(b"\n")
        try:
            found = _replayed(lines, self._clock.boot)
        except ValueError as error:
            aside = path.rename(path.with_suffix(".damaged"))
            self._damage = (
                f"{path} made no sense ({error}) and was put aside as {aside.name}: what was there before the agent "
                "changed it is not known any more, so whatever is there now stays"
            )
            return {}
        self._lines = None if rest or not lines or not found else len(lines)
        return found

    def _write(self, changes: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        if self._lines is None or self._lines > 2 * len(known) + _SLACK:
            head = {"boot": self._clock.boot}
            after = {name: value for name, value in {**known, **changes}.items() if value is not None}
            replace_file(self._path, b"".join(map(_line, (head, after))), mode=_MODE)
            self._lines = 2
            return
        lines, self._lines = self._lines, None
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            data = _line(changes)
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, f"{self._path}: no space left")
            os.fdatasync(descriptor)
        self._lines = lines + 1


def read_journal(path: Path, clock: BootClock | None = None) -> dict[str, Any]:
    """What a journal holds that another one writes; nothing for one that makes no sense. Blocks. Raises OSError."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
        return _replayed(lines, (NamespaceClock() if clock is None else clock).boot)
    except (FileNotFoundError, ValueError):
        # Its writer reports the damage.
        return {}


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _replayed(lines: list[bytes], boot: str) -> dict[str, Any]:
    """What these lines amount to, nothing if they are of another boot. Raises ValueError."""
    found: dict[str, Any] = {}
    for number, line in enumerate(lines):
        values = json.loads(line)
        match values, number:
            case {"boot": str() as of, **rest}, 0 if not rest:
                if of != boot:
                    return {}
            case dict(), _ if number:
                found |= values
            case _:
                raise ValueError(f"line {number + 1} makes no sense")
    return {name: value for name, value in found.items() if value is not None}

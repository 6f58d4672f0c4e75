"""The file that keeps the ring of events over restarts: a JSON object a line, oldest first.

New lines are appended by one write each time, so that a reader, and a process that was killed, sees whole lines; a
write that the disk cuts short is taken back. Lines that cannot be read (a power cut, a bad disk) are moved to a file
beside it, and the others are kept. The file is rewritten with the newest lines once it has twice as many as the ring,
which bounds it, for so is the length of a line.

Nothing is flushed: what the last seconds before a power cut had to tell is lost with them.
"""

import datetime
import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from nodespan.runtime.events.resource import EventSpec
from nodespan.runtime.overview.severity import Severity
from nodespan.runtime.whole_file import check_target, replace_file

_MODE = 0o600
_TEXTS = ("kind", "text", "namespace", "type", "id")
# Longer than any line that is written.
_LONGEST = 16 * 1024
# More than any file that is written: of a larger one only the end is read.
_MOST_BYTES = 8 * 2**20

Numbered = tuple[int, EventSpec]


@attrs.frozen
class Loaded:
    """The events of a file, oldest first, how many of its lines are damaged, and why those are lost if they are."""

    events: list[Numbered]
    damaged: int = 0
    lost: str = ""


class RingFile:
    """All calls block."""

    def __init__(self, path: Path, capacity: int) -> None:
        self._path = path
        self._capacity = capacity
        # None: unknown, so that it has to be rewritten before anything is appended.
        self._lines: int | None = None
        self._kept: list[bytes] = []
        self._is_known = False

    @property
    def is_known(self) -> bool:
        """Whether what the file has was read, or there is none."""
        return self._is_known

    @property
    def aside(self) -> Path:
        """Where damaged lines go; each time replaces those of the time before."""
        return self._path.with_suffix(".damaged")

    def load(self) -> Loaded:
        """What the file has, at most as much as the ring.

        Raises OSError if it cannot be read. It has to be tried again then before anything can be appended, which might
        replace the file.
        """
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _MOST_BYTES))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            self._is_known = True
            return Loaded([])
        is_cut = bool(lines.pop())
        events: dict[int, tuple[bytes, EventSpec]] = {}
        damaged: list[bytes] = []
        for line in lines:
            try:
                number, spec = _parse(line)
            except (ValueError, TypeError, KeyError, RecursionError):
                damaged.append(line)
            else:
                events[number] = line, spec
        numbers = sorted(events)[-self._capacity :]
        self._kept = [events[number][0] for number in numbers]
        self._lines = None if damaged or is_cut else len(lines)
        self._is_known = True
        found = [(number, events[number][1]) for number in numbers]
        if damaged:
            try:
                replace_file(self.aside, b"\n".join([*damaged, b""]), mode=_MODE)
            except OSError as error:
                # The good lines matter more than the remains of the others.
                return Loaded(found, len(damaged), lost=str(error))
        return Loaded(found, len(damaged))

    def append(self, events: Sequence[Numbered]) -> None:
        """Add these, of higher numbers than the file has: all of them or, if OSError is raised, none."""
        if not events:
            return
        assert self._is_known, "the file was not loaded"
        new = [_format(number, spec) for number, spec in events]
        kept = [*self._kept, *new][-self._capacity :]
        if self._lines is None or self._lines + len(new) > 2 * self._capacity or not self._path.exists():
            replace_file(self._path, b"\n".join([*kept, b""]), mode=_MODE)
            self._lines = len(kept)
        else:
            lines, self._lines = self._lines, None
            _append(check_target(self._path), b"\n".join([*new, b""]))
            self._lines = lines + len(new)
        self._kept = kept


def _append(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if os.write(descriptor, data) != len(data):
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def _format(number: int, spec: EventSpec) -> bytes:
    texts = {name: getattr(spec, name) for name in _TEXTS}
    values = {"number": number, "time": spec.time.isoformat(), "severity": spec.severity.value, **texts}
    # ASCII, so that a text may hold lone surrogates, and no character ends a line.
    return json.dumps(values, separators=(",", ":")).encode()


def _parse(line: bytes) -> Numbered:
    """One event. Raises ValueError, TypeError or KeyError for anything else."""
    if len(line) > _LONGEST:
        raise ValueError("too long")
    values: Any = json.loads(line)
    number, time = values["number"], datetime.datetime.fromisoformat(values["time"])
    texts = {name: values[name] for name in _TEXTS}
    if type(number) is not int or number < 0 or time.tzinfo is None:
        raise ValueError("no number, or a time without a zone")
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a text is none")
    return number, EventSpec(time=time, severity=Severity(values["severity"]), **texts)

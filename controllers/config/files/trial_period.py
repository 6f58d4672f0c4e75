"""The trial that is going on, if any: its record on disk, its deadline, and what it forbids meanwhile."""

import datetime
from pathlib import Path

import trio

from nodespan.controllers.common.boot_clock import BootClock
from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.controllers.config.files.trial import Trial, dump_trial, load_trial
from nodespan.runtime.actions import ActionError
from nodespan.runtime.whole_file import remove_file, replace_file


class TrialPeriod:
    """At most one trial at a time. A trial whose time is over stays `current` until `end` is called."""

    def __init__(self, path: Path, clock: BootClock, wall_offset: WallOffset) -> None:
        self._path = path
        self._clock = clock
        self._wall_offset = wall_offset
        self._current: Trial | None = None
        self._until = 0.0

    @property
    def current(self) -> Trial | None:
        """The trial, None if there is none."""
        return self._current

    @property
    def until(self) -> datetime.datetime | None:
        """When the trial ends, by the wall clock as it is set now; None if there is none."""
        return None if self._current is None else self._wall_offset.time_of_day(self._until)

    @property
    def remaining(self) -> float:
        """The seconds that are left, 0 if there is no trial."""
        return 0.0 if self._current is None else self._current.remaining(self._clock)

    @property
    def is_over(self) -> bool:
        """Whether there is a trial, and its time is over."""
        return self._current is not None and self.remaining == 0

    async def load(self) -> None:
        """Resume the trial of an earlier process. An invalid record is removed. Raises ValueError, OSError."""
        try:
            self._set(await trio.to_thread.run_sync(load_trial, self._path))
        except (ValueError, OSError):
            await trio.to_thread.run_sync(remove_file, self._path)
            raise

    async def start(self, *, seconds: float, text: str, previous: str | None, base: str) -> None:
        """Start a trial; it is on disk when this returns. Raises OSError."""
        trial = Trial.start(self._clock, seconds=seconds, text=text, previous=previous, base=base)
        await trio.to_thread.run_sync(replace_file, self._path, dump_trial(trial))
        self._set(trial)

    async def end(self) -> None:
        """Forget the trial, on disk too. Raises OSError."""
        await trio.to_thread.run_sync(remove_file, self._path)
        self._set(None)

    def require(self) -> Trial:
        """The trial. Raises ActionError if there is none, or its time is over."""
        if self._current is None or self.is_over:
            raise ActionError("no configuration is on trial: its time is over, or there was none")
        return self._current

    def refuse_if_running(self) -> None:
        """Raises ActionError while a trial is going on."""
        if left := self.remaining:
            raise ActionError(
                f"a configuration is on trial, for another {left:.0f} s: first keep it with "
                "`nodespan apply --confirm`, or go back with `nodespan apply --cancel`"
            )

    def _set(self, trial: Trial | None) -> None:
        self._current = trial
        # Its record may be of another boot, and then its time is over.
        self._until = self._wall_offset.now() + self.remaining

"""A configuration on trial: it is in effect until its deadline, and after that only if it was confirmed.

The record is one small file beside the configuration that it replaces for a while, written atomically. An agent that
starts after one was killed continues the trial, or finds that its time is over; the configuration before it was never
touched.
"""

import json
from pathlib import Path
from typing import Self

import attrs

from nodespan.controllers.common.boot_clock import BootClock


@attrs.frozen(kw_only=True)
class Trial:
    """`text` is on trial until `deadline`, in seconds of the boot clock of `boot`.

    `previous` is the text that was in effect before, None if there was none. `base` is the digest of the file that the
    trial is to replace, by which a change of that file in the meantime is noticed.
    """

    boot: str
    deadline: float
    text: str = attrs.field(repr=False)
    previous: str | None = attrs.field(default=None, repr=False)
    base: str = ""

    @classmethod
    def start(cls, clock: BootClock, *, seconds: float, text: str, previous: str | None, base: str) -> Self:
        """A trial of so many seconds from now on."""
        return cls(boot=clock.boot, deadline=clock.now() + seconds, text=text, previous=previous, base=base)

    def remaining(self, clock: BootClock) -> float:
        """How many seconds are left, 0 if the time is over, as it is after a reboot."""
        return max(0.0, self.deadline - clock.now()) if self.boot == clock.boot else 0.0


def dump_trial(trial: Trial) -> str:
    """The trial as the content of its file."""
    return json.dumps(attrs.asdict(trial))


def load_trial(path: Path) -> Trial | None:
    """The trial of a file, None if there is none. Raises ValueError for an invalid file, and OSError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        given = json.loads(raw)
        trial = Trial(**given)
        for text in (trial.boot, trial.text, trial.base, trial.previous or ""):
            text.encode()
        float(trial.deadline)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the record of a trial: {error}") from error
    return trial

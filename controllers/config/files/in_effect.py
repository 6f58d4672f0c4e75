"""The configurations that have been in effect since the machine booted, and may have left traces in the kernel.

An agent that is killed cannot undo what it did. The next one does, if it knows what that was: it goes from the
configuration of its predecessor to the desired one, and on the way only undoes. So the same configuration leads to the
same state, whatever was in effect before.
"""

import json
from pathlib import Path

from nodespan.controllers.common.boot_clock import BootClock
from nodespan.runtime.whole_file import remove_file, replace_file


class InEffect:
    """A record on disk of the texts that may have traces, the latest last; None is "no configuration". All calls block.

    A record of an earlier boot is ignored: the kernel has forgotten everything.
    """

    def __init__(self, path: Path, clock: BootClock) -> None:
        self._path = path
        self._clock = clock
        self._texts: tuple[str | None, ...] = ()

    @property
    def texts(self) -> tuple[str | None, ...]:
        """What is on record."""
        return self._texts

    def load(self) -> None:
        """Read the record of an earlier process. Raises ValueError for an invalid file, and OSError."""
        try:
            given = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return
        match given:
            case {"boot": str() as boot, "texts": list() as texts} if all(map(_is_text_or_none, texts)):
                self._texts = tuple(texts) if boot == self._clock.boot else ()
            case _:
                raise ValueError(f"{self._path}: not the record of a configuration")

    def begin(self, text: str | None) -> None:
        """Record a text before it takes effect. Raises OSError."""
        if self._texts[-1:] != (text,):
            self._store((*(known for known in self._texts if known != text), text))

    def settle(self, text: str | None) -> None:
        """Record that no other text has traces, unless another is in effect by now. Raises OSError."""
        if self._texts[-1:] == (text,) and len(self._texts) > 1:
            self._store((text,))

    def forget(self) -> None:
        """Record that no text has traces. Raises OSError."""
        self._texts = ()
        remove_file(self._path)

    def _store(self, texts: tuple[str | None, ...]) -> None:
        replace_file(self._path, json.dumps({"boot": self._clock.boot, "texts": texts}))
        self._texts = texts


def _is_text_or_none(given: object) -> bool:
    return given is None or isinstance(given, str)

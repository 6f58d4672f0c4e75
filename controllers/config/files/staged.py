"""A configuration that takes effect after the next reboot: a small file beside the one that it is going to replace."""

import json
from pathlib import Path

import trio

from nodespan.controllers.common.boot_clock import BootClock
from nodespan.runtime.whole_file import remove_file, replace_file


class Staged:
    """At most one; a later one replaces it, and whatever is applied meanwhile removes it."""

    def __init__(self, path: Path, clock: BootClock) -> None:
        self._path = path
        self._clock = clock

    async def put(self, text: str) -> None:
        """Keep a text for the next boot. Raises OSError."""
        record = json.dumps({"boot": self._clock.boot, "text": text})
        await trio.to_thread.run_sync(replace_file, self._path, record)

    async def take(self) -> str | None:
        """The text that an earlier boot kept; `clear` once it is in its place. Raises ValueError, OSError."""
        return await trio.to_thread.run_sync(self._read)

    async def clear(self) -> None:
        """Forget it. Raises OSError."""
        await trio.to_thread.run_sync(remove_file, self._path)

    def _read(self) -> str | None:
        try:
            record = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{self._path}: not the record of a staged configuration") from error
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise ValueError(f"{self._path}: not the record of a staged configuration")  # noqa: TRY004  # of its content
        return record["text"] if record.get("boot") != self._clock.boot else None

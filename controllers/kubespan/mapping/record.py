"""The record of port mappings that this node has made: written before a router is asked, so that a kill loses none."""

import json
from collections.abc import Iterable
from pathlib import Path

import attrs
import trio

from nodespan.controllers.kubespan.mapping.mapping import PortMapping, from_plain, to_plain
from nodespan.runtime.whole_file import remove_file, replace_file

# Each is of another router: an agent that is carried around leaves no more behind.
MOST = 16
_LARGEST = 64 * 1024


@attrs.frozen
class Record:
    """The file; there is none without mappings."""

    path: Path

    async def read(self) -> tuple[PortMapping, ...]:
        """The recorded mappings. Raises ValueError for a file that cannot be read as such, and OSError."""
        return await trio.to_thread.run_sync(_read, self.path)

    async def write(self, mappings: Iterable[PortMapping]) -> None:
        """Record these, the latest last, readable by this user only. Raises OSError."""
        await trio.to_thread.run_sync(_write, self.path, tuple(mappings)[-MOST:])


def _read(path: Path) -> tuple[PortMapping, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return ()
    if len(data) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    plain = json.loads(data)
    if not isinstance(plain, list) or not all(isinstance(each, dict) for each in plain):
        raise ValueError("it holds no list of port mappings")
    return tuple(map(from_plain, plain))


def _write(path: Path, mappings: tuple[PortMapping, ...]) -> None:
    if mappings:
        replace_file(path, json.dumps([to_plain(each) for each in mappings], indent=1) + "\n", mode=0o600)
    elif path.exists():
        remove_file(path)

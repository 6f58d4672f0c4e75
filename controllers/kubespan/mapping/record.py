"""The record of port mappings that this node has made: written before a router is asked, so that a kill loses none."""

import json
from collections.abc import Iterable
from pathlib import Path

import attrs
import trio

from nodespan.controllers.kubespan.mapping.mapping import PortMapping, from_plain, to_plain
from nodespan.resources.kubespan import MappingProtocol
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
        return await trio.to_thread.run_sync(read_record, self.path)

    async def write(self, mappings: Iterable[PortMapping]) -> None:
        """Record these, the latest last, readable by this user only. Raises OSError."""
        await trio.to_thread.run_sync(_write, self.path, most_important(mappings))


def most_important(mappings: Iterable[PortMapping]) -> tuple[PortMapping, ...]:
    """The latest that a record has room for; those that end by themselves, or are foreign, make room first."""
    kept = list(mappings)
    passing = [each for each in kept if each.foreign or each.protocol is not MappingProtocol.UPNP]
    for each in (*passing, *kept)[: max(len(kept) - MOST, 0)]:
        kept.remove(each)
    return tuple(kept)


def read_record(path: Path) -> tuple[PortMapping, ...]:
    """What a file records. Blocks. Raises ValueError for a file that cannot be read as such, and OSError."""
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

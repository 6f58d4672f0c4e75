"""What `nodespan support` collects: parts of installed packages, found by the entry-point group `nodespan.support`."""

from collections.abc import Callable, Iterable, Iterator

import attrs

from nodespan.runtime import installed
from nodespan.runtime.overview.check import Surroundings
from nodespan.runtime.overview.secrets import Scrubber

SUPPORT_GROUP = "nodespan.support"


@attrs.frozen
class SupportFile:
    """A file of the archive: its name, with folders, and its text, from which secrets are taken afterwards."""

    name: str
    text: str


@attrs.frozen(kw_only=True)
class SupportPart:
    """A part of the archive. `collect` may block; it gives the secrets that it meets to the scrubber."""

    name: str
    collect: Callable[[Surroundings, Scrubber], Iterable[SupportFile]]


def load_parts() -> tuple[list[SupportPart], list[str]]:
    """The parts of all installed packages, and an error for each entry point that cannot be loaded."""
    found: list[SupportPart] = []
    errors: list[str] = []
    for entry_point in sorted(installed.entry_points(SUPPORT_GROUP), key=lambda point: point.name):
        try:
            loaded = entry_point.load()
            parts: Iterable[object] = (loaded,) if isinstance(loaded, SupportPart) else loaded
            for part in parts:
                if not isinstance(part, SupportPart):
                    raise TypeError(f"{part!r} is no SupportPart")
                found.append(part)
        except Exception as error:
            errors.append(f"entry point {entry_point.name!r}: {type(error).__name__}: {error}")
    return found, errors


def collect(part: SupportPart, surroundings: Surroundings, scrubber: Scrubber) -> Iterator[SupportFile]:
    """The files of a part; that it failed is one too."""
    try:
        yield from part.collect(surroundings, scrubber)
    except Exception as error:
        yield SupportFile(f"failed/{part.name}.txt", f"{type(error).__name__}: {error}\n")


__all__ = [
    "SUPPORT_GROUP",
    "SupportFile",
    "SupportPart",
]

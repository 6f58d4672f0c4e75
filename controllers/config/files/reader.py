"""Reads configurations in a thread, and keeps the last few, so that none of them is parsed twice."""

import functools
from collections.abc import Sequence
from pathlib import Path

import trio

from nodespan.controllers.config.loaded import Loaded
from nodespan.controllers.config.problem import Problem
from nodespan.controllers.config.reading import read_sources
from nodespan.controllers.config.sources import SourceText, bundle
from nodespan.resources.config import MachineConfigSpec

# The one in effect, the one on trial, and the one in between.
_KEPT = 3


class ConfigReader:
    """Reads `paths`, and texts from elsewhere. May be cancelled while a file system hangs."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = paths
        self._kept: dict[str, MachineConfigSpec] = {}

    async def read(self) -> Loaded:
        """The configuration of the files as they are now."""
        sources, problems = await self._read_sources()
        return await self.load(sources, problems)

    async def read_text(self) -> str | None:
        """The text of the files as they are now, unchecked; None if they cannot be read."""
        sources, problems = await self._read_sources()
        return None if problems else bundle(sources)

    async def load(self, sources: Sequence[SourceText], problems: Sequence[Problem] = ()) -> Loaded:
        """The configuration of these texts."""
        kept = None if problems else self._kept.get(bundle(sources))
        if kept is not None:
            return Loaded(config=kept, texts={source.name: source.text for source in sources})
        loaded = await trio.to_thread.run_sync(_load, sources, problems, abandon_on_cancel=True)
        self.keep(loaded)
        return loaded

    def keep(self, loaded: Loaded) -> None:
        """Keep a configuration, unless it has errors."""
        if not loaded.errors:
            self._kept[loaded.config.text] = loaded.config
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]

    async def _read_sources(self) -> tuple[list[SourceText], list[Problem]]:
        return await trio.to_thread.run_sync(functools.partial(read_sources, *self._paths), abandon_on_cancel=True)


def _load(sources: Sequence[SourceText], problems: Sequence[Problem]) -> Loaded:
    """In a worker thread: only an agent with a configuration loads what reads and checks one."""
    from nodespan.controllers.config.loading import load_sources

    return load_sources(sources, problems)

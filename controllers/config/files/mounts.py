"""Which namespaces the configuration keeps on states of their own: read once, before an agent begins.

What is wrong with the configuration is reported by the controller that reads it; states that are given are used in any
case, for resources that were written to another place would be lost there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from nodespan.controllers.config.files.watched import APPLIED_FILE
from nodespan.controllers.config.reading import read_sources
from nodespan.resources.config.nodespan import StateSettings
from nodespan.runtime.state.opening import Mount, check_url

_OWN = ("namespaces", "url")


def read_mounts(config: Sequence[Path], state_dir: Path) -> Sequence[Mount]:
    """The mounts of the files; without any, of the configuration that was applied last. Blocks; never raises."""
    applied = state_dir / APPLIED_FILE
    paths = tuple(config) or ((applied,) if applied.exists() else ())
    sources, problems = read_sources(*paths)
    # Most configurations name none, and an agent's start is not the time to read a large one twice.
    if not any("states" in source.text for source in sources):
        return ()
    from nodespan.controllers.config.loading import load_sources

    return mounts_of(load_sources(sources, problems).config.nodespan.states)


def mounts_of(states: Sequence[StateSettings]) -> tuple[Mount, ...]:
    """What a configuration says, without what is no state, or is one too many."""
    return tuple(_mounts(states))


def _mounts(states: Sequence[StateSettings]) -> Iterator[Mount]:
    taken: set[str] = set()
    for state in states:
        namespaces = tuple(name for name in state.namespaces if name and name not in taken)
        taken.update(namespaces)
        if namespaces and not check_url(state.url):
            yield Mount(namespaces=namespaces, url=state.url, settings=_settings(state))


def _settings(state: StateSettings) -> dict[str, str]:
    given = attrs.asdict(state, filter=lambda field, value: field.name not in _OWN and bool(value))
    return {name: str(value) for name, value in given.items()}

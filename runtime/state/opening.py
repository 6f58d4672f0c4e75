"""Opens states by their URLs: `memory:`, `sqlite:PATH`, and the schemes of installed packages.

A package offers a scheme by the entry-point group `nodespan.states`: the name is the scheme, the value a function from
the URL and `StateOptions` to an asynchronous context manager that gives the state.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from nodespan.runtime import installed
from nodespan.runtime.errors import StateOpenError
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state.base import State
from nodespan.runtime.state.memory import MemoryState
from nodespan.runtime.text.suggestions import did_you_mean

GROUP = "nodespan.states"


def _frozen(settings: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(settings))


@attrs.frozen(kw_only=True)
class StateOptions:
    """How to open a state.

    `state_dir` is where relative paths begin. `types` are known from the start. `settings` are the rest of what the
    configuration says of the state, by the names it has there. With `wait`, a state that cannot be reached is opened
    nevertheless, and has an outage until it can; without it that raises StateOpenError.
    """

    state_dir: Path
    types: tuple[ResourceType[Any], ...] = ()
    settings: Mapping[str, str] = attrs.field(factory=dict, converter=_frozen)
    max_history: int | None = None
    log: Any = None
    wait: bool = False


OpenState = Callable[[str, StateOptions], AbstractAsyncContextManager[State]]


@attrs.frozen(kw_only=True)
class Mount:
    """Namespaces, and the state that they are on: its URL and settings."""

    namespaces: tuple[str, ...]
    url: str
    settings: Mapping[str, str] = attrs.field(factory=dict)


def open_state(url: str, options: StateOptions) -> AbstractAsyncContextManager[State]:
    """The state of a URL, open within the block. Raises StateOpenError, also where the block is entered."""
    scheme = url.partition(":")[0]
    known = _schemes()
    if ":" not in url or scheme not in known:
        near = did_you_mean(scheme, known)
        raise StateOpenError(f"{url!r} is not the URL of a state{near}: it begins with {_listed(known)}")
    opened: AbstractAsyncContextManager[State] = known[scheme]()(url, options)
    return opened


def check_url(url: str) -> str:
    """What is wrong with the URL of a state, "" for nothing. Opens nothing."""
    scheme, colon, rest = url.partition(":")
    known = _schemes()
    if not colon or scheme not in known:
        return f"it begins with {_listed(known)}"
    return "" if rest or scheme == "memory" else f"what follows {scheme}: is missing"


def _schemes() -> dict[str, Callable[[], OpenState]]:
    found: dict[str, Callable[[], OpenState]] = {point.name: point.load for point in installed.entry_points(GROUP)}
    return {**found, "memory": lambda: _open_memory, "sqlite": lambda: _open_sqlite}


def _listed(schemes: Mapping[str, object]) -> str:
    return ", ".join(f"{scheme}:" for scheme in sorted(schemes))


@asynccontextmanager
async def _open_memory(_url: str, options: StateOptions) -> AsyncGenerator[State, None]:
    yield MemoryState(max_capacity=options.max_history)


@asynccontextmanager
async def _open_sqlite(url: str, options: StateOptions) -> AsyncGenerator[State, None]:
    # Only those who use it pay for the library.
    from nodespan.runtime.state.collection import History
    from nodespan.runtime.state.sqlite import open_sqlite

    key = options.settings.get("key")
    async with open_sqlite(
        options.state_dir / url.partition(":")[2],
        types=options.types,
        synchronous=options.settings.get("synchronous", "FULL"),
        key=options.state_dir / key if key else None,
        history=History.of(max_capacity=options.max_history),
        wait=options.wait,
        log=options.log,
    ) as state:
        yield state


__all__ = ["GROUP", "Mount", "StateOptions", "check_url", "open_state"]

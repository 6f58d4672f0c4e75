"""Descriptions that installed packages contribute, by the entry-point group `nodespan.about`.

The runtime knows no application: what a namespace is for, what a process without privileges cannot do, and what the
configuration is, is described by the packages that bring them. An entry point refers to an `About`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from nodespan.runtime import installed

if TYPE_CHECKING:
    from nodespan.runtime.state.opening import Mount

GROUP = "nodespan.about"


class _Logger(Protocol):
    def exception(self, event: str, **facts: Any) -> Any: ...


def _frozen(texts: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(texts))


def _none() -> Sequence[str]:
    return ()


def _no_mounts(_config: Sequence[Path], _state_dir: Path) -> "Sequence[Mount]":
    return ()


@attrs.frozen(kw_only=True)
class About:
    """The descriptions that a package contributes.

    `namespaces` maps names to descriptions. `limitations` is called when an agent starts and returns a sentence for
    each thing that it cannot do here, for its log. `option_help` maps options of `nodespan agent` (`--config`) to what
    they mean to the package's controllers. `messages` are how the package's specs look to clients of the State service
    (`nodespan.runtime.codec.messages.MessageType`); it is called when there may be any. `mounts` is called with the
    configuration files and the state directory of an agent that starts, and returns which namespaces are on other
    states.
    """

    namespaces: Mapping[str, str] = attrs.field(factory=dict, converter=_frozen)
    limitations: Callable[[], Sequence[str]] = _none
    option_help: Mapping[str, str] = attrs.field(factory=dict, converter=_frozen)
    messages: Callable[[], Sequence[Any]] = _none
    mounts: "Callable[[Sequence[Path], Path], Sequence[Mount]]" = _no_mounts


def load_about(log: _Logger) -> list[About]:
    """What all installed packages tell, sorted by the names of their entry points.

    An entry point that cannot be loaded is logged and left out.
    """
    found: list[About] = []
    for entry_point in sorted(installed.entry_points(GROUP), key=lambda point: point.name):
        where = f"entry point {entry_point.name!r} = {entry_point.value!r}"
        try:
            about = entry_point.load()
            if not isinstance(about, About):
                raise TypeError(f"{where} is {about!r}: expected an About")
            found.append(about)
        except Exception:
            log.exception("the description of an installed package cannot be loaded", entry_point=where)
    return found


__all__ = [
    "GROUP",
    "About",
]

"""Sections of `nodespan status`: made in the agent from resources, found by the entry-point group `nodespan.status`."""

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from nodespan.runtime import installed
from nodespan.runtime.controller import Logger
from nodespan.runtime.errors import AccessError
from nodespan.runtime.overview.severity import Severity
from nodespan.runtime.resource import KindLike, Resource, ResourceDefinition, ResourceType, kind_of
from nodespan.runtime.state.base import State

STATUS_GROUP = "nodespan.status"
S = TypeVar("S")


@attrs.frozen
class Fact:
    """A line: what it is about, and what is so."""

    label: str
    text: str


@attrs.frozen
class Row:
    """A line of a table. One that needs attention is coloured, and shown first where there is no room for all."""

    cells: tuple[str, ...]
    severity: Severity = Severity.INFO


@attrs.frozen(kw_only=True)
class Table:
    """A table; `more` is the command that shows all of it, for where there is no room."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    more: str = ""


@attrs.frozen
class Finding:
    """Something that needs attention, and what to do about it. An error makes the node unhealthy."""

    severity: Severity
    text: str
    remedy: str = ""


@attrs.frozen(kw_only=True)
class SectionView:
    """What a section shows: facts, then the table, and findings, which are collected at the end of the screen.

    `data` is the same for programs (`-o json`): plain values, numbers as numbers and times as RFC 3339. A section
    without anything to show is left out for people.
    """

    facts: tuple[Fact, ...] = ()
    table: Table | None = None
    findings: tuple[Finding, ...] = ()
    data: Mapping[str, Any] = attrs.field(factory=dict)


class Glance:
    """What a section looks at: the state as the client may see it, and the time."""

    def __init__(self, state: State, now: datetime.datetime, version: str) -> None:
        self._state = state
        self.now = now
        self.version = version

    def list(self, kind: KindLike[S]) -> list[Resource[S]]:
        """The resources of a kind; none of a type that no controller here knows. Raises AccessError."""
        return self._state.list(kind) if self._is_known(kind) else []

    def find(self, kind: KindLike[S], id: str) -> Resource[S] | None:
        """The resource, or None. Raises AccessError."""
        return self._state.find(kind, id) if self._is_known(kind) else None

    def readable(self, kind: KindLike[S], id: str) -> Resource[S] | None:
        """As `find`, and None too for what the client may not see."""
        try:
            return self.find(kind, id)
        except AccessError:
            return None

    def _is_known(self, kind: KindLike[Any]) -> bool:
        return self._state.find(ResourceDefinition, kind_of(kind).type.lower()) is not None


@attrs.frozen(kw_only=True)
class Section:
    """A part of the status. Sections are shown by `order`, then by name; those of nodespan are at 100, 200 and so on.

    `inputs` are the types whose changes make `status -w` show it again. `view` is quick and does not wait.
    """

    name: str
    title: str
    order: int = 1000
    inputs: tuple[ResourceType[Any], ...] = ()
    view: Callable[[Glance], SectionView]


def load_sections(log: Logger) -> list[Section]:
    """The sections of all installed packages, in order. An entry point that cannot be loaded is logged and left out."""
    found: list[Section] = []
    for entry_point in installed.entry_points(STATUS_GROUP):
        where = f"entry point {entry_point.name!r} = {entry_point.value!r}"
        try:
            loaded = entry_point.load()
            sections: Iterable[object] = (loaded,) if isinstance(loaded, Section) else loaded
            for section in sections:
                if not isinstance(section, Section):
                    raise TypeError(f"{where} has {section!r}: expected a Section")
                found.append(section)
        except Exception:
            log.exception("sections of an installed package cannot be loaded", entry_point=where)
    return sorted(found, key=lambda section: (section.order, section.name))

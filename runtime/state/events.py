"""The events of watches."""

import enum
from typing import Any, Generic, Protocol, Self, TypeVar

import attrs

from nodespan.runtime.errors import StateError
from nodespan.runtime.resource import Resource

T_co = TypeVar("T_co", covariant=True)


class EventType(enum.IntEnum):
    """The type of an event; the numbers are those of the COSI State service."""

    CREATED = 0
    UPDATED = 1
    DESTROYED = 2
    BOOTSTRAPPED = 3
    ERRORED = 4
    NOOP = 5


@attrs.frozen
class Event:
    """One step in the history of a kind.

    `resource` is the new state, the last one when destroyed, a tombstone when there is none, and None only when
    errored; `old` is the state before an update; `bookmark`, where there is one, is the place to resume a watch after.
    """

    type: EventType
    resource: Resource[Any] | None = None
    old: Resource[Any] | None = None
    error: StateError | None = None
    bookmark: bytes | None = None


class Watch(Protocol, Generic[T_co]):
    """A running watch: enter it, then iterate.

    The start is fixed on entering: every write that commits later is delivered, none twice. Each step of the iteration
    is a checkpoint and waits, cancellably, for an event. After an ERRORED event the iteration ends; leaving the block
    ends it silently.
    """

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> T_co: ...

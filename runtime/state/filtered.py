"""A state restricted by a rule, which is called before every access."""

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from nodespan.runtime.resource import (
    EVERYTHING,
    Filter,
    Kind,
    KindLike,
    LabelQuery,
    Phase,
    Pointer,
    Resource,
    ResourceType,
    kind_of,
)
from nodespan.runtime.state.base import ExpectedPhase, Outage, Sink, State, View
from nodespan.runtime.state.events import Event, Watch

S = TypeVar("S")


class Verb(enum.IntEnum):
    """The operation of an access; the first three only read."""

    GET = 0
    LIST = 1
    WATCH = 2
    CREATE = 3
    UPDATE = 4
    DESTROY = 5

    @property
    def only_reads(self) -> bool:
        """Whether the access changes nothing."""
        return self <= Verb.WATCH


BatchWatch = Watch[list[Event]]
# Raises to deny. The id of the pointer is "" where a whole kind is listed or watched.
Rule = Callable[[Pointer[Any], Verb], None]


class _FilteredView:
    """A view that calls the rule for each use."""

    def __init__(self, inner: State, kind: KindLike[Any], rule: Rule) -> None:
        # The view itself is asked for after the rule: a state may keep something for each kind that it was asked for.
        self._inner = inner
        self._given = kind
        self._kind = kind_of(kind)
        self._rule = rule

    @property
    def items(self) -> Mapping[str, Resource[Any]]:
        self._rule(self._kind.pointer(""), Verb.LIST)
        return self._inner.view(self._given).items

    @property
    def write_position(self) -> int:
        self._rule(self._kind.pointer(""), Verb.LIST)
        return self._inner.view(self._given).write_position

    def changed_since(self, id: str, position: int) -> bool | None:
        self._rule(self._kind.pointer(id), Verb.GET)
        return self._inner.view(self._given).changed_since(id, position)

    def list(self, filter: Filter = EVERYTHING) -> list[Resource[Any]]:
        self._rule(self._kind.pointer(""), Verb.LIST)
        return self._inner.view(self._given).list(filter)

    def subscribe(self, sink: Sink, id: str | None = None) -> Callable[[], None]:
        self._rule(self._kind.pointer(id or ""), Verb.WATCH)
        return self._inner.view(self._given).subscribe(sink, id)


class FilteredState(State):
    """Another state behind a rule. Errors of the rule are raised unchanged, before the access.

    The helpers (teardown, finalizers, modify) need the rights of the operations that they use.
    """

    def __init__(self, inner: State, rule: Rule) -> None:
        self._inner = inner
        self._rule = rule

    def view(self, kind: KindLike[Any]) -> View:
        return _FilteredView(self._inner, kind, self._rule)

    def find(self, kind: KindLike[S], id: str) -> Resource[S] | None:
        self._rule(kind_of(kind).pointer(id), Verb.GET)
        return self._inner.find(kind, id)

    def list(
        self, kind: KindLike[S], *, labels: Iterable[LabelQuery] = (), id_query: str | None = None
    ) -> list[Resource[S]]:
        self._rule(kind_of(kind).pointer(""), Verb.LIST)
        return self._inner.list(kind, labels=labels, id_query=id_query)

    def kinds(self) -> Iterable[Kind[Any]]:
        return self._inner.kinds()

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:
        self._inner.learn(types)

    def unknown_types(self) -> Counter[str]:
        return self._inner.unknown_types()

    def outage(self, namespace: str) -> Outage | None:
        return self._inner.outage(namespace)

    async def until_available(self, namespace: str) -> None:
        await self._inner.until_available(namespace)

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        self._rule(resource.pointer, Verb.CREATE)
        return await self._inner.create(resource, owner=owner)

    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        self._rule(resource.pointer, Verb.UPDATE)
        return await self._inner.update(resource, owner=owner, expected_phase=expected_phase)

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        self._rule(kind_of(kind).pointer(id), Verb.DESTROY)
        await self._inner.destroy(kind, id, owner=owner)

    def watch(
        self, kind: KindLike[Any], id: str, *, tail_events: int = 0, start_from: bytes | None = None
    ) -> Watch[Event]:
        self._rule(kind_of(kind).pointer(id), Verb.WATCH)
        return self._inner.watch(kind, id, tail_events=tail_events, start_from=start_from)

    def watch_kind(self, kind: KindLike[Any], **options: Any) -> Watch[Event]:
        self._rule(kind_of(kind).pointer(""), Verb.WATCH)
        return self._inner.watch_kind(kind, **options)

    def watch_kind_aggregated(self, kind: KindLike[Any], **options: Any) -> BatchWatch:
        self._rule(kind_of(kind).pointer(""), Verb.WATCH)
        return self._inner.watch_kind_aggregated(kind, **options)

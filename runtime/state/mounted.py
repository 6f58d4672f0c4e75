"""One state made of several: each namespace is on the state that is mounted there, the others on the default."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from nodespan.runtime.resource import Kind, KindLike, LabelQuery, Phase, Resource, ResourceType, kind_of
from nodespan.runtime.state.base import ExpectedPhase, Outage, State, View
from nodespan.runtime.state.events import Event, Watch

_Batches = Watch[list[Event]]

S = TypeVar("S")


class MountedState(State):
    """Namespaces on states of their own. Mount before anything reads: a view belongs to the state of its time."""

    def __init__(self, default: State) -> None:
        self._default = default
        self._mounts: dict[str, State] = {}

    @property
    def mounts(self) -> Mapping[str, State]:
        """The state of each mounted namespace."""
        return MappingProxyType(self._mounts)

    def mount(self, namespace: str, state: State) -> None:
        """Put a namespace on a state. Raises ValueError if it is on one already."""
        if namespace in self._mounts:
            raise ValueError(f"namespace {namespace!r} is mounted already")
        self._mounts[namespace] = state

    def _of(self, namespace: str) -> State:
        return self._mounts.get(namespace, self._default)

    def _states(self) -> Iterable[State]:
        return dict.fromkeys((self._default, *self._mounts.values()))

    def view(self, kind: KindLike[Any]) -> View:
        return self._of(kind_of(kind).namespace).view(kind)

    def find(self, kind: KindLike[S], id: str) -> Resource[S] | None:
        return self._of(kind_of(kind).namespace).find(kind, id)

    def list(
        self, kind: KindLike[S], *, labels: Iterable[LabelQuery] = (), id_query: str | None = None
    ) -> list[Resource[S]]:
        return self._of(kind_of(kind).namespace).list(kind, labels=labels, id_query=id_query)

    def kinds(self) -> Iterable[Kind[Any]]:
        # What else a state holds is not mounted here.
        return [kind for state in self._states() for kind in state.kinds() if self._of(kind.namespace) is state]

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:
        types = tuple(types)
        for state in self._states():
            state.learn(types)

    def unknown_types(self) -> Counter[str]:
        return sum((state.unknown_types() for state in self._states()), Counter())

    def outage(self, namespace: str) -> Outage | None:
        return self._of(namespace).outage(namespace)

    async def until_available(self, namespace: str) -> None:
        await self._of(namespace).until_available(namespace)

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        return await self._of(resource.metadata.namespace).create(resource, owner=owner)

    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        state = self._of(resource.metadata.namespace)
        return await state.update(resource, owner=owner, expected_phase=expected_phase)

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        await self._of(kind_of(kind).namespace).destroy(kind, id, owner=owner)

    def watch(
        self, kind: KindLike[Any], id: str, *, tail_events: int = 0, start_from: bytes | None = None
    ) -> Watch[Event]:
        state = self._of(kind_of(kind).namespace)
        return state.watch(kind, id, tail_events=tail_events, start_from=start_from)

    def watch_kind(self, kind: KindLike[Any], **options: Any) -> Watch[Event]:
        return self._of(kind_of(kind).namespace).watch_kind(kind, **options)

    def watch_kind_aggregated(self, kind: KindLike[Any], **options: Any) -> _Batches:
        return self._of(kind_of(kind).namespace).watch_kind_aggregated(kind, **options)


__all__ = ["MountedState"]

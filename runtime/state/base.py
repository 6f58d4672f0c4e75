"""The State interface: the operations of every kind of state, and helpers built on them.

Reads are plain function calls on local memory, through a `View`: a state kept elsewhere feeds its views by its own
watch. Only writes and watches are asynchronous.
"""

import enum
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

import attrs
import trio

from nodespan.runtime.errors import ConflictError, NotFoundError, OwnerConflictError, PhaseConflictError
from nodespan.runtime.process.boot_time import boot_time_ns
from nodespan.runtime.resource import (
    EVERYTHING,
    Filter,
    Kind,
    KindLike,
    LabelQuery,
    Metadata,
    Phase,
    Resource,
    ResourceType,
    build_filter,
    kind_of,
)
from nodespan.runtime.state.events import Event, EventType, Watch

S = TypeVar("S")
Mutate = Callable[[Resource[S]], Resource[S]]
# Called after each commit, within the write: the new state, the one before an update, and False; or the last one, None
# and True when it was destroyed.
Sink = Callable[[Resource[Any], Resource[Any] | None, bool], None]


class AnyPhase(enum.Enum):
    """The expectation of an update that is allowed in any phase."""

    ANY_PHASE = "any"


ANY_PHASE = AnyPhase.ANY_PHASE
ExpectedPhase = Phase | AnyPhase


@attrs.frozen
class Outage:
    """A namespace whose state cannot be reached: it can be read, as of `began`, but not written.

    `began` is in nanoseconds of the boot clock, so that neither the order of outages nor their age follows a wall clock
    that is set. Without `is_loaded` nothing was read yet: that the view is empty means nothing.
    """

    began: int
    reason: str
    is_loaded: bool = True

    def since(self, wall: Callable[[], int] = time.time_ns, boot: Callable[[], int] = boot_time_ns) -> int:
        """When it began, in nanoseconds of the wall clock as it is set now."""
        return wall() - (boot() - self.began)


class View(Protocol):
    """The local, current contents of one kind. Never waits, never copies: resources are immutable."""

    @property
    def items(self) -> Mapping[str, Resource[Any]]:
        """The live mapping from id to resource: read-only, in no order."""
        ...

    @property
    def write_position(self) -> int:
        """How many changes there were of the kind since this process began to follow it."""
        ...

    def changed_since(self, id: str, position: int) -> bool | None:
        """Whether a resource has changed since `write_position` was this; None if the history does not reach back.

        The order of changes, which depends on no clock.
        """
        ...

    def list(self, filter: Filter = EVERYTHING) -> list[Resource[Any]]:
        """The resources that pass the filter, as a new list sorted by id."""
        ...

    def subscribe(self, sink: Sink, id: str | None = None) -> Callable[[], None]:
        """Call `sink` after each commit (to one resource, if an id is given) until the returned function is called.

        It is called within the write. A sink must not block, write or raise: it marks that something changed, so that
        a burst of changes costs no more than the marks.
        """
        ...


def not_found(kind: KindLike[Any], id: str) -> NotFoundError:
    """The error for a missing resource."""
    address = kind_of(kind)
    message = f"resource {address.pointer(id)} doesn't exist"
    return NotFoundError(message, namespace=address.namespace, type=address.type)


class State(ABC):
    """Typed resources by namespace, type and id, with versions, owners, finalizers and watches.

    All operations on one kind are in one order, and its events come in that order. Writes do not wait in memory; where
    they do (another kind of state), cancelling one leaves it unknown whether it was committed.
    """

    @abstractmethod
    def view(self, kind: KindLike[Any]) -> View:
        """The local contents of a kind; an unknown one is empty."""

    @abstractmethod
    def kinds(self) -> Iterable[Kind[Any]]:
        """Every kind that was ever used, in no order."""

    @abstractmethod
    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        """Store a new resource, owned by `owner`, as version 1, and return what was stored.

        Raises ConflictError if it exists, in any phase, and ValueError if it already has another owner.
        """

    @abstractmethod
    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        """Replace the resource whose version is the given one's, and return what was stored.

        Raises NotFoundError, OwnerConflictError if `owner` is not exactly the stored one, ConflictError if the version
        is another, PhaseConflictError if the stored phase is not the expected one. Equal content is written too.
        """

    @abstractmethod
    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        """Remove a resource, in any phase.

        Raises NotFoundError, OwnerConflictError, and ConflictError while it has finalizers.
        """

    @abstractmethod
    def watch(
        self, kind: KindLike[Any], id: str, *, tail_events: int = 0, start_from: bytes | None = None
    ) -> Watch[Event]:
        """Watch one resource: its current state first (a tombstone if there is none), then each commit.

        With `tail_events` or `start_from` (a bookmark) there is no first event. Entering raises InvalidBookmarkError or
        WatchOptionsError.
        """

    @abstractmethod
    def watch_kind_aggregated(
        self,
        kind: KindLike[Any],
        *,
        bootstrap_contents: bool = False,
        bootstrap_bookmark: bool = False,
        tail_events: int = 0,
        start_from: bytes | None = None,
        filter: Filter = EVERYTHING,
    ) -> Watch[list[Event]]:
        """Watch a kind, in batches of pending events: the contents with their BOOTSTRAPPED are the first batch."""

    @abstractmethod
    def watch_kind(
        self,
        kind: KindLike[Any],
        *,
        bootstrap_contents: bool = False,
        bootstrap_bookmark: bool = False,
        tail_events: int = 0,
        start_from: bytes | None = None,
        filter: Filter = EVERYTHING,
    ) -> Watch[Event]:
        """Watch a kind, event by event.

        `bootstrap_contents` sends the present resources as CREATED and then BOOTSTRAPPED; `bootstrap_bookmark` a NOOP
        that carries the place to resume at; `tail_events` starts so many events back; `start_from` resumes after a
        bookmark. Updates that a resource enters or leaves the filter by arrive as CREATED and DESTROYED. Entering
        raises InvalidBookmarkError or WatchOptionsError.
        """

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:  # noqa: B027  # nothing to learn by default
        """Know these types from now on, for a state that decodes what it stores."""

    def unknown_types(self) -> Counter[str]:
        """How many resources are kept and not shown, by their types, which were not learned."""
        return Counter()

    # Availability: a state kept elsewhere may be out of reach.

    def outage(self, namespace: str) -> Outage | None:
        """Why a namespace is out of reach; None while it can be written, as a state in memory always can."""
        del namespace
        return None

    async def until_available(self, namespace: str) -> None:
        """Wait until a namespace has no outage."""
        del namespace
        await trio.lowlevel.checkpoint()

    # Reads.

    def find(self, kind: KindLike[S], id: str) -> Resource[S] | None:
        """The resource, or None."""
        return self.view(kind).items.get(id)

    def get(self, kind: KindLike[S], id: str) -> Resource[S]:
        """The resource, in any phase. Raises NotFoundError."""
        found = self.find(kind, id)
        if found is None:
            raise not_found(kind, id)
        return found

    def list(
        self, kind: KindLike[S], *, labels: Iterable[LabelQuery] = (), id_query: str | None = None
    ) -> list[Resource[S]]:
        """The resources of a kind that pass the queries, sorted by id, including those tearing down."""
        return self.view(kind).list(build_filter(labels, id_query))

    # Helpers over the above.

    async def update_with_conflicts(
        self,
        kind: KindLike[S],
        id: str,
        mutate: Mutate[S],
        *,
        owner: str = "",
        expected_phase: ExpectedPhase = Phase.RUNNING,
    ) -> Resource[S]:
        """Apply `mutate` to the current resource and write the result; retry after a conflicting write.

        Returns what was stored; nothing is written if `mutate` changes nothing. Raises what `mutate` raises,
        NotFoundError, OwnerConflictError, and PhaseConflictError even where nothing would be written.
        """
        while True:
            current = self.get(kind, id)
            changed = proposed(current, mutate, expected_phase)
            if changed is current:
                return current
            if changed.metadata.version != current.metadata.version:
                changed = changed.evolve(version=current.metadata.version)
            try:
                return await self.update(changed, owner=owner, expected_phase=expected_phase)
            except (OwnerConflictError, PhaseConflictError):
                raise
            except ConflictError:
                await trio.lowlevel.checkpoint()

    async def modify(
        self,
        initial: Resource[S],
        mutate: Mutate[S],
        *,
        owner: str = "",
        expected_phase: ExpectedPhase = Phase.RUNNING,
    ) -> Resource[S]:
        """Create `mutate(initial)` if the resource is missing, else update the stored one by `mutate`.

        Returns what was stored. The expected phase plays no role for a creation; losing a race to create surfaces as
        ConflictError, one with a destruction as NotFoundError.
        """
        if self.find(initial.kind, initial.id) is None:
            return await self.create(mutate(initial), owner=owner)
        return await self.update_with_conflicts(
            initial.kind, initial.id, mutate, owner=owner, expected_phase=expected_phase
        )

    async def teardown(self, kind: KindLike[Any], id: str, *, owner: str = "") -> bool:
        """Set the phase to tearing down, and return whether the resource has no finalizers. Idempotent.

        Raises NotFoundError and, for a running resource, OwnerConflictError.
        """
        current = self.get(kind, id)
        if not current.metadata.is_tearing_down:
            current = await self.update_with_conflicts(
                kind, id, lambda resource: resource.evolve(phase=Phase.TEARING_DOWN), owner=owner
            )
        return not current.metadata.finalizers

    async def add_finalizer(self, kind: KindLike[Any], id: str, *finalizers: str) -> None:
        """Add finalizers, whatever the owner, in any phase. Raises NotFoundError."""
        await self._change_finalizers(kind, id, lambda metadata: metadata.with_finalizers(*finalizers))

    async def remove_finalizer(self, kind: KindLike[Any], id: str, *finalizers: str) -> None:
        """Remove finalizers, whatever the owner, in any phase. Raises NotFoundError."""
        await self._change_finalizers(kind, id, lambda metadata: metadata.without_finalizers(*finalizers))

    async def _change_finalizers(self, kind: KindLike[Any], id: str, change: Callable[[Metadata], Metadata]) -> None:
        # As `update_with_conflicts`, which would compare the whole resources.
        while True:
            current = self.get(kind, id)
            metadata = change(current.metadata)
            if metadata is current.metadata:
                return
            try:
                await self.update(Resource(metadata, current.spec), owner=metadata.owner, expected_phase=ANY_PHASE)
            except (OwnerConflictError, PhaseConflictError):
                raise
            except ConflictError:
                await trio.lowlevel.checkpoint()
            else:
                return

    async def watch_for(
        self,
        kind: KindLike[S],
        id: str,
        *,
        event_types: Iterable[EventType] = (),
        condition: Callable[[Resource[S]], bool] | None = None,
        finalizers_empty: bool = False,
        phases: Iterable[Phase] = (),
    ) -> Resource[S]:
        """Wait until an event of the resource satisfies all given conditions, and return the resource of that event.

        The first event is the current state, a tombstone (which reads as running) for a missing one. Raises what
        `condition` raises, and the watch's error if it fails.
        """
        types, wanted = frozenset(event_types), frozenset(phases)
        async with self.watch(kind, id) as watch:
            async for event in watch:
                if event.error is not None:
                    raise event.error
                resource = event.resource
                if (
                    (types and event.type not in types)
                    or resource is None
                    or (condition is not None and not condition(resource))
                    or (finalizers_empty and (event.type is EventType.DESTROYED or resource.metadata.finalizers))
                    or (wanted and resource.metadata.phase not in wanted)
                ):
                    continue
                return resource
        raise AssertionError("a watch ends only by an error or with its block")

    @contextmanager
    def while_running(self, kind: KindLike[Any], id: str) -> Iterator[trio.CancelScope]:
        """A scope that is cancelled when the resource is torn down or destroyed; at once if it already is.

        Yields the scope; after the block its `cancelled_caught` tells whether that happened.
        """
        with trio.CancelScope() as scope:

            def cancel_when_gone(resource: Resource[Any], _before: Resource[Any] | None, destroyed: bool) -> None:
                if destroyed or resource.metadata.is_tearing_down:
                    scope.cancel()

            current = self.find(kind, id)
            if current is None or current.metadata.is_tearing_down:
                scope.cancel()
            unsubscribe = self.view(kind).subscribe(cancel_when_gone, id)
            try:
                yield scope
            finally:
                unsubscribe()

    async def teardown_and_destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        """Tear the resource down, wait until it has no finalizers, destroy it.

        Cancelling leaves it torn down. A concurrent destruction is not an error. Raises NotFoundError if it is missing
        at the start, OwnerConflictError if it has another owner, ConflictError if a finalizer is added just before the
        destruction, OverrunError if this watcher falls behind, UnsupportedError if the state cannot be watched.
        """
        if not await self.teardown(kind, id, owner=owner):
            async with self.watch(kind, id) as watch:
                async for event in watch:
                    if event.error is not None:
                        raise event.error
                    if event.type is EventType.DESTROYED:
                        return
                    if event.resource is not None and not event.resource.metadata.finalizers:
                        break
        # Another caller may have destroyed it first.
        with suppress(NotFoundError):
            await self.destroy(kind, id, owner=owner)


def proposed(current: Resource[S], mutate: Mutate[S], expected_phase: ExpectedPhase) -> Resource[S]:
    """What a change makes of a resource; the very one if that is the same. Raises PhaseConflictError."""
    if expected_phase is not ANY_PHASE and current.metadata.phase is not expected_phase:
        raise phase_conflict(current, expected_phase)
    changed = mutate(current)
    return current if changed is current or changed == current else changed


def phase_conflict(current: Resource[Any], expected: Phase) -> PhaseConflictError:
    """The error for an update that expected another phase."""
    metadata = current.metadata
    message = f"resource {metadata} is not in phase {expected}"
    return PhaseConflictError(message, namespace=metadata.namespace, type=metadata.type)


def count_by_type(state: State) -> Counter[str]:
    """How many resources of each type there are, over all namespaces."""
    counts: Counter[str] = Counter()
    for kind in state.kinds():
        counts[kind.type] += len(state.view(kind).items)
    return counts

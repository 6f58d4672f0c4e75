"""The state of another process or machine, as a state of this one.

Theory of operation. Each kind that is used here is followed: a watch over the wire feeds its collection, from the
contents on, and readers and watches are those of the collection. The events come in the order of the other side's
commits. When the watch breaks, it resumes after the last bookmark; where that is too old, the contents are read again
and only what differs is a change. In between the view stays readable, and `outage` says since when it is stale.

A write goes over the wire, and returns when the view has it too: who writes reads what it wrote. A refusal is raised
when the view shows what it was refused for, so that a second try starts from the present. If the watch breaks
meanwhile, nobody waits for it.

What does not come from the other side are bookmarks and tails: they are places in the history of this process.
"""

import random as randoms
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol, Self, TypeVar

import attrs
import trio

from nodespan.runtime.backoff import Backoff
from nodespan.runtime.errors import (
    ConflictError,
    InvalidBookmarkError,
    NotFoundError,
    StateError,
    UnavailableError,
)
from nodespan.runtime.process.boot_time import boot_time_ns
from nodespan.runtime.resource import (
    EVERYTHING,
    Filter,
    Kind,
    KindLike,
    Metadata,
    Phase,
    Resource,
    ResourceType,
    kind_of,
)
from nodespan.runtime.state.base import ExpectedPhase, Mutate, Outage
from nodespan.runtime.state.collection import COOKIE_SIZE, Collection, Collections, History
from nodespan.runtime.state.events import Event, EventType, Watch
from nodespan.runtime.state.viewed import ViewedState

S = TypeVar("S")
# A watch that has lasted so many seconds was a good one.
_STEADY = 10.0
# How long, in seconds, a writer waits for what may have come with contents that were read again.
_PATIENCE = 1.0


class Remote(Protocol):
    """The other side: its operations, with the errors of a state. UnavailableError: it cannot be reached."""

    async def get(self, kind: Kind[Any], id: str) -> Resource[Any]:
        """A resource. Raises NotFoundError."""
        ...

    async def create(self, resource: Resource[Any], owner: str) -> Resource[Any]:
        """As `State.create`."""
        ...

    async def update(self, resource: Resource[Any], owner: str, expected_phase: ExpectedPhase) -> Resource[Any]:
        """As `State.update`."""
        ...

    async def destroy(self, kind: Kind[Any], id: str, owner: str) -> None:
        """As `State.destroy`."""
        ...

    def watch_kind(
        self, kind: Kind[Any], start_from: bytes | None, *, wait: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """The contents, BOOTSTRAPPED and changes; only changes after a bookmark. `wait`: until it can be reached."""
        ...

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:
        """Decode the specs of these types from now on."""
        ...

    def decoded(self, resource: Resource[Any]) -> Resource[Any]:
        """The resource with its spec decoded, if its type was learned after it came; else itself."""
        ...


@attrs.define(eq=False)
class _Expectation:
    """What somebody waits for to be seen in a collection, and what of its id was seen since they began."""

    id: str
    seen: list[Event] = attrs.field(factory=list)
    # The contents were read again meanwhile: what they include comes as no event.
    is_resynced: bool = False
    changed: trio.Event = attrs.field(factory=trio.Event)


class _Follower:
    """Keeps one collection as the other side has it."""

    def __init__(self, collection: Collection, remote: Remote, random: randoms.Random) -> None:
        self.collection = collection
        self.outage: Outage | None = Outage(boot_time_ns(), f"{collection.kind} was not read yet", is_loaded=False)
        # Why it cannot be followed, while it cannot.
        self.failure: StateError | None = None
        self.changed = trio.lowlevel.ParkingLot()
        self._remote = remote
        self._backoff = Backoff(random)
        self._bookmark: bytes | None = None
        self._is_loaded = False
        self._expectations: dict[str, list[_Expectation]] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            began = trio.current_time()
            try:
                await self._follow()
            except InvalidBookmarkError:
                self._bookmark = None
            except StateError as error:
                self._failed(error)
            if trio.current_time() - began >= _STEADY:
                self._backoff.reset()
            # The first try after a good time is at once.
            is_first = self._backoff.failures == 0
            wait = self._backoff.next()
            if not is_first:
                await trio.sleep(wait)

    async def _follow(self) -> None:
        kind, start_from = self.collection.kind, self._bookmark
        contents: dict[str, Resource[Any]] | None = {} if start_from is None else None
        # At first a failure is to be told; later the call itself waits until it is over.
        async with self._remote.watch_kind(kind, start_from, wait=self.failure is not None) as events:
            if contents is None:
                self._came_back()
            async for event in events:
                if event.error is not None:
                    # It has fallen behind. What there is now is read again.
                    raise InvalidBookmarkError(str(event.error), namespace=kind.namespace, type=kind.type)
                assert event.resource is not None  # only errors come without
                if contents is None:
                    self._apply(event)
                elif event.type is EventType.CREATED:
                    contents[event.resource.id] = event.resource
                elif event.type is EventType.BOOTSTRAPPED:
                    # A type may have been learned since they came.
                    self.collection.resync({id: self._remote.decoded(each) for id, each in contents.items()})
                    contents = None
                    self._is_loaded = True
                    self._resynced()
                    self._came_back()
                if event.bookmark is not None:
                    self._bookmark = event.bookmark
        raise UnavailableError(f"the watch of {kind} has ended", namespace=kind.namespace, type=kind.type)

    def _apply(self, event: Event) -> None:
        new = event.resource
        assert new is not None
        collection, current = self.collection, self.collection.items.get(new.id)
        if event.type is EventType.DESTROYED:
            if current is not None:
                collection.remove(current)
        elif event.type in (EventType.CREATED, EventType.UPDATED):
            if current is None:
                collection.put_new(new)
            else:
                collection.put(new, current)
        for expectation in self._expectations.get(new.id, ()):
            expectation.seen.append(event)
            expectation.changed.set()

    def _resynced(self) -> None:
        for expectations in self._expectations.values():
            for expectation in expectations:
                expectation.is_resynced = True
                expectation.changed.set()

    def _came_back(self) -> None:
        self.outage = self.failure = None
        self.changed.unpark_all()

    def _failed(self, error: StateError) -> None:
        began = boot_time_ns() if self.outage is None or not self._is_loaded else self.outage.began
        self.outage = Outage(began, str(error), is_loaded=self._is_loaded)
        self.failure = error
        self.changed.unpark_all()
        for expectations in self._expectations.values():
            for expectation in expectations:
                expectation.changed.set()

    async def until_loaded(self) -> None:
        """Wait for the contents. Raises the error for which they cannot be had now."""
        await trio.lowlevel.checkpoint()
        while not self._is_loaded:
            if self.failure is not None:
                raise self.failure.with_traceback(None)
            await self.changed.park()

    @contextmanager
    def expecting(self, id: str) -> Iterator[_Expectation]:
        """Note what is seen of a resource within the block."""
        expectation = _Expectation(id)
        self._expectations.setdefault(id, []).append(expectation)
        try:
            yield expectation
        finally:
            self._expectations[id].remove(expectation)
            if not self._expectations[id]:
                del self._expectations[id]

    async def until_seen(
        self, expectation: _Expectation, is_it: Callable[[Event], bool], is_shown: Callable[[], bool]
    ) -> None:
        """Wait until such an event was seen in the block, or the watch is broken.

        Contents that were read again in the block may include what the event would have said, or may not yet: it is
        enough that the view shows it, and nobody waits for long.
        """
        checked = 0
        with trio.CancelScope() as patience:
            while self.outage is None:
                if any(map(is_it, expectation.seen[checked:])):
                    return
                if expectation.is_resynced:
                    if is_shown():
                        return
                    patience.deadline = min(patience.deadline, trio.current_time() + _PATIENCE)
                checked = len(expectation.seen)
                expectation.changed = trio.Event()
                await expectation.changed.wait()


class _Gated:
    """A watch that begins when its kind has been read."""

    def __init__(self, load: Callable[[], Any], open: Callable[[], Watch[Any]]) -> None:
        self._load = load
        self._open = open
        self._watch: Watch[Any] | None = None

    async def __aenter__(self) -> Self:
        await self._load()
        self._watch = self._open()
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._watch is not None:
            await self._watch.__aexit__(*exc)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        assert self._watch is not None, "enter the watch before iterating"
        return await anext(self._watch)


class RemoteState(ViewedState):
    """The state of another process or machine; see the head of this module. Open one with `open_remote_state`.

    A kind is followed from its first use on. Reads do not wait, so await `follow` before the first one: until then the
    view is empty and `outage` says that this means nothing. A read may be behind the other side by the way of a
    message; a write raises UnavailableError where the other side cannot be reached, and it is then unknown whether it
    was committed.
    """

    def __init__(
        self,
        remote: Remote,
        nursery: trio.Nursery,
        *,
        cookie: bytes | None = None,
        history: History | None = None,
        random: randoms.Random | None = None,
    ) -> None:
        random = randoms.Random() if random is None else random  # noqa: S311  # spreads attempts, keeps no secret
        cookie = random.randbytes(COOKIE_SIZE) if cookie is None else cookie
        settings = History.of() if history is None else history
        super().__init__(Collections(lambda kind: Collection(kind, settings, cookie)))
        self._remote = remote
        self._nursery = nursery
        self._random = random
        self._followers: dict[Kind[Any], _Follower] = {}
        self._learned: dict[str, ResourceType[Any]] = {}

    async def follow(self, *kinds: KindLike[Any]) -> None:
        """Make sure that these kinds can be read: wait until their contents are here.

        Raises UnavailableError if the other side cannot be reached now, AccessError if it denies the access; the kinds
        are followed nevertheless, as soon as it can be.
        """
        followers = [self._follower(kind) for kind in kinds]
        for follower in followers:
            await follower.until_loaded()

    def _follower(self, kind: KindLike[Any]) -> _Follower:
        # For each read: what is known is not looked through again.
        if isinstance(kind, ResourceType) and self._learned.get(kind.name) is not kind:
            self.learn([kind])
        address = kind_of(kind)
        found = self._followers.get(address)
        if found is None:
            found = _Follower(self._collections[address], self._remote, self._random)
            self._followers[address] = found
            self._nursery.start_soon(found.run)
        return found

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:
        types = tuple(types)
        self._learned |= {type.name: type for type in types}
        self._remote.learn(types)
        names = {type.name for type in types}
        for kind, follower in self._followers.items():
            if kind.type in names:
                items = follower.collection.items
                for current in tuple(items.values()):
                    new = self._remote.decoded(current)
                    if new is not current:
                        follower.collection.put(new, current)

    # Availability.

    def outage(self, namespace: str) -> Outage | None:
        outages = [
            follower.outage
            for kind, follower in self._followers.items()
            if kind.namespace == namespace and follower.outage is not None
        ]
        # What was never read is worse than what is stale.
        return min(outages, key=lambda outage: (outage.is_loaded, outage.began), default=None)

    async def until_available(self, namespace: str) -> None:
        await trio.lowlevel.checkpoint()
        while (outage := self.outage(namespace)) is not None:
            follower = next(each for each in self._followers.values() if each.outage is outage)
            await follower.changed.park()

    # Reads.

    def view(self, kind: KindLike[Any]) -> Collection:
        return self._follower(kind).collection

    def watch(
        self, kind: KindLike[Any], id: str, *, tail_events: int = 0, start_from: bytes | None = None
    ) -> Watch[Event]:
        return _Gated(
            lambda: self.follow(kind),
            lambda: super(RemoteState, self).watch(kind, id, tail_events=tail_events, start_from=start_from),
        )

    def watch_kind(self, kind: KindLike[Any], *, filter: Filter = EVERYTHING, **options: Any) -> Watch[Event]:
        return _Gated(
            lambda: self.follow(kind), lambda: super(RemoteState, self).watch_kind(kind, filter=filter, **options)
        )

    def watch_kind_aggregated(  # type: ignore[override]  # likewise
        self, kind: KindLike[Any], *, filter: Filter = EVERYTHING, **options: Any
    ) -> Watch[list[Event]]:
        return _Gated(
            lambda: self.follow(kind),
            lambda: super(RemoteState, self).watch_kind_aggregated(kind, filter=filter, **options),
        )

    # Writes.

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        follower = await self._loaded(resource.kind)
        with follower.expecting(resource.id) as expectation:
            try:
                stored = await self._remote.create(resource, owner)
            except ConflictError:
                await self._catch_up(follower, expectation)
                raise
            await self._until_shown(follower, expectation, stored)
        return stored

    async def update(
        self, resource: Resource[S], *, owner: str = "", expected_phase: ExpectedPhase = Phase.RUNNING
    ) -> Resource[S]:
        follower = await self._loaded(resource.kind)
        with follower.expecting(resource.id) as expectation:
            try:
                stored = await self._remote.update(resource, owner, expected_phase)
            except (ConflictError, NotFoundError):
                await self._catch_up(follower, expectation)
                raise
            await self._until_shown(follower, expectation, stored)
        return stored

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        follower = await self._loaded(kind)
        with follower.expecting(id) as expectation:
            try:
                await self._remote.destroy(kind_of(kind), id, owner)
            except (ConflictError, NotFoundError):
                await self._catch_up(follower, expectation)
                raise
            await self._until_gone(follower, expectation)

    # The helpers begin with a read, which needs the contents.

    async def update_with_conflicts(
        self,
        kind: KindLike[S],
        id: str,
        mutate: Mutate[S],
        *,
        owner: str = "",
        expected_phase: ExpectedPhase = Phase.RUNNING,
    ) -> Resource[S]:
        await self.follow(kind)
        return await super().update_with_conflicts(kind, id, mutate, owner=owner, expected_phase=expected_phase)

    async def modify(
        self,
        initial: Resource[S],
        mutate: Mutate[S],
        *,
        owner: str = "",
        expected_phase: ExpectedPhase = Phase.RUNNING,
    ) -> Resource[S]:
        await self.follow(initial.kind)
        return await super().modify(initial, mutate, owner=owner, expected_phase=expected_phase)

    async def teardown(self, kind: KindLike[Any], id: str, *, owner: str = "") -> bool:
        await self.follow(kind)
        return await super().teardown(kind, id, owner=owner)

    async def _change_finalizers(self, kind: KindLike[Any], id: str, change: Callable[[Metadata], Metadata]) -> None:
        await self.follow(kind)
        await super()._change_finalizers(kind, id, change)

    async def _until_shown(self, follower: _Follower, expectation: _Expectation, wanted: Resource[Any]) -> None:
        """Wait until the view has this version, or a later one."""

        def is_shown() -> bool:
            current = follower.collection.items.get(expectation.id)
            return current is not None and _is_as_new(current, wanted)

        await follower.until_seen(expectation, lambda event: _has_reached(event, wanted), is_shown)

    async def _until_gone(self, follower: _Follower, expectation: _Expectation) -> None:
        """Wait until the view has seen a destruction."""
        await follower.until_seen(
            expectation,
            lambda event: event.type is EventType.DESTROYED,
            lambda: expectation.id not in follower.collection.items,
        )

    async def _loaded(self, kind: KindLike[Any]) -> _Follower:
        follower = self._follower(kind)
        await follower.until_loaded()
        return follower

    async def _catch_up(self, follower: _Follower, expectation: _Expectation) -> None:
        """Wait until the view shows what the other side has of a resource."""
        kind, id = follower.collection.kind, expectation.id
        try:
            present = await self._remote.get(kind, id)
        except NotFoundError:
            if id in follower.collection.items:
                await self._until_gone(follower, expectation)
            return
        except StateError:
            return  # the write was refused, which is what its caller is to know
        current = follower.collection.items.get(id)
        if current is None or not _is_as_new(current, present):
            await self._until_shown(follower, expectation, present)


def _has_reached(event: Event, wanted: Resource[Any]) -> bool:
    return event.resource is not None and _is_as_new(event.resource, wanted)


def _is_as_new(resource: Resource[Any], wanted: Resource[Any]) -> bool:
    """Whether it is this version or a later one, or one of a later life."""
    seen, other = resource.metadata, wanted.metadata
    if seen.created != other.created:
        return seen.created > other.created
    return (seen.version or 0) >= (other.version or 0)

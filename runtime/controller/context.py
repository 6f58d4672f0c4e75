"""How a controller reads and writes: the state, restricted to the controller's declarations.

The first read of a kind checks the declarations and enters the kind in a table; later reads find it there, so that the
check costs no more than the lookup. Writes carry the controller's name as owner by default.
"""

import copy
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, NoReturn, Self, TypeVar

import attrs
import trio

from nodespan.runtime.controller.declarations import Input, Output
from nodespan.runtime.controller.origin import MOST_READS, Address, Note, Record
from nodespan.runtime.errors import (
    AccessError,
    ConflictError,
    ForgottenAwaitError,
    NotFoundError,
    OwnerConflictError,
    PhaseConflictError,
)
from nodespan.runtime.process.logger import Logger
from nodespan.runtime.resource import (
    Kind,
    KindLike,
    LabelQuery,
    Metadata,
    Phase,
    Resource,
    build_filter,
    kind_of,
)
from nodespan.runtime.resource.spec_check import SpecCheck, check_spec
from nodespan.runtime.state import ExpectedPhase, Mutate, State
from nodespan.runtime.state.base import not_found
from nodespan.runtime.token_bucket import TokenBucket

S = TypeVar("S")

_FEW_ORIGINS = 64


@attrs.define
class Counters:
    """Counts of what a controller has done since the process started."""

    wakeups: int = 0
    reads: int = 0
    writes: int = 0
    crashes: int = 0


@attrs.define
class Work:
    """The workload of a controller's reconciler: what is left to do, and what was done since the process started.

    `queue_length` items are waiting to be reconciled; `failing` items could not be applied at their last attempt.
    """

    queue_length: int = 0
    failing: int = 0
    last_error: str = ""
    rounds: int = 0
    applied: int = 0
    failures: int = 0
    full_comparisons: int = 0
    on_change: Callable[[], None] = attrs.field(default=lambda: None, eq=False, repr=False)

    def update(self, *, queue_length: int, failing: int) -> None:
        """Record what is left to do at the end of a round; report a change in how many items fail."""
        is_news = failing != self.failing
        self.queue_length, self.failing = queue_length, failing
        if not failing:
            self.last_error = ""
        if is_news:
            self.on_change()


class RateLimit:
    """A token bucket: `rate` changes per second on average, up to `burst` of them at once. Starts full."""

    def __init__(self, rate: float, burst: int) -> None:
        if rate <= 0:
            raise ValueError(f"a rate limit needs a rate above 0, got {rate}: leave it out to have no limit")
        if burst < 1:
            raise ValueError(f"a rate limit needs a burst of at least 1, got {burst}: nothing could ever be written")
        self._rate, self._burst = rate, burst
        self._bucket: TokenBucket | None = None

    async def take(self) -> None:
        """Take one token; wait, cancellably, until there is one."""
        now = trio.current_time()
        if self._bucket is None:
            self._bucket = TokenBucket(self._rate, self._burst, now)
        if wait := self._bucket.take(now, math.inf):
            await trio.sleep(wait)


class Access:
    """Reads declared inputs and outputs, writes declared outputs, and puts finalizers on declared inputs.

    Reads are synchronous and return immutable resources. A call outside the declarations raises AccessError.
    """

    def __init__(
        self,
        name: str,
        state: State,
        inputs: Iterable[Input],
        outputs: Iterable[Output],
        log: Logger,
        rate_limit: RateLimit | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.counters = Counters()
        self.work = Work()
        # A call without `await`, noticed but not raised yet.
        self.forgotten: ForgottenAwaitError | None = None
        self._state = state
        self._inputs = tuple(inputs)
        outputs = tuple(outputs)
        self._outputs = frozenset(output.type_name for output in outputs)
        # By type name, for the outputs that were declared by type.
        self._spec_checks = {output.type_name: SpecCheck(output.type.spec_class) for output in outputs if output.type}
        self._rate_limit = rate_limit
        # The contents of kinds that are readable as a whole, keyed as the controller names them: by type or by kind.
        self._items: dict[KindLike[Any], Mapping[str, Resource[Any]]] = {}
        # The same for other kinds, keyed also by the ids that were declared as inputs.
        self._items_of: dict[tuple[KindLike[Any], str], Mapping[str, Resource[Any]]] = {}
        # Of the outputs this controller wrote; those that others destroyed are forgotten in time.
        self.origins: dict[Address, Record] = {}
        self._most_origins = _FEW_ORIGINS
        # The reads of the latest turn or item; nothing is recorded before the first.
        self._notes: list[Note] = []
        self._most_notes = 0

    # Reads.

    def find(self, kind: KindLike[S], id: str) -> Resource[S] | None:
        """The resource, or None."""
        self.counters.reads += 1
        items = self._items.get(kind)
        if items is None:
            items = self._items_of.get((kind, id))
            if items is None:
                items = self._open(kind, id)
        found = items.get(id)
        if len(self._notes) < self._most_notes:
            self._notes.append((kind, id, None if found is None else found.metadata.version))
        return found

    def get(self, kind: KindLike[S], id: str) -> Resource[S]:
        """The resource. Raises NotFoundError."""
        found = self.find(kind, id)
        if found is None:
            raise not_found(kind, id)
        return found

    def list(
        self, kind: KindLike[S], *, labels: Iterable[LabelQuery] = (), id_query: str | None = None
    ) -> list[Resource[S]]:
        """The resources of a kind that pass the queries, sorted by id."""
        self.counters.reads += 1
        if kind not in self._items:
            self._open(kind, None)
        view = self._state.view(kind)
        if len(self._notes) < self._most_notes:
            self._notes.append((kind, None, view.write_position))
        return view.list(build_filter(labels, id_query))

    def while_running(self, kind: KindLike[Any], id: str) -> AbstractContextManager[trio.CancelScope]:
        """A scope that is cancelled when the resource is torn down or gone; see `State.while_running`."""
        self._open(kind, id)
        return self._state.while_running(kind, id)

    def _open(self, kind: KindLike[Any], id: str | None) -> Mapping[str, Resource[Any]]:
        """Check the declarations, and remember what may be read: the whole kind, or this resource."""
        address = kind_of(kind)
        items = self._state.view(address).items
        if address.type in self._outputs or any(input.covers(address, None) for input in self._inputs):
            self._items[kind] = items
        elif id is None or not any(input.covers(address, id) for input in self._inputs):
            raise AccessError(
                f"controller {self.name!r} may not {self._refused_read(address, id)}",
                namespace=address.namespace,
                type=address.type,
            )
        else:
            self._items_of[kind, id] = items
        return items

    def _refused_read(self, kind: Kind[Any], id: str | None) -> str:
        """What may not be read, why, and what to declare."""
        name = kind.type.partition(".")[0]
        wanted = f"list {kind}" if id is None else f"read {kind.pointer(id)}"
        ids = sorted(input.id for input in self._inputs if input.kind == kind and input.id is not None)
        if ids:
            declared = ", ".join(map(repr, ids))
            instead = f"find() them by their ids, or declare weak({name}) without an id"
            if id is not None:
                instead = f"add weak({name}, {id!r}) to its inputs"
            return f"{wanted}: of this kind only {declared} is declared as an input: {instead}"
        elsewhere = sorted(input.kind.namespace for input in self._inputs if input.kind.type == kind.type)
        if elsewhere:
            where = ", ".join(elsewhere)
            return (
                f"{wanted}: the type is declared as an input in the namespace {where} only: "
                f"add weak({name}.within({kind.namespace!r})) to its inputs"
            )
        return f"{wanted}: it is neither declared as an input nor as an output: add weak({name}) to its inputs"

    # Writes.

    async def create(self, resource: Resource[S], *, owned: bool = True) -> Resource[S]:
        """Store a new output, without an owner if not `owned`. Raises SpecError, and ConflictError if it exists."""
        await self._before_write(resource.kind, resource.id, track=True)
        self._check(resource.kind, resource.id, resource.spec)
        self.counters.writes += 1
        return self._note_origin(await self._state.create(resource, owner=self.name if owned else ""))

    async def update(self, resource: Resource[S]) -> Resource[S]:
        """Replace a running output of the same version. Raises SpecError, and what `State.update` raises."""
        await self._before_write(resource.kind, resource.id, track=True)
        self._check(resource.kind, resource.id, resource.spec)
        self.counters.writes += 1
        return self._note_origin(await self._state.update(resource, owner=self.name))

    async def modify(
        self,
        initial: Resource[S],
        mutate: Mutate[S],
        *,
        owned: bool = True,
        expected_phase: ExpectedPhase = Phase.RUNNING,
    ) -> Resource[S]:
        """Create `mutate(initial)`, or update the stored output by `mutate`; nothing is written if nothing changes.

        Raises SpecError, and as `State.modify` does.
        """
        await self._before_write(initial.kind, initial.id, track=True)
        before = self._state.find(initial.kind, initial.id)
        self.counters.reads += 1

        def checked(resource: Resource[S]) -> Resource[S]:
            changed = mutate(resource)
            if changed.spec is not resource.spec or changed is initial:
                self._check(changed.kind, changed.id, changed.spec)
            return changed

        after = await self._state.modify(
            initial, checked, owner=self.name if owned else "", expected_phase=expected_phase
        )
        if after is before:
            return after
        self.counters.writes += 1
        return self._note_origin(after)

    async def put(
        self,
        kind: KindLike[S],
        id: str,
        spec: S,
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Resource[S]:
        """Create or update the output so that it has this spec, and these labels and annotations if given.

        Idempotent: if it has them already, nothing is written, whatever its owner and phase. Otherwise raises
        OwnerConflictError if it has another owner, PhaseConflictError while it is tearing down, SpecError if the spec
        does not match its class, and, after a lost race, ConflictError for a creation or NotFoundError for an update.
        """
        address = kind_of(kind)
        if self._rate_limit is not None:
            await self._rate_limit.take()
        self._check_write(address, id)
        self._track(address, id)
        items = self._items.get(address)
        if items is None:
            items = self._open(address, None)
        while True:
            self.counters.reads += 1
            current: Resource[S] | None = items.get(id)
            if current is None:
                self._check(address, id, spec)
                self.counters.writes += 1
                new = Metadata(address.namespace, address.type, id, labels=labels or {}, annotations=annotations or {})
                return self._note_origin(await self._state.create(Resource(new, spec), owner=self.name))
            metadata = current.metadata
            if (
                current.spec == spec
                and (labels is None or metadata.labels == labels)
                and (annotations is None or metadata.annotations == annotations)
            ):
                return current
            if labels is not None or annotations is not None:
                metadata = attrs.evolve(
                    metadata,
                    labels=metadata.labels if labels is None else labels,
                    annotations=metadata.annotations if annotations is None else annotations,
                )
            self._check(address, id, spec)
            self.counters.writes += 1
            try:
                return self._note_origin(await self._state.update(Resource(metadata, spec), owner=self.name))
            except (OwnerConflictError, PhaseConflictError):
                raise
            except ConflictError:
                # Another writer was faster (possible only if the writes of the state wait): read again.
                await trio.lowlevel.checkpoint()

    async def teardown(self, kind: KindLike[Any], id: str, *, owner: str | None = None) -> bool:
        """Tear an output down; returns whether it has no finalizers. `owner` defaults to the controller.

        Raises NotFoundError and, for a running output, OwnerConflictError.
        """
        address = kind_of(kind)
        await self._before_write(address, id, track=False)
        self.counters.writes += 1
        return await self._state.teardown(address, id, owner=self.name if owner is None else owner)

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str | None = None) -> None:
        """Destroy an output. Raises ConflictError while it has finalizers, NotFoundError, OwnerConflictError."""
        address = kind_of(kind)
        await self._before_write(address, id, track=False)
        self.counters.writes += 1
        await self._state.destroy(address, id, owner=self.name if owner is None else owner)
        self.origins.pop((address.namespace, address.type, id), None)

    async def remove(self, kind: KindLike[Any], id: str) -> bool:
        """Tear an output down and, if it has no finalizers, destroy it; returns whether it is gone.

        While it has finalizers, it stays torn down: declare the type as a destroy-ready input too, and call this again
        when that input wakes the controller. A missing output is not an error.
        """
        try:
            if not await self.teardown(kind, id):
                return False
            await self.destroy(kind, id)
        except NotFoundError:
            return True
        return True

    async def teardown_and_destroy(self, kind: KindLike[Any], id: str) -> None:
        """Tear an output down, wait until it has no finalizers, and destroy it.

        Cancelling leaves it torn down. If it is destroyed in the meantime, returns normally. Raises NotFoundError if it
        is missing at the start, OwnerConflictError if another controller owns it, ConflictError if a finalizer is added
        just before the destruction, OverrunError or UnsupportedError if it cannot be watched.
        """
        address = kind_of(kind)
        await self._before_write(address, id, track=False)
        self.counters.writes += 1
        await self._state.teardown_and_destroy(address, id, owner=self.name)
        self.origins.pop((address.namespace, address.type, id), None)

    async def add_finalizer(self, kind: KindLike[Any], id: str, *finalizers: str) -> None:
        """Put finalizers (the controller's name by default) on an input. Raises NotFoundError."""
        address = kind_of(kind)
        await self._before_finalizer(address, id)
        await self._state.add_finalizer(address, id, *(finalizers or (self.name,)))

    async def remove_finalizer(self, kind: KindLike[Any], id: str, *finalizers: str) -> None:
        """Remove finalizers from an input; a missing input is not an error."""
        address = kind_of(kind)
        await self._before_finalizer(address, id)
        try:
            await self._state.remove_finalizer(address, id, *(finalizers or (self.name,)))
        except NotFoundError:
            return

    async def _before_write(self, kind: Kind[Any], id: str, *, track: bool) -> None:
        if self._rate_limit is not None:
            await self._rate_limit.take()
        self._check_write(kind, id)
        if track:
            self._track(kind, id)

    def _check_write(self, kind: Kind[Any], id: str) -> None:
        if kind.type not in self._outputs:
            raise AccessError(
                f"controller {self.name!r} may not write {kind.pointer(id)}: {kind.type} is not declared as an output: "
                f"add exclusive({kind.type.partition('.')[0]}) to its outputs, or shared() if others write it too",
                namespace=kind.namespace,
                type=kind.type,
            )

    def raise_forgotten(self) -> None:
        """For the engine, at the end of a turn or an item: raise the error of a forgotten `await`, if noticed."""
        if self.forgotten is not None:
            forgotten, self.forgotten = self.forgotten, None
            raise forgotten

    def _check(self, kind: Kind[Any], id: str, spec: Any) -> None:
        check = self._spec_checks.get(kind.type)
        if check is not None and not check.passes(spec):
            check_spec(spec, check.spec_class, kind.pointer(id))

    def _track(self, kind: Kind[Any], id: str) -> None:
        """Overridden where outputs are tracked."""

    def _note_origin(self, written: Resource[S]) -> Resource[S]:
        metadata = written.metadata
        if metadata.owner == self.name:
            notes, origins = self._notes, self.origins
            origins[metadata.namespace, metadata.type, metadata.id] = (notes, len(notes))
            if len(origins) > self._most_origins:
                self._forget_origins()
        return written

    def _forget_origins(self) -> None:
        """Forget outputs that others have destroyed; the cost is amortized over the writes."""
        find = self._state.find
        gone = [each for each in self.origins if find(Kind(each[0], each[1]), each[2]) is None]
        for address in gone:
            del self.origins[address]
        self._most_origins = 2 * len(self.origins) + _FEW_ORIGINS

    def _begin_notes(self) -> None:
        """Start recording reads for a new turn or item."""
        self._notes = []
        self._most_notes = MOST_READS

    async def _before_finalizer(self, kind: Kind[Any], id: str) -> None:
        if self._rate_limit is not None:
            await self._rate_limit.take()
        if not any(input.mode.grants_finalizers and input.covers(kind, id) for input in self._inputs):
            name = kind.type.partition(".")[0]
            raise AccessError(
                f"controller {self.name!r} may not put finalizers on {kind.pointer(id)}: "
                f"it is not declared as a strong, primary or mapped input: declare strong({name})",
                namespace=kind.namespace,
                type=kind.type,
            )
        self.counters.writes += 1


class ControllerContext(Access):
    """The wake-ups of one controller, and its access to the state.

    Iterate over it: each turn stands for any number of changes since the last, so read all inputs again. Requesting the
    next turn reports that the last one succeeded, which resets the restart backoff.
    """

    def __init__(
        self,
        name: str,
        state: State,
        inputs: Iterable[Input],
        outputs: Iterable[Output],
        log: Logger,
        rate_limit: RateLimit | None = None,
        *,
        change_inputs: Callable[[tuple[Input, ...]], None] | None = None,
        reset_backoff: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name, state, inputs, outputs, log, rate_limit)
        self._change_inputs = change_inputs
        self._reset_backoff = reset_backoff
        self._pending = False
        self._in_turn = False
        self._lot = trio.lowlevel.ParkingLot()
        self._tracked: set[tuple[str, str, str]] | None = None

    # Wake-ups.

    def wake(self) -> None:
        """Request a turn; no effect if one is pending. Call it from the trio thread only."""
        if not self._pending:
            self._pending = True
            self.counters.wakeups += 1
            self._lot.unpark_all()

    def __aiter__(self) -> Self:
        return self

    def __iter__(self) -> NoReturn:
        raise TypeError("the turns of a controller are awaited: write `async for _ in ctx`")

    async def __anext__(self) -> None:
        if self.forgotten is not None:
            self.raise_forgotten()
        if self._in_turn:
            self._in_turn = False
            self._reset_backoff()
        # Always a checkpoint, so that a controller that wakes itself without end does not starve the others.
        if self._pending:
            await trio.lowlevel.checkpoint()
        while not self._pending:
            await self._lot.park()
        self._pending = False
        self._in_turn = True
        self._begin_notes()

    async def wait_woken(self) -> None:
        """Wait for a wake-up without taking a turn, for shielded tasks that go on after the turns have ended."""
        while not self._pending:
            await self._lot.park()
        self._pending = False

    def reset_backoff(self) -> None:
        """Report success, so that the next crash restarts after the shortest delay."""
        self._reset_backoff()

    @property
    def is_in_turn(self) -> bool:
        """Whether the controller is in a turn: woken, and the next turn not yet requested."""
        return self._in_turn

    def begin_run(self) -> None:
        """For the engine: queue the first turn of a run."""
        self.wake()

    def end_run(self) -> None:
        """For the engine: discard the state of a run. Inputs set with `set_inputs` stay."""
        self._tracked = None
        self._in_turn = False

    # Inputs that change while running.

    def set_inputs(self, inputs: Iterable[Input]) -> None:
        """Replace all inputs, including the declared ones; the new inputs survive restarts of the controller.

        Does not wake the controller: call it before reading, so that no change is missed in between. Raises
        RegistrationError, or UnavailableError if a namespace was never read, and then changes nothing.
        """
        new = tuple(inputs)
        if self._change_inputs is not None:
            self._change_inputs(new)
        self._inputs = new
        self._items.clear()
        self._items_of.clear()

    # Outputs that are no longer desired.

    def start_tracking_outputs(self) -> None:
        """From here on, record which outputs are created, updated, modified or put, even if the write fails."""
        if self._tracked is not None:
            raise RuntimeError(f"{self.name}: outputs are being tracked already: call cleanup_outputs first")
        self._tracked = set()

    async def cleanup_outputs(self, *kinds: KindLike[Any]) -> None:
        """Destroy the outputs of these kinds that this controller owns and did not touch since tracking started.

        A plain destroy: an output with finalizers raises ConflictError. On success, ends the tracking and resets the
        restart backoff.
        """
        if self._tracked is None:
            raise RuntimeError(f"{self.name}: outputs are not being tracked: call start_tracking_outputs first")
        for kind in kinds:
            for resource in self.list(kind):
                metadata = resource.metadata
                if metadata.owner == self.name and metadata.pointer not in self._tracked:
                    await self.destroy(metadata.kind, metadata.id)
        self._tracked = None
        self._reset_backoff()

    @asynccontextmanager
    async def tracked_outputs(self, *kinds: KindLike[Any]) -> AsyncIterator[None]:
        """Write all outputs of these kinds within the block; this controller's other ones are destroyed at its end.

        If the block raises, nothing is destroyed.
        """
        self.start_tracking_outputs()
        try:
            yield
            await self.cleanup_outputs(*kinds)
        finally:
            self._tracked = None

    def _track(self, kind: Kind[Any], id: str) -> None:
        if self._tracked is not None:
            self._tracked.add((kind.namespace, kind.type, id))


class QueueContext(Access):
    """A queue controller's access to the state. It has no turns: the engine calls the controller for each item."""

    def for_worker(self) -> "QueueContext":
        """The same access, for one of several concurrent workers."""
        return copy.copy(self)

    def begin_item(self) -> None:
        """Start recording the reads of a new item.

        The engine calls this for each item; a run hook may call it too. `nodespan why` shows the reads of an item as
        the causes of its outputs.
        """
        self._begin_notes()

"""Runs one queue controller: changes become jobs of a keyed queue, which its workers take."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import trio

from runtime.controller import (
    Input,
    InputMode,
    Logger,
    QueueContext,
    QueueController,
    RateLimit,
    Requeue,
    SkipReconcile,
)
from runtime.engine.backoff import Backoff
from runtime.engine.loop_monitor import current_controller
from runtime.engine.queue import KeyedQueue
from runtime.engine.runner import Runner, failure_in
from runtime.engine.status import ControllerState
from runtime.errors import RegistrationError
from runtime.resource import Kind, Metadata, Pointer, Resource
from runtime.state import State

# Jobs that need not wait run one after the other; after so many seconds the others get a turn. A checkpoint per job
# would cost more than most jobs.
TIME_SLICE = 0.005
# A run hook that lasted longer than this before it failed starts over from the shortest delay.
HOOK_RESET = 60.0
SHUTDOWN_GRACE = 5.0


@attrs.define
class QueueCounters:
    """What became of the jobs; times in seconds."""

    processed: int = 0
    mapped_in: int = 0
    mapped_out: int = 0
    skips: int = 0
    requeues: int = 0
    reconcile_busy: float = 0.0
    map_busy: float = 0.0


@attrs.frozen
class _Source:
    """One declared input as the origin of jobs."""

    input: Input
    is_primary: bool


# The source's index and the id within its kind.
_Key = tuple[int, str]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and the members of groups."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            todo += current.exceptions
        todo += [current.__cause__, current.__context__]


class QueueRunner(Runner):
    """Runs a `QueueController`: `concurrency` workers on one queue, its hooks beside them."""

    shape = "queue"

    def __init__(
        self,
        controller: QueueController,
        state: State,
        log: Logger,
        random: random.Random,
        changed: Callable[[], None],
        *,
        rate_limit: RateLimit | None,
    ) -> None:
        if controller.concurrency < 1:
            raise RegistrationError(
                f"controller {controller.name!r} has concurrency {controller.concurrency}, it must be at least 1"
            )
        self._controller = controller
        self._state = state
        self._random = random
        self._context = QueueContext(controller.name, state, controller.inputs, controller.outputs, log, rate_limit)
        super().__init__(controller.name, self._context, log, changed)
        self.jobs = QueueCounters()
        self._queue: KeyedQueue[_Key, Metadata] = KeyedQueue()
        self._backoffs: dict[_Key, Backoff] = {}
        self._subscriptions: list[Callable[[], None]] = []
        self._sources = [_Source(input, input.mode is InputMode.PRIMARY) for input in controller.inputs]
        for source in self._sources:
            if source.is_primary and source.input.id is not None:
                raise RegistrationError(
                    f"controller {controller.name!r}: a primary input is a whole kind, "
                    f"{source.input.kind.pointer(source.input.id)} names one resource"
                )
        self._primaries = {source.input.kind: index for index, source in enumerate(self._sources) if source.is_primary}

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    # Changes become jobs.

    def subscribe(self) -> None:
        for index, source in enumerate(self._sources):
            view = self._state.view(source.input.kind)
            self._subscriptions.append(view.subscribe(self._sink(index, source), source.input.id))
            if source.is_primary:
                for resource in view.list():
                    self._queue.put((index, resource.metadata.id), resource.metadata)

    def unsubscribe(self) -> None:
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions.clear()

    def _sink(self, index: int, source: _Source) -> Callable[[Resource[Any], bool], None]:
        put = self._queue.put
        if source.input.mode.only_destroy_ready:

            def on_change(resource: Resource[Any], destroyed: bool) -> None:  # noqa: ARG001
                metadata = resource.metadata
                if metadata.is_destroy_ready:
                    put((index, metadata.id), metadata)
        else:

            def on_change(resource: Resource[Any], destroyed: bool) -> None:  # noqa: ARG001
                metadata = resource.metadata
                put((index, metadata.id), metadata)

        return on_change

    # Jobs are run.

    async def run(self) -> None:
        current_controller.set(self.name)
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._controller.concurrency):
                    nursery.start_soon(self._work)
                nursery.start_soon(self._run_hook)
        finally:
            # The hook gets to say goodbye although the controller is being cancelled, but not for long.
            with trio.CancelScope(deadline=trio.current_time() + SHUTDOWN_GRACE, shield=True):
                try:
                    await self._controller.shutdown(self._context)
                except Exception as error:
                    self.crashed(error, 0.0, hook="shutdown")
            self.set_state(ControllerState.FINISHED)

    async def _work(self) -> None:
        queue = self._queue
        slice_ends = time.perf_counter() + TIME_SLICE
        while True:
            job = queue.take_ready() if time.perf_counter() < slice_ends else None
            if job is None:
                job = await queue.take()
                slice_ends = time.perf_counter() + TIME_SLICE
            await self._process(*job)

    async def _process(self, key: _Key, metadata: Metadata) -> None:
        source = self._sources[key[0]]
        after: float | None = None
        self.access.counters.wakeups += 1
        started = time.perf_counter()
        try:
            if source.is_primary:
                self.jobs.processed += 1
                await self._controller.reconcile(self._context, Pointer(metadata.namespace, metadata.type, metadata.id))
            else:
                self.jobs.mapped_in += 1
                self._map(metadata)
            if self._backoffs:
                self._backoffs.pop(key, None)
        except BaseException as error:
            failure = failure_in(error)
            if failure is None:
                raise
            after = self._after_failure(key, metadata, failure)
        finally:
            seconds = time.perf_counter() - started
            if source.is_primary:
                self.jobs.reconcile_busy += seconds
            else:
                self.jobs.map_busy += seconds
            self._queue.release(key, metadata, after=after)

    def _map(self, metadata: Metadata) -> None:
        for pointer in self._controller.map_input(self._context, metadata):
            index = self._primaries.get(Kind(pointer.namespace, pointer.type))
            if index is None:
                raise ValueError(f"{self.name} mapped {metadata} to {pointer}, which is of none of its primary kinds")
            self.jobs.mapped_out += 1
            self._queue.put((index, pointer.id), Metadata(*pointer))

    def _after_failure(self, key: _Key, metadata: Metadata, failure: BaseException) -> float | None:
        """Decide, by what was raised, when the job is run again: None is not before the next change."""
        requeue = next((cause for cause in _causes(failure) if isinstance(cause, Requeue)), None)
        skipped = any(isinstance(cause, SkipReconcile) for cause in _causes(failure))
        if skipped or (requeue is not None and requeue.__cause__ is None):
            self._backoffs.pop(key, None)
            if skipped:
                self.jobs.skips += 1
            else:
                self.jobs.requeues += 1
            return requeue.after if requeue is not None and requeue.after > 0 else None
        if requeue is not None and requeue.after > 0:
            delay = requeue.after
        else:
            delay = self._backoffs.setdefault(key, Backoff(self._random)).next()
        cause = requeue.__cause__ if requeue is not None and requeue.__cause__ is not None else failure
        self.crashed(cause, delay, item=str(metadata.pointer))
        return delay

    async def _run_hook(self) -> None:
        backoff = Backoff(self._random)
        while True:
            started = trio.current_time()
            try:
                await self._controller.run(self._context)
            except BaseException as error:
                failure = failure_in(error)
                if failure is None:
                    raise
                if trio.current_time() - started > HOOK_RESET:
                    backoff.reset()
                delay = backoff.next()
                self.crashed(failure, delay, hook="run")
                await trio.sleep(delay)
            else:
                return

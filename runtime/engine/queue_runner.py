"""Runs one queue controller: changes become jobs in a keyed queue, which its workers take."""

import contextvars
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import trio

from nodespan.runtime.backoff import Backoff
from nodespan.runtime.controller import (
    Input,
    InputMode,
    Logger,
    Output,
    QueueContext,
    QueueController,
    RateLimit,
    Requeue,
    SkipReconcile,
)
from nodespan.runtime.engine.loop_monitor import current_controller
from nodespan.runtime.engine.queue import KeyedQueue
from nodespan.runtime.engine.runner import Runner, failure_in, unavailable_namespace, used_namespaces
from nodespan.runtime.engine.status import ControllerState
from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.resource import Kind, Metadata, Resource
from nodespan.runtime.state import Sink, State

# Jobs that do not wait run back to back; after so many seconds other tasks get a turn. A checkpoint per job would cost
# more than most jobs.
TIME_SLICE = 0.005
# A run hook that lasted longer than this before it failed starts over from the shortest delay.
HOOK_RESET = 60.0
SHUTDOWN_GRACE = 5.0
# How often a job that needs a namespace out of reach is tried.
UNAVAILABLE_INTERVAL = 1.0


@attrs.define
class QueueCounters:
    """Results of the jobs as counts; times in seconds."""

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


@attrs.frozen
class Verdict:
    """The consequence of a failed job: the error to count (None: no error), and what the job requested."""

    error: BaseException | None
    requeue: Requeue | None = None
    skipped: bool = False


def judge(failure: BaseException) -> Verdict:
    """Find a `Requeue` or `SkipReconcile` in the failure, in what it was raised from, or in all members of a group.

    The context of an error (raised while handling another) does not count: it would hide the error.
    """
    chain: list[BaseException] = []
    current: BaseException | None = failure
    while current is not None and not any(current is earlier for earlier in chain):
        chain.append(current)
        current = current.__cause__
    verdict: Verdict | None = None
    for error in reversed(chain):
        if isinstance(error, SkipReconcile):
            verdict = Verdict(None, skipped=True)
        elif isinstance(error, Requeue):
            verdict = Verdict(None, error) if verdict is None else attrs.evolve(verdict, requeue=error)
        elif isinstance(error, BaseExceptionGroup):
            verdict = _judge_together(error)
        elif verdict is None or (verdict.error is not None and verdict.requeue is None):
            verdict = Verdict(error)
    assert verdict is not None  # the chain has at least the failure itself
    return verdict


def _judge_together(group: BaseExceptionGroup[BaseException]) -> Verdict:
    members = [judge(member) for member in group.exceptions]
    if any(member.error is not None and member.requeue is None for member in members):
        return Verdict(group)
    requeues = [member.requeue for member in members if member.requeue is not None]
    return Verdict(
        next((member.error for member in members if member.error is not None), None),
        min(requeues, key=lambda requeue: requeue.after, default=None),
        skipped=all(member.skipped for member in members),
    )


class QueueRunner(Runner):
    """Runs a `QueueController`: up to `concurrency` workers on one queue, its hooks beside them.

    A worker is started when an item waits and none is free: most queues never need more than one or two of 64, and 400
    tasks that only wait take a megabyte. One that was started stays.
    """

    shape = "queue"

    def __init__(
        self,
        controller: QueueController,
        inputs: tuple[Input, ...],
        outputs: tuple[Output, ...],
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
        self._namespaces = used_namespaces(inputs, outputs)
        self._state = state
        self._random = random
        self._context = QueueContext(controller.name, state, inputs, outputs, log, rate_limit)
        super().__init__(controller.name, self._context, log, changed)
        self.jobs = QueueCounters()
        self._queue: KeyedQueue[_Key, Metadata] = KeyedQueue()
        self._workers = 0
        self._backoffs: dict[_Key, Backoff] = {}
        self._subscriptions: list[Callable[[], None]] = []
        self._sources = [_Source(input, input.mode is InputMode.PRIMARY) for input in inputs]
        for source in self._sources:
            if source.is_primary and source.input.id is not None:
                raise RegistrationError(
                    f"controller {controller.name!r}: a primary input is a whole kind, "
                    f"{source.input.kind.pointer(source.input.id)} names one resource"
                )
        self._primaries = {source.input.kind: index for index, source in enumerate(self._sources) if source.is_primary}

    @property
    def is_at_work(self) -> bool:
        return self._queue.held > 0

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    # From changes to jobs.

    def subscribe(self) -> None:
        for index, source in enumerate(self._sources):
            view = self._state.view(source.input.kind)
            self._subscriptions.append(view.subscribe(self._sink(index, source), source.input.id))
        self.wake()

    def wake(self) -> None:
        for kind, index in self._primaries.items():
            for resource in self._state.view(kind).list():
                self._queue.put((index, resource.metadata.id), resource.metadata)

    def unsubscribe(self) -> None:
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions.clear()

    def _sink(self, index: int, source: _Source) -> Sink:
        put = self._queue.put
        if (is_news := source.input.is_news()) is not None:

            def on_change(resource: Resource[Any], before: Resource[Any] | None, destroyed: bool) -> None:  # noqa: ARG001
                if is_news(resource, before):
                    metadata = resource.metadata
                    put((index, metadata.id), metadata)
        else:

            def on_change(resource: Resource[Any], before: Resource[Any] | None, destroyed: bool) -> None:  # noqa: ARG001
                metadata = resource.metadata
                put((index, metadata.id), metadata)

        return on_change

    # Running jobs.

    async def run(self) -> None:
        current_controller.set(self.name)
        await self.until_loaded(self._state, self._namespaces)
        self.set_state(ControllerState.RUNNING)
        try:
            async with trio.open_nursery() as nursery:
                # Not in the context of those who change something.
                start = partial(contextvars.copy_context().run, nursery.start_soon, self._work)
                self._queue.add_worker = partial(self._add_worker, start)
                for _ in range(max(len(self._queue), 1)):
                    self._add_worker(start)
                nursery.start_soon(self._run_hook)
        finally:
            await self._shut_down()
            self.set_state(ControllerState.FINISHED)

    async def _shut_down(self) -> None:
        # The hook may finish although the controller is being cancelled, within a grace period.
        with trio.CancelScope(deadline=trio.current_time() + SHUTDOWN_GRACE, shield=True) as grace:
            try:
                await self._controller.shutdown(self._context)
            except BaseException as error:
                failure = failure_in(error)
                if failure is None:
                    raise
                self.crashed(failure, None, hook="shutdown")
        if grace.cancelled_caught:
            self.log.error("the shutdown of a controller took too long and was cancelled", seconds=SHUTDOWN_GRACE)

    def _add_worker(self, start: Callable[[], None]) -> None:
        """Start a worker, unless there are as many as there may be."""
        if self._workers < self._controller.concurrency:
            self._workers += 1
            self._queue.starting += 1
            start()
        if self._workers == self._controller.concurrency:
            self._queue.add_worker = None

    async def _work(self) -> None:
        try:
            await self._take_jobs()
        finally:
            # It ends by being cancelled or by a bug: then all end, and the nursery takes no more.
            self._queue.add_worker = None

    async def _take_jobs(self) -> None:
        queue = self._queue
        queue.starting -= 1
        # With concurrency 1, reuse the hooks' context: some controllers write through it.
        context = self._context if self._controller.concurrency == 1 else self._context.for_worker()
        now = time.perf_counter()
        slice_ends = now + TIME_SLICE
        while True:
            job = queue.take_ready() if now < slice_ends else None
            if job is None:
                job = await queue.take()
                now = time.perf_counter()
                slice_ends = now + TIME_SLICE
            # A job begins when the one before ended.
            now = await self._process(context, *job, now)

    async def _process(self, context: QueueContext, key: _Key, metadata: Metadata, started: float) -> float:
        """Run a job that starts now; returns when it ended."""
        source = self._sources[key[0]]
        after: float | None = None
        self.access.counters.wakeups += 1
        try:
            if source.is_primary:
                self.jobs.processed += 1
                context.begin_item()
                await self._controller.reconcile(context, metadata.pointer)
            else:
                self.jobs.mapped_in += 1
                self._map(metadata)
            # Noted on the context of the hooks, whichever worker it was: with several, one of them takes the blame.
            if self._context.forgotten is not None:
                self._context.raise_forgotten()
            if self._backoffs:
                self._backoffs.pop(key, None)
        except BaseException as error:
            failure = failure_in(error)
            if failure is None:
                raise
            after = self._after_failure(key, metadata, failure)
        finally:
            now = time.perf_counter()
            seconds = now - started
            if source.is_primary:
                self.jobs.reconcile_busy += seconds
            else:
                self.jobs.map_busy += seconds
            self._queue.release(key, metadata, after=after)
        return now

    def _map(self, metadata: Metadata) -> None:
        for pointer in self._controller.map_input(self._context, metadata):
            index = self._primaries.get(Kind(pointer.namespace, pointer.type))
            if index is None:
                raise ValueError(f"{self.name} mapped {metadata} to {pointer}, which is not of a primary kind")
            self.jobs.mapped_out += 1
            self._queue.put((index, pointer.id), Metadata(*pointer))

    def _after_failure(self, key: _Key, metadata: Metadata, failure: BaseException) -> float | None:
        """After how many seconds to run the job again, by what it raised; None: not before the next change."""
        if unavailable_namespace(failure, self._state) is not None:
            return UNAVAILABLE_INTERVAL
        verdict = judge(failure)
        wanted = verdict.requeue.after if verdict.requeue is not None and verdict.requeue.after > 0 else None
        if verdict.error is not None:
            delay = self._backoffs.setdefault(key, Backoff(self._random)).next() if wanted is None else wanted
            self.crashed(verdict.error, delay, item=str(metadata.pointer))
            return delay
        self._backoffs.pop(key, None)
        if verdict.skipped:
            self.jobs.skips += 1
        elif wanted is not None:
            self.jobs.requeues += 1
        return wanted

    async def _run_hook(self) -> None:
        backoff = Backoff(self._random)
        while True:
            started = trio.current_time()
            try:
                await self._controller.run(self._context)
                self._context.raise_forgotten()
            except BaseException as error:
                failure = failure_in(error)
                if failure is None:
                    raise
                if namespace := unavailable_namespace(failure, self._state):
                    await self._state.until_available(namespace)
                    continue
                if trio.current_time() - started > HOOK_RESET:
                    backoff.reset()
                delay = backoff.next()
                self.crashed(failure, delay, hook="run")
                await trio.sleep(delay)
            else:
                return

"""The engine: registers controllers, checks them against each other, and runs them concurrently."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import structlog
import trio

from nodespan.runtime.controller import (
    Controller,
    DestroyController,
    Input,
    Logger,
    Output,
    QueueController,
    RateLimit,
)
from nodespan.runtime.engine.forgotten_await import noticing
from nodespan.runtime.engine.loop_monitor import LoopMonitor
from nodespan.runtime.engine.queue_runner import QueueRunner
from nodespan.runtime.engine.runner import ControllerRunner, Runner, declarations
from nodespan.runtime.engine.status import ControllerStatus, ControllerStatusSpec
from nodespan.runtime.engine.stopping import watch_the_end
from nodespan.runtime.errors import ForgottenAwaitError, StateError
from nodespan.runtime.graph import Graph
from nodespan.runtime.process.quiet import wait_quiet
from nodespan.runtime.resource import Namespace, Resource, ResourceDefinition, ResourceType
from nodespan.runtime.state import State
from nodespan.runtime.state.meta import check_types, register_types
from nodespan.runtime.ticks import due_after

# How often, in seconds, counts are written to the statuses of controllers. Failures are written at once.
STATUS_INTERVAL = 5.0
OWNER = "runtime"


class Engine:
    """Runs controllers on a state.

    A change of a resource sets marks: a pending turn for a controller, a key in the queue of a queue controller. Marks
    are set within the write and are not a history, so a burst of changes costs memory for the distinct items only, and
    a slow controller misses nothing.

    `seed` fixes the random part of restart delays. `change_rate` and `change_burst` limit how often each controller may
    write. `monitor_loop` finds controllers that block the loop; leave it off under a virtual clock. `on_crash` is
    called with the name of a controller and the error whenever one fails; it must neither block nor raise. `give_up` is
    called with the names of controllers that still run half a minute after the engine was cancelled; it should end the
    process.
    """

    def __init__(
        self,
        state: State,
        *,
        log: Logger | None = None,
        seed: int | None = None,
        change_rate: float | None = None,
        change_burst: int = 1,
        monitor_loop: bool = False,
        on_crash: Callable[[str, BaseException], None] = lambda _name, _error: None,
        give_up: Callable[[list[str]], None] = lambda _names: None,
    ) -> None:
        self.state = state
        self.graph = Graph()
        self._log: Logger = structlog.get_logger() if log is None else log
        self._random = random.Random(seed)  # noqa: S311  # spreads restarts, keeps no secret
        self._rate = (change_rate, change_burst)
        self._monitor_loop = monitor_loop
        self._on_crash = on_crash
        self._give_up = give_up
        self._running: set[str] = set()
        self._runners: dict[str, Runner] = {}
        self._types: dict[str, ResourceType[Any]] = {
            type.name: type for type in (ControllerStatus, Namespace, ResourceDefinition)
        }
        self._nursery: trio.Nursery | None = None
        self._started = False
        self._dirty = trio.Event()
        # The statuses as they were written.
        self._reported: dict[str, ControllerStatusSpec] = {}

    @property
    def runners(self) -> Mapping[str, Runner]:
        """The runner of each controller, by name."""
        return self._runners

    @property
    def types(self) -> Mapping[str, ResourceType[Any]]:
        """The types that controllers declared, and those that the engine has itself, by full name."""
        return self._types

    async def register(self, controller: Controller | QueueController) -> None:
        """Add a controller, before or while the engine runs; in the latter case it starts at once.

        The types that it declares are registered for clients. Raises RegistrationError, and changes nothing, if its
        name is taken, its outputs conflict with those of another controller, or its declarations are invalid.
        """
        inputs, outputs = declarations(controller)
        runner = self._runner(controller, inputs, outputs)
        runner.on_crash = self._on_crash
        types = [input.type for input in inputs if input.type] + [output.type for output in outputs if output.type]
        check_types(self.state, types)
        self.graph.add(controller.name, inputs, outputs, is_queue=isinstance(controller, QueueController))
        try:
            await register_types(self.state, types)
        except BaseException:
            self.graph.remove(controller.name)
            raise
        self._types |= {type.name: type for type in types}
        self._runners[controller.name] = runner
        runner.subscribe()
        if self._nursery is not None:
            self._start(self._nursery, runner)
        for type in types:
            if type.is_writable:
                await self._destroy_deleted(type)

    async def _destroy_deleted(self, type: ResourceType[Any]) -> None:
        """Destroy what users delete of a type, as soon as nothing holds it."""
        remover = DestroyController(type)
        if remover.name not in self._runners:
            await self.register(remover)

    def _runner(
        self, controller: Controller | QueueController, inputs: tuple[Input, ...], outputs: tuple[Output, ...]
    ) -> Runner:
        name = controller.name
        log = self._log.bind(controller=name)
        rate, burst = self._rate
        rate_limit = None if rate is None else RateLimit(rate, burst)
        if isinstance(controller, QueueController):
            return QueueRunner(
                controller, inputs, outputs, self.state, log, self._random, self._mark_dirty, rate_limit=rate_limit
            )
        return ControllerRunner(
            controller,
            inputs,
            outputs,
            self.state,
            log,
            self._random,
            self._mark_dirty,
            check_inputs=lambda inputs: self.graph.set_inputs(name, inputs),
            rate_limit=rate_limit,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run all controllers until cancelled. An engine runs once; raises RuntimeError the second time."""
        if self._started:
            raise RuntimeError("this engine has been started already, make another one")
        self._started = True
        await register_types(self.state, [ControllerStatus])
        watch, stopping = trio.CancelScope(shield=True), trio.Event()

        async def watch_until_ended() -> None:
            with watch:
                await watch_the_end(stopping, lambda: self._running, self._give_up, self._log)

        try:
            with noticing(self._forgot_await):
                async with trio.open_nursery() as watching:
                    watching.start_soon(watch_until_ended)
                    try:
                        await self._run_controllers(task_status, stopping)
                    finally:
                        watch.cancel()
        finally:
            self._nursery = None
            for runner in self._runners.values():
                runner.unsubscribe()

    async def _run_controllers(self, task_status: trio.TaskStatus[None], stopping: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for runner in self._runners.values():
                self._start(nursery, runner)
            task_status.started()
            try:
                if self._monitor_loop:
                    with LoopMonitor(self._held_the_loop, self._log):
                        await self._report_statuses()
                else:
                    await self._report_statuses()
            finally:
                stopping.set()

    async def settled(self, within: float) -> bool:
        """Wait, for at most so many seconds, until no controller has work; returns whether that came.

        A controller must not wait for this in a turn of its own.
        """
        with trio.move_on_after(within):
            await wait_quiet(lambda: any(runner.is_at_work for runner in self._runners.values()))
            return True
        return False

    def wake_all(self) -> None:
        """Give every controller a turn, and queue every item of the queue controllers."""
        for runner in self._runners.values():
            runner.wake()

    def _start(self, nursery: trio.Nursery, runner: Runner) -> None:
        nursery.start_soon(self._run_one, runner, name=runner.name)
        self._mark_dirty()

    async def _run_one(self, runner: Runner) -> None:
        self._running.add(runner.name)
        try:
            await runner.run()
        finally:
            self._running.discard(runner.name)

    def _forgot_await(self, name: str, error: ForgottenAwaitError) -> bool:
        runner = self._runners.get(name)
        if runner is None:
            return False
        runner.access.forgotten = error
        return True

    def _mark_dirty(self) -> None:
        self._dirty.set()

    def _held_the_loop(self, name: str, seconds: float) -> None:
        runner = self._runners.get(name)
        if runner is not None:
            runner.held_the_loop(seconds)
        else:
            self._log.warning("a task that belongs to no controller blocked the loop", ms=round(seconds * 1000))

    async def _report_statuses(self) -> None:
        noticed, due = trio.current_time(), due_after(STATUS_INTERVAL)
        while True:
            with trio.move_on_at(due):
                await self._dirty.wait()
            runners = list(self._runners.values())
            is_dirty, self._dirty = self._dirty.is_set(), trio.Event()
            now = trio.current_time()
            if now >= due:
                # Most have nothing to do most of the time, and a status is made of a dozen things.
                woken = [runner for runner in runners if not runner.has_rested() or runner.name not in self._reported]
                for runner in woken:
                    runner.notice(now - noticed)
                noticed, due = now, due_after(STATUS_INTERVAL)
                runners = runners if is_dirty else woken
            for runner in runners:
                await self._report(runner)

    async def _report(self, runner: Runner) -> None:
        status = runner.status()
        if self._reported.get(runner.name) == status:
            return
        initial = ControllerStatus.new(runner.name, status)

        def with_status(resource: Resource[Any]) -> Resource[Any]:
            return resource.with_spec(status)

        try:
            await self.state.modify(initial, with_status, owner=OWNER)
            self._reported[runner.name] = status
        except StateError as error:
            # A failure to report on controllers must not stop them.
            self._reported.pop(runner.name, None)
            self._log.warning(
                "the status of a controller could not be written", controller=runner.name, error=str(error)
            )

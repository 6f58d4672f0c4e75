"""Runs one controller: its wake-ups, its restarts, its status."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TypeVar

import trio

from nodespan.runtime.backoff import Backoff
from nodespan.runtime.controller import (
    Controller,
    ControllerContext,
    Input,
    Logger,
    Output,
    QueueController,
    RateLimit,
)
from nodespan.runtime.controller.context import Access
from nodespan.runtime.engine.loop_monitor import current_controller
from nodespan.runtime.engine.status import ControllerState, ControllerStatusSpec
from nodespan.runtime.errors import RegistrationError, UnavailableError, leaves
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import State

# More turns a second than this, averaged over a reporting interval, may be a controller that wakes itself by its own
# writes, which makes thousands. Then it writes in each turn; of a queue controller, one write may make a few jobs.
BUSY_WAKEUPS = 200.0
_TURNS_PER_WRITE = 4
# Who never stops is reported to the operator, after so many intervals on end: many links or routes that come at once
# may also be a write for each turn, and pass.
_BUSY_INTERVALS = 3

# What asyncio's functions raise where trio runs, and what trio says of asyncio's futures.
_SIGNS_OF_ASYNCIO = ("no running event loop", "no current event loop", "asyncio", "got Future <Future")

T = TypeVar("T")


def describe(error: BaseException) -> str:
    """An error as one line for a status: its class and text, of a group those of the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    try:
        text = str(error).partition("\n")[0]
    except Exception:
        text = "(an error whose text cannot be made)"
    described = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return described + _remedy(text)


def _remedy(text: str) -> str:
    """What to do about a mistake whose own error does not say."""
    if any(sign in text for sign in _SIGNS_OF_ASYNCIO):
        return " (controllers run on trio: use trio.sleep, trio.Event and so on instead of asyncio's)"
    return ""


def failure_in(error: BaseException) -> BaseException | None:
    """The part of a raised error that is the controller's own failure.

    None for a cancellation by the caller and for an interruption by the user, which ends the process. Any other
    Cancelled leaked from a scope of the controller's own, and is a failure like any other.
    """
    group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
    if group.subgroup((KeyboardInterrupt, GeneratorExit)) is not None:
        return None
    if trio.current_effective_deadline() > -math.inf:
        return error
    failed = group.split(trio.Cancelled)[1]
    return failed if failed is None or group is error else error


def unavailable_namespace(error: BaseException, state: State) -> str | None:
    """The namespace that a failure is to wait for: all that failed are writes to states that are out of reach now."""
    found = [leaf.namespace if isinstance(leaf, UnavailableError) else None for leaf in leaves(error)]
    namespace = found[0] if found else None
    if namespace is None or any(each is None for each in found) or state.outage(namespace) is None:
        return None
    return namespace


def used_namespaces(inputs: Iterable[Input], outputs: Iterable[Output]) -> tuple[str, ...]:
    """The namespaces that a controller needs: of its inputs, and where its outputs are by default."""
    needed = [input.kind.namespace for input in inputs]
    needed += [output.type.kind.namespace for output in outputs if output.type is not None]
    return tuple(dict.fromkeys(needed))


class Runner(ABC):
    """Base of the runners of both kinds of controllers."""

    shape: str

    def __init__(self, name: str, access: Access, log: Logger, changed: Callable[[], None]) -> None:
        self.name = name
        self.access = access
        self.log = log
        self.state = ControllerState.RUNNING
        self.last_error = ""
        self.longest_step = 0.0
        self.on_crash: Callable[[str, BaseException], None] = lambda _name, _error: None
        self._changed = changed
        self._reported_wakeups = 0
        self._reported_writes = 0
        self._busy_intervals = 0
        self._notice = ""
        self._counted: tuple[object, ...] = ()
        access.work.on_change = changed

    @abstractmethod
    async def run(self) -> None:
        """Run until cancelled; failures of the controller are not raised."""

    @abstractmethod
    def subscribe(self) -> None:
        """Subscribe to the inputs: their changes wake the controller from now on."""

    @abstractmethod
    def unsubscribe(self) -> None:
        """Undo `subscribe`."""

    @property
    @abstractmethod
    def is_at_work(self) -> bool:
        """Whether it is in a turn, or runs a job."""

    @abstractmethod
    def wake(self) -> None:
        """Give the controller a turn, or queue all its items."""

    @property
    def queue_length(self) -> int:
        """The length of a queue controller's queue."""
        return 0

    def crashed(self, error: BaseException, delay: float | None, **facts: object) -> None:
        """Count and log a failure of the controller; it is tried again after `delay` seconds, never if None."""
        self.access.counters.crashes += 1
        text = describe(error)
        # A failure that repeats shows its traceback once.
        trace = {"exc_info": error} if text != self.last_error else {}
        self.last_error = text
        retry = {} if delay is None else {"retry_in": round(delay, 2)}
        self.log.error("controller failed", error=text, **retry, **facts, **trace)
        self.on_crash(self.name, error)
        self._changed()

    def set_state(self, state: ControllerState) -> None:
        """Record the state of the controller's life cycle."""
        if state is not self.state:
            self.state = state
            self._changed()

    async def until_loaded(self, state: State, namespaces: Iterable[str]) -> None:
        """Wait until something was read of each namespace: that one is empty must not be taken for a fact before."""
        for namespace in namespaces:
            while (outage := state.outage(namespace)) is not None and not outage.is_loaded:
                await self.until_available(state, namespace)

    async def until_available(self, state: State, namespace: str) -> None:
        """Wait until a namespace can be written."""
        self.log.warning("controller waits for a namespace that is out of reach", namespace=namespace)
        self.set_state(ControllerState.WAITING)
        await state.until_available(namespace)

    def held_the_loop(self, seconds: float) -> None:
        """Record that the controller blocked the loop for so long."""
        # Logged again only when it gets worse; the status keeps the longest.
        if seconds > 1.5 * self.longest_step:
            self.log.warning("controller blocked all others by not awaiting", ms=round(seconds * 1000))
        self.longest_step = max(self.longest_step, seconds)
        self._changed()

    def has_rested(self) -> bool:
        """Whether nothing has changed since this was asked last but what is reported at once."""
        counters, work, before = self.access.counters, self.access.work, self._counted
        length = self.queue_length + work.queue_length
        self._counted = counters.wakeups, counters.reads, counters.writes, length, work.last_error
        return self._counted == before and not self._busy_intervals

    def notice(self, interval: float) -> None:
        """Evaluate an interval of so many seconds, and report what an operator should know."""
        counters = self.access.counters
        wakeups = counters.wakeups - self._reported_wakeups
        writes = counters.writes - self._reported_writes
        self._reported_wakeups, self._reported_writes = counters.wakeups, counters.writes
        rate = wakeups / interval
        # Who is woken by others' changes and writes (almost) nothing does not wake itself.
        is_busy = rate > BUSY_WAKEUPS and writes * _TURNS_PER_WRITE >= wakeups
        self._busy_intervals = self._busy_intervals + 1 if is_busy else 0
        notice = ""
        if self._busy_intervals >= _BUSY_INTERVALS:
            notice = f"{rate:,.0f} wake-ups a second: does it write what it reads?"
            if not self._notice:
                self.log.warning(
                    "controller wakes without pause: does it write what it reads?", wakeups_per_second=round(rate)
                )
        self._notice = notice

    def status(self) -> ControllerStatusSpec:
        """The controller's status."""
        counters, work = self.access.counters, self.access.work
        notices = [self._notice] if self._notice else []
        if self.longest_step:
            notices.append(f"kept everything waiting for {self.longest_step * 1000:.0f} ms")
        if work.failing:
            notices.append(f"cannot apply {work.failing} of its items, last {work.last_error}")
        return ControllerStatusSpec(
            shape=self.shape,
            state=self.state,
            wakeups=counters.wakeups,
            reads=counters.reads,
            writes=counters.writes,
            crashes=counters.crashes,
            queue_length=self.queue_length + work.queue_length,
            failing=work.failing,
            longest_step_ms=round(self.longest_step * 1000),
            last_error=self.last_error,
            notice="; ".join(notices),
        )


class ControllerRunner(Runner):
    """Runs a `Controller`: one routine, restarted when it fails."""

    shape = "run"

    def __init__(
        self,
        controller: Controller,
        inputs: tuple[Input, ...],
        outputs: tuple[Output, ...],
        state: State,
        log: Logger,
        random: random.Random,
        changed: Callable[[], None],
        *,
        check_inputs: Callable[[tuple[Input, ...]], None],
        rate_limit: RateLimit | None,
    ) -> None:
        self._controller = controller
        self._state = state
        self._backoff = Backoff(random)
        self._check_inputs = check_inputs
        self._subscriptions: dict[Input, Callable[[], None]] = {}
        self._inputs = inputs
        self._outputs = outputs
        self._context = ControllerContext(
            controller.name,
            state,
            inputs,
            outputs,
            log,
            rate_limit,
            change_inputs=self._change_inputs,
            reset_backoff=self._backoff.reset,
        )
        super().__init__(controller.name, self._context, log, changed)

    @property
    def is_at_work(self) -> bool:
        return self._context.is_in_turn

    def subscribe(self) -> None:
        for input in self._inputs:
            self._subscriptions[input] = self._subscribe_to(input)
        self._context.wake()

    def wake(self) -> None:
        self._context.wake()

    def unsubscribe(self) -> None:
        for unsubscribe in self._subscriptions.values():
            unsubscribe()
        self._subscriptions.clear()

    def _subscribe_to(self, input: Input) -> Callable[[], None]:
        wake = self._context.wake
        if (is_news := input.is_news()) is not None:

            def on_change(resource: Resource[object], before: Resource[object] | None, destroyed: bool) -> None:  # noqa: ARG001
                if is_news(resource, before):
                    wake()
        else:

            def on_change(resource: Resource[object], before: Resource[object] | None, destroyed: bool) -> None:  # noqa: ARG001
                wake()

        return self._state.view(input.kind).subscribe(on_change, input.id)

    def _change_inputs(self, inputs: tuple[Input, ...]) -> None:
        for namespace in used_namespaces(inputs, ()):
            if (outage := self._state.outage(namespace)) is not None and not outage.is_loaded:
                raise UnavailableError(f"namespace {namespace} was not read yet: {outage.reason}", namespace=namespace)
        self._check_inputs(inputs)
        for input in self._subscriptions.keys() - set(inputs):
            self._subscriptions.pop(input)()
        for input in inputs:
            if input not in self._subscriptions:
                self._subscriptions[input] = self._subscribe_to(input)
        self._inputs = inputs

    async def run(self) -> None:
        current_controller.set(self.name)
        while True:
            await self.until_loaded(self._state, used_namespaces(self._inputs, self._outputs))
            self._context.begin_run()
            self.set_state(ControllerState.RUNNING)
            try:
                await self._controller.run(self._context)
                self._context.raise_forgotten()
            except BaseException as error:
                failure = failure_in(error)
                if failure is None:
                    raise
                if namespace := unavailable_namespace(failure, self._state):
                    self._context.end_run()
                    await self.until_available(self._state, namespace)
                else:
                    await self._back_off(failure)
            else:
                self._context.end_run()
                self.set_state(ControllerState.FINISHED)
                self.log.info("controller finished")
                return

    async def _back_off(self, failure: BaseException) -> None:
        self._context.end_run()
        delay = self._backoff.next()
        self.crashed(failure, delay)
        self.set_state(ControllerState.BACKOFF)
        await trio.sleep(delay)


def declarations(controller: Controller | QueueController) -> tuple[tuple[Input, ...], tuple[Output, ...]]:
    """The inputs and outputs of a controller. Raises RegistrationError if they are not valid declarations."""
    if not isinstance(controller, Controller | QueueController):
        raise RegistrationError(f"{controller!r} is neither a Controller nor a QueueController")
    name = getattr(controller, "name", None)
    if not isinstance(name, str) or not name:
        raise RegistrationError(f"a {type(controller).__name__} has no name: set `name` on its class")
    inputs = _declared(name, "inputs", controller.inputs, Input, "weak(), strong(), primary() ...")
    return inputs, _declared(name, "outputs", controller.outputs, Output, "exclusive() or shared()")


def _declared(name: str, what: str, given: object, of: type[T], makers: str) -> tuple[T, ...]:
    declared = tuple(given) if isinstance(given, Iterable) else None
    if declared is None or not all(isinstance(each, of) for each in declared):
        raise RegistrationError(
            f"the {what} of controller {name!r} must be a tuple of what {makers} make, not {given!r}"
        )
    return declared

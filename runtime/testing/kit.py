"""The kit for testing controllers: a state and an engine in the current trio run, and waits that explain failures.

    async def test_the_host_is_greeted() -> None:
        async with running(GreetingController()) as node:
            await node.create(HostnameStatus.new("hostname", HostnameStatusSpec(hostname="one")))
            greeting = await node.eventually(Greeting, "hostname")
            assert greeting.spec.text == "hello one"
            await node.destroy(HostnameStatus, "hostname")
            await node.gone(Greeting, "hostname")

Waits use trio's clock: under a `trio.testing.MockClock` with autojump they take no real time.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import attrs
import trio
import trio.testing

from nodespan.runtime.controller import Controller, QueueController
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import KindLike, Resource, ResourceType, kind_of
from nodespan.runtime.state import MemoryState, State

S = TypeVar("S")

# The default limit of a wait, in seconds of trio's clock.
PATIENCE = 30.0
# Seconds of real time for which a virtual clock may stand still: it does while any task does not wait.
STANDSTILL = 20.0
# Seconds between two checks of a long turn.
_POLL = 0.01
_SHOWN_IDS = 10


class ControllerCrashedError(AssertionError):
    """A controller failed in a test that did not expect it; the failure is the cause of this error."""


@attrs.frozen
class Crash:
    """One failure of a controller."""

    controller: str
    error: BaseException


@asynccontextmanager
async def running(
    *controllers: Controller | QueueController,
    state: State | None = None,
    allow_crashes: bool = False,
    seed: int | None = 0,
    change_rate: float | None = None,
    change_burst: int = 1,
    monitor_loop: bool = False,
) -> AsyncIterator["Node"]:
    """Run controllers on a state (a fresh one in memory unless given) for as long as the block lasts.

    A failure of a controller fails the test with `ControllerCrashedError`: at the wait that is under way, or at the end
    of the block. `allow_crashes` leaves them to the test, which finds them in `Node.crashes`; a single expected one is
    what `Node.crashed` waits for. The other arguments are those of `Engine`.
    """
    node = Node(MemoryState() if state is None else state, allow_crashes=allow_crashes)
    node.engine = Engine(
        node.state,
        seed=seed,
        change_rate=change_rate,
        change_burst=change_burst,
        monitor_loop=monitor_loop,
        on_crash=node._note_crash,
    )
    for controller in controllers:
        await node.engine.register(controller)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(node.engine.run)
        try:
            yield node
        except trio.Cancelled:
            raise
        except BaseException as error:
            # Raised outside of the nursery, which would wrap it in a group, so that pytest shows the error itself.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        for crash in node.crashes:
            failure.add_note(f"controller {crash.controller!r} had failed: {crash.error!r}")
        raise failure
    node._check_crashes()


class Node:
    """A state with controllers running on it, and what a test does: write as other writers do, and wait."""

    engine: Engine

    def __init__(self, state: State, *, allow_crashes: bool) -> None:
        self.state = state
        # Every failure of a controller so far.
        self.crashes: list[Crash] = []
        self._allow_crashes = allow_crashes
        self._unexpected: list[Crash] = []
        self._news = trio.lowlevel.ParkingLot()

    # Writes, as another writer's.

    async def create(self, resource: Resource[S], *, owner: str = "") -> Resource[S]:
        """Store a new resource. Raises ConflictError if it exists."""
        return await self.state.create(resource, owner=owner)

    async def put(
        self, type: ResourceType[S], id: str, spec: S, *, labels: Mapping[str, str] | None = None, owner: str = ""
    ) -> Resource[S]:
        """Create or update the resource so that it has this spec, and these labels if given."""

        def change(resource: Resource[S]) -> Resource[S]:
            changed = resource.with_spec(spec)
            return changed if labels is None else changed.evolve(labels=labels)

        return await self.state.modify(type.new(id, spec), change, owner=owner)

    async def teardown(self, kind: KindLike[Any], id: str, *, owner: str = "") -> bool:
        """Tear a resource down; returns whether it has no finalizers."""
        return await self.state.teardown(kind, id, owner=owner)

    async def destroy(self, kind: KindLike[Any], id: str, *, owner: str = "") -> None:
        """Remove a resource. Raises ConflictError while it has finalizers."""
        await self.state.destroy(kind, id, owner=owner)

    # Waits.

    async def eventually(
        self,
        kind: KindLike[S],
        id: str,
        where: Callable[[Resource[S]], bool] | None = None,
        *,
        spec: S | None = None,
        within: float = PATIENCE,
    ) -> Resource[S]:
        """Wait until the resource exists (and is as `where` says, and has this spec, where given), and return it.

        Compares the current state only: a short-lived change may be missed. Raises AssertionError after `within`
        seconds, with the observed state.
        """
        wanted = "to exist"
        if spec is not None:
            wanted = f"to have the spec {spec!r}"
        if where is not None:
            wanted += f" and satisfy {getattr(where, '__qualname__', where)}"

        def holds(resource: Resource[S] | None) -> bool:
            return resource is not None and spec in (None, resource.spec) and (where is None or where(resource))

        found = await self._wait(kind, id, holds, wanted, within)
        assert found is not None  # or else it would not hold
        return found

    async def gone(self, kind: KindLike[Any], id: str, *, within: float = PATIENCE) -> None:
        """Wait until the resource does not exist. Raises AssertionError after `within` seconds."""
        await self._wait(kind, id, lambda resource: resource is None, "to be gone", within)

    async def settled(self, *, within: float = PATIENCE) -> None:
        """Wait until nothing can happen before time passes or the test writes.

        That is when no controller is in a turn or a job, and every task of this trio run waits. Controllers that wait
        for a restart, or for a call after an interval, count as settled. Raises AssertionError after `within` seconds.
        """
        busy: list[str] = []
        for half in _halves(within):
            with half:
                while True:
                    await trio.testing.wait_all_tasks_blocked()
                    self._check_crashes()
                    busy = [runner.name for runner in self.engine.runners.values() if runner.is_at_work]
                    if not busy:
                        return
                    await trio.sleep(_POLL)
        at_work = f"these are in a turn still: {', '.join(busy)}" if busy else "some task never waits"
        raise AssertionError(f"waited {within:g} s for the controllers to settle, but {at_work}{self._controllers()}")

    async def crashed(self, controller: str | None = None, *, within: float = PATIENCE) -> BaseException:
        """Wait for a failure (of the controller of this name, if given), and mark it as expected.

        Returns the error. Each call is about one more failure. Raises AssertionError after `within` seconds.
        """
        for half in _halves(within):
            with half:
                await trio.lowlevel.checkpoint()
                while True:
                    for crash in self._unexpected:
                        if controller in (None, crash.controller):
                            self._unexpected.remove(crash)
                            return crash.error
                    self._check_crashes()
                    await self._news.park()
        raise AssertionError(f"waited {within:g} s for {controller or 'a controller'} to fail{self._controllers()}")

    # Implementation.

    async def _wait(
        self,
        kind: KindLike[S],
        id: str,
        holds: Callable[[Resource[S] | None], bool],
        wanted: str,
        within: float,
    ) -> Resource[S] | None:

        def look(_resource: Resource[Any], _before: Resource[Any] | None, _destroyed: bool) -> None:
            self._news.unpark_all()

        unsubscribe = self.state.view(kind).subscribe(look, id)
        try:
            for half in _halves(within):
                with half:
                    await trio.lowlevel.checkpoint()
                    while True:
                        self._check_crashes()
                        current = self.state.find(kind, id)
                        if holds(current):
                            return current
                        await self._news.park()
        finally:
            unsubscribe()
        raise AssertionError(
            f"waited {within:g} s for {kind_of(kind).pointer(id)} {wanted}, but {self._there(kind, id)}"
            f"{self._controllers()}"
        )

    def _note_crash(self, controller: str, error: BaseException) -> None:
        crash = Crash(controller, error)
        self.crashes.append(crash)
        self._unexpected.append(crash)
        self._news.unpark_all()

    def _check_crashes(self) -> None:
        if self._unexpected and not self._allow_crashes:
            crash = self._unexpected[0]
            more = f" (and {len(self._unexpected) - 1} more failures)" if len(self._unexpected) > 1 else ""
            raise ControllerCrashedError(
                f"controller {crash.controller!r} failed: {crash.error!r}{more}"
            ) from crash.error

    def _there(self, kind: KindLike[Any], id: str) -> str:
        current = self.state.find(kind, id)
        if current is not None:
            metadata = current.metadata
            facts = [f"{metadata.phase}, version {metadata.version}, owner {metadata.owner or '(none)'}"]
            facts += [f"labels {dict(metadata.labels)}"] if metadata.labels else []
            facts += [f"finalizers {', '.join(metadata.finalizers)}"] if metadata.finalizers else []
            return f"it is there ({'; '.join(facts)}) with {current.spec!r}"
        others = [resource.id for resource in self.state.list(kind)]
        shown = ", ".join(others[:_SHOWN_IDS]) + (", ..." if len(others) > _SHOWN_IDS else "")
        return "it is not there, nor is any other of its kind" if not others else f"of its kind there is only {shown}"

    def _controllers(self) -> str:
        lines = []
        for runner in self.engine.runners.values():
            status = runner.status()
            counts = f"{status.wakeups} wake-ups, {status.writes} writes, {status.crashes} crashes"
            waiting = f", {status.queue_length} waiting in its queue" if status.queue_length else ""
            error = f", last error {status.last_error}" if status.last_error else ""
            lines.append(f"\n  {runner.name}: {status.state}, {counts}{waiting}{error}")
        return "".join(lines)


def _halves(seconds: float) -> Iterator[AbstractContextManager[None]]:
    """The limit of a wait in two parts: a machine that stands still, as virtual ones do, takes one only."""
    yield _limit(seconds / 2)
    yield _limit(seconds / 2)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Cancel the block after so many seconds of trio's clock, or when a virtual clock stands still."""
    with trio.move_on_after(seconds) as scope:
        if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
            yield
            return
        watchdog = _Watchdog(scope)
        try:
            yield
        finally:
            watchdog.stop()


class _Watchdog:
    """Cancels a scope when the virtual clock stands still, which it does for as long as any task does not wait."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._token = trio.lowlevel.current_trio_token()
        self._stopped = False
        self._start()

    def _start(self) -> None:
        self._seen = trio.current_time()
        self._timer = threading.Timer(STANDSTILL, self._token.run_sync_soon, (self._look,))
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        if self._stopped:
            return
        if trio.current_time() == self._seen:
            self._scope.cancel()
        else:
            self._start()

    def stop(self) -> None:
        self._stopped = True
        self._timer.cancel()

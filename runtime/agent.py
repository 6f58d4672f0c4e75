"""The agent: connects state, engine, controllers and the socket, and runs them until a signal stops it."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio

from nodespan.runtime import plugins
from nodespan.runtime.about import About, load_about
from nodespan.runtime.actions import Action, ActionCall, ActionError, OffersActions
from nodespan.runtime.api.local import AlreadyServedError, LocalServer, listen
from nodespan.runtime.controller import Logger
from nodespan.runtime.engine import Engine
from nodespan.runtime.errors import RegistrationError, StateOpenError
from nodespan.runtime.lifecycle import AGENT_ID, AgentLifecycle, AgentLifecycleSpec
from nodespan.runtime.loading import load
from nodespan.runtime.lock_file import LockedError, locked
from nodespan.runtime.process.quiet import wait_quiet
from nodespan.runtime.process.service_manager import ServiceManager
from nodespan.runtime.resource import Namespace, NamespaceSpec, Resource
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.base import State
from nodespan.runtime.state.mounted import MountedState
from nodespan.runtime.state.opening import StateOptions, open_state
from nodespan.runtime.whole_file import make_directory

if TYPE_CHECKING:
    from nodespan.runtime.api.cosi.roles import Authorizer
    from nodespan.runtime.api.grpc import Method

# How many events of one kind a watch (`get -w`) may fall behind before it must list again.
_HISTORY = 4096
_FIRST_LOOK_PATIENCE = 3.0

# In seconds: how long reverting changes may take, and how long it may take to begin.
_CLEANUP_PATIENCE = 20.0
_CLEANUP_START = 0.5
# What the looks at what was left may take together, in seconds: a file system may hang.
_LOOK_PATIENCE = 10.0
_UNKNOWN = "what the log of the agent says"
# How long, in seconds, controllers may take to hand over to other nodes.
_HANDOVER_PATIENCE = 15.0
# How long the agent waits, in seconds, for the client that made it leave to read the result.
_RESULT_PATIENCE = 2.0
LEAVE = "agent.leave"
# The exit status of an agent that controllers keep from stopping.
_GIVEN_UP = 70
_OWNER = "agent"


@attrs.frozen(kw_only=True)
class AgentOptions:
    """How to run an agent.

    `root` is the directory below which the files of the system are, None for the agent's root directory. `metrics` is
    the address to serve metrics at, None to serve none, and `state_socket` the same for the COSI State service.
    `cleanup` reverts all changes of the system before the agent stops; without it they stay for the next agent.
    """

    socket: Path
    state_dir: Path
    config: tuple[Path, ...] = ()
    controllers: tuple[str, ...] = ()
    root: Path | None = None
    metrics: tuple[str, int] | None = None
    state_socket: Path | None = None
    cleanup: bool = False


@attrs.define
class _LeaveRequest:
    """What a client and the agent that it makes leave have to say to each other."""

    made: trio.Event = attrs.field(factory=trio.Event)
    done: trio.Event = attrs.field(factory=trio.Event)
    read: trio.Event = attrs.field(factory=trio.Event)
    left: list[str] = attrs.field(factory=list)

    @property
    def is_made(self) -> bool:
        return self.made.is_set()

    async def answer(self, left: list[str]) -> None:
        """Give the result to the client, which may be gone by now."""
        self.left = left
        self.done.set()
        if self.is_made:
            with trio.move_on_after(_RESULT_PATIENCE):
                await self.read.wait()


def _end_process(_controllers: list[str]) -> None:
    """Controllers do not let the agent stop, so nothing but this ends it. They are in the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_GIVEN_UP)


class Agent:
    """One node's agent. Make it, then `run` it once. Functions in `beside` run next to it, on its state."""

    def __init__(
        self,
        options: AgentOptions,
        *,
        version: str,
        log: Logger | None = None,
        beside: Iterable[Callable[[State], Awaitable[None]]] = (),
    ) -> None:
        self._options = options
        self._version = version
        self._beside = tuple(beside)
        self._log: Logger = structlog.get_logger() if log is None else log
        self._packages = load_about(self._log)
        self._mounts = [
            mount for package in self._packages for mount in package.mounts(options.config, options.state_dir)
        ]
        memory = MemoryState(max_capacity=_HISTORY)
        # Without mounts nothing stands between a reader and the memory.
        self._mounted = MountedState(memory) if self._mounts else None
        self.state: State = self._mounted or memory
        self.engine = Engine(self.state, log=self._log, monitor_loop=True, give_up=_end_process)
        self._is_stopping = False
        self._runs = trio.Event()
        self._actions: dict[str, Action] = {LEAVE: self._leave}
        self._leave_request = _LeaveRequest()
        self._manager = ServiceManager.of(os.environ)
        # How many wait until the controllers have settled; each goes on afterwards.
        self._settling = 0
        self._settings = plugins.Settings(
            config=options.config,
            state_dir=options.state_dir,
            root=options.root,
            settled=self._settled,
            mounts=tuple(self._mounts),
            agent=plugins.AgentAccess(
                version=version,
                socket=options.socket,
                state=self.state,
                state_methods=self._state_methods,
                edges=lambda: self.engine.graph.edges,
                actions=self._actions,
                settled=self._settled,
            ),
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled or stopped by SIGTERM or SIGINT; SIGHUP gives every controller a turn.

        Reports as started when the socket answers. Raises AlreadyServedError if another agent serves its socket or uses
        its state directory, OSError for files and addresses that cannot be used, and RegistrationError for controllers
        given by name that cannot be registered.
        """
        options = self._options
        with _claimed(options.state_dir):
            await self._run(task_status)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        options = self._options
        # Signals are received until the very end, so that a second one cannot kill the process during the cleanup.
        with trio.open_signal_receiver(signal.SIGHUP, signal.SIGINT, signal.SIGTERM) as signals:
            async with listen(options.socket) as listener, self._opened_mounts(), trio.open_nursery() as nursery:
                nursery.start_soon(self._heed_signals, signals, nursery)
                nursery.start_soon(self._heed_leave_request, nursery)
                await self._register(self._settings)
                self._report_unknown()
                await self._describe_namespaces(self._packages)
                agent = AgentLifecycle.new(AGENT_ID, AgentLifecycleSpec(pid=os.getpid()))
                await self.state.create(agent, owner=_OWNER)
                for package in self._packages:
                    for limitation in package.limitations():
                        self._log.warning(limitation)
                await nursery.start(self.engine.run)
                await self._first_look()
                if options.metrics is not None:
                    await self._serve_metrics(nursery, options.metrics)
                for service in self._beside:
                    nursery.start_soon(service, self.state)
                if options.state_socket is not None:
                    await self._serve_state(nursery, options.state_socket)
                # The last one: whoever is answered here finds all others.
                server = LocalServer(self.state, self.engine, self._log, version=self._version, actions=self._actions)
                nursery.start_soon(server.serve, listener)
                self._log.info(
                    "agent runs",
                    version=self._version,
                    socket=str(options.socket),
                    controllers=len(self.engine.runners),
                )
                self._manager.ready()
                nursery.start_soon(self._manager.keep_alive)
                self._runs.set()
                task_status.started()

    @asynccontextmanager
    async def _opened_mounts(self) -> AsyncGenerator[None, None]:
        """The states that namespaces are mounted on, open until everything that uses them has ended."""
        async with AsyncExitStack() as stack:
            for mount in self._mounts:
                assert self._mounted is not None  # there are mounts
                opening = StateOptions(
                    state_dir=self._options.state_dir,
                    settings=mount.settings,
                    max_history=_HISTORY,
                    log=self._log,
                    wait=True,
                )
                try:
                    state = await stack.enter_async_context(open_state(mount.url, opening))
                except StateOpenError as error:
                    raise RegistrationError(f"the namespaces {', '.join(mount.namespaces)}: {error}") from error
                for namespace in mount.namespaces:
                    self._mounted.mount(namespace, state)
            yield

    def _report_unknown(self) -> None:
        """Log what is stored and belongs to no controller: a package may have been removed."""
        for type, count in sorted(self.state.unknown_types().items()):
            self._log.warning("stored resources of an unknown type are kept and not shown", type=type, count=count)

    async def _serve_metrics(self, nursery: trio.Nursery, address: tuple[str, int]) -> None:
        # Only an agent that serves metrics pays for the library.
        await load("nodespan.runtime.api.http_server", "nodespan.runtime.api.metrics")
        from nodespan.runtime.api.http_server import serve_answers
        from nodespan.runtime.api.metrics import EngineMetrics
        from nodespan.runtime.api.pages import negotiated
        from nodespan.runtime.process.loop_lag import LoopLag

        lag = LoopLag()
        metrics = EngineMetrics(
            self.engine,
            self.state,
            version=self._version,
            sources=self._settings.metrics,
            readiness=self._settings.readiness,
            lag=lag,
        )

        async def serve(*, task_status: trio.TaskStatus[str]) -> None:
            with lag:
                answer = negotiated(metrics.respond)
                await serve_answers(answer, address, log=self._log, task_status=task_status)

        await nursery.start(serve)

    async def _serve_state(self, nursery: trio.Nursery, path: Path) -> None:
        # Only an agent that serves it pays for protobuf and HTTP/2.
        await load("nodespan.runtime.api.cosi.serving")
        from nodespan.runtime.api.cosi.serving import serve_on_socket

        await nursery.start(partial(serve_on_socket, path, self._state_methods, log=self._log))
        self._log.info("the State service runs", socket=str(path))

    def _state_methods(self, authorize: "Authorizer") -> "dict[str, Method]":
        """The methods of the State service for clients whose roles the function finds."""
        from nodespan.runtime.api.cosi.serving import state_methods

        def spec_class(name: str) -> type[Any] | None:
            type = AgentLifecycle if name == AgentLifecycle.name else self.engine.types.get(name)
            return None if type is None else type.spec_class

        return state_methods(
            self.state,
            authorize=authorize,
            find_type=spec_class,
            messages=[message for package in self._packages for message in package.messages()],
            log=self._log,
        )

    async def _register(self, settings: plugins.Settings) -> None:
        for controller in plugins.load_installed(settings, self._log):
            try:
                await self._take(controller)
            except RegistrationError:
                # As with packages that cannot be loaded: a broken one does not stop the node.
                name = type(controller).__qualname__
                self._log.exception("a controller of an installed package cannot be registered", controller=name)
        for reference in self._options.controllers:
            for controller in plugins.load_named(reference, settings):
                with plugins.named(f"--controllers {reference!r}", f"cannot register {type(controller).__qualname__}"):
                    await self._take(controller)

    async def _take(self, controller: plugins.AnyController) -> None:
        await self.engine.register(controller)
        if isinstance(controller, OffersActions):
            self._actions.update(controller.actions)

    async def _first_look(self) -> None:
        """Wait until the controllers have published what they observe, but not long for one that is blocked.

        A client that lists earlier would find nothing, and a watch that survived the previous agent would show
        everything as destroyed.
        """
        await self.engine.settled(_FIRST_LOOK_PATIENCE)

    async def _describe_namespaces(self, packages: Iterable[About]) -> None:
        mounted = [(name, f"Kept on {mount.url}.") for mount in self._mounts for name in mount.namespaces]
        descriptions = mounted + [item for package in packages for item in package.namespaces.items()]
        for name, description in descriptions:
            spec = NamespaceSpec(description=description)

            def described(known: Resource[NamespaceSpec], spec: NamespaceSpec = spec) -> Resource[NamespaceSpec]:
                return known.with_spec(spec)

            await self.state.modify(Namespace.new(name, spec), described, owner="meta")

    async def _heed_signals(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        scope = nursery.cancel_scope
        async for number in signals:
            if number == signal.SIGHUP:
                self._log.info("every controller gets a turn", signal="SIGHUP")
                self.engine.wake_all()
            else:
                self._log.info("stopping", signal=signal.Signals(number).name)
                has_begun = self.state.find(AgentLifecycle, AGENT_ID) is not None
                if self._is_stopping or not (has_begun or self._options.cleanup):
                    scope.cancel()
                else:
                    self._is_stopping = True
                    nursery.start_soon(self._stop, scope)

    async def _stop(self, scope: trio.CancelScope) -> None:
        """Stop after controllers have handed over to other nodes; a second signal stops at once.

        What an earlier agent has left is known to the controllers, and can be reverted, only once they run.
        """
        if self._leave_request.is_made or self._options.cleanup:
            await self._runs.wait()
        self._manager.stopping()
        with trio.move_on_after(_HANDOVER_PATIENCE) as patience:
            await self.state.teardown_and_destroy(AgentLifecycle, AGENT_ID, owner=_OWNER)
        if patience.cancelled_caught:
            holders = self.state.get(AgentLifecycle, AGENT_ID).metadata.finalizers
            self._log.error("the handover took too long", waiting_for=sorted(holders))
        if self._leave_request.is_made or self._options.cleanup:
            self._settings.leaving.set()
            await self._leave_request.answer(await self._clean_up())
        scope.cancel()

    async def _leave(self, _call: ActionCall) -> AsyncGenerator[Mapping[str, Any], None]:
        """The action behind `nodespan leave`."""
        if self._is_stopping:
            raise ActionError("the agent is stopping already")
        self._leave_request.made.set()
        yield {"text": "reverting all changes of the system\n"}
        await self._leave_request.done.wait()
        left = self._leave_request.left
        yield (
            {"text": f"the agent stops, but could not revert everything: {'; '.join(left)}\n", "status": 1}
            if left
            else {"text": "the node has left, and the agent stops\n", "status": 0}
        )
        self._leave_request.read.set()

    async def _heed_leave_request(self, nursery: trio.Nursery) -> None:
        await self._leave_request.made.wait()
        self._log.info("requested to leave")
        self._is_stopping = True
        nursery.start_soon(self._stop, nursery.cancel_scope)

    async def _clean_up(self) -> list[str]:
        """Wait until all changes are reverted, or a time limit has passed; returns what is left."""
        self._log.info("reverting the changes of the system; a second signal leaves them")
        with trio.move_on_after(_CLEANUP_PATIENCE) as patience:
            await trio.sleep(_CLEANUP_START)
            await wait_quiet(self._is_cleaning)
        left = self._going() or ["a controller is still at work"] if patience.cancelled_caught else []
        if left:
            self._log.error("some changes of the system could not be reverted in time", left=left)
        return left + await self._left_behind()

    async def _left_behind(self) -> list[str]:
        """What could not be reverted. All looks run at a time: those that hang cost one time limit together."""
        found: dict[int, list[str]] = {}

        async def ask(number: int, look: Callable[[], Iterable[str]]) -> None:
            try:
                found[number] = await trio.to_thread.run_sync(_listed, look, abandon_on_cancel=True, limiter=threads)
            except Exception:
                self._log.exception("what could not be reverted cannot be told", of=repr(look))

        looks = self._settings.left_behind
        # Of their own: others that hang must not keep these from being asked.
        threads = trio.CapacityLimiter(max(1, len(looks)))
        with trio.move_on_after(_LOOK_PATIENCE):
            async with trio.open_nursery() as nursery:
                for number, look in enumerate(looks):
                    nursery.start_soon(ask, number, look)
        left: list[str] = []
        for number, look in enumerate(looks):
            if number not in found:
                self._log.error("what could not be reverted is not known", of=repr(look))
            left += found.get(number, [_UNKNOWN])
        if left:
            self._log.error("some changes of the system could not be reverted", left=left)
        return list(dict.fromkeys(left))

    async def _settled(self, within: float) -> bool:
        self._settling += 1
        try:
            return await self.engine.settled(within)
        finally:
            self._settling -= 1

    def _is_cleaning(self) -> bool:
        is_at_work = any(runner.is_at_work for runner in self.engine.runners.values())
        return is_at_work or self._settling > 0 or bool(self._going())

    def _going(self) -> list[str]:
        """The resources that are tearing down."""
        views = (self.state.view(kind) for kind in self.state.kinds())
        return [str(found) for view in views for found in view.items.values() if found.metadata.is_tearing_down]


def _listed(look: Callable[[], Iterable[str]]) -> list[str]:
    return list(look())


@contextmanager
def _claimed(state_dir: Path) -> Iterator[None]:
    """Create the agent's state directory, readable by its user only, and lock it against other agents.

    It holds identities, secrets and the record of changes of the system: two agents would revert each other's work.
    """
    make_directory(state_dir, mode=0o700)
    try:
        with locked(state_dir / "agent.lock"):
            yield
    except LockedError as error:
        raise AlreadyServedError(
            f"another agent (pid {error.holder}) already uses {state_dir}: "
            "stop it first, or give this one another --state-dir"
        ) from None

"""dashboard.ServerController: serves the dashboard in the agent while the configuration says where."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.common.secret_file import write_secret
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.nodespan import DashboardSettings
from nodespan.resources.network import NetworkProblem
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak
from nodespan.runtime.loading import load
from nodespan.runtime.plugins import AgentAccess

if TYPE_CHECKING:
    from nodespan.controllers.dashboard.listening import Dashboard

PROBLEM_ID: Final = "dashboard"
TOKEN_FILE: Final = "dashboard.token"  # noqa: S105  # the name of a file
_RETRY = Exponential(base=1.0, factor=2.0, cap=60.0)


@attrs.frozen
class _Task:
    """A server that runs, with which settings, and how to stop it."""

    settings: DashboardSettings
    scope: trio.CancelScope
    ended: trio.Event


class ServerController(Controller):
    """Serves at `dashboard.listen` of the NodespanConfig. Without an agent it does nothing."""

    name = "dashboard.ServerController"
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (shared(NetworkProblem),)

    def __init__(self, agent: AgentAccess | None, state_dir: Path) -> None:
        self._agent = agent
        self._state_dir = state_dir
        self._task: _Task | None = None
        self._failures = 0

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        problems = Problems(ctx, MachineConfig)
        try:
            async with trio.open_nursery() as nursery:
                async for _ in ctx:
                    await self._follow(ctx, problems, nursery)
        finally:
            self._task = None

    async def _follow(self, ctx: ControllerContext, problems: Problems, nursery: trio.Nursery) -> None:
        config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        settings = DashboardSettings() if config is None else config.spec.nodespan.dashboard
        if self._task is not None and (self._task.settings != settings or self._task.ended.is_set()):
            await self._stop()
        if not settings.listen or self._agent is None:
            await problems.show({})
            return
        if self._task is None:
            task = _Task(settings, trio.CancelScope(), trio.Event())
            error = await nursery.start(self._serve, ctx, task, self._agent.socket)
            if error:
                self._failures += 1
                nursery.start_soon(self._wake_later, ctx, _RETRY.after(self._failures))
                await problems.show({PROBLEM_ID: error}, loud=frozenset({PROBLEM_ID}))
                return
            self._task, self._failures = task, 0
        await problems.show({})

    async def _serve(
        self,
        ctx: ControllerContext,
        task: _Task,
        socket: Path,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until stopped. Reports "" once it listens, else why it cannot."""
        # Only an agent that serves it pays for it, and the loop does not wait for the disk.
        await load("nodespan.controllers.dashboard.listening")
        from nodespan.runtime.api.browser.serving import ListenError

        listen = task.settings.listen
        try:
            with task.scope:
                async with trio.open_nursery() as nursery:
                    try:
                        dashboard = await trio.to_thread.run_sync(self._dashboard, task.settings, socket)
                        await nursery.start(dashboard.serve, ctx.log)
                    except (ListenError, OSError) as error:
                        reason = (error.strerror or error) if isinstance(error, OSError) else error
                        task_status.started(f"the dashboard cannot listen at {listen}: {reason}")
                        return
                    token = "" if dashboard.tls else str(self._state_dir / TOKEN_FILE)
                    ctx.log.info("the dashboard listens", address=listen, **({"token_in": token} if token else {}))
                    task_status.started("")
                    await trio.sleep_forever()
        finally:
            task.ended.set()

    def _dashboard(self, settings: DashboardSettings, socket: Path) -> "Dashboard":
        """Blocks on the disk; raises OSError."""
        from nodespan.controllers.dashboard.listening import Dashboard, TlsPaths

        host, _, port = settings.listen.rpartition(":")
        tls = None
        if settings.cert:
            tls = TlsPaths(cert=Path(settings.cert), key=Path(settings.key), ca=Path(settings.ca))
        return Dashboard(
            socket=socket,
            host=host.strip("[]"),
            port=int(port),
            hosts=settings.hosts,
            token="" if tls else kept_token(self._state_dir / TOKEN_FILE),
            tls=tls,
        )

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.scope.cancel()
            await self._task.ended.wait()
            self._task = None

    async def _wake_later(self, ctx: ControllerContext, seconds: float) -> None:
        await trio.sleep(seconds)
        ctx.wake()


def kept_token(path: Path) -> str:
    """The token in a file, which is made if it is missing: URLs stay valid over restarts. Blocks; raises OSError."""
    from nodespan.runtime.api.browser.door import new_token

    try:
        if token := path.read_text().strip():
            return token
        path.unlink()
    except FileNotFoundError:
        pass
    token = new_token()
    write_secret(path, f"{token}\n")
    return token

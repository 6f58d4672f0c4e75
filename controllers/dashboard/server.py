"""dashboard.ServerController: serves the dashboard in the agent while the configuration says where."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from nodespan.controllers.common.followed_server import CannotListenError, FollowedServer
from nodespan.controllers.common.problems import Problems
from nodespan.controllers.common.secret_file import write_secret
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.nodespan import DashboardSettings
from nodespan.resources.network import NetworkProblem
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak
from nodespan.runtime.loading import load
from nodespan.runtime.plugins import AgentAccess

if TYPE_CHECKING:
    from nodespan.controllers.dashboard.listening import Dashboard

PROBLEM_ID: Final = "dashboard"
TOKEN_FILE: Final = "dashboard.token"  # noqa: S105  # the name of a file


class ServerController(Controller):
    """Serves at `dashboard.listen` of the NodespanConfig. Without an agent it does nothing."""

    name = "dashboard.ServerController"
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (shared(NetworkProblem),)

    def __init__(self, agent: AgentAccess | None, state_dir: Path) -> None:
        self._agent = agent
        self._state_dir = state_dir

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        problems = Problems(ctx, MachineConfig)
        async with trio.open_nursery() as nursery:
            server = FollowedServer(ctx, nursery, functools.partial(self._open, ctx))
            async for _ in ctx:
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                settings = None if config is None else config.spec.nodespan.dashboard
                is_served = settings is not None and settings.listen and self._agent is not None
                error = await server.follow(settings if is_served else None)
                await problems.show({PROBLEM_ID: error} if error else {}, loud=frozenset({PROBLEM_ID}))

    async def _open(self, ctx: ControllerContext, settings: DashboardSettings, nursery: trio.Nursery) -> None:
        # Only an agent that serves it pays for it, and the loop does not wait for the disk.
        await load("nodespan.controllers.dashboard.listening")
        from nodespan.runtime.api.browser.serving import ListenError

        assert self._agent is not None  # without one nothing is served
        try:
            dashboard = await trio.to_thread.run_sync(self._dashboard, settings, self._agent.socket)
            await nursery.start(dashboard.serve, ctx.log)
        except (ListenError, OSError) as error:
            reason = (error.strerror or error) if isinstance(error, OSError) else error
            raise CannotListenError(f"the dashboard cannot listen at {settings.listen}: {reason}") from error
        token = "" if dashboard.tls else str(self._state_dir / TOKEN_FILE)
        ctx.log.info("the dashboard listens", address=settings.listen, **({"token_in": token} if token else {}))

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

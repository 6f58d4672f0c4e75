"""api.ServerController: serves the agent on the network while the configuration says where."""

from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import (
    CURRENT_ADDRESSES_ID,
    HOSTNAME_ID,
    HostnameStatus,
    NetworkProblem,
    NodeAddress,
)
from nodespan.resources.secrets import API_ID, OS_ROOT_ID, APICertificate, APICertificateSpec, OSRoot, OSRootSpec
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak
from nodespan.runtime.loading import load
from nodespan.runtime.plugins import AgentAccess

if TYPE_CHECKING:
    from nodespan.controllers.api.serving import Serving

_RETRY = Exponential(base=1.0, factor=2.0, cap=60.0)


@attrs.frozen
class _Task:
    """A server that runs: at which address, whether it issues certificates too, and how to stop it."""

    listen: str
    issues: bool
    scope: trio.CancelScope
    ended: trio.Event


class ServerController(Controller):
    """Serves at `api.listen` of the NodespanConfig, once there is a certificate. Without an agent it does nothing.

    The invitations that a control plane takes lie in `state_dir`, None for none.
    """

    name = "api.ServerController"
    inputs = (
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(APICertificate, API_ID),
        weak(OSRoot, OS_ROOT_ID),
        weak(HostnameStatus, HOSTNAME_ID),
        weak(NodeAddress, CURRENT_ADDRESSES_ID),
    )
    outputs = (shared(NetworkProblem),)

    def __init__(self, agent: AgentAccess | None, *, state_dir: Path | None = None) -> None:
        self._agent = agent
        self._state_dir = state_dir
        self._task: _Task | None = None
        self._serving: Serving | None = None
        self._failures = 0

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration, the certificate, and what this node is called."""
        problems = Problems(ctx, APICertificate)
        try:
            async with trio.open_nursery() as nursery:
                async for _ in ctx:
                    await self._follow(ctx, problems, nursery)
        finally:
            self._task = self._serving = None

    async def _follow(self, ctx: ControllerContext, problems: Problems, nursery: trio.Nursery) -> None:
        config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        certificate, root = ctx.find(APICertificate, API_ID), ctx.find(OSRoot, OS_ROOT_ID)
        listen = "" if config is None else config.spec.nodespan.api.listen
        if not listen or self._agent is None:
            await self._stop()
            await problems.show({})
            return
        if certificate is None:
            await self._stop()
            await problems.show({API_ID: _why_no_certificate(root.spec if root else None)}, loud=frozenset({API_ID}))
            return
        issues = root is not None and bool(root.spec.issuing_ca.key and root.spec.token)
        await load("nodespan.controllers.api.serving")
        self._update(ctx, certificate.spec, root.spec if root else None, listen)
        if self._task is not None and (self._task.listen, self._task.issues) != (listen, issues):
            await self._stop()
        if self._task is None or self._task.ended.is_set():
            self._task = _Task(listen, issues, trio.CancelScope(), trio.Event())
            error = await nursery.start(self._serve, self._task)
            if error:
                self._failures += 1
                nursery.start_soon(self._wake_later, ctx, _RETRY.after(self._failures))
                await problems.show({API_ID: error}, loud=frozenset({API_ID}))
                return
            self._failures = 0
            ctx.log.info("the API listens", address=listen)
        await problems.show({})

    def _update(
        self, ctx: ControllerContext, certificate: APICertificateSpec, root: OSRootSpec | None, listen: str
    ) -> None:
        """Tell the server what has changed."""
        from nodespan.controllers.api.serving import Serving

        assert self._agent is not None
        if self._serving is None:
            self._serving = Serving(self._agent, ctx.log, state_dir=self._state_dir)
        own, addresses = ctx.find(HostnameStatus, HOSTNAME_ID), ctx.find(NodeAddress, CURRENT_ADDRESSES_ID)
        self._serving.update(
            certificate=certificate,
            root=root,
            names=() if own is None else own.spec.names,
            addresses=tuple(str(ip_interface(each).ip) for each in (addresses.spec.addresses if addresses else ())),
            port=int(listen.rpartition(":")[2]),
        )

    async def _serve(self, task: _Task, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped. Reports "" once it listens, else why it cannot."""
        assert self._serving is not None
        try:
            with task.scope:
                async with trio.open_nursery() as nursery:
                    try:
                        listeners = await self._serving.open_listeners(task.listen, issues=task.issues)
                    except OSError as error:
                        task_status.started(f"the API cannot listen at {task.listen}: {error.strerror or error}")
                        return
                    for serve in listeners:
                        await nursery.start(serve)
                    task_status.started("")
                    await trio.sleep_forever()
        finally:
            task.ended.set()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.scope.cancel()
            await self._task.ended.wait()
            self._task = None

    async def _wake_later(self, ctx: ControllerContext, seconds: float) -> None:
        await trio.sleep(seconds)
        ctx.wake()


def _why_no_certificate(root: OSRootSpec | None) -> str:
    if root is None:
        return "api.listen is set, but machine.ca is missing or cannot be used: `nodespan gen config` makes one"
    if not root.issuing_ca.key and not root.token:
        return "api.listen is set, but without machine.token no control plane issues this node's certificate"
    return "api.listen is set, and waits for a control plane that issues this node's certificate"

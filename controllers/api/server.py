"""api.ServerController: serves the agent on the network while the configuration says where."""

import functools
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from nodespan.controllers.common.followed_server import CannotListenError, FollowedServer
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
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak
from nodespan.runtime.loading import load
from nodespan.runtime.plugins import AgentAccess

if TYPE_CHECKING:
    from nodespan.controllers.api.serving import Serving


@attrs.frozen
class _Settings:
    """At which address to serve, and whether to issue certificates too."""

    listen: str
    issues: bool


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
        self._serving: Serving | None = None

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration, the certificate, and what this node is called."""
        problems = Problems(ctx, APICertificate)
        try:
            async with trio.open_nursery() as nursery:
                server = FollowedServer(ctx, nursery, functools.partial(self._open, ctx))
                async for _ in ctx:
                    await self._follow(ctx, problems, server)
        finally:
            self._serving = None

    async def _follow(self, ctx: ControllerContext, problems: Problems, server: FollowedServer[_Settings]) -> None:
        config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        certificate, root = ctx.find(APICertificate, API_ID), ctx.find(OSRoot, OS_ROOT_ID)
        listen = "" if config is None else config.spec.nodespan.api.listen
        if not listen or self._agent is None:
            await server.follow(None)
            await problems.show({})
            return
        if certificate is None:
            await server.follow(None)
            # Why there is none is a problem of the controllers of the secrets.
            await problems.show({})
        # Also while the certificate is being issued, by another process.
        await load("nodespan.controllers.api.serving")
        if certificate is None:
            return
        issues = root is not None and bool(root.spec.issuing_ca.key and root.spec.token)
        from nodespan.runtime.system_roots import TrustError

        try:
            self._update(ctx, certificate.spec, root.spec if root else None, listen)
        except TrustError as refused:
            await server.follow(None)
            reason = f"api.listen is set, but nothing can be served with the certificate of machine.ca: {refused}"
            await problems.show({API_ID: reason}, loud=frozenset({API_ID}))
            return
        error = await server.follow(_Settings(listen, issues))
        await problems.show({API_ID: error} if error else {}, loud=frozenset({API_ID}))

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

    async def _open(self, ctx: ControllerContext, settings: _Settings, nursery: trio.Nursery) -> None:
        assert self._serving is not None
        try:
            listeners = await self._serving.open_listeners(settings.listen, issues=settings.issues)
        except OSError as error:
            reason = error.strerror or error
            raise CannotListenError(f"the API cannot listen at {settings.listen}: {reason}") from error
        for serve in listeners:
            await nursery.start(serve)
        ctx.log.info("the API listens", address=settings.listen)

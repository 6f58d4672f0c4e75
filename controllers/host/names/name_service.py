"""cluster.NameServiceController: tells systemd-resolved of the domain, and shows how programs get to know names."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from nodespan.controllers.common.damping import Damper
from nodespan.controllers.common.problems import Problems
from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.polling import wake_every
from nodespan.resources.cluster import LOCAL, NameServiceStatus, NameServiceStatusSpec
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.nodespan import NameMode
from nodespan.resources.files import EtcFileStatus
from nodespan.resources.kubespan import KubeSpanIdentity
from nodespan.resources.network import (
    HOST_DNS_CONFIG_ID,
    RESOLVERS_ID,
    DNSResolveCache,
    HostDNSConfig,
    HostDNSConfigSpec,
    LinkStatus,
    NetworkProblem,
    ResolverStatus,
    Severity,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, weak
from nodespan.runtime.loading import load
from nodespan.runtime.looks import until_found

if TYPE_CHECKING:
    from nodespan.controllers.host.names.name_service_rules import Plan, Registration, Situation
    from nodespan.controllers.host.names.resolved import Resolved

RECORD = "resolved.jsonl"
LINK = "kubespan"
# Seconds between two looks at what systemd-resolved keeps, and between two retries of failures.
LOOK_INTERVAL = 2.0
RETRY_INTERVAL = 30.0
_WAR = f"another program keeps changing what systemd-resolved has for {LINK}: find out which"
# Seconds that taking back may last when the agent ends: three programs, each by way of D-Bus.
_PATIENCE = 20.0
_STILL_KNOWN = "systemd-resolved still knows the domain of the mesh"
_RULES = "nodespan.controllers.host.names.name_service_rules"
_RESOLVED = "nodespan.controllers.host.names.resolved"
_ALWAYS = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(HostDNSConfig, HOST_DNS_CONFIG_ID), weak(DNSResolveCache))
# What else is looked at in each mode.
_MORE = {
    NameMode.HOSTS: (weak(EtcFileStatus, "hosts"),),
    NameMode.RESOLVED: (weak(KubeSpanIdentity, LOCAL), weak(LinkStatus, LINK)),
    NameMode.STUB: (weak(ResolverStatus, RESOLVERS_ID),),
}


class NameServiceController(Controller):
    """Registers while the mode says so and the server runs; takes back after that, and whenever the agent ends.

    What the kernel or another program does to the registration is seen in the file that systemd-resolved keeps of it.
    """

    name = "cluster.NameServiceController"
    inputs = _ALWAYS
    outputs = (exclusive(NameServiceStatus), shared(NetworkProblem))

    def __init__(
        self,
        host: Host,
        state_dir: Path,
        *,
        look_interval: float = LOOK_INTERVAL,
        retry_interval: float = RETRY_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._path = state_dir / RECORD
        self._look_interval = look_interval
        self._retry_interval = retry_interval
        self._clock = clock
        self._damper = Damper()
        self._resolved: Resolved | None = None
        # What was registered last, for which index of the link, and what systemd-resolved kept of it.
        self._done: tuple[Registration, int] | None = None
        self._signature: tuple[int, ...] = ()

    def left_behind(self) -> list[str]:
        """What could not be taken back. Blocks. Raises OSError."""
        if not self._path.exists() or not self._open().has_record(LINK):
            return []
        return [f"systemd-resolved may still have the domain of the mesh: resolvectl revert {LINK}"]

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration, the server and the link."""
        problems = Problems(ctx, NameServiceStatus)
        mode: NameMode | None = None
        try:
            async with trio.open_nursery() as nursery:
                watching: trio.CancelScope | None = None
                async for _ in ctx:
                    config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                    now = None if config is None else config.spec.nodespan.names.mode
                    if now is not mode:
                        mode = now
                        ctx.set_inputs((*_ALWAYS, *(_MORE.get(mode, ()) if mode is not None else ())))
                    found: Plan | None = None
                    if config is not None and config.spec.names_members:
                        await load(_RULES)
                        from nodespan.controllers.host.names.name_service_rules import plan

                        found = plan(config.spec, _now(ctx))
                    problem, severity = await self._apply(ctx, found)
                    async with ctx.tracked_outputs(NameServiceStatus):
                        if found is not None and found.status is not None:
                            await ctx.put(NameServiceStatus, LOCAL, _shown(found, found.status, problem))
                    if problem:
                        await problems.set(LOCAL, problem, severity=severity)
                    else:
                        await problems.clear(LOCAL)
                    is_registered = mode is NameMode.RESOLVED
                    if is_registered and watching is None:
                        watching = await nursery.start(self._watch, ctx)
                    elif not is_registered and watching is not None:
                        watching.cancel()
                        watching = None
        finally:
            with trio.move_on_after(_PATIENCE, shield=True) as ending:
                await self._end(ctx)
            if ending.cancelled_caught:
                ctx.log.warning(_STILL_KNOWN, reason=f"resolvectl took over {_PATIENCE:g} s")

    async def _apply(self, ctx: ControllerContext, found: "Plan | None") -> tuple[str, Severity]:
        """Register, or take back; returns what is wrong."""
        try:
            if found is None or found.registration is None:
                await self._take_back(ctx)
                return "" if found is None else found.problem, Severity.ERROR
            return await self._register(ctx, found.registration), Severity.WARNING
        except (HostError, CommandFailedError) as error:
            return str(error), Severity.ERROR
        except OSError as error:
            return f"{error.filename or self._path}: {error.strerror}", Severity.ERROR

    async def _register(self, ctx: ControllerContext, desired: "Registration") -> str:
        """Returns what to look at though it is registered."""
        status = ctx.find(LinkStatus, LINK)
        index = 0 if status is None else status.spec.index
        await load(_RESOLVED)
        resolved = self._open()
        signature = await trio.to_thread.run_sync(resolved.signature, index)
        is_known = self._done == (desired, index) and signature == self._signature
        if not is_known:
            await resolved.check()
            was_undone = self._done == (desired, index)
            if was_undone and not self._damper.may_try(LINK, self._clock()):
                raise HostError(_WAR)
            self._done = None
            # What was read is of a moment after the signature, so that whatever changes from now on is seen.
            while await resolved.register(LINK, desired):
                self._damper.done(LINK, self._clock())
                ctx.log.info("registered with systemd-resolved", link=LINK, servers=desired.servers)
                if not self._damper.may_try(LINK, self._clock()):
                    raise HostError(_WAR)
                signature = await trio.to_thread.run_sync(resolved.signature, index)
            self._signature = signature
            self._done = (desired, index)
        if await trio.to_thread.run_sync(resolved.is_asked):
            return ""
        return (
            "systemd-resolved knows the names, but programs do not ask it: link /etc/resolv.conf to "
            "/run/systemd/resolve/stub-resolv.conf, or use mode: hosts"
        )

    async def _take_back(self, ctx: ControllerContext) -> None:
        if self._resolved is None and not await trio.to_thread.run_sync(self._path.exists):
            return
        await load(_RESOLVED)
        self._done = None
        if left := await self._open().take_back(LINK):
            ctx.log.warning(left)

    async def _end(self, ctx: ControllerContext) -> None:
        """The server ends with the agent, so nothing may lead to it any longer."""
        if self._resolved is None:
            return
        try:
            await self._take_back(ctx)
        except (HostError, CommandFailedError, OSError) as error:
            ctx.log.warning(_STILL_KNOWN, reason=str(error))

    async def _watch(
        self, ctx: ControllerContext, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Wake when what systemd-resolved keeps is not what it was after the last turn, and for retries."""
        async with trio.open_nursery() as nursery:
            task_status.started(nursery.cancel_scope)
            nursery.start_soon(wake_every, self._retry_interval, ctx)
            while True:
                await until_found(self._has_changed, self._look_interval)
                ctx.wake()

    def _has_changed(self) -> bool:
        """In a thread, beside turns: what one of them has changed meanwhile is seen by the next look."""
        done, resolved = self._done, self._resolved
        if done is None or resolved is None:
            return False
        return resolved.signature(done[1]) != self._signature and done == self._done

    def _open(self) -> "Resolved":
        from nodespan.controllers.host.names.resolved import Resolved

        if self._resolved is None:
            self._resolved = Resolved(self._host, self._path)
        return self._resolved


def _now(ctx: ControllerContext) -> "Situation":
    from nodespan.controllers.host.names.name_service_rules import Situation

    config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
    mode = None if config is None else config.spec.nodespan.names.mode
    host_dns = ctx.find(HostDNSConfig, HOST_DNS_CONFIG_ID)
    identity = link = hosts = resolvers = None
    if mode is NameMode.RESOLVED:
        identity, link = ctx.find(KubeSpanIdentity, LOCAL), ctx.find(LinkStatus, LINK)
    elif mode is NameMode.HOSTS:
        hosts = ctx.find(EtcFileStatus, "hosts")
    elif mode is NameMode.STUB:
        resolvers = ctx.find(ResolverStatus, RESOLVERS_ID)
    return Situation(
        host_dns=HostDNSConfigSpec() if host_dns is None else host_dns.spec,
        listeners=frozenset(cache.id for cache in ctx.list(DNSResolveCache)),
        subnet="" if identity is None else identity.spec.subnet,
        has_link=link is not None and not link.metadata.is_tearing_down,
        has_hosts=hosts is not None,
        asks_others=resolvers is not None and bool(resolvers.spec.name_servers),
        link=LINK,
    )


def _shown(found: "Plan", status: NameServiceStatusSpec, problem: str) -> NameServiceStatusSpec:
    if not problem or problem == found.problem:
        return status
    return attrs.evolve(status, ready=False, message=problem)

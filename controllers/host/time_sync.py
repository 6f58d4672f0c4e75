"""time.SyncController and time.AdjtimeStatusController: how the clock is, and the servers that it is set by.

Other programs keep the clock. This reads what they and the kernel say of it.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.polling import wake_every
from nodespan.controllers.host.services import TimeService, find_timekeeping
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.network import TIME_SERVERS_ID, TimeServerStatus
from nodespan.resources.runtime import TIME_ID, AdjtimeStatus, NTPSource, NTPSourceSpec, TimeStatus
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak
from nodespan.runtime.process.boot_time import boot_time

if TYPE_CHECKING:
    from nodespan.controllers.host.clock_rules import Watch
    from nodespan.kernel.clock import KernelClock

# Seconds between two looks, until the clock is synchronized and after.
SOON = 2.0
INTERVAL = 30.0
_INPUTS = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(TimeServerStatus, TIME_SERVERS_ID))
ReadClock = Callable[[], "KernelClock | None"]


def read_kernel_clock() -> "KernelClock | None":
    """None where the system does not tell."""
    from nodespan.kernel.clock import read_clock

    try:
        return read_clock()
    except (OSError, AttributeError):
        return None


def is_about_time(ctx: ControllerContext) -> bool:
    """Whether the configuration or a lease says anything of the clock."""
    config, servers = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(TimeServerStatus, TIME_SERVERS_ID)
    return servers is not None or (config is not None and config.spec.names_time)


class SyncController(Controller):
    """Writes `node`, and a source for each server, while the configuration or a lease is about time."""

    name = "time.SyncController"
    inputs = _INPUTS
    outputs = (exclusive(TimeStatus), exclusive(NTPSource))

    def __init__(
        self,
        host: Host,
        *,
        read: ReadClock = read_kernel_clock,
        now: Callable[[], float] = boot_time,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._read = read
        self._now = now
        self._wall = wall
        # The boot clock at the start, and how far the wall clock was ahead of it then.
        self._began, self._offset = now(), wall() - now()
        self._watch: Watch | None = None
        self._use_nts: bool | None = None
        self._can_read = True
        # The last failure, which is logged once.
        self._error = ""

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration and the clock."""
        async with trio.open_nursery() as nursery:
            looking: trio.CancelScope | None = None
            async for _ in ctx:
                is_about = is_about_time(ctx)
                async with ctx.tracked_outputs(TimeStatus, NTPSource):
                    is_synced = await self._turn(ctx) if is_about else True
                if looking is not None:
                    looking.cancel()
                    looking = None
                if is_about:
                    looking = trio.CancelScope()
                    nursery.start_soon(_wake_after, INTERVAL if is_synced else SOON, ctx, looking)

    async def _turn(self, ctx: ControllerContext) -> bool:
        from nodespan.controllers.host.clock_rules import Watch

        config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        settings = MachineConfigSpec() if config is None else config.spec
        servers = ctx.find(TimeServerStatus, TIME_SERVERS_ID)
        use_nts = None if servers is None else servers.spec.use_nts
        watch = self._watch or Watch(began=self._began, offset=self._offset)
        if None not in (use_nts, self._use_nts) and use_nts != self._use_nts:
            # Time that nobody vouched for does not count as authenticated.
            now, wall = self._now(), self._wall()
            watch = Watch(began=now, offset=wall - now, epoch=watch.epoch)
        self._use_nts = self._use_nts if use_nts is None else use_nts
        is_kept = settings.time_is_kept
        clock = self._read()
        if clock is None and self._can_read:
            ctx.log.warning("the kernel does not tell how its clock is kept: the sandbox of the agent forbids adjtimex")
        self._can_read = clock is not None
        self._watch, status = watch.look(
            self._now(),
            self._wall(),
            clock,
            is_kept=is_kept,
            boot_timeout=settings.boot_timeout.total_seconds(),
        )
        await ctx.put(TimeStatus, TIME_ID, status)
        for id, source in (await self._sources(ctx) if is_kept else {}).items():
            await ctx.put(NTPSource, id, source)
        return status.synced

    async def _sources(self, ctx: ControllerContext) -> dict[str, NTPSourceSpec]:
        """What the time service says; nothing where it is not this agent's machine, or the service does not answer."""
        from nodespan.controllers.host.clock_rules import chrony_sources, timesyncd_sources

        commands = self._host.commands
        if self._host.refusal or commands is None:
            return {}
        try:
            match (await find_timekeeping(self._host)).service:
                case TimeService.CHRONY:
                    return chrony_sources(await commands.run("chronyc", "-c", "-n", "sources"))
                case TimeService.TIMESYNCD:
                    return timesyncd_sources(await commands.run("timedatectl", "show-timesync"))
        except CommandFailedError as error:
            # It may be starting, or have stopped since; the next look tells.
            if str(error) != self._error:
                self._error = str(error)
                ctx.log.warning("the time service does not tell its servers", error=self._error)
        return {}


class AdjtimeStatusController(Controller):
    """Writes `node` every half minute, while the configuration or a lease is about time."""

    name = "time.AdjtimeStatusController"
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(TimeServerStatus, TIME_SERVERS_ID))
    outputs = (exclusive(AdjtimeStatus),)

    def __init__(self, *, read: ReadClock = read_kernel_clock) -> None:
        self._read = read

    async def run(self, ctx: ControllerContext) -> None:
        """Read the kernel's clock."""
        async with trio.open_nursery() as nursery:
            is_looking = False
            async for _ in ctx:
                is_about = is_about_time(ctx)
                clock = self._read() if is_about else None
                async with ctx.tracked_outputs(AdjtimeStatus):
                    if clock is not None:
                        from nodespan.controllers.host.clock_rules import adjtime_status

                        await ctx.put(AdjtimeStatus, TIME_ID, adjtime_status(clock))
                if is_about and not is_looking:
                    is_looking = True
                    nursery.start_soon(wake_every, INTERVAL, ctx)


async def _wake_after(seconds: float, ctx: ControllerContext, scope: trio.CancelScope) -> None:
    with scope:
        await trio.sleep(seconds)
        ctx.wake()

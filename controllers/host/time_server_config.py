"""network.TimeServerConfigController: time servers by kernel command line, configuration and defaults.

There is no default unless configured: an ordinary machine already keeps its clock.
"""

from collections.abc import Iterator

from nodespan.controllers.common.cmdline import parse_cmdline
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec, TimeSyncConfig
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    TIME_SERVERS_ID,
    ConfigLayer,
    TimeServerSpec,
    TimeServerSpecSpec,
    layered_id,
)
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak

_UNMERGED = TimeServerSpec.within(CONFIG_NAMESPACE)
_DEFAULT_SERVER = "time.cloudflare.com"


def time_server_specs(config: MachineConfigSpec, *, cmdline: str) -> Iterator[TimeServerSpecSpec]:
    """The servers of all layers."""
    servers, use_nts = config.machine.time.servers, False
    for document in config.documents_of(TimeSyncConfig)[:1]:
        servers = document.ptp.devices if document.ptp is not None else ()
        if document.ntp is not None:
            servers, use_nts = document.ntp.servers, document.ntp.use_nts
    if config.nodespan.defaults.time_servers:
        yield TimeServerSpecSpec(time_servers=(_DEFAULT_SERVER,), use_nts=True)
    if given := parse_cmdline(cmdline).time_servers:
        yield TimeServerSpecSpec(time_servers=given, layer=ConfigLayer.CMDLINE)
    if servers:
        yield TimeServerSpecSpec(time_servers=servers, use_nts=use_nts, layer=ConfigLayer.CONFIGURATION)


class TimeServerConfigController(Controller):
    """Writes a spec for each layer that names some, while there is a configuration."""

    name = "network.TimeServerConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(KernelCmdline, KERNEL_CMDLINE_ID))
    outputs = (shared(TimeServerSpec),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        async for _ in ctx:
            async with ctx.tracked_outputs(_UNMERGED):
                config, line = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(KernelCmdline, KERNEL_CMDLINE_ID)
                if config is not None and config.spec.time_is_kept:
                    for spec in time_server_specs(config.spec, cmdline="" if line is None else line.spec.cmdline):
                        await ctx.put(_UNMERGED, layered_id(spec.layer, TIME_SERVERS_ID), spec)

"""cluster.LeaveController: announces that this node leaves before its configuration is removed."""

import trio

from nodespan.controllers.cluster.discovery_service import DiscoveryServiceController
from nodespan.resources.cluster import (
    DISCOVERY_CONFIG_ID,
    RESET_ID,
    DiscoveryConfig,
    MachineResetSignal,
    MachineResetSignalSpec,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, shared, strong, weak

# How long, in seconds, the discovery services may take: a node that cannot reach them leaves all the same.
_PATIENCE = 5.0


class LeaveController(Controller):
    """Holds the configuration by a finalizer; when it is torn down, deletes the node's records, and lets it go.

    The signal that has them deleted stays until the configuration is gone, and with it the discovery services, or they
    would be written again.
    """

    name = "cluster.LeaveController"
    inputs = (
        strong(MachineConfig, MACHINE_CONFIG_ID),
        weak(DiscoveryConfig, DISCOVERY_CONFIG_ID),
        destroy_ready(MachineResetSignal),
    )
    outputs = (shared(MachineResetSignal),)

    async def run(self, ctx: ControllerContext) -> None:
        """Wait for the end of the configuration."""
        async with trio.open_nursery() as nursery:
            patience = trio.CancelScope()
            async for _ in ctx:
                config, signal = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(MachineResetSignal, RESET_ID)
                if config is None:
                    patience.cancel()
                    is_served = ctx.find(DiscoveryConfig, DISCOVERY_CONFIG_ID) is not None
                    if signal is not None and signal.metadata.is_destroy_ready and not is_served:
                        await ctx.remove(MachineResetSignal, RESET_ID)
                elif not config.metadata.is_tearing_down:
                    await ctx.add_finalizer(MachineConfig, MACHINE_CONFIG_ID)
                elif self.name not in config.metadata.finalizers:
                    continue
                elif signal is None:
                    await self._send_signal(ctx)
                    patience = trio.CancelScope()
                    nursery.start_soon(self._give_up, ctx, patience)
                elif signal.metadata.is_destroy_ready:
                    patience.cancel()
                    await ctx.remove_finalizer(MachineConfig, MACHINE_CONFIG_ID)

    async def _send_signal(self, ctx: ControllerContext) -> None:
        # Held from the start by the deleter of the records: a signal without finalizers would be done at once.
        signal = MachineResetSignal.new(RESET_ID, MachineResetSignalSpec())
        await ctx.create(signal.evolve(finalizers=(DiscoveryServiceController.name,)))
        await ctx.teardown(MachineResetSignal, RESET_ID)

    async def _give_up(self, ctx: ControllerContext, patience: trio.CancelScope) -> None:
        with patience:
            await trio.sleep(_PATIENCE)
            ctx.log.warning("no discovery service confirmed that this node leaves; its record expires by itself")
            await ctx.remove_finalizer(MachineConfig, MACHINE_CONFIG_ID)

"""cluster.LeaveController: has the other nodes told that this one leaves, before its configuration is taken away."""

import trio

from controllers.cluster.discovery_service import DiscoveryServiceController
from resources.cluster import RESET_ID, MachineResetSignal, MachineResetSignalSpec
from resources.config import MachineConfig
from runtime.controller import Controller, ControllerContext, shared, strong

MACHINE_CONFIG_ID = "v1alpha1"
# How long, in seconds, the discovery services may take: a node that cannot reach them leaves all the same.
_PATIENCE = 5.0


class LeaveController(Controller):
    """Holds the configuration by a finalizer; when it is torn down, deletes the node's records, and lets it go."""

    name = "cluster.LeaveController"
    inputs = (strong(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (shared(MachineResetSignal),)

    async def run(self, ctx: ControllerContext) -> None:
        """Wait for the end of the configuration."""
        async for _ in ctx:
            config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
            if config is None:
                continue
            if not config.metadata.is_tearing_down:
                await ctx.add_finalizer(MachineConfig, MACHINE_CONFIG_ID)
            elif self.name in config.metadata.finalizers:
                await self._leave(ctx)
                await ctx.remove_finalizer(MachineConfig, MACHINE_CONFIG_ID)

    async def _leave(self, ctx: ControllerContext) -> None:
        # Held from the start by the one who deletes the records: a signal that nobody holds yet would be gone at once.
        signal = MachineResetSignal.new(RESET_ID, MachineResetSignalSpec()).evolve(
            finalizers=(DiscoveryServiceController.name,)
        )
        await ctx.create(signal)
        with trio.move_on_after(_PATIENCE) as patience:
            await ctx.teardown_and_destroy(MachineResetSignal, RESET_ID)
        if patience.cancelled_caught:
            ctx.log.warning("the discovery services were not told that this node leaves; its record ends by itself")

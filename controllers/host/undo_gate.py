"""Decides when changes of an earlier process that are no longer desired may be undone.

Without a configuration the desired state is unknown. Right after one arrives, some desired state may still be missing:
a DHCP lease takes a while. Once it has been removed, or the node leaves permanently, nothing is desired.
"""

import trio

from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.runtime.controller import ControllerContext, weak

# Seconds after a new configuration during which nothing is undone.
GRACE = 10.0
CONFIG_INPUT = weak(MachineConfig, MACHINE_CONFIG_ID)


class UndoGate:
    """The decision for one controller, which declares `CONFIG_INPUT`. It outlives restarts of the controller."""

    def __init__(self, leaving: trio.Event, *, grace: float = GRACE) -> None:
        self._leaving = leaving
        self._grace = grace
        self._is_configured = False
        self._is_settled = False

    async def watch(self, ctx: ControllerContext) -> None:
        """Run as a task; wakes the controller when the decision may have changed."""
        await self._leaving.wait()
        ctx.wake()

    def may_undo(self, ctx: ControllerContext, nursery: trio.Nursery) -> bool:
        """Whether obsolete changes may be undone now; call it on every wake-up."""
        has_config = ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
        if has_config and not self._is_configured:
            self._is_configured = True
            nursery.start_soon(self._settle, ctx)
        return self._is_settled if has_config else self._is_configured or self._leaving.is_set()

    async def _settle(self, ctx: ControllerContext) -> None:
        await trio.sleep(self._grace)
        self._is_settled = True
        ctx.wake()

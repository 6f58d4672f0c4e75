"""When what an earlier process changed, and nothing wants any more, may be put back.

Before there is a configuration nobody knows what is wanted. When it has just come, those who want something may not all
have said so: a lease takes its time. Once it has gone again, or the node is left for good, nothing is wanted.
"""

import trio

from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.runtime.controller import ControllerContext, weak

# Seconds for which a configuration that has just come keeps everything as it is.
GRACE = 10.0
CONFIG_INPUT = weak(MachineConfig, MACHINE_CONFIG_ID)


class Leftovers:
    """The answer for one controller, which declares `CONFIG_INPUT`. It outlives the controller's runs."""

    def __init__(self, leaving: trio.Event, *, grace: float = GRACE) -> None:
        self._leaving = leaving
        self._grace = grace
        self._is_configured = False
        self._is_settled = False

    async def watch(self, ctx: ControllerContext) -> None:
        """Runs beside the turns, and gives one when the answer may be another."""
        await self._leaving.wait()
        ctx.wake()

    def may_go(self, ctx: ControllerContext, nursery: trio.Nursery) -> bool:
        """Whether they may be put back now; call it in every turn."""
        has_config = ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
        if has_config and not self._is_configured:
            self._is_configured = True
            nursery.start_soon(self._settle, ctx)
        return self._is_settled if has_config else self._is_configured or self._leaving.is_set()

    async def _settle(self, ctx: ControllerContext) -> None:
        await trio.sleep(self._grace)
        self._is_settled = True
        ctx.wake()

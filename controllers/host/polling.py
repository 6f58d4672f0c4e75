"""Wakes a controller without a change of its inputs. Each function runs as a task beside the controller."""

from collections.abc import Callable

import trio

from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.ticks import tick


async def wake_every(interval: float, ctx: ControllerContext) -> None:
    """Wake every `interval` seconds."""
    while True:
        await tick(interval)
        ctx.wake()


async def wake_on_change(look: Callable[[], bool], interval: float, ctx: ControllerContext) -> None:
    """Wake whenever `look`, called in a worker thread every `interval` seconds, reports a change."""
    while True:
        await tick(interval)
        if await trio.to_thread.run_sync(look, abandon_on_cancel=True):
            ctx.wake()

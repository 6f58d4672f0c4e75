"""Wakes a controller without a change of its inputs. Each function runs as a task beside the controller."""

from collections.abc import Callable

from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.looks import until_found
from nodespan.runtime.ticks import tick


async def wake_every(interval: float, ctx: ControllerContext) -> None:
    """Wake every `interval` seconds."""
    while True:
        await tick(interval)
        ctx.wake()


async def wake_on_change(look: Callable[[], bool], interval: float, ctx: ControllerContext) -> None:
    """Wake whenever `look`, called in a worker thread every `interval` seconds, reports a change."""
    while True:
        await until_found(look, interval)
        ctx.wake()

"""What gives a controller a turn beside its inputs. Each runs as a task of its own, for as long as the controller."""

from collections.abc import Callable

import trio

from nodespan.runtime.controller import ControllerContext


async def wake_every(interval: float, ctx: ControllerContext) -> None:
    """A turn every so many seconds."""
    while True:
        await trio.sleep(interval)
        ctx.wake()


async def wake_on_change(look: Callable[[], bool], interval: float, ctx: ControllerContext) -> None:
    """A turn whenever a look, in a worker thread, finds something changed; so many seconds between two looks."""
    while True:
        await trio.sleep(interval)
        if await trio.to_thread.run_sync(look, abandon_on_cancel=True):
            ctx.wake()

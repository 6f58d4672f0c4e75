"""Watches an engine stop: a controller that does not end is reported, and after a timeout abandoned.

A task cannot be killed. A controller that swallows its cancellation, or never awaits anything, keeps the engine and
the agent from ending; the caller of the engine then has to end the process.
"""

from collections.abc import Callable, Collection

import trio

from nodespan.runtime.process.logger import Logger

# In seconds after the engine began to stop. The first leaves time for hooks that clean up.
NAMED_AFTER = 7.0
GIVEN_UP_AFTER = 30.0


async def watch_the_end(
    stopping: trio.Event, running: Callable[[], Collection[str]], give_up: Callable[[list[str]], None], log: Logger
) -> None:
    """Wait for the event, report controllers that still run, then abandon them. Cancel it from a shielded scope."""
    await stopping.wait()
    started = trio.current_time()
    await trio.sleep_until(started + NAMED_AFTER)
    log.error(
        "controllers do not stop: do they catch trio.Cancelled without raising it again?", controllers=sorted(running())
    )
    await trio.sleep_until(started + GIVEN_UP_AFTER)
    log.error("controllers did not stop and are given up", controllers=sorted(running()))
    give_up(sorted(running()))

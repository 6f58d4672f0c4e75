"""Watches over the end of an engine: a controller that does not end is named, and after a while given up.

A task cannot be ended from outside. A controller that catches its cancellation, or that never awaits anything, keeps
the engine from ending, and with it the agent; whoever runs the engine then has to end the process.
"""

from collections.abc import Callable, Collection

import trio

from nodespan.runtime.controller import Logger

# In seconds after the engine began to stop. Before the first, hooks that say goodbye have their time.
NAMED_AFTER = 7.0
GIVEN_UP_AFTER = 30.0


async def watch_the_end(
    stopping: trio.Event, running: Callable[[], Collection[str]], give_up: Callable[[list[str]], None], log: Logger
) -> None:
    """Wait for the event, then name those that still run, then give them up. Cancel it from a shielded scope."""
    await stopping.wait()
    started = trio.current_time()
    await trio.sleep_until(started + NAMED_AFTER)
    log.error(
        "controllers do not stop: do they catch trio.Cancelled without raising it again?", controllers=sorted(running())
    )
    await trio.sleep_until(started + GIVEN_UP_AFTER)
    log.error("controllers did not stop and are given up", controllers=sorted(running()))
    give_up(sorted(running()))

"""Runs a service until the process is told to stop."""

import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
import trio

from nodespan.runtime.errors import StateOpenError, leaves


class Reports(Protocol):
    """Who wants to know of the service: the service manager, or the process that started this one."""

    def ready(self) -> None: ...
    def stopping(self) -> None: ...
    async def keep_alive(self) -> None: ...


def reason_of(group: BaseExceptionGroup) -> str:
    """Why a service cannot serve: unusable addresses and files, in the groups of its nurseries. Raises all else."""
    expected, unexpected = group.split((OSError, StateOpenError))
    if unexpected is not None or expected is None:
        raise group
    return "; ".join(str(error) for error in leaves(expected))


async def serve_until_interrupted(
    serve: Callable[..., Awaitable[object]], manager: Reports, *, orphaned: int | None = None
) -> bool:
    """Serve until SIGINT or SIGTERM, or until the file `orphaned` can be read: then it returns True.

    `serve` reports as started.
    """
    is_alone = False
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def start() -> None:
                await nursery.start(serve)
                manager.ready()
                nursery.start_soon(manager.keep_alive)

            async def stop_without_supervisor() -> None:
                nonlocal is_alone
                assert orphaned is not None
                await trio.lowlevel.wait_readable(orphaned)
                is_alone = True
                structlog.get_logger().error("the process that started this one is gone: stopping")
                nursery.cancel_scope.cancel()

            nursery.start_soon(start)
            if orphaned is not None:
                nursery.start_soon(stop_without_supervisor)
            number = await anext(signals)
            manager.stopping()
            structlog.get_logger().info("interrupted", signal=signal.Signals(number).name)
            nursery.cancel_scope.cancel()
    return is_alone

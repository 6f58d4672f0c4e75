"""A server that a controller runs with the settings that the configuration has for it now."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs
import trio

from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller import ControllerContext

S = TypeVar("S")
_RETRY = Exponential(base=1.0, factor=2.0, cap=60.0)


class CannotListenError(Exception):
    """A server cannot be opened with its settings; the text is for the operator."""


@attrs.frozen
class _Task(Generic[S]):
    settings: S
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)


class FollowedServer(Generic[S]):
    """One server, which runs in a nursery of its controller's run.

    `open` starts the server's tasks in the nursery that it is given, and returns once it listens. It raises
    CannotListenError; the controller is then woken again after a while, each time a longer one.
    """

    def __init__(
        self,
        ctx: ControllerContext,
        nursery: trio.Nursery,
        open: Callable[[S, trio.Nursery], Awaitable[None]],
    ) -> None:
        self._ctx = ctx
        self._nursery = nursery
        self._open = open
        self._task: _Task[S] | None = None
        self._failures = 0

    async def follow(self, settings: S | None) -> str:
        """Have the server run with these settings, None to have none; returns why it cannot, "" if it does.

        A server that runs with equal settings is left as it is.
        """
        task = self._task
        if task is not None and (task.ended.is_set() or settings is None or task.settings != settings):
            task.scope.cancel()
            await task.ended.wait()
            self._task = None
        if settings is None or self._task is not None:
            return ""
        task = _Task(settings)
        error: str = await self._nursery.start(self._serve, task)
        if error:
            self._failures += 1
            self._nursery.start_soon(self._wake_later, _RETRY.after(self._failures))
        else:
            self._task, self._failures = task, 0
        return error

    async def _serve(self, task: _Task[S], *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            with task.scope:
                async with trio.open_nursery() as nursery:
                    try:
                        await self._open(task.settings, nursery)
                    except CannotListenError as error:
                        task_status.started(str(error))
                        nursery.cancel_scope.cancel()
                        return
                    task_status.started("")
                    await trio.sleep_forever()
        finally:
            task.ended.set()

    async def _wake_later(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._ctx.wake()

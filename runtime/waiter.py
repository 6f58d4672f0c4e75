"""One task that waits until it is woken. Where thousands wait, each with an event of its own, that takes a tenth."""

import trio


class Waiter:
    """Wakes the task that waits, if there is one: a wake-up that nobody waits for is forgotten."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    def __bool__(self) -> bool:
        """Whether a task waits."""
        return self._task is not None

    async def wait(self) -> None:
        """Wait until `wake` is called; always a checkpoint. Raises RuntimeError if another task waits already."""
        if self._task is not None:
            raise RuntimeError("another task waits already")
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """Have the task that waits go on."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

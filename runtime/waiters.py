"""Tasks that wait for something to happen, in the order in which they came.

It is trio's ParkingLot without its generators, its checks for broken lots and its statistics, which are a third of what
it costs to wake one of many tasks; it is used where each change of a resource wakes some.
"""

from collections.abc import Callable

import trio

_current_task = trio.lowlevel.current_task
_reschedule = trio.lowlevel.reschedule
_wait = trio.lowlevel.wait_task_rescheduled
_ABORTED = trio.lowlevel.Abort.SUCCEEDED


class Waiters:
    """Waiting tasks. `tasks` is for a look whether there are any, so that a call is saved where there are none."""

    __slots__ = ("tasks",)

    def __init__(self) -> None:
        self.tasks: dict[trio.lowlevel.Task, None] = {}

    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> None:
        """Wait, cancellably, to be woken; always a checkpoint."""
        await _wait(self.join())

    @trio.lowlevel.enable_ki_protection
    def join(self) -> Callable[[object], trio.lowlevel.Abort]:
        """`wait` for a caller who saves a coroutine: it awaits `wait_task_rescheduled` with this at once.

        The caller has to be protected from KeyboardInterrupt, as `wait` is.
        """
        tasks, task = self.tasks, _current_task()
        tasks[task] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            del tasks[task]
            return _ABORTED

        return abort

    @trio.lowlevel.enable_ki_protection
    def wake_all(self) -> None:
        """Wake all tasks that wait now."""
        tasks = self.tasks
        for task in tasks:
            _reschedule(task)
        tasks.clear()

    @trio.lowlevel.enable_ki_protection
    def wake_first(self) -> None:
        """Wake the task that has waited longest, if there is one."""
        for task in self.tasks:
            del self.tasks[task]
            _reschedule(task)
            return

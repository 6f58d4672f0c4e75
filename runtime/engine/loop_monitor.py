"""Finds the controller that blocks the loop.

In a cooperative loop one controller that computes without awaiting stops all others. trio notifies an instrument when
each step of a task begins and ends; a long step is attributed to the controller whose task it was. A step that does
not end at all is noticed by a thread, which logs the stack.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextvars import Context, ContextVar

import trio

from nodespan.runtime.process.logger import Logger

# Set in the tasks of each controller, and inherited by the tasks they start.
current_controller: ContextVar[str] = ContextVar("current_controller", default="")

SLOW_STEP = 0.1
STUCK_STEP = 2.0
# A stuck step is noticed within so many seconds more. Each look wakes a process that may have nothing else to do.
LOOK_INTERVAL = 5.0


class LoopMonitor(trio.abc.Instrument):
    """Reports steps longer than `SLOW_STEP` seconds to `report(controller, seconds)`, and logs stuck ones.

    Enter it within the trio run to watch. It costs two clock readings a step.
    """

    def __init__(self, report: Callable[[str, float], None], log: Logger) -> None:
        self._report = report
        self._log = log
        # A task sets its controller within its first step, so the name is looked up when it is needed.
        self._step: tuple[Context, float] | None = None
        self._stop = threading.Event()
        self._thread_of_loop = threading.get_ident()
        self._watchdog = threading.Thread(target=self._watch, name="nodespan-loop-monitor", daemon=True)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by trio before a step of a task."""
        self._step = (task.context, time.perf_counter())

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002  # trio's signature
        """Called by trio after a step of a task."""
        if self._step is not None:
            context, since = self._step
            self._step = None
            seconds = time.perf_counter() - since
            if seconds > SLOW_STEP:
                self._report(context.get(current_controller, ""), seconds)

    def __enter__(self) -> "LoopMonitor":
        trio.lowlevel.add_instrument(self)
        self._watchdog.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        trio.lowlevel.remove_instrument(self)
        self._watchdog.join()

    def _watch(self) -> None:
        reported: tuple[Context, float] | None = None
        while not self._stop.wait(LOOK_INTERVAL):
            step = self._step
            if step is None or step is reported or time.perf_counter() - step[1] < STUCK_STEP:
                continue
            reported = step
            frame = sys._current_frames().get(self._thread_of_loop)
            stack = "".join(traceback.format_stack(frame, limit=20)) if frame else ""
            self._log.error(
                "a controller does not await and blocks all others",
                controller=step[0].get(current_controller) or "(none)",
                seconds=round(time.perf_counter() - step[1], 1),
                stack=stack,
            )

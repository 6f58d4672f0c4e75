"""Counts what something costs: calls, and steps of tasks. Counts are exact on every machine."""

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType

import trio


def calls(function: Callable[[], object]) -> list[str]:
    """The Python functions that a call of this one calls, in their order."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return called


class Steps(trio.abc.Instrument):
    """Counts the steps of tasks, by name, and the turns of the loop."""

    def __init__(self) -> None:
        self.by_task: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.by_task[task.name] += 1

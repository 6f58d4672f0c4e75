"""Finds calls without `await`: a write that never happened is a failure of its controller, not a warning.

Python detects it when the coroutine is collected, which is mostly at once, and calls a private function of the module
`warnings`. While an engine runs, that function is replaced by one that attributes the error to the controller whose
task was running. Where Python lacks the function, the warning stays a warning.
"""

import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from nodespan.runtime.engine.loop_monitor import current_controller
from nodespan.runtime.errors import ForgottenAwaitError

_HOOK = "_warn_unawaited_coroutine"


@contextmanager
def noticing(note: Callable[[str, ForgottenAwaitError], bool]) -> Iterator[None]:
    """Within the block, call `note` with the controller and the error; it returns whether it knows the controller."""
    before = getattr(warnings, _HOOK, None)

    def notice(coroutine: Coroutine[Any, Any, Any]) -> None:
        name = getattr(coroutine, "__qualname__", "a function").rpartition(".")[2]
        error = ForgottenAwaitError(f"{name}() was called without await and did nothing: write `await ...{name}(...)`")
        if not note(current_controller.get(), error) and before is not None:
            before(coroutine)

    if before is None:
        yield
        return
    setattr(warnings, _HOOK, notice)
    try:
        yield
    finally:
        # An engine that began later may still run: it restores what it found.
        if getattr(warnings, _HOOK) is notice:
            setattr(warnings, _HOOK, before)

"""Finds calls without `await`: the write of a controller that never happened is its failure, not a warning.

Python notices when it throws the coroutine away, mostly at once, and asks a function of the module `warnings` to say
so. While an engine runs, that function notes it for the controller in whose task it happened. Where Python has no such
function, the warning stays a warning.
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
    """While the block runs, `note` is told the controller and the error; it returns whether it knows the controller."""
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
        # Another engine may have begun later and still run: it puts back what it found.
        if getattr(warnings, _HOOK) is notice:
            setattr(warnings, _HOOK, before)

"""Waiting for what other processes do, in tests that block."""

import contextlib
import time
from collections.abc import Callable

from nodespan.runtime.cli.errors import CommandError

# For a mesh to come up, or to go on as before. The last attempt to connect to a relay may have been just before: 15 s
# between two, and a third more or less.
SETTLED_WITHIN = 150.0


def eventually(check: Callable[[], object], within: float = SETTLED_WITHIN) -> float:
    """Wait until it is true; how long that took. Who does not answer, or lacks what is asked for, is not yet.

    What takes long is looked at less often: most checks start programs.
    """
    began = time.monotonic()
    while True:
        with contextlib.suppress(CommandError, LookupError, ValueError):
            if check():
                return time.monotonic() - began
        waited = time.monotonic() - began
        assert waited < within, f"still not so after {within:g} s"
        time.sleep(max(0.05, waited / 20))

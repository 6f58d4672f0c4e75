"""How often the garbage collector looks at everything.

Nearly all that an agent holds are immutable resources, which live long and form no cycles; looking through all of them
as often as the default has it would be the one thing that makes a change dearer the more resources there are.
"""

import gc

_THRESHOLDS = (20_000, 20, 100)


def tune() -> None:
    """Set the collector up for a process that holds many resources."""
    gc.set_threshold(*_THRESHOLDS)

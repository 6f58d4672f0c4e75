"""How often the garbage collector runs a full collection.

Nearly all objects of an agent are immutable resources, which live long and form no cycles. With the default thresholds
the collector would traverse them so often that a change costs more the more resources there are.
"""

import gc

_THRESHOLDS = (20_000, 20, 100)


def tune() -> None:
    """Set the collector up for a process that holds many resources."""
    gc.set_threshold(*_THRESHOLDS)

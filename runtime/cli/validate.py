"""`nodespan validate`: hands a file to whoever knows configurations, by the entry-point group `nodespan.validators`.

A validator is a function from a path (None: standard input) to the text to show and whether the file is good.
"""

import importlib.metadata
import sys
from pathlib import Path

from runtime.cli.errors import CommandError

GROUP = "nodespan.validators"


def validate(file: str) -> int:
    """Print what is to be said about the file; returns 0 if it is good, 1 if not."""
    validators = importlib.metadata.entry_points(group=GROUP)
    if not validators:
        raise CommandError(f"nothing is installed that checks configurations (entry-point group {GROUP})")
    good = True
    for entry_point in validators:
        text, is_good = entry_point.load()(None if file == "-" else Path(file))
        (sys.stdout if is_good else sys.stderr).write(text)
        good = good and is_good
    return 0 if good else 1

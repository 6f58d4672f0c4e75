"""`nodespan validate`: checks files by the validators of the entry-point group `nodespan.validators`.

A validator is a function from paths (None: standard input) to the text to show and whether the files, merged, are
valid. With `verbose=True` the text has every detail, with `strict=True` unknown parts are refused.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from nodespan.runtime import installed
from nodespan.runtime.cli.errors import CommandError

GROUP = "nodespan.validators"


def validate(files: Sequence[str], *, verbose: bool = False, strict: bool = False) -> int:
    """Print the findings about the files; returns 0 if they are valid, 1 if not."""
    validators = installed.entry_points(GROUP)
    if not validators:
        raise CommandError(f"no installed package checks configurations (entry-point group {GROUP})")
    paths = [None if file == "-" else Path(file) for file in files]
    good = True
    for entry_point in validators:
        text, is_good = entry_point.load()(paths, verbose=verbose, strict=strict)
        (sys.stdout if is_good else sys.stderr).write(text)
        good = good and is_good
    return 0 if good else 1

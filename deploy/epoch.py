"""The one time stamp of everything in a package: SOURCE_DATE_EPOCH, else the time of the commit."""

import os
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# What hatchling stamps wheels with where it is told nothing: for a tree without git.
_NO_COMMIT = 1580601600


def source_date_epoch() -> int:
    """Seconds since 1970."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    command = ("git", "-C", str(PROJECT), "log", "-1", "--format=%ct")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return _NO_COMMIT
    return int(done.stdout) if done.returncode == 0 else _NO_COMMIT

"""Files that hold secrets: only their owner may read them, and they are whole or not there. All calls block."""

import contextlib
import os
import tempfile
from pathlib import Path

from nodespan.controllers.common.whole_file import sync_directory

_MODE = 0o600


def write_secret(path: Path, text: str) -> None:
    """Write a new file, readable by this user only, that appears complete or not at all, also after a power cut.

    Raises FileExistsError if there is one: a secret is made once and never overwritten. Other OSErrors name the path.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # unlike a rename it does not replace what is there
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    sync_directory(path.parent)

"""Files that hold secrets: only their owner may read them, and they are whole or not there. All calls block."""

from pathlib import Path

from nodespan.runtime.whole_file import create_file


def write_secret(path: Path, text: str) -> None:
    """Write a new file, readable by this user only, that appears complete or not at all, also after a power cut.

    Raises FileExistsError if there is one: a secret is made once and never overwritten. Other OSErrors name the path.
    """
    create_file(path, text)

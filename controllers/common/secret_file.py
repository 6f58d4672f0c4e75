"""Files with secrets: readable by their owner only, and never incomplete. All calls block."""

from pathlib import Path

from nodespan.runtime.whole_file import create_file


def write_secret(path: Path, text: str) -> None:
    """Write a new file atomically and durably, readable by this user only.

    Raises FileExistsError if it exists: a secret is never overwritten. Other OSErrors name the path.
    """
    create_file(path, text)

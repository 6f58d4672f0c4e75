"""The lease at etcd with which this node stands for election, kept in a file for the next agent after a crash.

A key in an election identifies its node only by the hostname, which two nodes may share. The lease is unique: by it an
agent revokes what its predecessor left.
"""

from pathlib import Path

import attrs

from nodespan.runtime.whole_file import make_directory, replace_file


@attrs.frozen
class LeaseNote:
    """The note for one virtual IP. All calls block, and raise OSError."""

    path: Path

    def write(self, lease: int) -> None:
        """Note a lease. Atomic, also across a power failure."""
        make_directory(self.path.parent, mode=0o700)
        replace_file(self.path, f"{lease:x}\n")

    def read(self) -> int | None:
        """The lease noted last, None if there is none or the note is invalid."""
        try:
            return int(self.path.read_text(), 16)
        except (FileNotFoundError, ValueError):
            return None

    def remove(self) -> None:
        """Remove the note."""
        self.path.unlink(missing_ok=True)

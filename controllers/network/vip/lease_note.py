"""Which lease at etcd this node stands for election with, kept in a file for the agent that comes after a crash.

A key in an election says only by its hostname whose it is, and hostnames may be given twice. So an agent takes back
what its predecessor left by the lease, which is nobody else's.
"""

from pathlib import Path

import attrs

from nodespan.runtime.whole_file import replace_file


@attrs.frozen
class LeaseNote:
    """The note for one virtual IP. All calls block, and raise OSError."""

    path: Path

    def write(self, lease: int) -> None:
        """Note a lease. The note is whole or as it was, also after a power cut."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self.path, f"{lease:x}\n")

    def read(self) -> int | None:
        """The lease noted last, None if there is none or if the note cannot be understood."""
        try:
            return int(self.path.read_text(), 16)
        except (FileNotFoundError, ValueError):
            return None

    def remove(self) -> None:
        """There is no lease any more."""
        self.path.unlink(missing_ok=True)

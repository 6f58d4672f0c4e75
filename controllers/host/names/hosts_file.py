"""The names in /etc/hosts that others wrote there: they keep their meaning whatever a member is called."""

import hashlib
from collections.abc import Mapping

import attrs

from nodespan.controllers.host.edits import Block
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.managed_files import read_file

HOSTS = "/etc/hosts"
# Lists against advertisements have some hundred thousand lines; more is not a file of names.
_LARGEST = 64 * 2**20


@attrs.frozen(eq=False)
class ForeignNames:
    """The addresses by name, in lower case, of all lines but ours, and the digest of these lines."""

    names: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    digest: bytes = b""


def foreign_names(content: bytes, before: ForeignNames = ForeignNames()) -> ForeignNames:  # it is immutable
    """What a file says; `before` itself if that had the same lines, as after each write of ours."""
    lines = Block(b"").foreign(content[:_LARGEST])
    digest = hashlib.sha256(lines).digest()
    if digest == before.digest:
        return before
    found: dict[str, set[str]] = {}
    for line in lines.splitlines():
        address, *names = line.partition(b"#")[0].split() or (b"",)
        for name in names:
            key = name.decode("ascii", "backslashreplace").lower().rstrip(".")
            found.setdefault(key, set()).add(address.decode("ascii", "backslashreplace"))
    return ForeignNames({name: frozenset(addresses) for name, addresses in found.items()}, digest)


def read_foreign_names(host: Host, before: ForeignNames) -> ForeignNames:
    """What /etc/hosts says beside our lines; nothing without a file. Blocks. Raises HostError, OSError."""
    file = read_file(host.resolve(HOSTS))
    return foreign_names(b"" if file is None else file.content, before)


def changed_labels(before: ForeignNames, now: ForeignNames) -> set[str]:
    """The labels of the names that have other addresses now. Takes long for large files."""
    return {name.partition(".")[0] for name, _ in before.names.items() ^ now.names.items()}


def signature(host: Host) -> tuple[int, ...]:
    """A value that changes whenever the file does; empty without a file. Blocks."""
    try:
        status = host.resolve(HOSTS).stat()
    except (OSError, HostError):
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

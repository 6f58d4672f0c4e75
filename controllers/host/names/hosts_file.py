"""The names in /etc/hosts that others wrote there: they keep their meaning whatever a member is called."""

from collections.abc import Mapping

from nodespan.controllers.host.edits import Block
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.managed_files import read_file

HOSTS = "/etc/hosts"
# Lists against advertisements have some hundred thousand lines; more is not a file of names.
_LARGEST = 64 * 2**20


def foreign_names(content: bytes) -> dict[str, frozenset[str]]:
    """The addresses by name, in lower case, of all lines but ours."""
    found: dict[str, set[str]] = {}
    for line in Block(b"").foreign(content[:_LARGEST]).splitlines():
        address, *names = line.partition(b"#")[0].split() or (b"",)
        for name in names:
            key = name.decode("ascii", "backslashreplace").lower().rstrip(".")
            found.setdefault(key, set()).add(address.decode("ascii", "backslashreplace"))
    return {name: frozenset(addresses) for name, addresses in found.items()}


def read_foreign_names(host: Host) -> Mapping[str, frozenset[str]]:
    """What /etc/hosts says beside our lines; nothing without a file. Blocks. Raises HostError, OSError."""
    file = read_file(host.resolve(HOSTS))
    return {} if file is None else foreign_names(file.content)


def signature(host: Host) -> tuple[int, ...]:
    """A value that changes whenever the file does; empty without a file. Blocks."""
    try:
        status = host.resolve(HOSTS).stat()
    except (OSError, HostError):
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

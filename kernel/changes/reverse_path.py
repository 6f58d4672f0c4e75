"""The kernel's reverse path filter (RFC 3704)."""

import os

from nodespan.kernel.netns import in_netns

_LOOSE = b"2"


def loosen_reverse_path(link: str, netns: str | None) -> None:
    """Set a link to loose mode: accept packets from any source that has a route over any link. Blocks.

    The kernel uses the larger of the link's value and that of `all`, and loose is the largest, so this holds
    for any system default. Needs CAP_NET_ADMIN; raises OSError.
    """
    set_reverse_path(link, netns, _LOOSE.decode())


def read_reverse_path(link: str, netns: str | None) -> str:
    """The setting of a link. Blocks. Raises OSError."""
    with in_netns(netns):
        setting = os.open(_path(link), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(setting, 16).decode("ascii").strip()
        finally:
            os.close(setting)


def set_reverse_path(link: str, netns: str | None, value: str) -> None:
    """Set what `read_reverse_path` has given. Blocks. Raises OSError."""
    with in_netns(netns):
        setting = os.open(_path(link), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(setting, value.encode("ascii"))
        finally:
            os.close(setting)


def _path(link: str) -> str:
    return f"/proc/sys/net/ipv4/conf/{link}/rp_filter"

"""The kernel's reverse path filter (RFC 3704)."""

import os

from nodespan.kernel.netns import in_netns

_LOOSE = b"2"


def loosen_reverse_path(link: str, netns: str | None) -> None:
    """Set a link to loose mode: accept packets from any source that has a route over any link. Blocks.

    The kernel uses the larger of the link's value and that of `all`, and loose is the largest, so this holds
    for any system default. Needs CAP_NET_ADMIN; raises OSError.
    """
    with in_netns(netns):
        setting = os.open(f"/proc/sys/net/ipv4/conf/{link}/rp_filter", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(setting, _LOOSE)
        finally:
            os.close(setting)

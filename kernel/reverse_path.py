"""The kernel's check of where packets come from (RFC 3704)."""

import os

from nodespan.kernel.netns import in_netns

_LOOSE = b"2"


def loosen_reverse_path(link: str, netns: str | None) -> None:
    """Accept packets on a link from any source that there is a route to, whichever link it leads to. Blocks.

    What counts is the greater of the link's setting and that of all links, and loose is the greatest, so this holds
    whatever the system's default is. Needs CAP_NET_ADMIN; raises OSError.
    """
    with in_netns(netns):
        setting = os.open(f"/proc/sys/net/ipv4/conf/{link}/rp_filter", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(setting, _LOOSE)
        finally:
            os.close(setting)

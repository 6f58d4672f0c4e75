"""How often notifications of the kernel were lost, and how often everything was listed again, by kind of object.

The counts are those of one trio run, whichever mirrors and sockets come and go in it.
"""

from collections.abc import Mapping

import attrs
import trio


@attrs.define
class NetlinkCounts:
    """`dumps` are lists of everything, `overruns` are losses, each of which is followed by a dump."""

    dumps: int = 0
    overruns: int = 0


_counts: trio.lowlevel.RunVar[dict[str, NetlinkCounts]] = trio.lowlevel.RunVar("netlink counts")


def netlink_counts() -> Mapping[str, NetlinkCounts]:
    """The counts by kind: `links`, `routes`, ..."""
    return _all()


def counts_of(kind: str) -> NetlinkCounts:
    """The counts of a kind, to be added to."""
    return _all().setdefault(kind, NetlinkCounts())


def _all() -> dict[str, NetlinkCounts]:
    try:
        return _counts.get()
    except LookupError:
        found: dict[str, NetlinkCounts] = {}
        _counts.set(found)
        return found

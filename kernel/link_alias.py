"""Giving links an alias (IFLA_IFALIAS) over rtnetlink."""

from collections.abc import Iterable

import attrs
from pyroute2.netlink import rtnl

from nodespan.kernel.links import read_link
from nodespan.kernel.rtnetlink import AF_UNSPEC, attribute, open_kernel

_IFALIAS = 20
_ANY_TYPE = 0


@attrs.frozen(kw_only=True)
class AliasChange:
    """The alias that a link is to have, "" for none; with `instead_of` only if it has this one."""

    index: int
    alias: str
    instead_of: str | None = None


@attrs.frozen(kw_only=True)
class AliasResult:
    """The alias that a link had, and what went wrong if anything did."""

    before: str
    error: OSError | None = None


def set_aliases(netns: str | None, changes: Iterable[AliasChange]) -> dict[int, AliasResult]:
    """Set the aliases of links that are still there, and return what came of each, by index; blocks.

    What a link has is asked of the kernel first: a link that is down shows a change of its alias to nobody.
    """
    results: dict[int, AliasResult] = {}
    with open_kernel(netns) as kernel:
        for change in changes:
            message = kernel.link(change.index)
            if message is None:
                continue
            before = read_link(message).status.alias
            error: OSError | None = None
            if before != change.alias and change.instead_of in (None, before):
                try:
                    kernel.change(
                        rtnl.RTM_NEWLINK,
                        0,
                        (AF_UNSPEC, _ANY_TYPE, change.index, 0, 0),
                        attribute(_IFALIAS, change.alias.encode()),
                    )
                except OSError as refusal:
                    error = refusal
            results[change.index] = AliasResult(before=before, error=error)
    return results

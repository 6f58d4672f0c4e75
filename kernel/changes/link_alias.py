"""Sets the alias of links (IFLA_IFALIAS) over rtnetlink."""

from collections.abc import Iterable

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.links import read_link
from nodespan.kernel.outside_text import bytes_of
from nodespan.kernel.rtnetlink import AF_UNSPEC, RtnlSocket, attribute

_IFALIAS = 20
_ANY_TYPE = 0


@attrs.frozen(kw_only=True)
class AliasChange:
    """The desired alias of a link, "" for none; with `instead_of` only if its present alias is this one."""

    index: int
    alias: str
    instead_of: str | None = None


@attrs.frozen(kw_only=True)
class AliasResult:
    """The previous alias of a link, and the error if there was one."""

    before: str
    error: OSError | None = None


def set_aliases(kernel: RtnlSocket, changes: Iterable[AliasChange]) -> dict[int, AliasResult]:
    """Set the aliases of links that still exist, and return the results by index; blocks.

    The present alias is read from the kernel first: a change on a link that is down is not notified.
    """
    results: dict[int, AliasResult] = {}
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
                    attribute(_IFALIAS, bytes_of(change.alias)),
                )
            except OSError as refusal:
                error = refusal
        results[change.index] = AliasResult(before=before, error=error)
    return results

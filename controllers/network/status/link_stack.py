"""Which links rest on which: a VLAN on its parent, a bond or bridge on its members, either end of a veth on the other.

A link shows the names of those below it, and its driver derives from theirs what it says: the speed of a bond is that
of the members that send. The kernel announces the lower link only.
"""

from collections.abc import Iterable, Mapping

from nodespan.controllers.common.publication import KeysByLink
from nodespan.kernel.links import KernelLink


class LinkStack:
    """Links by what they rest on, all by index; kept up to date link by link."""

    def __init__(self) -> None:
        self._by_lower: KeysByLink[int] = KeysByLink()
        self._masters: dict[int, int] = {}

    def note(self, links: Mapping[int, KernelLink], changed: Iterable[int]) -> frozenset[int]:
        """Learn how these of the links are placed now (those missing are gone); returns them and all that rest on them.

        A master that a link has left is among them.
        """
        found = set(changed)
        left = set()
        for index in found:
            left.add(self._masters.pop(index, 0))
            link = links.get(index)
            self._by_lower.set(index, _parent(link))
            if link is not None and link.status.master_index:
                self._masters[index] = link.status.master_index
        found |= left - {0}
        waiting = frozenset(found)
        while waiting:
            masters = {self._masters[index] for index in waiting if index in self._masters}
            waiting = (self._by_lower.keys(waiting) | masters) - found
            found |= waiting
        return frozenset(found)


def _parent(link: KernelLink | None) -> tuple[int, ...]:
    if link is None or link.parent_is_elsewhere or not link.status.link_index:
        return ()
    return (link.status.link_index,)

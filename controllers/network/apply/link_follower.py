"""A mirror of links, and the table by all names that the plans look into."""

from collections.abc import Hashable, Iterable

from nodespan.controllers.network.apply.interests import LinkAtIndex, LinkNamed
from nodespan.kernel.link_lookup import LinkTable
from nodespan.kernel.links import KernelLink, Links
from nodespan.kernel.mirror import look_again
from nodespan.kernel.shared_mirror import MirrorView
from nodespan.resources.network import LinkFlags
from nodespan.runtime.slices import Slices


class LinkFollower:
    """Keeps a table in step with a mirror: between two rounds they agree."""

    def __init__(self, mirror: MirrorView[int, KernelLink], table: LinkTable) -> None:
        self._mirror = mirror
        self._table = table
        # Where the table may be ahead of the mirror, or behind it.
        self._noted: set[int] = set()

    def note(self, index: int, link: KernelLink | None) -> None:
        """Put a link into the table as a worker has read it, until the mirror is asked again.

        The mirror may never report it: if the link is changed back before both notifications are processed, the mirror
        sees no change.
        """
        self._table.set(index, link)
        self._noted.add(index)

    async def take(self) -> set[Hashable]:
        """Bring the table up to date, and return what changed."""
        await self._mirror.catch_up()
        topics: set[Hashable] = set()
        noted, self._noted = self._noted, set()
        slices = Slices()
        for index in self._mirror.take() | noted:
            await slices.rest()
            topics.add(LinkAtIndex(index))
            topics.update(map(LinkNamed, self._table.set(index, self._mirror.items.get(index))))
        return topics

    def changed_by(self, index: int) -> int:
        """The netlink port over which a link was last changed, 0 if that is not known."""
        return self._mirror.changed_by(index)

    async def look_if_down(self, indexes: Iterable[int], netns: str | None) -> None:
        """Have those of these links that are down read again, here and wherever links are shown."""
        await self._mirror.catch_up()
        known = ((index, self._mirror.items.get(index)) for index in indexes)
        down = {index for index, link in known if link is not None and LinkFlags.UP not in link.status.flags}
        if down:
            await look_again(Links, netns, down)

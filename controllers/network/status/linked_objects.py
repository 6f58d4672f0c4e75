"""What the statuses of addresses and routes have in common: objects that refer to links by index, shown by name."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from nodespan.controllers.common.publication import KeysByLink, Publication
from nodespan.kernel.links import LINK_NAMES, KernelLink, Links
from nodespan.kernel.mirror import ObjectKind
from nodespan.kernel.shared_mirror import open_shared_mirror
from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.slices import Slices

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
S = TypeVar("S")


async def publish_linked(
    ctx: ControllerContext,
    type: ResourceType[S],
    kind: ObjectKind[K, tuple[V, ...]],
    *,
    netns: str | None,
    links_of: Callable[[K, tuple[V, ...]], Iterable[int]],
    statuses: Callable[[K, tuple[V, ...], Mapping[int, KernelLink]], Mapping[str, S]],
) -> None:
    """Show the objects of a kind until cancelled. An event touches its object, a new name of a link those that show it.

    `statuses` makes those of one key, by id. The notification about a link may come after those about its objects: they
    wait for the name.
    """
    async with (
        open_shared_mirror(Links(), netns=netns, on_change=ctx.wake, aspect=LINK_NAMES) as links,
        open_shared_mirror(kind, netns=netns, on_change=ctx.wake) as objects,
    ):
        publication: Publication[K, S] = Publication(ctx, type)
        by_link: KeysByLink[K] = KeysByLink()
        async for _ in ctx:
            desired: dict[K, Mapping[str, S]] = {}
            slices = Slices()
            for key in objects.take() | by_link.keys(links.take()):
                found = objects.items.get(key, ())
                by_link.set(key, links_of(key, found) if found else ())
                desired[key] = statuses(key, found, links.items) if found else {}
                await slices.rest()
            await publication.publish(desired, slices)

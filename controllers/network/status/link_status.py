"""network.LinkStatusController: shows each network interface of the kernel, and what its driver and bus say of it."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs
import trio

from nodespan.controllers.common.publication import Publication
from nodespan.controllers.network.status.link_facts import LinkFacts, complete, read_facts, with_true_endpoints
from nodespan.controllers.network.status.link_stack import LinkStack
from nodespan.kernel.hardware.ethtool_news import DriverNews, open_driver_news
from nodespan.kernel.links import WHOLE_LINKS, KernelLink, Links, is_of_kind, with_names
from nodespan.kernel.shared_mirror import MirrorView, open_shared_mirror
from nodespan.resources.kubespan import KubeSpanRelayedEndpoint
from nodespan.resources.network import WIREGUARD_REFRESH, LinkRefresh, LinkStatus, LinkStatusSpec
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive, weak
from nodespan.runtime.looks import until_found
from nodespan.runtime.slices import Slices

# Drivers announce little, buses and WireGuard devices nothing: they are read again this often, by a thread that wakes
# the loop if something is new.
_REFRESH_INTERVAL = 60.0
# Behind these links, of which a machine with containers has thousands, there is no device: all that changes is in the
# kernel's messages about them. They are read with every tenth look only.
_MADE_OF_NOTHING = frozenset({"dummy", "ifb", "veth"})
_RARELY = 10


class LinkStatusController(Controller):
    """One status per link, by name. An event about a link reads that link, and those that rest on it."""

    name = "network.LinkStatusController"
    inputs = (destroy_ready(LinkStatus), weak(LinkRefresh, WIREGUARD_REFRESH), weak(KubeSpanRelayedEndpoint))
    outputs = (exclusive(LinkStatus),)

    def __init__(self, *, netns: str | None = None, sysfs_root: Path = Path("/sys")) -> None:
        self._netns = netns
        self._sysfs_root = sysfs_root
        # What was shown last of each link, as hashes: of thousands of links the facts would take megabytes.
        self._shown: dict[int, int] = {}
        self._looks = 0

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the kernel."""
        due = _Due()
        with open_driver_news(self._netns) as news:
            async with (
                open_shared_mirror(Links(), netns=self._netns, on_change=ctx.wake, aspect=WHOLE_LINKS) as mirror,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(due.look, ctx, lambda: self._differs(mirror))
                if news is not None:
                    nursery.start_soon(due.listen, ctx, news)
                publication: Publication[int, LinkStatusSpec] = Publication(ctx, LinkStatus)
                stack = LinkStack()
                async for _ in ctx:
                    due.refresh(ctx, mirror.items.items())
                    touched = mirror.take() | due.take(mirror.items)
                    relayed = {each.id: each.spec.endpoint for each in ctx.list(KubeSpanRelayedEndpoint)}
                    noted = stack.note(mirror.items, touched)
                    await publication.publish(await self._statuses(mirror, noted, relayed))

    async def _statuses(
        self, mirror: MirrorView[int, KernelLink], indexes: frozenset[int], relayed: Mapping[str, str]
    ) -> dict[int, dict[str, LinkStatusSpec]]:
        links = {index: mirror.items[index] for index in indexes if index in mirror.items}
        facts = await trio.to_thread.run_sync(self._read, tuple(links.values()))
        for index in indexes - links.keys():
            self._shown.pop(index, None)
        self._shown.update((index, hash(found)) for index, found in facts.items())

        def name_of(index: int) -> str:
            return mirror.items[index].name if index in mirror.items else ""

        # The loopback link, which is the first of all, comes last: who sees it has seen all that there were.
        statuses: dict[int, dict[str, LinkStatusSpec]] = {index: {} for index in sorted(indexes, reverse=True)}
        slices = Slices()
        for index, link in links.items():
            await slices.rest()
            found = attrs.evolve(facts[index], wireguard=with_true_endpoints(facts[index].wireguard, relayed))
            statuses[index] = {link.name: complete(with_names(link, name_of), found)}
        return statuses

    def _read(self, links: Iterable[KernelLink]) -> Mapping[int, LinkFacts]:
        """In a worker thread."""
        return read_facts(links, netns=self._netns, sysfs_root=self._sysfs_root)

    def _differs(self, mirror: MirrorView[int, KernelLink]) -> bool:
        """In a worker thread: whether the facts of any link are not those that are shown."""
        self._looks += 1
        # At once: the loop changes them.
        links = tuple(mirror.items.values())
        if self._looks % _RARELY:
            links = tuple(each for each in links if each.status.kind not in _MADE_OF_NOTHING)
        facts = self._read(links)
        # What is shown of a link that has just come, or is read at this moment, is new.
        return any(hash(found) != self._shown.get(index, hash(found)) for index, found in facts.items())


@attrs.define
class _Due:
    """Links to look at although the kernel's own messages about them say nothing new."""

    indexes: set[int] = attrs.field(factory=set)
    all: bool = False
    # The last request to look at WireGuard links that was met.
    generation: int = 0

    async def look(self, ctx: ControllerContext, differs: Callable[[], bool]) -> None:
        while True:
            await until_found(differs, _REFRESH_INTERVAL)
            self.all = True
            ctx.wake()

    async def listen(self, ctx: ControllerContext, news: DriverNews) -> None:
        while True:
            about = await news.receive()
            if about is None:
                self.all = True
            else:
                self.indexes |= about
            ctx.wake()

    def refresh(self, ctx: ControllerContext, links: Iterable[tuple[int, KernelLink]]) -> None:
        refresh = ctx.find(LinkRefresh, WIREGUARD_REFRESH)
        if refresh is not None and refresh.spec.generation != self.generation:
            self.generation = refresh.spec.generation
            self.indexes.update(index for index, link in links if is_of_kind(link, "wireguard"))

    def take(self, links: Iterable[int]) -> frozenset[int]:
        due = frozenset(links if self.all else self.indexes)
        self.all = False
        self.indexes.clear()
        return due

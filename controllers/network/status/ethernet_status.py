"""network.EthernetStatusController: shows what drivers report of their cards' settings.

Only while the configuration has settings for any card: nobody else asks for them, and to ask every driver of a machine
with thousands of links for seven groups of settings is not for nothing.
"""

import errno
from collections.abc import Iterable, Mapping

import trio

from nodespan.controllers.common.publication import Publication
from nodespan.kernel.hardware.ethtool_news import DriverNews, open_driver_news
from nodespan.kernel.links import WHOLE_LINKS, KernelLink, Links
from nodespan.kernel.shared_mirror import MirrorView, open_shared_mirror
from nodespan.resources.network import EthernetSpec, EthernetStatus, EthernetStatusSpec
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive, weak
from nodespan.runtime.loading import load

_FACTS = "nodespan.controllers.network.status.ethernet_facts"
_NETLINK = "nodespan.kernel.hardware.ethtool_netlink"

_Publication = Publication[int, EthernetStatusSpec]


class EthernetStatusController(Controller):
    """One status for each link whose driver says what port it has, and for each that has settings, by name."""

    name = "network.EthernetStatusController"
    inputs = (weak(EthernetSpec), destroy_ready(EthernetStatus))
    outputs = (exclusive(EthernetStatus),)

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the specs, and while there are any, the links and their drivers."""
        publication: _Publication = Publication(ctx, EthernetStatus)
        async for _ in ctx:
            if ctx.list(EthernetSpec):
                await self._follow(ctx, publication)
            await publication.publish({})

    async def _follow(self, ctx: ControllerContext, publication: _Publication) -> None:
        """Until there are no specs any more; nothing is published then."""
        await load(_FACTS, _NETLINK)
        with open_driver_news(self._netns) as news:
            async with (
                open_shared_mirror(Links(), netns=self._netns, on_change=ctx.wake, aspect=WHOLE_LINKS) as mirror,
                trio.open_nursery() as nursery,
            ):
                due: set[int] = set()
                if news is not None:
                    nursery.start_soon(_listen, ctx, news, due, mirror)
                named: frozenset[str] = frozenset()
                shown: set[int] = set()
                while specs := frozenset(spec.id for spec in ctx.list(EthernetSpec)):
                    changed = {index for index, link in mirror.items.items() if _names(link) & (named ^ specs)}
                    named = specs
                    touched = frozenset(mirror.take() | changed | due)
                    due.clear()
                    statuses = await self._statuses(mirror.items, touched, named)
                    shown = (shown - touched) | {index for index, by_name in statuses.items() if by_name}
                    await publication.publish(statuses)
                    await anext(ctx)
                await publication.publish({index: {} for index in shown})
                nursery.cancel_scope.cancel()

    async def _statuses(
        self, links: Mapping[int, KernelLink], indexes: frozenset[int], named: frozenset[str]
    ) -> dict[int, dict[str, EthernetStatusSpec]]:
        asked = {index: links[index] for index in indexes if index in links}
        read = await trio.to_thread.run_sync(_read, self._netns, tuple(asked)) if asked else {}
        statuses: dict[int, dict[str, EthernetStatusSpec]] = {index: {} for index in indexes}
        for index, (has_port, status) in read.items():
            if has_port or _names(asked[index]) & named:
                statuses[index] = {asked[index].name: status}
        return statuses


def _names(link: KernelLink) -> set[str]:
    return {link.name, link.status.alias, *link.status.alt_names}


async def _listen(ctx: ControllerContext, news: DriverNews, due: set[int], mirror: MirrorView[int, KernelLink]) -> None:
    while True:
        about = await news.receive()
        due.update(mirror.items if about is None else about)
        ctx.wake()


def _read(netns: str | None, indexes: Iterable[int]) -> dict[int, tuple[bool, EthernetStatusSpec]]:
    """In a worker thread: whether a link has a port, and its status; without those whose drivers do not answer.

    Nothing on a kernel that cannot be asked; the applier says so.
    """
    from nodespan.controllers.network.status.ethernet_facts import status_of
    from nodespan.kernel.hardware.ethtool_netlink import open_ethtool_netlink

    statuses: dict[int, tuple[bool, EthernetStatusSpec]] = {}
    try:
        with open_ethtool_netlink(netns) as ethtool:
            for index in indexes:
                try:
                    link = ethtool.link(index)
                    statuses[index] = link.port is not None, status_of(link, ethtool.settings(index))
                except OSError:
                    # A card that hangs or resets has no status; if it has settings, the applier says why.
                    continue
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return statuses

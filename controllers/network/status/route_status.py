"""network.RouteStatusController: shows each route of the kernel, of all tables."""

from collections.abc import Mapping

from nodespan.controllers.common.publication import LinkIndex, Publication
from nodespan.kernel.links import LinkNames
from nodespan.kernel.mirror import open_mirror
from nodespan.kernel.routes import KernelRoute, RouteKey, Routes, with_names
from nodespan.resources.network import RouteStatus, RouteStatusSpec, route_id
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive


class RouteStatusController(Controller):
    """One status per route. Of routes that have one id, which differ in what is not shown, it is the first."""

    name = "network.RouteStatusController"
    inputs = (destroy_ready(RouteStatus),)
    outputs = (exclusive(RouteStatus),)

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the kernel."""
        async with (
            open_mirror(LinkNames(), netns=self._netns, on_change=ctx.wake) as names,
            open_mirror(Routes(), netns=self._netns, on_change=ctx.wake) as routes,
        ):
            publication: Publication[RouteKey, RouteStatusSpec] = Publication(ctx, RouteStatus)
            by_link: LinkIndex[RouteKey] = LinkIndex()
            async for _ in ctx:
                touched = routes.take() | by_link.keys(names.take())
                wanted: dict[RouteKey, dict[str, RouteStatusSpec]] = {}
                for key in touched:
                    found = routes.items.get(key, ())
                    by_link.set(key, {link for route in found for link in route.links})
                    wanted[key] = _statuses(found, names.items)
                await publication.publish(wanted)


def _statuses(routes: tuple[KernelRoute, ...], names: Mapping[int, str]) -> dict[str, RouteStatusSpec]:
    """The statuses of rival routes by id; those whose links are not known yet wait for the names."""
    statuses: dict[str, RouteStatusSpec] = {}
    for route in routes:
        if route.links <= names.keys():
            status = with_names(route, names.__getitem__)
            id = route_id(
                table=status.table,
                family=status.family,
                gateway=status.gateway,
                dst=status.dst,
                priority=status.priority,
                out_link_name=status.out_link_name,
            )
            statuses.setdefault(id, status)
    return statuses

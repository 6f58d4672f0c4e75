"""network.RouteStatusController: shows each route of the kernel, of all tables."""

from collections.abc import Mapping

from nodespan.controllers.network.status.linked_objects import publish_linked
from nodespan.kernel.links import KernelLink
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
        await publish_linked(
            ctx,
            RouteStatus,
            Routes(),
            netns=self._netns,
            links_of=lambda _, found: {link for route in found for link in route.links},
            statuses=_statuses,
        )


def _statuses(
    key: RouteKey,  # noqa: ARG001
    routes: tuple[KernelRoute, ...],
    links: Mapping[int, KernelLink],
) -> dict[str, RouteStatusSpec]:
    """The statuses of rival routes by id; those whose links are not known yet wait for the names."""
    statuses: dict[str, RouteStatusSpec] = {}
    for route in routes:
        if route.links <= links.keys():
            status = with_names(route, lambda index: links[index].name)
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

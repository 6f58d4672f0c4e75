"""network.RouteSpecController: puts the routes that are wanted into the routing tables, and takes them out again."""

from collections.abc import Mapping

from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.route_plan import RoutePlan, plan_routes
from nodespan.kernel.links import KernelLink
from nodespan.kernel.route_changes import RouteToAdd, add_route, delete_route
from nodespan.kernel.routes import KernelRoute, RouteKey, Routes
from nodespan.kernel.rtnetlink import Kernel
from nodespan.resources.network import RouteSpec, RouteSpecSpec

_Seen = tuple[KernelRoute, ...]


class RouteSpecController(Applier[RouteSpecSpec, RouteKey, _Seen, RouteToAdd, KernelRoute]):
    """Waits for links to exist and to be up. Routes of other protocols are never touched."""

    name = "network.RouteSpecController"
    type = RouteSpec

    def kind(self) -> Routes:
        """Routes of all tables."""
        return Routes()

    def plan(
        self,
        wanted: Mapping[str, RouteSpecSpec],
        leaving: Mapping[str, RouteSpecSpec],
        before: Mapping[str, RouteSpecSpec],
        links: Mapping[int, KernelLink],
        items: Mapping[RouteKey, _Seen],
    ) -> RoutePlan:
        """See `plan_routes`."""
        return plan_routes(wanted, leaving, before, links, items)

    def add(self, kernel: Kernel, wanted: RouteToAdd) -> None:
        """Add one route; blocks. Raises OSError."""
        add_route(kernel, wanted)

    def remove(self, kernel: Kernel, seen: KernelRoute) -> None:
        """Remove one route; blocks. Raises OSError."""
        delete_route(kernel, seen)

"""network.RouteSpecController: puts the desired routes into the routing tables, and takes them out again."""

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.kernel_access import KernelAccess, NetworkNamespace
from nodespan.controllers.network.apply.objects import Changes, Done, ObjectDriver, ObjectPlan, Problem
from nodespan.controllers.network.apply.plan import Step
from nodespan.controllers.network.apply.prior_objects import PriorObjects, SlotRules
from nodespan.controllers.network.apply.route_places import RoutePlaces
from nodespan.controllers.network.apply.route_plan import RoutePlan, is_like, plan_routes, taken_route
from nodespan.kernel.changes.route_changes import RouteToAdd, add_route, delete_route, route_request
from nodespan.kernel.routes import KernelRoute, RouteKey, Routes, read_route
from nodespan.resources.network import RouteSpec, RouteSpecSpec
from nodespan.runtime.controller import Specs

_Seen = tuple[KernelRoute, ...]
_Step = Step[RouteToAdd, KernelRoute]


SLOTS = SlotRules(taken=taken_route, list=Routes().dump, read=read_route, is_as_desired=is_like)


class RouteSpecController(Applier[RouteSpecSpec, _Step, tuple[Done[RouteToAdd, KernelRoute], ...]]):
    """Waits for links to exist and to be up. Routes of other protocols are never touched."""

    name = "network.RouteSpecController"

    def __init__(
        self, *, netns: str | None = None, kernel: KernelAccess | None = None, prior: PriorState | None = None
    ) -> None:
        specs = Specs(RouteSpec)
        driver = ObjectDriver(
            kernel or NetworkNamespace(netns),
            Routes(),
            Changes(add=add_route, remove=delete_route, request=route_request),
            PriorObjects(prior or PriorState(None), SLOTS),
            arrange=RoutePlaces,
        )
        super().__init__(specs, ObjectPlan(specs, driver, _plan), driver)


def _plan(problem: Problem[RouteSpecSpec, RouteKey, _Seen]) -> RoutePlan:
    return plan_routes(problem.desired, problem.leaving, problem.before, problem.links, problem.items)

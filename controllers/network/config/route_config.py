"""network.RouteConfigController: the routes that the configuration and the kernel line name, as they are wanted."""

from collections.abc import Sequence
from typing import Any

from nodespan.controllers.network.config.cmdline_parts import cmdline_routes
from nodespan.controllers.network.config.derivation import Derivation, Scene
from nodespan.controllers.network.config.derived import Asked
from nodespan.controllers.network.config.route_parts import ask_routes, spec_id
from nodespan.resources.config.links import LinkSettings
from nodespan.resources.config.network import BlackholeRouteConfig
from nodespan.resources.network import RouteSpec, RouteSpecSpec


class RouteConfigController(Derivation[RouteSpecSpec, RouteSpecSpec]):
    """Links are named as written: whoever applies the routes finds them by any of their names."""

    name = "network.RouteConfigController"
    type = RouteSpec
    documents = (LinkSettings, BlackholeRouteConfig)

    def ask(self, part: Any, scene: Scene) -> Asked[RouteSpecSpec]:  # noqa: ARG002
        """See `ask_routes`."""
        return ask_routes(part)

    def combine(self, wishes: Sequence[RouteSpecSpec]) -> RouteSpecSpec:
        """The last: documents refine devices."""
        return wishes[-1]

    def of_cmdline(self, scene: Scene) -> Asked[RouteSpecSpec]:
        """The default routes of `ip=`."""
        specs = cmdline_routes(scene.cmdline, scene.links)
        return Asked(wishes=tuple((spec_id(spec), spec) for spec in specs if spec.out_link_name not in scene.ignored))

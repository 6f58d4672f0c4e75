"""network.RouteConfigController: the routes that the configuration and the kernel command line request."""

from collections.abc import Sequence
from typing import Any

from nodespan.controllers.network.config.cmdline_parts import cmdline_routes
from nodespan.controllers.network.config.derivation import Derivation, DerivationContext
from nodespan.controllers.network.config.derived_outputs import Requested
from nodespan.controllers.network.config.route_parts import requested_routes, spec_id
from nodespan.resources.config.links import LinkSettings
from nodespan.resources.config.network import BlackholeRouteConfig
from nodespan.resources.network import RouteSpec, RouteSpecSpec


class RouteConfigController(Derivation[RouteSpecSpec, RouteSpecSpec]):
    """Links keep the names as written: the controller that applies the routes resolves aliases."""

    name = "network.RouteConfigController"
    type = RouteSpec
    documents = (LinkSettings, BlackholeRouteConfig)

    def request(self, part: Any, context: DerivationContext) -> Requested[RouteSpecSpec]:  # noqa: ARG002
        """See `requested_routes`."""
        return requested_routes(part)

    def combine(self, requests: Sequence[RouteSpecSpec]) -> RouteSpecSpec:
        """The last: documents refine devices."""
        return requests[-1]

    def from_cmdline(self, context: DerivationContext) -> Requested[RouteSpecSpec]:
        """The default routes of `ip=`."""
        specs = cmdline_routes(context.cmdline, context.links)
        return Requested(
            outputs=tuple((spec_id(spec), spec) for spec in specs if spec.out_link_name not in context.ignored)
        )

"""network.RoutingRuleStatusController: shows each routing rule of the kernel."""

from nodespan.controllers.common.publication import Publication
from nodespan.kernel.mirror import open_mirror
from nodespan.kernel.rules import RuleKey, Rules
from nodespan.resources.network import RoutingRuleStatus, RoutingRuleStatusSpec, routing_rule_id
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive


class RoutingRuleStatusController(Controller):
    """One status per family and priority."""

    name = "network.RoutingRuleStatusController"
    inputs = (destroy_ready(RoutingRuleStatus),)
    outputs = (exclusive(RoutingRuleStatus),)

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the kernel."""
        async with open_mirror(Rules(), netns=self._netns, on_change=ctx.wake) as rules:
            publication: Publication[RuleKey, RoutingRuleStatusSpec] = Publication(ctx, RoutingRuleStatus)
            async for _ in ctx:
                await publication.publish(
                    {
                        key: {routing_rule_id(key.family, key.priority): rules.items[key]} if key in rules.items else {}
                        for key in rules.take()
                    }
                )

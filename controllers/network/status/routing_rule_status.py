"""network.RoutingRuleStatusController: shows each routing rule of the kernel."""

from nodespan.controllers.common.publication import Publication
from nodespan.kernel.rules import RULE_STATUSES, KernelRule, RuleKey, Rules
from nodespan.kernel.shared_mirror import open_shared_mirror
from nodespan.resources.network import RoutingRuleStatus, RoutingRuleStatusSpec, routing_rule_status_id
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive


class RoutingRuleStatusController(Controller):
    """A status per rule. Of several of one priority the first has the id that the original gives to any of them."""

    name = "network.RoutingRuleStatusController"
    inputs = (destroy_ready(RoutingRuleStatus),)
    outputs = (exclusive(RoutingRuleStatus),)

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the kernel."""
        async with open_shared_mirror(Rules(), netns=self._netns, on_change=ctx.wake, aspect=RULE_STATUSES) as rules:
            publication: Publication[RuleKey, RoutingRuleStatusSpec] = Publication(ctx, RoutingRuleStatus)
            async for _ in ctx:
                await publication.publish({key: _statuses(key, rules.items.get(key, ())) for key in rules.take()})


def _statuses(key: RuleKey, rules: tuple[KernelRule, ...]) -> dict[str, RoutingRuleStatusSpec]:
    return {routing_rule_status_id(key.family, key.priority, place): rule.status for place, rule in enumerate(rules, 1)}

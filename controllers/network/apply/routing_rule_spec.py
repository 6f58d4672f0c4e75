"""network.RoutingRuleSpecController: adds the routing rules that are wanted, and removes those no longer wanted."""

from collections.abc import Mapping

from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.rule_plan import RulePlan, plan_rules
from nodespan.kernel.links import KernelLink
from nodespan.kernel.rtnetlink import Kernel
from nodespan.kernel.rule_changes import add_rule, delete_rule
from nodespan.kernel.rules import KernelRule, RuleKey, RuleLists
from nodespan.resources.network import RoutingRuleSpec, RoutingRuleSpecSpec

_Seen = tuple[KernelRule, ...]


class RoutingRuleSpecController(Applier[RoutingRuleSpecSpec, RuleKey, _Seen, RoutingRuleSpecSpec, KernelRule]):
    """One rule per family and priority is wanted; rules of other protocols than static are never touched."""

    name = "network.RoutingRuleSpecController"
    type = RoutingRuleSpec

    def kind(self) -> RuleLists:
        """Rules by family and priority."""
        return RuleLists()

    def plan(
        self,
        wanted: Mapping[str, RoutingRuleSpecSpec],
        leaving: Mapping[str, RoutingRuleSpecSpec],
        before: Mapping[str, RoutingRuleSpecSpec],  # noqa: ARG002
        links: Mapping[int, KernelLink],  # noqa: ARG002
        items: Mapping[RuleKey, _Seen],
    ) -> RulePlan:
        """See `plan_rules`."""
        return plan_rules(wanted, leaving, items)

    def add(self, kernel: Kernel, wanted: RoutingRuleSpecSpec) -> None:
        """Add one rule; blocks. Raises OSError."""
        add_rule(kernel, wanted)

    def remove(self, kernel: Kernel, seen: KernelRule) -> None:
        """Remove one rule; blocks. Raises OSError."""
        delete_rule(kernel, seen)

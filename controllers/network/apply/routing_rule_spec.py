"""network.RoutingRuleSpecController: adds the desired routing rules, and removes those no longer desired."""

from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.kernel_access import KernelAccess, NetworkNamespace
from nodespan.controllers.network.apply.objects import Changes, Done, ObjectDriver, ObjectPlan, Problem
from nodespan.controllers.network.apply.plan import Step
from nodespan.controllers.network.apply.rule_plan import RulePlan, plan_rules
from nodespan.kernel.rule_changes import add_rule, delete_rule
from nodespan.kernel.rules import KernelRule, RuleKey, RuleLists
from nodespan.resources.network import RoutingRuleSpec, RoutingRuleSpecSpec
from nodespan.runtime.controller import Specs

_Seen = tuple[KernelRule, ...]
_Step = Step[RoutingRuleSpecSpec, KernelRule]


class RoutingRuleSpecController(Applier[RoutingRuleSpecSpec, _Step, tuple[Done[RoutingRuleSpecSpec, KernelRule], ...]]):
    """One rule per family and priority is desired; rules of other protocols than static are never touched."""

    name = "network.RoutingRuleSpecController"

    def __init__(self, *, netns: str | None = None, kernel: KernelAccess | None = None) -> None:
        specs = Specs(RoutingRuleSpec)
        driver = ObjectDriver(kernel or NetworkNamespace(netns), RuleLists(), Changes(add=add_rule, remove=delete_rule))
        super().__init__(specs, ObjectPlan(specs, driver, _plan), driver)


def _plan(problem: Problem[RoutingRuleSpecSpec, RuleKey, _Seen]) -> RulePlan:
    return plan_rules(problem.desired, problem.leaving, problem.items)

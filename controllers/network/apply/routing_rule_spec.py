"""network.RoutingRuleSpecController: adds the desired routing rules, and removes those no longer desired."""

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.kernel_access import KernelAccess, NetworkNamespace
from nodespan.controllers.network.apply.objects import Changes, Done, ObjectDriver, ObjectPlan, Problem
from nodespan.controllers.network.apply.plan import Step
from nodespan.controllers.network.apply.prior_objects import PriorObjects, SlotRules
from nodespan.controllers.network.apply.rule_plan import RulePlan, is_as_desired, plan_rules, taken_rule
from nodespan.kernel.rule_changes import add_rule, delete_rule
from nodespan.kernel.rules import KernelRule, RuleKey, Rules, read_kernel_rule
from nodespan.resources.network import RoutingRuleSpec, RoutingRuleSpecSpec
from nodespan.runtime.controller import Specs

_Seen = tuple[KernelRule, ...]
_Step = Step[RoutingRuleSpecSpec, KernelRule]


SLOTS = SlotRules(
    taken=taken_rule,
    list=Rules().dump,
    read=read_kernel_rule,
    is_as_desired=is_as_desired,
    side_by_side=True,
)


class RoutingRuleSpecController(Applier[RoutingRuleSpecSpec, _Step, tuple[Done[RoutingRuleSpecSpec, KernelRule], ...]]):
    """One rule per family and priority is desired; rules of other protocols than static are never touched."""

    name = "network.RoutingRuleSpecController"

    def __init__(
        self, *, netns: str | None = None, kernel: KernelAccess | None = None, prior: PriorState | None = None
    ) -> None:
        specs = Specs(RoutingRuleSpec)
        driver = ObjectDriver(
            kernel or NetworkNamespace(netns),
            Rules(),
            Changes(add=add_rule, remove=delete_rule),
            PriorObjects(prior or PriorState(None), SLOTS),
        )
        super().__init__(specs, ObjectPlan(specs, driver, _plan), driver)


def _plan(problem: Problem[RoutingRuleSpecSpec, RuleKey, _Seen]) -> RulePlan:
    return plan_rules(problem.desired, problem.leaving, problem.items)

"""network.RoutingRuleSpecController: adds the desired routing rules, and removes those no longer desired."""

from collections.abc import Iterable

import attrs

from nodespan.controllers.common.prior_state import PriorState, made_slot
from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.kernel_access import KernelAccess, NetworkNamespace
from nodespan.controllers.network.apply.objects import Changes, Done, ObjectDriver, ObjectPlan, Problem
from nodespan.controllers.network.apply.plan import Step
from nodespan.controllers.network.apply.prior_objects import PriorObjects, SlotRules
from nodespan.controllers.network.apply.rule_plan import RulePlan, is_as_desired, plan_rules, taken_rule
from nodespan.kernel.changes.rule_changes import add_rule, delete_rule
from nodespan.kernel.rtnetlink import RtnlSocket
from nodespan.kernel.rules import KernelRule, RuleKey, Rules, read_kernel_rule
from nodespan.resources.network import RoutingRuleSpec, RoutingRuleSpecSpec
from nodespan.runtime.codec.plain import spec_from_plain, spec_to_plain
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


@attrs.frozen
class RuleRecord:
    """Which rules the agent made: on record, for there is nothing about a rule that tells who made it."""

    prior: PriorState

    def plan(self, problem: Problem[RoutingRuleSpecSpec, RuleKey, _Seen]) -> RulePlan:
        """See `plan_rules`. Raises OSError."""

        def made(id: str, key: RuleKey) -> Iterable[RoutingRuleSpecSpec]:
            before = problem.before.get(id)
            return self._made(key) if before is None else (before, *self._made(key))

        return plan_rules(problem.desired, problem.leaving, problem.items, made)

    def add(self, kernel: RtnlSocket, spec: RoutingRuleSpecSpec) -> None:
        """Add a rule, once it is on record. Blocks. Raises OSError."""
        key = RuleKey(spec.family, spec.priority)
        known = self._made(key)
        if spec not in known:
            self._note(key, (*known, spec))
        add_rule(kernel, spec)

    def remove(self, kernel: RtnlSocket, rule: KernelRule) -> None:
        """Remove a rule, and forget it. Blocks. Raises OSError."""
        delete_rule(kernel, rule)
        self._note(rule.key, tuple(spec for spec in self._made(rule.key) if not is_as_desired(rule, spec)))

    def _made(self, key: RuleKey) -> tuple[RoutingRuleSpecSpec, ...]:
        known = self.prior.journal.get(made_slot(key.family.value, key.priority)) or ()
        return tuple(spec_from_plain(RoutingRuleSpecSpec, plain) for plain in known)

    def _note(self, key: RuleKey, specs: tuple[RoutingRuleSpecSpec, ...]) -> None:
        slot = made_slot(key.family.value, key.priority)
        self.prior.journal.change({slot: [spec_to_plain(spec) for spec in specs] or None})


class RoutingRuleSpecController(Applier[RoutingRuleSpecSpec, _Step, tuple[Done[RoutingRuleSpecSpec, KernelRule], ...]]):
    """One rule per family and priority is desired; rules that the agent did not make are never touched."""

    name = "network.RoutingRuleSpecController"

    def __init__(
        self, *, netns: str | None = None, kernel: KernelAccess | None = None, prior: PriorState | None = None
    ) -> None:
        specs = Specs(RoutingRuleSpec)
        record = RuleRecord(prior or PriorState(None))
        changes = Changes(add=record.add, remove=record.remove)
        driver = ObjectDriver(kernel or NetworkNamespace(netns), Rules(), changes, PriorObjects(record.prior, SLOTS))
        super().__init__(specs, ObjectPlan(specs, driver, record.plan), driver)

"""Which routing rules to add and remove. Only rules of protocol static are touched: the others have other makers."""

from collections.abc import Mapping

from nodespan.controllers.common.prior_state import rule_slot
from nodespan.controllers.network.apply.plan import Plan, Step
from nodespan.controllers.network.apply.prior_objects import Taken
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.prefixes import prefix_text
from nodespan.kernel.rule_changes import OWN_PROTOCOL
from nodespan.kernel.rules import KernelRule, RuleKey
from nodespan.resources.network import RoutingRuleSpecSpec

RulePlan = Plan[RoutingRuleSpecSpec, KernelRule]
RuleStep = Step[RoutingRuleSpecSpec, KernelRule]
Rules = Mapping[RuleKey, tuple[KernelRule, ...]]

_WHOLE_MARK = 0xFFFFFFFF
# The rules that every kernel starts with.
_RESERVED = frozenset({0, 32766, 32767})


def is_as_desired(seen: KernelRule, spec: RoutingRuleSpecSpec) -> bool:
    """Whether the kernel's rule does what the spec says."""
    status = seen.status
    mask = spec.fw_mask or (_WHOLE_MARK if spec.fw_mark else 0)
    return (
        (status.src, status.dst) == (prefix_text(spec.src), prefix_text(spec.dst))
        and (status.table, status.action) == (spec.table, spec.action)
        and (status.iif_name, status.oif_name) == (spec.iif_name, spec.oif_name)
        and (status.fw_mark, status.fw_mask) == (spec.fw_mark, mask)
    )


def plan_rules(
    wanted: Mapping[str, RoutingRuleSpecSpec], leaving: Mapping[str, RoutingRuleSpecSpec], rules: Rules
) -> RulePlan:
    """The steps from what the kernel has to what is wanted, by the ids of the specs."""
    steps: list[RuleStep] = []
    refused: dict[str, str] = {}
    kept: set[RuleKey] = set()
    for id, spec in wanted.items():
        if spec.priority in _RESERVED:
            refused[id] = f"priority {spec.priority} belongs to the kernel's own rules, choose another"
            continue
        kept.add(key := RuleKey(spec.family, spec.priority))
        ours = _ours(key, rules)
        try:
            fitting = [rule for rule in ours if is_as_desired(rule, spec)]
        except ValueError as error:
            refused[id] = str(error)
            continue
        stale = tuple(rule for rule in ours if rule not in fitting[:1])
        if stale or not fitting:
            steps.append(Step(id=id, remove=stale, add=None if fitting else spec, add_first=True))
    for id, spec in leaving.items():
        key = RuleKey(spec.family, spec.priority)
        if key not in kept and spec.priority not in _RESERVED and (ours := _ours(key, rules)):
            steps.append(Step(id=id, remove=ours))
    return Plan(steps=tuple(steps), refused=refused)


def _ours(key: RuleKey, rules: Rules) -> tuple[KernelRule, ...]:
    return tuple(rule for rule in rules.get(key, ()) if rule.protocol == OWN_PROTOCOL)


def taken_rule(spec: RoutingRuleSpecSpec, lookup: LinkLookup, rules: Rules) -> Taken[KernelRule] | None:  # noqa: ARG001
    """The slot of a spec, and the rules in it that look like the agent's."""
    if spec.priority in _RESERVED:
        return None
    return Taken(rule_slot(spec.family.value, spec.priority), _ours(RuleKey(spec.family, spec.priority), rules))

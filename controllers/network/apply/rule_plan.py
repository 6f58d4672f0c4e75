"""Which routing rules to add and remove: only those that the agent made.

Rules of one priority stand beside each other, and another program may add one at any time. Those of another protocol
than static have other makers. Of those that are static the agent's are what a spec of this priority says, or said.
"""

from collections.abc import Callable, Iterable, Mapping

from nodespan.controllers.common.prior_state import rule_slot
from nodespan.controllers.network.apply.plan import Plan, Step
from nodespan.controllers.network.apply.prior_objects import Taken
from nodespan.kernel.changes.rule_changes import OWN_PROTOCOL, is_plain
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.prefixes import prefix_text
from nodespan.kernel.rules import KernelRule, RuleKey
from nodespan.resources.network import RoutingRuleSpecSpec

RulePlan = Plan[RoutingRuleSpecSpec, KernelRule]
RuleStep = Step[RoutingRuleSpecSpec, KernelRule]
Rules = Mapping[RuleKey, tuple[KernelRule, ...]]

_WHOLE_MARK = 0xFFFFFFFF
# The rules that every kernel starts with.
_RESERVED = frozenset({0, 32766, 32767})


def is_as_desired(seen: KernelRule, spec: RoutingRuleSpecSpec) -> bool:
    """Whether the kernel's rule does what the spec says, and nothing that a spec cannot say."""
    status = seen.status
    mask = spec.fw_mask or (_WHOLE_MARK if spec.fw_mark else 0)
    return (
        (status.src, status.dst) == (prefix_text(spec.src), prefix_text(spec.dst))
        and (status.table, status.action) == (spec.table, spec.action)
        and (status.iif_name, status.oif_name) == (spec.iif_name, spec.oif_name)
        and (status.fw_mark, status.fw_mask) == (spec.fw_mark, mask)
        and is_plain(seen)
    )


def plan_rules(
    desired: Mapping[str, RoutingRuleSpecSpec],
    leaving: Mapping[str, RoutingRuleSpecSpec],
    rules: Rules,
    made: Callable[[str, RuleKey], Iterable[RoutingRuleSpecSpec]] = lambda _id, _key: (),
) -> RulePlan:
    """The steps from what the kernel has to what is desired, by the ids of the specs.

    `made` are the specs by which the agent made rules of a priority, for the spec of this id or earlier ones.
    """
    steps: list[RuleStep] = []
    refused: dict[str, str] = {}
    kept: set[RuleKey] = set()
    for id, spec in desired.items():
        if spec.priority in _RESERVED:
            refused[id] = f"priority {spec.priority} belongs to the kernel's own rules, choose another"
            continue
        kept.add(key := RuleKey(spec.family, spec.priority))
        try:
            fitting = _made_by((spec,), _static(key, rules))
        except ValueError as error:
            refused[id] = str(error)
            continue
        # Nobody but the agent makes two that are just the same.
        stale = tuple(rule for rule in _made_by(made(id, key), _static(key, rules)) if rule not in fitting)
        stale += fitting[1:]
        if stale or not fitting:
            steps.append(Step(id=id, remove=stale, add=None if fitting else spec, add_first=True))
    for id, spec in leaving.items():
        key = RuleKey(spec.family, spec.priority)
        if key in kept or spec.priority in _RESERVED:
            continue
        if ours := _made_by((spec, *made(id, key)), _static(key, rules)):
            steps.append(Step(id=id, remove=ours))
    return Plan(steps=tuple(steps), refused=refused)


def _static(key: RuleKey, rules: Rules) -> tuple[KernelRule, ...]:
    return tuple(rule for rule in rules.get(key, ()) if rule.protocol == OWN_PROTOCOL)


def _made_by(specs: Iterable[RoutingRuleSpecSpec], rules: Iterable[KernelRule]) -> tuple[KernelRule, ...]:
    """The rules that are as any of these specs. Raises ValueError for a spec that no rule can be."""
    known = tuple(specs)
    return tuple(rule for rule in rules if any(is_as_desired(rule, spec) for spec in known))


def taken_rule(spec: RoutingRuleSpecSpec, lookup: LinkLookup, rules: Rules) -> Taken[KernelRule] | None:  # noqa: ARG001
    """The slot of a spec, and the rules in it that look like the agent's."""
    if spec.priority in _RESERVED:
        return None
    return Taken(rule_slot(spec.family.value, spec.priority), _static(RuleKey(spec.family, spec.priority), rules))

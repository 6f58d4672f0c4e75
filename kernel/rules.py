"""Routing rules as rtnetlink describes them. They differ in more than is shown of them."""

from collections.abc import Iterable, Mapping
from socket import AF_INET, AF_INET6
from typing import ClassVar

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.mirror import Effect, ObjectKind
from nodespan.kernel.rtnetlink import Message, RtnlSocket, integer, ip_prefix, text
from nodespan.kernel.shared_mirror import Aspect
from nodespan.resources.network.enums import Family, RouteProtocol, RoutingTable, RuleAction
from nodespan.resources.network.routing_rule import RoutingRuleStatusSpec

_DST = 1
_SRC = 2
_IIFNAME = 3
_PRIORITY = 6
_FWMARK = 10
_TABLE = 15
_FWMASK = 16
_OIFNAME = 17
_PROTOCOL = 21


@attrs.frozen
class RuleKey:
    """The outside identity of a rule."""

    family: Family
    priority: int


def read_rule(message: Message) -> RoutingRuleStatusSpec:
    """The rule in an RTM_NEWRULE message."""
    family, dst_length, src_length, _, table, _, _, action, _ = message.fields
    attributes = message.attributes
    return RoutingRuleStatusSpec(
        family=Family.of(family),
        src=ip_prefix(attributes.get(_SRC, b""), src_length),
        dst=ip_prefix(attributes.get(_DST, b""), dst_length),
        # The header holds tables up to 255 only.
        table=RoutingTable.of(integer(attributes, _TABLE) or table),
        priority=integer(attributes, _PRIORITY),
        action=RuleAction.of(action),
        iif_name=text(attributes, _IIFNAME),
        oif_name=text(attributes, _OIFNAME),
        fw_mark=integer(attributes, _FWMARK),
        fw_mask=integer(attributes, _FWMASK),
    )


@attrs.frozen
class KernelRule:
    """A rule with all of its attributes, so that exactly this one can be identified.

    `header` is the fixed part of the message, `attributes` all of its attributes.
    """

    status: RoutingRuleStatusSpec
    protocol: RouteProtocol
    header: tuple[int, ...]
    attributes: tuple[tuple[int, bytes], ...]

    @property
    def key(self) -> RuleKey:
        """What it is filed under."""
        return RuleKey(self.status.family, self.status.priority)


def read_kernel_rule(message: Message) -> KernelRule:
    """The rule that an RTM_NEWRULE or RTM_DELRULE message describes, in full."""
    protocol = RouteProtocol.of(integer(message.attributes, _PROTOCOL))
    return KernelRule(read_rule(message), protocol, message.fields, tuple(message.attributes.items()))


class Rules(ObjectKind[RuleKey, tuple[KernelRule, ...]]):
    """All rules by family and priority: of several with one priority the kernel asks the first first."""

    groups: ClassVar[int] = rtnl.RTMGRP_IPV4_RULE | rtnl.RTMGRP_IPV6_RULE

    def dump(self, kernel: RtnlSocket) -> Iterable[Message]:
        """The rules of both families; blocks."""
        # Without a family the answer includes those of multicast routing.
        yield from kernel.dump(rtnl.RTM_GETRULE, AF_INET)
        yield from kernel.dump(rtnl.RTM_GETRULE, AF_INET6)

    def collect(self, messages: Iterable[Message]) -> dict[RuleKey, tuple[KernelRule, ...]]:
        """The rules by key, in the kernel's order."""
        items: dict[RuleKey, tuple[KernelRule, ...]] = {}
        for message in messages:
            rule = read_kernel_rule(message)
            items[rule.key] = (*items.get(rule.key, ()), rule)
        return items

    def fold(
        self, items: Mapping[RuleKey, tuple[KernelRule, ...]], message: Message
    ) -> Effect[RuleKey, tuple[KernelRule, ...]]:
        """A new rule comes behind those of its priority. Where it is not certain which is meant, list them again."""
        if message.type not in (rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE):
            return Effect()
        rule = read_kernel_rule(message)
        rules = items.get(rule.key, ())
        if message.type == rtnl.RTM_NEWRULE:
            # The kernel may hold just the same rule twice.
            return Effect(resync=True) if rule in rules else Effect(changes={rule.key: (*rules, rule)})
        if rules.count(rule) != 1:
            return Effect(resync=True)
        return Effect(changes={rule.key: tuple(each for each in rules if each != rule) or None})


def _same_statuses(before: tuple[KernelRule, ...], after: tuple[KernelRule, ...]) -> bool:
    return [rule.status for rule in before] == [rule.status for rule in after]


# For the statuses, whose fields do not distinguish all rules.
RULE_STATUSES: Aspect[tuple[KernelRule, ...]] = Aspect(same=_same_statuses)

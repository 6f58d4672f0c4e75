"""Routing rules as rtnetlink describes them.

There are few of them, and they differ in more than is shown of them; so every change leads to a dump.
"""

from collections.abc import Iterable, Mapping
from socket import AF_INET, AF_INET6
from typing import ClassVar

import attrs
from pyroute2.netlink import rtnl

from controllers.network.kernel.mirror import Effect, Kind
from controllers.network.kernel.rtnetlink import Kernel, Message, number, prefix, text
from resources.network.enums import Family, RoutingTable, RuleAction
from resources.network.routing_rule import RoutingRuleStatusSpec


@attrs.frozen
class RuleKey:
    """What tells rules apart outside."""

    family: Family
    priority: int


def read_rule(message: Message) -> RoutingRuleStatusSpec:
    """The rule that an RTM_NEWRULE message describes."""
    return RoutingRuleStatusSpec(
        family=Family.of(message["family"]),
        src=prefix(message, "FRA_SRC", "src_len"),
        dst=prefix(message, "FRA_DST", "dst_len"),
        # The header has room for tables up to 255 only.
        table=RoutingTable.of(message.get_attr("FRA_TABLE") or message["table"]),
        priority=number(message, "FRA_PRIORITY"),
        action=RuleAction.of(message["action"]),
        iif_name=text(message, "FRA_IIFNAME"),
        oif_name=text(message, "FRA_OIFNAME"),
        fw_mark=number(message, "FRA_FWMARK"),
        fw_mask=number(message, "FRA_FWMASK"),
    )


class Rules(Kind[RuleKey, RoutingRuleStatusSpec]):
    """Rules by family and priority. Of several with one priority it is the first, which the kernel asks first."""

    groups: ClassVar[int] = rtnl.RTMGRP_IPV4_RULE | rtnl.RTMGRP_IPV6_RULE

    def dump(self, kernel: Kernel) -> Iterable[Message]:
        """The rules of both families; blocks."""
        # Without a family the answer has those of multicast routing too.
        yield from kernel.get_rules(family=AF_INET)
        yield from kernel.get_rules(family=AF_INET6)

    def collect(self, messages: Iterable[Message]) -> dict[RuleKey, RoutingRuleStatusSpec]:
        """The rules by key."""
        items: dict[RuleKey, RoutingRuleStatusSpec] = {}
        for message in messages:
            rule = read_rule(message)
            items.setdefault(RuleKey(rule.family, rule.priority), rule)
        return items

    def fold(
        self,
        items: Mapping[RuleKey, RoutingRuleStatusSpec],  # noqa: ARG002
        message: Message,  # noqa: ARG002
    ) -> Effect[RuleKey, RoutingRuleStatusSpec]:
        """Any change leads to a dump."""
        return Effect(resync=True)

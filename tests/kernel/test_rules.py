"""What messages about routing rules mean."""

import attrs
import pytest
from pyroute2.netlink import rtnl

from nodespan.kernel.mirror import Effect
from nodespan.kernel.rtnetlink import Message
from nodespan.kernel.rules import KernelRule, RuleKey, Rules, read_kernel_rule, read_rule
from nodespan.resources.network import Family, RoutingRuleStatusSpec, RoutingTable
from tests.kernel.messages import route, rule


def test_a_rule_is_read() -> None:
    message = rule(
        ("FRA_TABLE", 1000),
        ("FRA_PRIORITY", 180),
        ("FRA_SRC", "192.0.2.0"),
        ("FRA_FWMARK", 0x20),
        ("FRA_FWMASK", 0x60),
        ("FRA_IIFNAME", "eth0"),
        src_len=24,
        table=252,
    )
    assert read_rule(message) == RoutingRuleStatusSpec(
        src="192.0.2.0/24",
        table=RoutingTable.of(1000),
        priority=180,
        iif_name="eth0",
        fw_mark=0x20,
        fw_mask=0x60,
    )


def test_a_rule_without_priority_is_the_first() -> None:
    message = rule(("FRA_TABLE", 255), table=255, family=10)
    assert read_rule(message) == RoutingRuleStatusSpec(family=Family.INET6, table=RoutingTable.LOCAL)


def told(priority: int = 5, action: int = 6, *, gone: bool = False, port: int = 0) -> Message:
    message = attrs.evolve(rule(("FRA_PRIORITY", priority), action=action), port=port)
    return attrs.evolve(message, type=rtnl.RTM_DELRULE) if gone else message


KEY = RuleKey(Family.INET4, 5)
FIRST, SECOND = read_kernel_rule(told(action=6)), read_kernel_rule(told(action=7))


def test_all_rules_of_one_priority_are_shown_in_their_order() -> None:
    assert Rules().collect([told(action=6), told(action=7)]) == {KEY: (FIRST, SECOND)}


@pytest.mark.parametrize(
    ("before", "message", "after"),
    [
        ((), told(action=6), (FIRST,)),
        ((FIRST,), told(action=7), (FIRST, SECOND)),
        ((FIRST, SECOND), told(action=6, gone=True), (SECOND,)),
        ((FIRST, SECOND), told(action=7, gone=True), (FIRST,)),
        ((FIRST,), told(action=6, gone=True), None),
    ],
)
def test_a_change_of_rules_is_followed(
    before: tuple[KernelRule, ...], message: Message, after: tuple[KernelRule, ...] | None
) -> None:
    assert Rules().fold({KEY: before}, message) == Effect(changes={KEY: after})


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ((FIRST,), told(action=6)),
        ((FIRST,), told(action=7, gone=True)),
        ((), told(action=7, gone=True)),
        ((FIRST, FIRST), told(action=6, gone=True)),
    ],
)
def test_where_it_is_not_certain_which_rule_is_meant_they_are_listed(
    before: tuple[KernelRule, ...], message: Message
) -> None:
    assert Rules().fold({KEY: before}, message) == Effect(resync=True)


def test_messages_about_others_change_no_rules() -> None:
    assert Rules().fold({}, route()) == Effect()

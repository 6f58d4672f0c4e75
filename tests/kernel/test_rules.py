"""What messages about routing rules mean."""

from nodespan.kernel.rules import RuleKey, Rules, read_rule
from nodespan.resources.network import Family, RoutingRuleStatusSpec, RoutingTable, RuleAction
from tests.kernel.messages import rule


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


def test_of_rules_with_one_priority_the_first_is_shown() -> None:
    first, second = rule(("FRA_PRIORITY", 5), action=6), rule(("FRA_PRIORITY", 5), action=7)
    assert Rules().collect([first, second])[RuleKey(Family.INET4, 5)][0].status.action == RuleAction.BLACKHOLE


def test_any_change_of_rules_causes_a_dump() -> None:
    assert Rules().fold({}, rule()).resync

"""Rules of the packet filter in words."""

import pytest

from nodespan.controllers.common.rule_text import rule_text
from nodespan.controllers.config.differences import difference_lines
from nodespan.resources.network import (
    AddressMatch,
    ClampMSS,
    ConntrackStateMatch,
    ICMPTypeMatch,
    IfNameMatch,
    Layer4Match,
    LimitMatch,
    Mark,
    MatchOperator,
    NfTablesChainSpec,
    NfTablesRule,
    PortMatch,
    PortRange,
    Verdict,
)

PORTS = PortMatch(ranges=(PortRange(lo=22, hi=22), PortRange(lo=8000, hi=8100)))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (NfTablesRule(verdict=Verdict.DROP), "everything: drop"),
        (
            NfTablesRule(
                match_layer4=Layer4Match(protocol="tcp", match_destination_port=PORTS),
                match_source_address=AddressMatch(
                    include_subnets=("192.0.2.0/24",), exclude_subnets=("192.0.2.128/25",), invert=True
                ),
                verdict=Verdict.DROP,
            ),
            "tcp 22, 8000-8100 not from 192.0.2.0/24 but 192.0.2.128/25: drop",
        ),
        (
            NfTablesRule(
                match_iif_name=IfNameMatch(interface_names=("lo", "kubespan")),
                match_oif_name=IfNameMatch(interface_names=("eth0",), operator=MatchOperator.NOT_EQUAL),
                match_conntrack_state=ConntrackStateMatch(states=("new", "invalid")),
                verdict=Verdict.ACCEPT,
            ),
            "by lo, kubespan not out by eth0 new, invalid: accept",
        ),
        (
            NfTablesRule(
                match_layer4=Layer4Match(
                    protocol="icmp", match_icmp_type=ICMPTypeMatch(types=("echo-request",)), match_source_port=PORTS
                ),
                match_limit=LimitMatch(packet_rate_per_second=5),
                verdict=Verdict.ACCEPT,
            ),
            "icmp echo-request from port 22, 8000-8100 up to 5/s: accept",
        ),
        (
            NfTablesRule(
                match_mark=Mark(mask=0x60, value=0x20),
                match_destination_address=AddressMatch(set_name="peers"),
                clamp_mss=ClampMSS(mtu=1420),
                set_mark=Mark(xor=0x40),
            ),
            "mark 0x20/0x60 to the set peers: MSS for an MTU of 1420, mark 0x40, go on",
        ),
        (NfTablesRule(match_source_address=AddressMatch(), verdict=Verdict.ACCEPT), "from nowhere: accept"),
        (
            NfTablesRule(match_source_address=AddressMatch(include_subnets=tuple(f"10.{n}.0.0/16" for n in range(9)))),
            "from 10.0.0.0/16, 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16, 10.4.0.0/16, 10.5.0.0/16 and 3 more: go on",
        ),
    ],
)
def test_a_rule_in_words(rule: NfTablesRule, expected: str) -> None:
    assert rule_text(rule) == expected


def test_a_rule_between_others_is_one_difference_and_many_are_counted() -> None:
    rules = [NfTablesRule(set_mark=Mark(xor=number)) for number in range(100)]
    before = {("NfTablesChain", "c"): NfTablesChainSpec(rules=tuple(rules))}
    after = {("NfTablesChain", "c"): NfTablesChainSpec(rules=(*rules[:5], NfTablesRule(), *rules[5:]))}
    assert list(difference_lines(before, after)) == ["~ NfTablesChain c: rules +(everything: go on)"]
    (line,) = difference_lines({("NfTablesChain", "c"): NfTablesChainSpec()}, before)
    assert "(everything: mark 0x13, go on) and 80 more" in line

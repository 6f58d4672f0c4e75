"""Chains in nft's words, and the documents that bring a table from what it is to what it should be."""

import json
from typing import Any

import attrs
import pytest

from nodespan.controllers.common.ip.cover import prefix_key
from nodespan.controllers.network.nftables.document import Document, SeenChain, SeenTable, is_current, read_table
from nodespan.controllers.network.nftables.render import RenderedChain, clamped_mss, owner_of_part, render
from nodespan.resources.network import (
    AddressMatch,
    AddressTypeMatch,
    ChainHook,
    ChainType,
    ClampMSS,
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
from tests.support.vectors import each

ALL_BUT_ONE = (("0.0.0.0", "192.0.2.0"), ("192.0.2.2", "255.255.255.255"))
TYPE = {"fib": {"result": "type", "flags": ["daddr"]}}
MARK = {"meta": {"key": "mark"}}
ACCEPT = {"accept": None}
V4 = {"payload": {"protocol": "ip", "field": "daddr"}}
V6 = {"payload": {"protocol": "ip6", "field": "daddr"}}
IS_V4, IS_V6 = (
    {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": family}} for family in ("ipv4", "ipv6")
)


def rules(**fields: Any) -> list[list[Any]]:
    return [list(rule) for rule in render("c", NfTablesChainSpec(rules=(NfTablesRule(**fields),))).rules]


def match(left: Any, right: Any, operator: str = "==") -> Any:
    return {"match": {"op": operator, "left": left, "right": right}}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            {"match_mark": Mark(mask=0x60, value=0x20), "verdict": Verdict.ACCEPT},
            [[match({"&": [MARK, 0x60]}, 0x20), ACCEPT]],
        ),
        ({"match_mark": Mark(mask=0xFFFFFFFF, xor=1, value=3)}, [[match(MARK, 2)]]),
        (
            {"match_oif_name": IfNameMatch(interface_names=("lo",)), "verdict": Verdict.DROP},
            [[match({"meta": {"key": "oifname"}}, "lo"), {"drop": None}]],
        ),
        (
            {"match_iif_name": IfNameMatch(interface_names=("a", "b"), operator=MatchOperator.NOT_EQUAL)},
            [[match({"meta": {"key": "iifname"}}, {"set": ["a", "b"]}, "!=")]],
        ),
        (
            {"set_mark": Mark(mask=0xFFFFFF9F, xor=0x40)},
            [[{"mangle": {"key": MARK, "value": {"^": [{"&": [MARK, 0xFFFFFF9F]}, 0x40]}}}]],
        ),
        (
            {"match_destination_address": AddressMatch(set_name="s"), "verdict": Verdict.ACCEPT},
            [[match(V4, "@s_ipv4"), ACCEPT], [match(V6, "@s_ipv6"), ACCEPT]],
        ),
        (
            {"match_destination_address": AddressMatch(set_name="s", invert=True)},
            [[match(V4, "@s_ipv4", "!=")], [match(V6, "@s_ipv6", "!=")]],
        ),
        # A family without addresses has no rule; a whole one is matched as such.
        (
            {"match_destination_address": AddressMatch(include_subnets=("192.0.2.0/31", "192.0.2.2/32"))},
            [[match(V4, {"set": [{"range": ["192.0.2.0", "192.0.2.2"]}]})]],
        ),
        ({"match_destination_type": AddressTypeMatch(types=("local",))}, [[match(TYPE, "local")]]),
        (
            {
                "match_destination_type": AddressTypeMatch(types=("local", "anycast"), invert=True),
                "match_destination_address": AddressMatch(include_subnets=("192.0.2.1",), invert=True),
                "verdict": Verdict.ACCEPT,
            },
            [
                [
                    match(
                        V4, {"set": [{"range": ["0.0.0.0", "192.0.2.0"]}, {"range": ["192.0.2.2", "255.255.255.255"]}]}
                    ),
                    match(TYPE, {"set": ["local", "anycast"]}, "!="),
                    ACCEPT,
                ],
                [IS_V6, match(TYPE, {"set": ["local", "anycast"]}, "!="), ACCEPT],
            ],
        ),
        ({"match_destination_address": AddressMatch(include_subnets=("::/0",))}, [[IS_V6]]),
        ({"match_destination_address": AddressMatch()}, []),
        ({"match_destination_address": AddressMatch(invert=True)}, [[IS_V4], [IS_V6]]),
        (
            {
                "match_source_address": AddressMatch(include_subnets=("0.0.0.0/0",)),
                "match_destination_address": AddressMatch(set_name="s"),
            },
            [[IS_V4, match(V4, "@s_ipv4")]],
        ),
    ],
)
def test_a_rule_is_one_or_one_per_family(rule: dict[str, Any], expected: list[Any]) -> None:
    assert rules(**rule) == expected


@each("mss_clamp")
def test_the_mss_fits_the_mtu(vector: dict[str, Any]) -> None:
    assert clamped_mss(vector["mtu"], 4) == vector["mss_v4"]
    assert clamped_mss(vector["mtu"], 6) == vector["mss_v6"]


def test_a_clamp_only_lowers_and_decides_nothing() -> None:
    first, second = rules(match_destination_address=AddressMatch(set_name="s"), clamp_mss=ClampMSS(mtu=1420))
    size = {"tcp option": {"name": "maxseg", "field": "size"}}
    flags = {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, {"|": ["syn", "rst"]}]}
    assert first == [
        match(V4, "@s_ipv4"),
        match(flags, "syn"),
        match(size, 1368, ">"),
        {"mangle": {"key": size, "value": 1368}},
    ]
    assert second[-1] == {"mangle": {"key": size, "value": 1348}}


def evaluate(expression: Any, mark: int) -> int:
    """What an expression over the mark comes to."""
    match expression:
        case int():
            return expression
        case {"&": [left, right]}:
            return evaluate(left, mark) & evaluate(right, mark)
        case {"^": [left, right]}:
            return evaluate(left, mark) ^ evaluate(right, mark)
        case _:
            assert expression == MARK
            return mark


@each("packet_mark")
def test_marks_are_matched_and_set_as_the_known_answers_say(vector: dict[str, Any]) -> None:
    ((test, _),) = rules(match_mark=Mark(mask=0x60, value=0x20), verdict=Verdict.ACCEPT)
    accepted = evaluate(test["match"]["left"], vector["mark"]) == evaluate(test["match"]["right"], vector["mark"])
    assert accepted is vector["accepted_by_rule_1"]
    ((setting,),) = rules(set_mark=Mark(mask=0xFFFFFF9F, xor=0x40))
    assert evaluate(setting["mangle"]["value"], vector["mark"]) == vector["mark_after_set"]


def test_an_error_names_its_rule() -> None:
    bad = NfTablesRule(match_source_address=AddressMatch(include_subnets=("nowhere",)))
    with pytest.raises(ValueError, match="rule 2: 'nowhere'"):
        render("c", NfTablesChainSpec(rules=(NfTablesRule(), bad)))


# Documents.

CHAIN = NfTablesChainSpec(
    type=ChainType.ROUTE,
    hook=ChainHook.OUTPUT,
    rules=(NfTablesRule(match_destination_address=AddressMatch(set_name="s"), verdict=Verdict.ACCEPT),),
)
HEADER = {"type": "route", "hook": "output", "prio": 0, "policy": "accept"}


def commands(document: Document) -> list[Any]:
    found: list[Any] = json.loads(document.text)["nftables"]
    return found


def seen(chain: RenderedChain, **changes: Any) -> SeenChain:
    return SeenChain(header={**chain.header, **changes}, comments=(chain.generation,) * len(chain.rules))


def outline(document: Document) -> list[str]:
    return [f"{verb} {kind}" for command in commands(document) for verb, what in command.items() for kind in what]


def test_a_chain_is_flushed_and_filled_in_one_document_and_the_table_never_deleted() -> None:
    document = Document("nodespan")
    chain = render("c", CHAIN)
    document.add_sets(chain.sets)
    document.put_chain(chain, {})
    assert outline(document) == [
        *("add table", "add set", "add set", "add chain", "flush chain", "add rule", "add rule"),
    ]
    added = commands(document)
    assert added[1]["add"]["set"] == {
        "family": "inet",
        "table": "nodespan",
        "name": "s_ipv4",
        "type": "ipv4_addr",
        "flags": ["interval"],
    }
    assert added[3]["add"]["chain"] == {"family": "inet", "table": "nodespan", "name": "c", **HEADER}
    assert {command["add"]["rule"]["comment"] for command in added[5:]} == {chain.generation}


@pytest.mark.parametrize(
    ("changes", "replaced"), [({}, False), ({"policy": "drop"}, False), ({"prio": 1}, True), ({"type": "nat"}, True)]
)
def test_a_chain_is_replaced_only_if_its_place_changed(changes: dict[str, Any], replaced: bool) -> None:
    document = Document("nodespan")
    chain = render("c", CHAIN)
    document.put_chain(chain, {"c": attrs.evolve(seen(chain, **changes), comments=())})
    assert ("delete chain" in outline(document)) is replaced


def test_elements_leave_before_others_come() -> None:
    document = Document("nodespan")
    document.change_elements(
        "s_ipv4", added=[prefix_key("10.0.0.0/8"), prefix_key("192.0.2.1")], removed=[prefix_key("10.1.0.0/16")]
    )
    assert [next(iter(command.items())) for command in commands(document)] == [
        (verb, {"element": {"family": "inet", "table": "nodespan", "name": "s_ipv4", "elem": elements}})
        for verb, elements in (
            ("delete", [{"prefix": {"addr": "10.1.0.0", "len": 16}}]),
            ("add", [{"prefix": {"addr": "10.0.0.0", "len": 8}}, "192.0.2.1"]),
        )
    ]


def test_nothing_to_do_is_an_empty_document() -> None:
    document = Document("nodespan")
    document.change_elements("s_ipv4", added=(), removed=())
    assert document.is_empty


def test_a_chain_is_known_again_by_the_hash_of_its_rules() -> None:
    chain = render("c", CHAIN)
    assert is_current(seen(chain), chain)
    assert not is_current(None, chain)
    assert not is_current(seen(chain, policy="drop"), chain)
    for comments in ((chain.generation,), (chain.generation,) * 3, (chain.generation, "mine"), ()):
        assert not is_current(attrs.evolve(seen(chain), comments=comments), chain)
    other = render("c", attrs.evolve(CHAIN, rules=(NfTablesRule(verdict=Verdict.DROP),)))
    assert other.generation != chain.generation
    assert len(chain.generation) < 128


def test_a_listed_table_is_read() -> None:
    place = {"family": "inet", "table": "nodespan"}
    listed = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "nodespan", "handle": 1}},
        {"set": {**place, "name": "s", "elem": ["192.0.2.1", {"prefix": {"addr": "10.0.0.0", "len": 8}}]}},
        {"set": {**place, "name": "r", "elem": [{"range": ["192.0.2.0", "192.0.2.2"]}]}},
        {"set": {**place, "name": "odd", "elem": [{"elem": {"val": "192.0.2.1", "timeout": 5}}]}},
        {"set": {**place, "name": "empty"}},
        {"chain": {**place, "name": "c", "handle": 5, **HEADER}},
        {"rule": {**place, "chain": "c", "comment": "x", "expr": []}},
        {"rule": {**place, "chain": "c", "expr": []}},
    ]
    assert read_table(json.dumps({"nftables": listed})) == SeenTable(
        chains={"c": SeenChain(header=HEADER, comments=("x", ""))},
        sets={
            "s": frozenset({prefix_key("192.0.2.1"), prefix_key("10.0.0.0/8")}),
            "r": frozenset({prefix_key("192.0.2.0/31"), prefix_key("192.0.2.2")}),
            "odd": None,
            "empty": frozenset(),
        },
    )


# Long chains.

LONG = tuple(
    NfTablesRule(
        match_source_address=AddressMatch(include_subnets=(f"10.{number >> 8}.{number & 255}.0/24",)),
        verdict=Verdict.ACCEPT,
    )
    for number in range(1000)
)


def long(*rules: NfTablesRule, policy: Verdict = Verdict.ACCEPT) -> RenderedChain:
    return render("c", NfTablesChainSpec(hook=ChainHook.INPUT, policy=policy, rules=rules))


def flat(chain: RenderedChain) -> list[Any]:
    """The rules in the order in which a packet meets them."""
    found: list[Any] = []
    for rule in chain.rules:
        found += chain.parts[rule[0]["jump"]["target"]].rules if "jump" in rule[0] else [rule]
    return found


def test_a_long_chain_is_cut_into_parts_and_keeps_the_order_of_its_rules() -> None:
    whole = long(*LONG)
    assert flat(whole) == [expression for rule in LONG for expression in long(rule).rules]
    assert len(whole.rules) < 140
    assert max(len(part.rules) for part in whole.parts.values()) <= 56
    assert long(*LONG[:50]).parts == {}


@pytest.mark.parametrize("at", [0, 5, 500, 998])
def test_one_rule_more_or_less_or_other_costs_few_rules_wherever_it_is(at: int) -> None:
    before = long(*LONG)
    other = NfTablesRule(verdict=Verdict.DROP)
    for rules in (LONG[:at] + LONG[at + 1 :], (*LONG[:at], other, *LONG[at:]), (*LONG[:at], other, *LONG[at + 1 :])):
        after = long(*rules)
        document = Document("t")
        document.change_chain(after, before)
        added = [command["add"]["rule"] for command in commands(document) if "rule" in command.get("add", {})]
        assert len(added) < 280
        new = after.parts.keys() - before.parts.keys()
        assert len(new) <= 3
        deleted = [command["delete"]["chain"]["name"] for command in commands(document) if "delete" in command]
        assert set(deleted) == before.parts.keys() - after.parts.keys()
        assert flat(after) == [expression for rule in rules for expression in long(rule).rules]


def test_parts_come_before_what_jumps_to_them_and_go_after_it() -> None:
    before, after = long(*LONG), long(*LONG[1:])
    document = Document("t")
    document.change_chain(after, before)
    names = [
        (verb, what["chain"]["name"])
        for command in commands(document)
        for verb, what in command.items()
        if "chain" in what
    ]
    whole = names.index(("flush", "c"))
    assert all(names.index(("add", name)) < whole for name in after.parts.keys() - before.parts.keys())
    assert all(names.index(("delete", name)) > whole for name in before.parts.keys() - after.parts.keys())


def test_the_name_of_a_part_says_whose_it_is() -> None:
    chain = long(*LONG)
    assert {owner_of_part(name) for name in (*chain.parts, "c")} == {"c"}
    assert owner_of_part("my.chain") == "my.chain"


def test_the_policy_drop_is_a_rule_too_for_the_kernel_changes_both_at_different_moments() -> None:
    drop = [{"counter": {"packets": 0, "bytes": 0}}, {"drop": None}]
    chain = long(NfTablesRule(verdict=Verdict.ACCEPT), policy=Verdict.DROP)
    assert [list(rule) for rule in chain.rules] == [[ACCEPT], drop]
    assert [list(rule) for rule in long(policy=Verdict.ACCEPT).rules] == []


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(80, 80)], [80]),
        ([(5000, 5000), (5001, 5001)], [{"range": [5000, 5001]}]),
        ([(1000, 2000), (1500, 2500), (1, 3)], [{"range": [1, 3]}, {"range": [1000, 2500]}]),
        ([(0, 65535)], [{"range": [0, 65535]}]),
    ],
)
def test_ports_that_touch_or_overlap_are_one_range(ranges: list[tuple[int, int]], expected: list[Any]) -> None:
    ports = PortMatch(ranges=tuple(PortRange(lo=low, hi=high) for low, high in ranges))
    ((protocol, port),) = rules(match_layer4=Layer4Match(protocol="tcp", match_destination_port=ports))
    assert protocol == match({"meta": {"key": "l4proto"}}, "tcp")
    assert port == match({"payload": {"protocol": "th", "field": "dport"}}, {"set": expected})


def test_a_limit_allows_no_more_at_once_than_in_a_second() -> None:
    ((limit,),) = rules(match_limit=LimitMatch(packet_rate_per_second=7))
    assert limit == {"limit": {"rate": 7, "burst": 7, "per": "second"}}


def source(*include: str, exclude: tuple[str, ...] = (), invert: bool = False, **fields: Any) -> list[Any]:
    match = AddressMatch(include_subnets=include, exclude_subnets=exclude, invert=invert)
    return [rule[0]["match"]["right"] for rule in rules(match_source_address=match, **fields)]


@pytest.mark.parametrize(
    ("include", "exclude", "invert", "expected"),
    [
        # Without addresses in a family: no rule for it, or, inverted, one for all of it.
        (("10.0.0.0/8",), (), False, [{"set": [{"prefix": {"addr": "10.0.0.0", "len": 8}}]}]),
        (("10.0.0.0/8", "11.0.0.0/8"), (), False, [{"set": [{"prefix": {"addr": "10.0.0.0", "len": 7}}]}]),
        (("11.0.0.0/8", "12.0.0.0/8"), (), False, [{"set": [{"range": ["11.0.0.0", "12.255.255.255"]}]}]),
        (("192.0.2.7/32",), (), False, [{"set": ["192.0.2.7"]}]),
        (("fe80::/10",), (), False, [{"set": [{"prefix": {"addr": "fe80::", "len": 10}}]}]),
        (
            ("10.0.0.0/8",),
            (),
            True,
            [{"set": [{"range": ["0.0.0.0", "9.255.255.255"]}, {"range": ["11.0.0.0", "255.255.255.255"]}]}, "ipv6"],
        ),
        (("0.0.0.0/0",), (), False, ["ipv4"]),
        (("0.0.0.0/0",), (), True, ["ipv6"]),
        (("0.0.0.0/0", "::/0"), (), True, []),
        ((), (), False, []),
        ((), (), True, ["ipv4", "ipv6"]),
        (
            ("0.0.0.0/0",),
            ("10.1.2.3/32",),
            False,
            [{"set": [{"range": ["0.0.0.0", "10.1.2.2"]}, {"range": ["10.1.2.4", "255.255.255.255"]}]}],
        ),
        (
            ("10.0.0.0/8",),
            ("10.3.0.0/16",),
            False,
            [{"set": [{"range": ["10.0.0.0", "10.2.255.255"]}, {"range": ["10.4.0.0", "10.255.255.255"]}]}],
        ),
    ],
)
def test_the_sources_of_a_rule_are_the_fewest_ranges(
    include: tuple[str, ...], exclude: tuple[str, ...], invert: bool, expected: list[Any]
) -> None:
    assert source(*include, exclude=exclude, invert=invert) == expected

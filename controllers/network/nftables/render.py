"""Chains of the packet filter as nft takes them, in JSON (libnftables-json(5)).

A rule that looks at addresses, or clamps, is one rule per family, for its sets and limits are of a family; a family of
which it matches no address has none. Every rule carries, as its comment, a hash of the chain: nft gives rules back in
another form than it took them, so the hash shows whether a chain in the kernel is the desired one.

A long chain is cut into parts: chains without a hook, named after the hash of what is in them, to which the chain
jumps. A part never changes. So one rule that changes costs one new part and the short list of jumps, whatever the
length of the chain, and the chain itself still changes at one moment. Where the cuts are follows from the rules at
them, so that an insertion moves no other cut.

The policy `drop` has a rule at the end of the chain beside it: the kernel changes the rules of a chain at one moment
and its policy at another, and packets between the two would meet the new rules with the old policy.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias

import attrs

from nodespan.controllers.common.ip.ranges import BITS, Range, everything, ranges, union
from nodespan.resources.network import (
    AddressMatch,
    IfNameMatch,
    Layer4Match,
    Mark,
    NfTablesChainSpec,
    NfTablesRule,
    PortMatch,
    Verdict,
)

Json: TypeAlias = Any
VERSIONS = (4, 6)

_ADDRESS_PROTOCOL = {4: "ip", 6: "ip6"}
_FAMILY_NAME = {4: "ipv4", 6: "ipv6"}
# The headers of IP and TCP, and the TCP options that every packet may carry.
_CLAMP_OVERHEAD = {4: 52, 6: 72}
_MARK = {"meta": {"key": "mark"}}
_MSS = {"tcp option": {"name": "maxseg", "field": "size"}}
_WHOLE_MARK = 0xFFFFFFFF


# A chain with more rules is cut, behind the first ones, into parts of about this many rules, and never many more.
_UNCUT = 96
_HEAD = 12
_PART = 14
_LONGEST_PART = 4 * _PART
# What a chain with a hook has, and a part has not.
_NO_HOOK: Mapping[str, Json] = {"type": None, "hook": None, "prio": None, "policy": None}
_PART_NAME = re.compile(r"(.+)\.[0-9a-f]{16}")
_DROPPED: Json = ({"counter": {"packets": 0, "bytes": 0}}, {"drop": None})


@attrs.frozen(kw_only=True)
class RenderedChain:
    """A chain ready to be handed over: where it sits, its rules, and the comment that each of them carries.

    `parts` are the chains that it jumps to, by their names.
    """

    name: str
    header: Mapping[str, Json]
    rules: tuple[tuple[Json, ...], ...]
    generation: str
    sets: frozenset[str] = frozenset()
    parts: Mapping[str, "RenderedChain"] = attrs.field(factory=dict)

    @property
    def tracks_connections(self) -> bool:
        """Whether any rule looks at the state of connections."""
        return any(
            "ct" in expression.get("match", {}).get("left", {})
            for chain in (self, *self.parts.values())
            for rule in chain.rules
            for expression in rule
        )


@attrs.frozen
class _RenderedRule:
    """What one rule is for nft: none, one or two rules, and a hash of them."""

    expressions: tuple[tuple[Json, ...], ...]
    digest: str


# The comments of our rules begin so.
MARK = "nodespan "


def owner_of_part(name: str) -> str:
    """The chain that a part belongs to; of any other chain, its own name."""
    match = _PART_NAME.fullmatch(name)
    return name if match is None else match[1]


def kernel_set(name: str, version: int) -> str:
    """What a set is called in the kernel: there is one per family."""
    return f"{name}_{_FAMILY_NAME[version]}"


def clamped_mss(mtu: int, version: int) -> int:
    """The MSS with which segments fit into the MTU."""
    return mtu - _CLAMP_OVERHEAD[version]


def rendering(chain: NfTablesChainSpec) -> Iterator[None]:
    """Does what takes long of `render`, and is remembered: a step for each rule. Raises ValueError as that does."""
    for number, rule in enumerate(chain.rules, 1):
        try:
            _rendered(rule)
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from error
        yield


def render(name: str, chain: NfTablesChainSpec) -> RenderedChain:
    """A chain in nft's words. Raises ValueError that says which rule is wrong."""
    for _ in rendering(chain):
        pass
    rules = list(map(_rendered, chain.rules))
    header = {
        "type": chain.type.value,
        "hook": chain.hook.value,
        "prio": chain.priority.number,
        "policy": chain.policy.value,
    }
    if chain.policy is Verdict.DROP:
        rules.append(_rendered_rule((_DROPPED,)))
    parts: dict[str, RenderedChain] = {}
    if sum(len(rule.expressions) for rule in rules) > _UNCUT:
        jumps: list[_RenderedRule] = []
        for part in _cut(rules[_HEAD:]):
            made = _part(name, part)
            parts[made.name] = made
            jumps.append(_rendered_rule((({"jump": {"target": made.name}},),)))
        rules = rules[:_HEAD] + jumps
    expressions = tuple(expression for rule in rules for expression in rule.expressions)
    return RenderedChain(
        name=name,
        header=header,
        rules=expressions,
        generation=_generation(json.dumps(header, sort_keys=True), *(rule.digest for rule in rules)),
        sets=frozenset(
            match.set_name
            for rule in chain.rules
            for match in (rule.match_source_address, rule.match_destination_address)
            if match is not None and match.set_name
        ),
        parts=parts,
    )


def _cut(rules: Iterable[_RenderedRule]) -> Iterator[list[_RenderedRule]]:
    """The rules in parts. Whether a part ends behind a rule follows from that rule, unless the part gets too long."""
    part: list[_RenderedRule] = []
    for rule in rules:
        part.append(rule)
        if int(rule.digest[:8], 16) % _PART == 0 or len(part) == _LONGEST_PART:
            yield part
            part = []
    if part:
        yield part


def _part(owner: str, rules: Iterable[_RenderedRule]) -> RenderedChain:
    rules = tuple(rules)
    digest = _digest(*(rule.digest for rule in rules))
    return RenderedChain(
        name=f"{owner}.{digest}",
        header=_NO_HOOK,
        rules=tuple(expression for rule in rules for expression in rule.expressions),
        generation=f"{MARK}{digest}",
    )


def _generation(*parts: str) -> str:
    return f"{MARK}{_digest(*parts)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=1 << 14)
def _rendered(rule: NfTablesRule) -> _RenderedRule:
    return _rendered_rule(tuple(_rules(rule)))


def _rendered_rule(expressions: tuple[tuple[Json, ...], ...]) -> _RenderedRule:
    return _RenderedRule(expressions, _digest(json.dumps(expressions, sort_keys=True)))


def _rules(rule: NfTablesRule) -> list[tuple[Json, ...]]:
    """One rule as one, or as one per family."""
    of_a_family = rule.match_source_address or rule.match_destination_address or rule.clamp_mss
    if not of_a_family:
        return [(*_before_addresses(rule), *_after_addresses(rule), *_actions(rule))]
    found: list[tuple[Json, ...]] = []
    for version in VERSIONS:
        addresses = _addresses(rule, version)
        if addresses is not None:
            clamp = _clamp(rule, version)
            found.append((*_before_addresses(rule), *addresses, *_after_addresses(rule), *clamp, *_actions(rule)))
    return found


def _before_addresses(rule: NfTablesRule) -> Iterable[Json]:
    if rule.match_iif_name is not None:
        yield _interface("iifname", rule.match_iif_name)
    if rule.match_oif_name is not None:
        yield _interface("oifname", rule.match_oif_name)
    if rule.match_mark is not None:
        yield _mark_match(rule.match_mark)


def _after_addresses(rule: NfTablesRule) -> Iterable[Json]:
    if rule.match_destination_type is not None:
        types = list(rule.match_destination_type.types)
        right = types[0] if len(types) == 1 else {"set": types}
        operator = "!=" if rule.match_destination_type.invert else "=="
        yield _match(operator, {"fib": {"result": "type", "flags": ["daddr"]}}, right)
    if rule.match_conntrack_state is not None:
        yield _match("in", {"ct": {"key": "state"}}, list(rule.match_conntrack_state.states))
    if rule.match_layer4 is not None:
        yield from _layer4(rule.match_layer4)
    if rule.match_limit is not None:
        rate = rule.match_limit.packet_rate_per_second
        yield {"limit": {"rate": rate, "burst": rate, "per": "second"}}


def _actions(rule: NfTablesRule) -> Iterable[Json]:
    if rule.set_mark is not None:
        yield {"mangle": {"key": _MARK, "value": _marked(rule.set_mark)}}
    if rule.anonymous_counter:
        yield {"counter": {"packets": 0, "bytes": 0}}
    if rule.verdict is not None:
        yield {rule.verdict.value: None}


def _match(operator: str, left: Json, right: Json) -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


def _interface(key: str, match: IfNameMatch) -> Json:
    names = list(match.interface_names)
    return _match(match.operator.value, {"meta": {"key": key}}, names[0] if len(names) == 1 else {"set": names})


def _masked(mask: int) -> Json:
    return _MARK if mask == _WHOLE_MARK else {"&": [_MARK, mask]}


def _mark_match(mark: Mark) -> Json:
    # (mark & mask) ^ xor == value, with the constants on one side.
    return _match("==", _masked(mark.mask), mark.value ^ mark.xor)


def _marked(mark: Mark) -> Json:
    return {"^": [_masked(mark.mask), mark.xor]}


def _addresses(rule: NfTablesRule, version: int) -> tuple[Json, ...] | None:
    """The matches of a rule for packets of a family; None if there are none that it could match."""
    found: list[Json] = []
    for field, match in (("saddr", rule.match_source_address), ("daddr", rule.match_destination_address)):
        if match is not None:
            expression = _address(field, match, version)
            if expression is None:
                return None
            found.append(expression)
    return tuple(found) or (_family(version),)


def _family(version: int) -> Json:
    return _match("==", {"meta": {"key": "nfproto"}}, _FAMILY_NAME[version])


def _address(field: str, match: AddressMatch, version: int) -> Json | None:
    address = {"payload": {"protocol": _ADDRESS_PROTOCOL[version], "field": field}}
    if match.set_name:
        if match.include_subnets or match.exclude_subnets:
            raise ValueError(f"an address is matched by the set {match.set_name} or by subnets, not by both")
        return _match("!=" if match.invert else "==", address, f"@{kernel_set(match.set_name, version)}")
    found = ranges(version, match.include_subnets, match.exclude_subnets, invert=match.invert)
    if not found:
        return None
    if found == (everything(version),):
        return _family(version)
    return _match("==", address, {"set": [_range(each, version) for each in found]})


def _range(addresses: Range, version: int) -> Json:
    """A range as nft shows it: an address, a prefix where it is one, or both ends."""
    first, last = (str(IPv4Address(each) if version == 4 else IPv6Address(each)) for each in addresses)
    if first == last:
        return first
    size = addresses[1] - addresses[0] + 1
    if size.bit_count() == 1 and addresses[0] % size == 0:
        return {"prefix": {"addr": first, "len": BITS[version] - size.bit_length() + 1}}
    return {"range": [first, last]}


def _layer4(match: Layer4Match) -> Iterable[Json]:
    yield _match("==", {"meta": {"key": "l4proto"}}, match.protocol)
    for field, ports in (("sport", match.match_source_port), ("dport", match.match_destination_port)):
        if ports is not None:
            yield _match("==", {"payload": {"protocol": "th", "field": field}}, {"set": _ports(ports)})
    if match.match_icmp_type is not None:
        left = {"payload": {"protocol": match.protocol, "field": "type"}}
        yield _match("==", left, {"set": list(match.match_icmp_type.types)})


def _ports(match: PortMatch) -> list[Json]:
    # nft refuses ranges that overlap.
    ranges = union((each.lo, each.hi) for each in match.ranges)
    return [first if first == last else {"range": [first, last]} for first, last in ranges]


def _clamp(rule: NfTablesRule, version: int) -> Iterable[Json]:
    if rule.clamp_mss is None:
        return
    size = clamped_mss(rule.clamp_mss.mtu, version)
    flags = {"payload": {"protocol": "tcp", "field": "flags"}}
    yield _match("==", {"&": [flags, {"|": ["syn", "rst"]}]}, "syn")
    # Only what is above: a clamp must not raise the MSS of a host that asks for less.
    yield _match(">", _MSS, size)
    yield {"mangle": {"key": _MSS, "value": size}}

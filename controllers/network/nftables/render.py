"""Chains of the packet filter as nft takes them, in JSON (libnftables-json(5)).

A rule that looks at addresses, or clamps, is one rule per family, for its sets and limits are of a family; a family of
which it matches no address has none. Every rule carries, as its comment, a hash of the chain: nft gives rules back in
another form than it took them, so the hash shows whether a chain in the kernel is the desired one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias

import attrs

from nodespan.controllers.common.ip.ranges import Range, everything, ranges
from nodespan.resources.network import (
    AddressMatch,
    IfNameMatch,
    Layer4Match,
    Mark,
    NfTablesChainSpec,
    NfTablesRule,
    PortMatch,
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


@attrs.frozen(kw_only=True)
class RenderedChain:
    """A chain ready to be handed over: where it sits, its rules, and the comment that each of them carries."""

    name: str
    header: Mapping[str, Json]
    rules: tuple[tuple[Json, ...], ...]
    generation: str
    sets: frozenset[str]


# The comments of our rules begin so.
MARK = "nodespan "


def kernel_set(name: str, version: int) -> str:
    """What a set is called in the kernel: there is one per family."""
    return f"{name}_{_FAMILY_NAME[version]}"


def clamped_mss(mtu: int, version: int) -> int:
    """The MSS with which segments fit into the MTU."""
    return mtu - _CLAMP_OVERHEAD[version]


def render(name: str, chain: NfTablesChainSpec) -> RenderedChain:
    """A chain in nft's words. Raises ValueError that says which rule is wrong."""
    rules: list[tuple[Json, ...]] = []
    for number, rule in enumerate(chain.rules, 1):
        try:
            rules += _rules(rule)
        except ValueError as error:
            raise ValueError(f"rule {number}: {error}") from error
    header = {
        "type": chain.type.value,
        "hook": chain.hook.value,
        "prio": chain.priority.number,
        "policy": chain.policy.value,
    }
    digest = hashlib.sha256(json.dumps([header, rules], sort_keys=True).encode()).hexdigest()
    return RenderedChain(
        name=name,
        header=header,
        rules=tuple(rules),
        generation=f"{MARK}{digest[:16]}",
        sets=frozenset(
            match.set_name
            for rule in chain.rules
            for match in (rule.match_source_address, rule.match_destination_address)
            if match is not None and match.set_name
        ),
    )


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
    if rule.match_conntrack_state is not None:
        yield _match("in", {"ct": {"key": "state"}}, list(rule.match_conntrack_state.states))
    if rule.match_layer4 is not None:
        yield from _layer4(rule.match_layer4)
    if rule.match_limit is not None:
        yield {"limit": {"rate": rule.match_limit.packet_rate_per_second, "per": "second"}}


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
    first, last = (str(IPv4Address(each) if version == 4 else IPv6Address(each)) for each in addresses)
    return first if first == last else {"range": [first, last]}


def _layer4(match: Layer4Match) -> Iterable[Json]:
    yield _match("==", {"meta": {"key": "l4proto"}}, match.protocol)
    for field, ports in (("sport", match.match_source_port), ("dport", match.match_destination_port)):
        if ports is not None:
            yield _match("==", {"payload": {"protocol": "th", "field": field}}, {"set": _ports(ports)})
    if match.match_icmp_type is not None:
        left = {"payload": {"protocol": match.protocol, "field": "type"}}
        yield _match("==", left, {"set": list(match.match_icmp_type.types)})


def _ports(match: PortMatch) -> list[Json]:
    return [each.lo if each.lo == each.hi else {"range": [each.lo, each.hi]} for each in match.ranges]


def _clamp(rule: NfTablesRule, version: int) -> Iterable[Json]:
    if rule.clamp_mss is None:
        return
    size = clamped_mss(rule.clamp_mss.mtu, version)
    flags = {"payload": {"protocol": "tcp", "field": "flags"}}
    yield _match("==", {"&": [flags, {"|": ["syn", "rst"]}]}, "syn")
    # Only what is above: a clamp must not raise the MSS of a host that asks for less.
    yield _match(">", _MSS, size)
    yield {"mangle": {"key": _MSS, "value": size}}

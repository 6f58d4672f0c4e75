"""Rules of the packet filter in words: `tcp 22, 8000-8100 from 192.0.2.0/24: accept`."""

from collections.abc import Iterable, Iterator

from nodespan.resources.network import AddressMatch, Layer4Match, MatchOperator, NfTablesRule, PortMatch

_MOST_NAMED = 6


def rule_text(rule: NfTablesRule) -> str:
    """What a rule matches, and what it does."""
    matches = " ".join(_matches(rule)) or "everything"
    return f"{matches}: {', '.join(_actions(rule))}"


def _matches(rule: NfTablesRule) -> Iterator[str]:
    for word, names in (("by", rule.match_iif_name), ("out by", rule.match_oif_name)):
        if names is not None:
            no = "" if names.operator is MatchOperator.EQUAL else "not "
            yield f"{no}{word} {_listed(names.interface_names)}"
    if rule.match_conntrack_state is not None:
        yield _listed(rule.match_conntrack_state.states)
    if rule.match_mark is not None:
        yield f"mark {rule.match_mark.value:#x}/{rule.match_mark.mask:#x}"
    if rule.match_layer4 is not None:
        yield from _layer4(rule.match_layer4)
    for word, addresses in (("from", rule.match_source_address), ("to", rule.match_destination_address)):
        if addresses is not None:
            yield _addresses(word, addresses)
    if rule.match_destination_type is not None:
        no = "not " if rule.match_destination_type.invert else ""
        yield f"{no}to {_listed(rule.match_destination_type.types)} addresses"
    if rule.match_limit is not None:
        yield f"up to {rule.match_limit.packet_rate_per_second}/s"


def _layer4(match: Layer4Match) -> Iterator[str]:
    yield match.protocol
    if match.match_icmp_type is not None:
        yield _listed(match.match_icmp_type.types)
    if match.match_source_port is not None:
        yield f"from port {_ports(match.match_source_port)}"
    if match.match_destination_port is not None:
        yield _ports(match.match_destination_port)


def _ports(match: PortMatch) -> str:
    return _listed(str(each.lo) if each.lo == each.hi else f"{each.lo}-{each.hi}" for each in match.ranges)


def _addresses(word: str, match: AddressMatch) -> str:
    named = f"the set {match.set_name}" if match.set_name else _listed(match.include_subnets) or "nowhere"
    but = f" but {_listed(match.exclude_subnets)}" if match.exclude_subnets else ""
    return f"{'not ' if match.invert else ''}{word} {named}{but}"


def _actions(rule: NfTablesRule) -> Iterator[str]:
    if rule.clamp_mss is not None:
        yield f"MSS for an MTU of {rule.clamp_mss.mtu}"
    if rule.set_mark is not None:
        yield f"mark {rule.set_mark.xor:#x}"
    yield rule.verdict.value if rule.verdict is not None else "go on"


def _listed(names: Iterable[str]) -> str:
    names = tuple(names)
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")

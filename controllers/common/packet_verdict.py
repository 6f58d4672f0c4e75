"""What chains of the packet filter do with one packet: to know it before they are in the kernel.

Only what the chains of the ingress firewall match is understood; a rule that looks at anything else, as a mark or a
set, is taken not to match.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network

import attrs

from nodespan.resources.network import (
    AddressMatch,
    ChainHook,
    IfNameMatch,
    Layer4Match,
    MatchOperator,
    NfTablesChainSpec,
    NfTablesRule,
    PortMatch,
    Verdict,
)

Address = IPv4Address | IPv6Address
_ORDER = (ChainHook.PREROUTING, ChainHook.INPUT)


@attrs.frozen(kw_only=True)
class Packet:
    """A packet for this node. `state` is that of its connection, `link` the one that it comes from.

    `icmp_type` is nft's name of it.
    """

    source: Address
    destination: Address
    protocol: str = "tcp"
    source_port: int = 0
    port: int = 0
    state: str = "new"
    link: str = "eth0"
    icmp_type: str = ""


def verdict(chains: Iterable[NfTablesChainSpec], packet: Packet) -> Verdict:
    """What becomes of a packet that comes in: each chain may drop it. Limits count as not reached."""
    for chain in sorted(chains, key=lambda chain: (_ORDER.index(chain.hook), chain.priority.number)):
        if _decide(chain, packet) is Verdict.DROP:
            return Verdict.DROP
    return Verdict.ACCEPT


def _decide(chain: NfTablesChainSpec, packet: Packet) -> Verdict:
    for rule in chain.rules:
        if rule.verdict is not None and _matches(rule, packet):
            return rule.verdict
    return chain.policy


def _matches(rule: NfTablesRule, packet: Packet) -> bool:
    if rule.match_mark is not None or (rule.match_oif_name is not None):
        return False
    if rule.match_iif_name is not None and not _matches_name(rule.match_iif_name, packet.link):
        return False
    if rule.match_conntrack_state is not None and packet.state not in rule.match_conntrack_state.states:
        return False
    if rule.match_destination_type is not None:
        # Every packet here is for this node.
        is_of_type = "local" in rule.match_destination_type.types
        if is_of_type is rule.match_destination_type.invert:
            return False
    if rule.match_layer4 is not None and not _matches_layer4(rule.match_layer4, packet):
        return False
    return all(
        match is None or _matches_address(match, address)
        for match, address in (
            (rule.match_source_address, packet.source),
            (rule.match_destination_address, packet.destination),
        )
    )


def _matches_name(match: IfNameMatch, name: str) -> bool:
    return (name in match.interface_names) is (match.operator is MatchOperator.EQUAL)


def _matches_address(match: AddressMatch, address: Address) -> bool:
    if match.set_name:
        return False
    is_in = _is_in(match.include_subnets, address) and not _is_in(match.exclude_subnets, address)
    return is_in is not match.invert


def _is_in(subnets: Iterable[str], address: Address) -> bool:
    networks = (ip_network(subnet, strict=False) for subnet in subnets)
    return any(address in network for network in networks if network.version == address.version)


def _matches_layer4(match: Layer4Match, packet: Packet) -> bool:
    if match.protocol != packet.protocol:
        return False
    if match.match_icmp_type is not None and packet.icmp_type not in match.match_icmp_type.types:
        return False
    return _matches_port(match.match_source_port, packet.source_port) and _matches_port(
        match.match_destination_port, packet.port
    )


def _matches_port(match: PortMatch | None, port: int) -> bool:
    return match is None or any(each.lo <= port <= each.hi for each in match.ranges)

"""The chains of the ingress firewall, from a configuration; pure.

The chain `ingress` sees what is for this node. By default everything is accepted, and each rule drops what comes to its
ports from elsewhere than its networks; or everything is blocked, and each rule accepts what comes from them. The chain
`prerouting` does the same for new connections to this node's addresses before any address is translated, so that a
port that a container engine or Kubernetes leads to elsewhere is not open by that. Which addresses are the node's is
asked of the kernel's routes, packet by packet: Linux takes packets for any of them by any link, also for those of
bridges, of links without a carrier and of link scope. The list beside has those in tables of a VRF, where that question
does not look.

The order and the fields of the rules are the original's. Two kinds of packets are let in beside, without which a
machine loses its network: neighbour discovery, which the original holds to the limit of ICMPv6, so that anyone who
sends five packets a second takes IPv6 away; and answers to DHCPv6, which come from another address than was asked.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import ip_interface, ip_network

from nodespan.controllers.common.ports import sorted_ports
from nodespan.controllers.network.status.address_filter import kubernetes_subnets
from nodespan.resources.config import MachineConfigSpec, NetworkDefaultActionConfig, NetworkRuleConfig
from nodespan.resources.config.host import ResolverConfig
from nodespan.resources.config.network import IngressAction, RuleProtocol
from nodespan.resources.network import (
    INGRESS_CHAIN_ID,
    PREROUTING_CHAIN_ID,
    AddressMatch,
    AddressTypeMatch,
    ChainHook,
    ChainPriority,
    ChainType,
    ConntrackStateMatch,
    ICMPTypeMatch,
    IfNameMatch,
    Layer4Match,
    LimitMatch,
    NfTablesChainSpec,
    NfTablesRule,
    PortMatch,
    PortRange,
    Verdict,
)

# Behind the priority `mangle`, and ahead of the translation of destinations.
INGRESS_PRIORITY = ChainPriority.of(ChainPriority.MANGLE.number + 10)
PREROUTING_PRIORITY = ChainPriority.of(ChainPriority.NAT_DEST.number - 10)
TRUSTED_LINKS = ("lo", "siderolink", "kubespan")
# Where the host's DNS listens for pods.
HOST_DNS_IPV4, HOST_DNS_IPV6 = "169.254.116.108/32", "fd54:616c:6f73::204f:5320:444e:531/128"
_DNS_PORT = 53
_ICMP_PER_SECOND = 5
_WITH_PORTS = (RuleProtocol.TCP, RuleProtocol.UDP)

_TRUSTED = NfTablesRule(
    match_iif_name=IfNameMatch(interface_names=TRUSTED_LINKS), anonymous_counter=True, verdict=Verdict.ACCEPT
)
_ESTABLISHED = NfTablesRule(
    match_conntrack_state=ConntrackStateMatch(states=("established", "related")),
    anonymous_counter=True,
    verdict=Verdict.ACCEPT,
)
_INVALID = NfTablesRule(
    match_conntrack_state=ConntrackStateMatch(states=("invalid",)), anonymous_counter=True, verdict=Verdict.DROP
)
_NEIGHBOUR_DISCOVERY = NfTablesRule(
    match_layer4=Layer4Match(
        protocol="icmpv6",
        match_icmp_type=ICMPTypeMatch(
            types=("nd-neighbor-solicit", "nd-neighbor-advert", "nd-router-solicit", "nd-router-advert")
        ),
    ),
    anonymous_counter=True,
    verdict=Verdict.ACCEPT,
)
_DHCPV6_ANSWERS = NfTablesRule(
    match_source_address=AddressMatch(include_subnets=("fe80::/10",)),
    match_layer4=Layer4Match(
        protocol="udp",
        match_source_port=PortMatch(ranges=(PortRange(lo=547, hi=547),)),
        match_destination_port=PortMatch(ranges=(PortRange(lo=546, hi=546),)),
    ),
    anonymous_counter=True,
    verdict=Verdict.ACCEPT,
)
_PROBING_ICMP = NfTablesRule(
    match_layer4=Layer4Match(
        protocol="icmp",
        match_icmp_type=ICMPTypeMatch(
            types=("timestamp-request", "timestamp-reply", "address-mask-request", "address-mask-reply")
        ),
    ),
    anonymous_counter=True,
    verdict=Verdict.DROP,
)
_NEW = ConntrackStateMatch(states=("new",))
# Whatever else the kernel would take in itself.
_FOR_OTHERS = AddressTypeMatch(types=("local", "anycast"), invert=True)


def ingress_chains(config: MachineConfigSpec, own_addresses: Sequence[str]) -> dict[str, NfTablesChainSpec]:
    """The chains by their ids; none if the configuration has neither rules nor blocks.

    `own_addresses` are those of the node, in CIDR form, as far as they are known.
    """
    blocks = _blocks(config)
    documents = config.documents_of(NetworkRuleConfig)
    if not blocks and not documents:
        return {}
    rules = [found for document in documents if (found := _rule(document, blocks=blocks)) is not None]
    has_icmpv6 = any(document.port_selector.protocol is RuleProtocol.ICMPV6 for document in documents)
    return {
        INGRESS_CHAIN_ID: NfTablesChainSpec(
            type=ChainType.FILTER,
            hook=ChainHook.INPUT,
            priority=INGRESS_PRIORITY,
            policy=Verdict.DROP if blocks else Verdict.ACCEPT,
            rules=(*_always(config, blocks=blocks, has_icmpv6=has_icmpv6), *rules),
            guard=True,
        ),
        PREROUTING_CHAIN_ID: NfTablesChainSpec(
            type=ChainType.FILTER,
            hook=ChainHook.PREROUTING,
            priority=PREROUTING_PRIORITY,
            policy=Verdict.ACCEPT,
            rules=tuple(_before_translation(config, rules, own_addresses, blocks=blocks)),
            guard=True,
        ),
    }


def _blocks(config: MachineConfigSpec) -> bool:
    """Whether what no rule is about is blocked; the first document counts."""
    actions = config.documents_of(NetworkDefaultActionConfig)
    return bool(actions) and actions[0].ingress is IngressAction.BLOCK


def deriving(config: MachineConfigSpec) -> Iterator[None]:
    """Does what takes long of `ingress_chains`, and is remembered: a step for each document."""
    blocks = _blocks(config)
    for document in config.documents_of(NetworkRuleConfig):
        _rule(document, blocks=blocks)
        yield


def _always(config: MachineConfigSpec, *, blocks: bool, has_icmpv6: bool) -> Iterator[NfTablesRule]:
    """What is decided before the rules of the configuration."""
    yield from (_TRUSTED, _ESTABLISHED, _INVALID)
    if blocks or has_icmpv6:
        yield _NEIGHBOUR_DISCOVERY
    if not blocks:
        return
    yield from (_DHCPV6_ANSWERS, _PROBING_ICMP, *map(_limited, ("icmp", "icmpv6")))
    yield from _of_pods(config)


def _of_pods(config: MachineConfigSpec) -> Iterator[NfTablesRule]:
    if subnets := kubernetes_subnets(config):
        inside = AddressMatch(include_subnets=subnets)
        if _forwards_dns(config):
            yield from _host_dns(inside)
        yield NfTablesRule(
            match_source_address=inside,
            match_destination_address=inside,
            anonymous_counter=True,
            verdict=Verdict.ACCEPT,
        )


def _limited(protocol: str) -> NfTablesRule:
    return NfTablesRule(
        match_layer4=Layer4Match(protocol=protocol),
        match_limit=LimitMatch(packet_rate_per_second=_ICMP_PER_SECOND),
        anonymous_counter=True,
        verdict=Verdict.ACCEPT,
    )


def _forwards_dns(config: MachineConfigSpec) -> bool:
    """Whether pods are to use the host's DNS. The document counts only if it enables that."""
    document = next(iter(config.documents_of(ResolverConfig)), None)
    host_dns = document.host_dns if document is not None else None
    if host_dns is None or not host_dns.enabled:
        host_dns = config.machine.features.host_dns
    return host_dns is not None and host_dns.enabled and host_dns.forward_kube_dns_to_host


def _host_dns(inside: AddressMatch) -> Iterator[NfTablesRule]:
    has_ipv6 = any(ip_network(subnet).version == 6 for subnet in inside.include_subnets)
    there = AddressMatch(include_subnets=(HOST_DNS_IPV4, HOST_DNS_IPV6) if has_ipv6 else (HOST_DNS_IPV4,))
    for protocol in ("udp", "tcp"):
        yield NfTablesRule(
            match_source_address=inside,
            match_destination_address=there,
            match_layer4=Layer4Match(
                protocol=protocol,
                match_destination_port=PortMatch(ranges=(PortRange(lo=_DNS_PORT, hi=_DNS_PORT),)),
            ),
            anonymous_counter=True,
            verdict=Verdict.ACCEPT,
        )


# A rule that did not change is the same object as before: comparing and rendering thousands of them costs little.
@lru_cache(maxsize=1 << 14)
def _rule(document: NetworkRuleConfig, *, blocks: bool) -> NfTablesRule | None:
    """What a document asks for; None without a protocol: the original's rule matches nothing of use then."""
    protocol = document.port_selector.protocol
    if protocol is None:
        return None
    ports = None
    if protocol in _WITH_PORTS:
        ranges = sorted_ports(document.port_selector.ports)
        ports = PortMatch(ranges=tuple(PortRange(lo=first, hi=last) for first, last in ranges))
    return NfTablesRule(
        match_source_address=AddressMatch(
            include_subnets=tuple(map(_network, (source.subnet for source in document.ingress))),
            exclude_subnets=tuple(map(_network, (source.except_ for source in document.ingress if source.except_))),
            invert=not blocks,
        ),
        match_layer4=Layer4Match(protocol=protocol.value, match_destination_port=ports),
        anonymous_counter=True,
        verdict=Verdict.ACCEPT if blocks else Verdict.DROP,
    )


def _network(text: str) -> str:
    """A network as it is written, but without bits of a host."""
    return str(ip_network(text, strict=False))


@lru_cache(maxsize=1 << 14)
def _for_new_connections(rule: NfTablesRule) -> NfTablesRule:
    return NfTablesRule(
        match_conntrack_state=_NEW,
        match_source_address=rule.match_source_address,
        match_layer4=rule.match_layer4,
        anonymous_counter=True,
        verdict=rule.verdict,
    )


def _before_translation(
    config: MachineConfigSpec, rules: Iterable[NfTablesRule], own_addresses: Iterable[str], *, blocks: bool
) -> Iterator[NfTablesRule]:
    own = tuple(str(ip_network(ip_interface(address).ip)) for address in own_addresses)
    yield _TRUSTED
    yield NfTablesRule(
        match_destination_address=AddressMatch(include_subnets=own, invert=True) if own else None,
        match_destination_type=_FOR_OTHERS,
        anonymous_counter=True,
        verdict=Verdict.ACCEPT,
    )
    if blocks:
        # What the other chain lets in: link-scope addresses, those of services and of pod bridges are this node's too.
        yield _DHCPV6_ANSWERS
        yield from _of_pods(config)
    yield from map(_for_new_connections, rules)
    if blocks:
        for protocol in _WITH_PORTS:
            yield NfTablesRule(
                match_conntrack_state=_NEW,
                match_layer4=Layer4Match(protocol=protocol.value),
                anonymous_counter=True,
                verdict=Verdict.DROP,
            )

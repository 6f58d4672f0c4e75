"""The ingress firewall: its rules one by one, and what the whole of it closes."""

from collections.abc import Iterator, Sequence
from typing import Final

from nodespan.controllers.common.ip.notation import parse_ip
from nodespan.controllers.common.ports import Ports, parse_ports, sorted_ports
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, Path, at, warn
from nodespan.controllers.config.notation import CIDR_HINT, is_cidr
from nodespan.controllers.config.rules.base import RuleSet, required
from nodespan.controllers.config.rules.entry import Entry
from nodespan.resources.config.kubespan import KubeSpanConfig
from nodespan.resources.config.links import WireguardConfig
from nodespan.resources.config.main import MainDocument
from nodespan.resources.config.network import (
    IngressAction,
    NetworkDefaultActionConfig,
    NetworkRuleConfig,
    RuleProtocol,
)
from nodespan.resources.config.nodespan import NodespanConfig

_PORT_HINT: Final = "write it like 80 or 8000-8100, with ports from 0 to 65535"
_WITH_PORTS: Final = (RuleProtocol.TCP, RuleProtocol.UDP)

RULES = RuleSet()


@RULES.document(NetworkDefaultActionConfig)
def check_default_action(_action: NetworkDefaultActionConfig) -> Iterator[Finding]:
    """NetworkDefaultActionConfig: `accept` and `block` are all that can be read."""
    yield from ()


@RULES.document(NetworkRuleConfig)
def check_rule(rule: NetworkRuleConfig) -> Iterator[Finding]:
    """NetworkRuleConfig."""
    yield from required(rule, ("name", rule.name))
    yield from _check_ports(rule)
    for index, source in enumerate(rule.ingress):
        if not is_cidr(source.subnet):
            message = f"{quote(source.subnet)} is not a CIDR" if source.subnet else "subnet is missing"
            yield at("ingress", index, "subnet", message=message, hint=CIDR_HINT)
        if source.except_ and not is_cidr(source.except_):
            message = f"{quote(source.except_)} is not a CIDR"
            yield at("ingress", index, "except", message=message, hint=CIDR_HINT)
    protocol = rule.port_selector.protocol
    if protocol is None:
        message = "without a protocol this rule is about no packet, and is left out"
        yield warn("portSelector", "protocol", message=message, hint="write protocol: tcp, or udp")
    elif protocol not in _WITH_PORTS:
        message = f"{protocol} has no ports, so this rule is about all of its packets"
        yield warn("portSelector", "ports", message=message, hint="write ports: [0-65535] to say so")


def _check_ports(rule: NetworkRuleConfig) -> Iterator[Finding]:
    selector = rule.port_selector
    if not selector.ports:
        yield at("portSelector", "ports", message="NetworkRuleConfig needs portSelector.ports", hint=_PORT_HINT)
    seen: list[tuple[Ports, int]] = []
    for index, text in enumerate(selector.ports):
        ports = parse_ports(text)
        if ports is None:
            yield at("portSelector", "ports", index, message=f"invalid port range: {quote(text)}", hint=_PORT_HINT)
        else:
            seen.append((ports, index))
    seen.sort()
    last, other = -1, 0
    for ports, index in seen:
        if ports[0] <= last:
            message = f"invalid port range: {selector.ports[index]}, overlaps with {selector.ports[other]}"
            yield at("portSelector", "ports", index, message=message, hint="write each port once")
        last, other = max((last, other), (ports[1], index))


def check_firewall(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """What rules do not do that their author may expect of them."""
    actions = [
        (index, entry.value)
        for index, entry in enumerate(entries)
        if isinstance(entry.value, NetworkDefaultActionConfig)
    ]
    rules = [(index, entry.value) for index, entry in enumerate(entries) if isinstance(entry.value, NetworkRuleConfig)]
    if actions and actions[0][1].ingress is IngressAction.BLOCK:
        yield from _check_block(entries, actions[0][0], rules)
    else:
        yield from _check_accept(rules)


def _check_block(
    entries: Sequence[Entry], index: int, rules: Sequence[tuple[int, NetworkRuleConfig]]
) -> Iterator[tuple[int, Finding]]:
    for position, rule in rules:
        if not rule.ingress:
            message = "this rule opens nothing, for it names no networks"
            yield (
                position,
                warn("ingress", message=message, hint="write ingress: [{subnet: 0.0.0.0/0}] for all of IPv4"),
            )
    for position, path, protocol, port, message in _services(entries, index):
        if not any(_opens(rule, protocol, port) for _, rule in rules):
            hint = f"add a NetworkRuleConfig with ports: [{port}] and protocol: {protocol}"
            yield position, warn(*path, message=message, hint=hint)


_Service = tuple[int, Path, RuleProtocol, int, str]


def _services(entries: Sequence[Entry], blocking: int) -> Iterator[_Service]:
    """What the configuration itself has listen for others: where it is said, the port, and what a closed one leads to.

    `blocking` is the place of the default action.
    """
    own = next((entry.value for entry in entries if isinstance(entry.value, NodespanConfig)), NodespanConfig())
    if _has_mesh(entries):
        port = own.kubespan.listen_port
        message = f"peers cannot reach this node at the mesh's UDP port {port} unless it reaches them first"
        yield blocking, ("ingress",), RuleProtocol.UDP, port, message
    for index, entry in enumerate(entries):
        match entry.value:
            case NodespanConfig():
                for key, listen in (("api", entry.value.api.listen), ("dashboard", entry.value.dashboard.listen)):
                    port = _port_for_others(listen)
                    message = f"the firewall closes TCP port {port}: no other machine reaches it"
                    if port:
                        yield index, (key, "listen"), RuleProtocol.TCP, port, message
            case WireguardConfig(listen_port=port) if port:
                message = f"peers cannot reach this node at UDP port {port} unless it reaches them first"
                yield index, ("listenPort",), RuleProtocol.UDP, port, message


def _port_for_others(listen: str) -> int:
    """The port of an address to listen at, 0 for none, and for one of this machine only."""
    host, _, port = listen.rpartition(":")
    address = parse_ip(host.strip("[]"))
    is_local = host == "localhost" or (address is not None and address.is_loopback)
    return int(port) if port.isascii() and port.isdecimal() and not is_local else 0


def _has_mesh(entries: Sequence[Entry]) -> bool:
    for entry in entries:
        match entry.value:
            case KubeSpanConfig(enabled=True):
                return True
            case MainDocument(machine=machine) if machine and machine.network.kubespan:
                return machine.network.kubespan.enabled
    return False


def _opens(rule: NetworkRuleConfig, protocol: RuleProtocol, port: int) -> bool:
    selector = rule.port_selector
    return (
        selector.protocol is protocol
        and bool(rule.ingress)
        and any(first <= port <= last for first, last in sorted_ports(selector.ports))
    )


def _check_accept(rules: Sequence[tuple[int, NetworkRuleConfig]]) -> Iterator[tuple[int, Finding]]:
    """Each rule closes its ports to all but its networks, so of two rules only what both name is left."""
    for protocol in _WITH_PORTS:
        found = sorted(
            (ports, index, rule.name)
            for index, rule in rules
            if rule.port_selector.protocol is protocol
            for ports in sorted_ports(rule.port_selector.ports)
        )
        last, other, other_name = -1, -1, ""
        for ports, index, name in found:
            if ports[0] <= last and index != other:
                message = (
                    f"{protocol} {_text(ports)} is closed by {quote(other_name)}, too: "
                    "only the networks that both rules name are let in"
                )
                yield index, warn("portSelector", "ports", message=message, hint="write all networks in one rule")
            last, other, other_name = max((last, other, other_name), (ports[1], index, name))


def _text(ports: Ports) -> str:
    first, last = ports
    return str(first) if first == last else f"{first}-{last}"

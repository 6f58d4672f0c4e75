"""Routes, routing tables and routing rules."""

from collections.abc import Iterator

from nodespan.controllers.common.ip.notation import parse_cidr, parse_ip
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at
from nodespan.controllers.config.notation import CIDR_HINT, IP_HINT, is_cidr
from nodespan.controllers.config.rules.base import RuleSet
from nodespan.resources.config.links import (
    LinkRoute,
)
from nodespan.resources.config.network import (
    BlackholeRouteConfig,
    RoutingRuleConfig,
    RuleAction,
)

_RESERVED_PRIORITIES = (0, 32500, 32766, 32767)
_TABLES = ("local", "main", "default")
HIGHEST_TABLE = 2**32 - 1

RULES = RuleSet()


def check_link_route(route: LinkRoute) -> Iterator[Finding]:
    """A route of a link document."""
    if not route.destination and not route.gateway:
        yield at("destination", message="neither destination nor gateway is given", hint="a route needs one of them")
    network = parse_cidr(route.destination)
    if route.destination and network is None:
        yield at("destination", message=f"{quote(route.destination)} is not a CIDR", hint=CIDR_HINT)
    elif network is not None and network.network.prefixlen == 0:
        message = f"{quote(route.destination)} is not allowed as a destination"
        yield at("destination", message=message, hint="leave the destination out for a default route")
    for key, text in (("gateway", route.gateway), ("source", route.source)):
        ip = parse_ip(text)
        if text and ip is None:
            yield at(key, message=f"{quote(text)} is not an IP address", hint=IP_HINT)
        elif ip is not None and ip.is_unspecified:
            yield at(key, message=f"{quote(text)} is not allowed here", hint=f"leave {key} out")
    yield from check_table(route.table)


def check_table(table: str) -> Iterator[Finding]:
    """A routing table by name or number, "" for the default."""
    if table and table not in _TABLES and not is_number(table, 1, HIGHEST_TABLE):
        message = f"{quote(table)} is not a routing table"
        yield at("table", message=message, hint=f"write its number, or one of {', '.join(_TABLES)}")


def is_number(text: str, low: int, high: int) -> bool:
    """Whether the text is a decimal number within these bounds, both included."""
    return text.isascii() and text.isdecimal() and low <= int(text[:12]) <= high


@RULES.document(RoutingRuleConfig)
def check_routing_rule(rule: RoutingRuleConfig) -> Iterator[Finding]:
    """RoutingRuleConfig."""
    if not is_number(rule.name, 0, _RESERVED_PRIORITIES[-1]):
        yield at("name", message=f"the name {quote(rule.name)} must be a priority", hint="write it like 1000")
    elif int(rule.name) in _RESERVED_PRIORITIES:
        reserved = ", ".join(map(str, _RESERVED_PRIORITIES))
        yield at("name", message=f"priority {rule.name} is taken", hint=f"choose another than {reserved}")
    for key, network in (("src", rule.src), ("dst", rule.dst)):
        if network and not is_cidr(network):
            yield at(key, message=f"{quote(network)} is not a CIDR", hint=CIDR_HINT)
    if not rule.table and rule.action is RuleAction.UNICAST:
        yield at("table", message="neither a table nor an action other than unicast is given")
    yield from check_table(rule.table)
    if rule.fw_mask and not rule.fw_mark:
        yield at("fwMask", message="fwMask needs fwMark")


@RULES.document(BlackholeRouteConfig)
def check_blackhole(route: BlackholeRouteConfig) -> Iterator[Finding]:
    """BlackholeRouteConfig."""
    if not is_cidr(route.name):
        yield at("name", message=f"the name {quote(route.name)} must be a CIDR", hint=CIDR_HINT)

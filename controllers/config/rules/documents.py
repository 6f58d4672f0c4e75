"""All rules for single documents, by the class of the document."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from nodespan.controllers.config.finding import Finding
from nodespan.controllers.config.rules import (
    bonds,
    dhcp,
    discovery,
    dns,
    ethernet,
    firewall,
    host,
    kernel,
    kubernetes,
    kubespan,
    links,
    nodespan,
    probes,
    routing,
    time,
    virtual_ips,
    wireguard,
)

_FAMILIES = (
    *(bonds, dhcp, discovery, dns, ethernet, firewall, host, kernel, kubernetes, kubespan, links, nodespan, probes),
    *(routing, time),
    *(virtual_ips, wireguard),
)

DOCUMENT_RULES: Final[Mapping[type, Callable[[Any], Iterator[Finding]]]] = {
    cls: rule for family in _FAMILIES for cls, rule in family.RULES.by_class.items()
}

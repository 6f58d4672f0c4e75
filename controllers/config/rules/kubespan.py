"""KubeSpan: its MTU, filters and announced endpoints."""

from collections.abc import Iterator

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, under
from nodespan.controllers.config.notation import CIDR_HINT, ENDPOINT_HINT, is_cidr, is_ip_or_cidr, is_ip_port
from nodespan.controllers.config.rules.base import RuleSet
from nodespan.resources.config.kubespan import (
    KubeSpanConfig,
    KubeSpanEndpointsConfig,
    KubeSpanFilters,
)
from nodespan.resources.network.link import IPV6_MINIMUM_MTU

RULES = RuleSet()


def check_filters(filters: KubeSpanFilters | None) -> Iterator[Finding]:
    """The filters of KubeSpan, in the main document or in a document of their own."""
    if filters is None:
        return
    for key, entries in (("endpoints", filters.endpoints), ("peerEndpoints", filters.peer_endpoints)):
        for index, entry in enumerate(entries or ()):
            if not is_ip_or_cidr(entry.removeprefix("!")):
                yield at(
                    key,
                    index,
                    message=f"{quote(entry)} is neither an IP address nor a CIDR, with or without a ! in front",
                    hint='write it like 10.0.0.0/8 or "!192.168.0.0/16"',
                )
    for index, network in enumerate(filters.exclude_advertised_networks):
        if not is_cidr(network):
            yield at("excludeAdvertisedNetworks", index, message=f"{quote(network)} is not a CIDR", hint=CIDR_HINT)


@RULES.document(KubeSpanConfig)
def check_kubespan_config(kubespan: KubeSpanConfig) -> Iterator[Finding]:
    """KubeSpanConfig, which is checked even while KubeSpan is disabled."""
    if kubespan.mtu is not None and kubespan.mtu < IPV6_MINIMUM_MTU:
        yield at("mtu", message=f"mtu {kubespan.mtu} is less than {IPV6_MINIMUM_MTU}")
    yield from under(("filters",), check_filters(kubespan.filters))


@RULES.document(KubeSpanEndpointsConfig)
def check_kubespan_endpoints(endpoints: KubeSpanEndpointsConfig) -> Iterator[Finding]:
    """KubeSpanEndpointsConfig."""
    for index, endpoint in enumerate(endpoints.extra_announced_endpoints):
        if not is_ip_port(endpoint):
            message = f"{quote(endpoint)} is not ip:port"
            yield at("extraAnnouncedEndpoints", index, message=message, hint=ENDPOINT_HINT)

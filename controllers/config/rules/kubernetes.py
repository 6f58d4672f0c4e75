"""The networks and the name of a Kubernetes cluster."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from nodespan.controllers.common.ip.notation import parse_cidr
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at
from nodespan.controllers.config.notation import CIDR_HINT, is_url
from nodespan.controllers.config.rules.base import RuleSet, required
from nodespan.resources.config.kubernetes import KubeClusterConfig, KubeNetworkConfig

ENDPOINT_HINT: Final = "write it like https://10.0.0.1:6443"
_FAMILIES = 2
# The limits of Kubernetes: bits for the addresses of all services, bits that number the nodes, and the least of both.
_MOST_SERVICE_BITS = 20
_MOST_NODE_BITS = 16
_FEWEST_BITS = 4

RULES = RuleSet()

_Network = IPv4Network | IPv6Network


def check_subnets(key: str, subnets: Sequence[str]) -> Iterator[Finding]:
    """The subnets of pods or services in the main document, in which the defaults stand for an empty list."""
    for index, text in enumerate(subnets):
        if parse_cidr(text) is None:
            yield at(key, index, message=f"{quote(text)} is not a CIDR", hint=CIDR_HINT)
    yield from _check_families(key, subnets)


@RULES.document(KubeNetworkConfig)
def check_kube_network(network: KubeNetworkConfig) -> Iterator[Finding]:
    """KubeNetworkConfig."""
    masks = {4: network.node_cidr_mask_size_ipv4, 6: network.node_cidr_mask_size_ipv6}
    lengths = {4: 32, 6: 128}
    for version, mask in masks.items():
        if not 1 <= mask <= lengths[version]:
            yield at(f"nodeCIDRMaskSizeIPv{version}", message=f"{mask} is not between 1 and {lengths[version]}")
    for key, subnets in (("podSubnets", network.pod_subnets), ("serviceSubnets", network.service_subnets)):
        if not subnets:
            yield at(key, message=f"KubeNetworkConfig needs {key}", hint=CIDR_HINT)
        for index, text in enumerate(subnets):
            parsed = parse_cidr(text)
            if parsed is None:
                yield at(key, index, message=f"{quote(text)} is not a CIDR", hint=CIDR_HINT)
            elif parsed.ip != parsed.network.network_address:
                message = f"{quote(text)} has bits set behind its prefix"
                yield at(key, index, message=message, hint=f"write {parsed.network}")
            else:
                mask = masks[parsed.version]
                is_mask_valid = 1 <= mask <= lengths[parsed.version]
                fault = (
                    _service_size_fault(parsed.network)
                    if key == "serviceSubnets"
                    else _pod_size_fault(parsed.network, mask if is_mask_valid else None)
                )
                if fault:
                    yield at(key, index, message=f"{quote(text)} {fault}")
        yield from _check_families(key, subnets)
    pods, services = len(network.pod_subnets), len(network.service_subnets)
    # What is missing or too many is reported above.
    if pods != services and min(pods, services) > 0 and max(pods, services) <= _FAMILIES:
        message = "there must be as many pod subnets as service subnets"
        yield at("serviceSubnets", message=message, hint="one of each, or one of each for IPv4 and for IPv6")


def _check_families(key: str, subnets: Sequence[str]) -> Iterator[Finding]:
    if len(subnets) > _FAMILIES:
        yield at(key, _FAMILIES, message=f"more than two {key}", hint="one for IPv4 and one for IPv6")
        return
    versions = [parsed.version for parsed in map(parse_cidr, subnets) if parsed is not None]
    if len(versions) != len(set(versions)):
        yield at(key, 1, message=f"two {key} of one family", hint="one for IPv4 and one for IPv6")


def _is_too_small(network: _Network) -> str:
    most = network.max_prefixlen - _FEWEST_BITS
    return f"is too small, its prefix may have at most {most} bits" if network.prefixlen > most else ""


def _service_size_fault(network: _Network) -> str:
    """What is wrong with the size of a subnet of services, "" for nothing."""
    least = network.max_prefixlen - _MOST_SERVICE_BITS
    is_too_large = network.prefixlen < least
    return _is_too_small(network) or (
        f"is too large, its prefix must have at least {least} bits" if is_too_large else ""
    )


def _pod_size_fault(network: _Network, mask: int | None) -> str:
    """The same for one of pods. `mask` is the prefix length of a node's part, None if that is invalid itself."""
    if (fault := _is_too_small(network)) or mask is None:
        return fault
    if network.prefixlen > mask:
        return f"is smaller than the part of it that each node gets, which is a /{mask}"
    if mask - network.prefixlen > _MOST_NODE_BITS:
        return f"is too large for parts of /{mask}: its prefix must have at least {mask - _MOST_NODE_BITS} bits"
    return ""


@RULES.document(KubeClusterConfig)
def check_kube_cluster(cluster: KubeClusterConfig) -> Iterator[Finding]:
    """KubeClusterConfig."""
    yield from required(cluster, ("clusterName", cluster.cluster_name), ("endpoint", cluster.endpoint))
    if cluster.endpoint and not is_url(cluster.endpoint, "https", "http"):
        yield at("endpoint", message=f"{quote(cluster.endpoint)} is not a URL", hint=ENDPOINT_HINT)

"""What this node announces: its addresses, and the endpoints at which it can be reached. Pure rules.

Peers try the endpoints in their order: the node's own addresses first, then the public one that a discovery service
sees, then what the operator added. A filter goes over all but the last, which are meant as they are written.

Machines that run containers have bridges for them, and those have the same address on every machine: nobody could be
reached there, and all would advertise it. Addresses of bridges that container engines and hypervisors make, known by
their names, are therefore neither advertised nor endpoints. A bridge of the operator's own, by any other name, counts.

A virtual IP that the node has for the moment is one of its addresses, for its tunnels have to let it through, but no
endpoint: peers would go on calling there, and reach another node.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import ip_interface

from nodespan.controllers.config.endpoint_filter import filter_endpoints
from nodespan.controllers.config.notation import parse_ip
from nodespan.controllers.network.status.node_address_rules import (
    filter_addresses,
    is_container_bridge,
    is_siderolink,
    own_address,
)
from nodespan.discovery.addresses import format_address, join_endpoint, parse_address, split_endpoint
from nodespan.resources.config import HCloudVIPConfig, Layer2VIPConfig, MachineConfigSpec
from nodespan.resources.network import AddressStatusSpec, LinkStatusSpec, NodeAddressFilterSpec

LISTEN_PORT = 51820


def plain_addresses(cidrs: Iterable[str]) -> tuple[str, ...]:
    """The addresses without the lengths of their prefixes, each once, in their order."""
    return tuple(dict.fromkeys(format_address(ip_interface(cidr).ip) for cidr in cidrs))


def own_endpoints(
    *,
    kubespan_address: str,
    current_addresses: Iterable[str],
    public_addresses: Iterable[str],
    filters: Sequence[str] | None,
    extra: Iterable[str],
    vips: Collection[str] = (),
) -> tuple[str, ...]:
    """The endpoints of this node, best first. No filter keeps all, a filter without entries none.

    `current_addresses` are CIDRs, `vips` addresses that may be another node's the next moment.

    Raises EndpointFilterError, and AddressError for an extra endpoint that is none.
    """
    reachable = [
        address
        for address in plain_addresses(current_addresses)
        if address != kubespan_address and address not in vips and not is_siderolink(address)
    ]
    addresses = tuple(dict.fromkeys((*reachable, *public_addresses)))
    if filters is not None:
        addresses = filter_endpoints(addresses, filters)
    own = (join_endpoint(parse_address(address).packed, LISTEN_PORT) for address in addresses)
    return tuple(dict.fromkeys((*own, *(join_endpoint(*split_endpoint(endpoint)) for endpoint in extra))))


def container_addresses(addresses: Iterable[AddressStatusSpec], links: Mapping[str, LinkStatusSpec]) -> frozenset[str]:
    """The addresses, as CIDRs, that this node has on such bridges."""
    bridges = {name for name, link in links.items() if is_container_bridge(name, link)}
    return frozenset(own_address(status) for status in addresses if status.link_name in bridges)


def node_addresses(
    addresses: Sequence[str], *, pod_networks: tuple[str, ...], container: Collection[str]
) -> tuple[str, ...]:
    """The CIDRs that stand for the node itself: neither those of its pods nor those of its container bridges."""
    outside = filter_addresses(addresses, NodeAddressFilterSpec(exclude_subnets=pod_networks))
    return tuple(address for address in outside if address not in container)


def configured_vips(config: MachineConfigSpec) -> frozenset[str]:
    """The virtual IPs that a configuration names, on whichever link. What is no address is left to others to refuse."""
    vips = [
        vip
        for device in config.machine.network.interfaces
        for vip in (device.vip, *(vlan.vip for vlan in device.vlans))
    ]
    written = [vip.ip for vip in vips if vip is not None]
    written += [document.name for document in config.documents_of(Layer2VIPConfig)]
    written += [document.name for document in config.documents_of(HCloudVIPConfig)]
    return frozenset(str(address) for address in map(parse_ip, written) if address is not None)

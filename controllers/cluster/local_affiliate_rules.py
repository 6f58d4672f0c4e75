"""What this node announces: its addresses, and the endpoints at which it can be reached. Pure rules.

Peers try the endpoints in their order: the node's own addresses first, then the one that its router lets in, then the
public one that a discovery service sees, which is a guess at the port, then what the operator added, and at last those
at a relay. A filter goes over the own and the public ones: the others were asked for.

What the operator added at that public address stands before the guess, and before what the router lets in: the operator
knows the port. Of several ports at an address peers take the first for the node's word, and those behind it for what
others have seen (`controllers/kubespan/endpoint_order.py`), which nothing on the wire would tell apart.

Pods are not the node, and the bridges of containers have the same address on every machine: what is announced comes
from the lists of the filter `no-k8s`, which have neither.

A virtual IP that the node has for the moment is one of its addresses, for its tunnels have to let it through, but no
endpoint: peers would go on calling there, and reach another node.
"""

from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_interface

from nodespan.controllers.common.endpoint_filter import filter_endpoints
from nodespan.controllers.common.ip.notation import parse_ip
from nodespan.controllers.network.status.node_address_rules import is_siderolink
from nodespan.resources.addresses import decode_address, format_address, join_endpoint, parse_address, split_endpoint
from nodespan.resources.config import HCloudVIPConfig, Layer2VIPConfig, MachineConfigSpec
from nodespan.resources.kubespan import KUBESPAN_PORT


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
    port: int = KUBESPAN_PORT,
    relayed: Iterable[str] = (),
    mapped: Iterable[str] = (),
) -> tuple[str, ...]:
    """The endpoints of this node, best first. No filter keeps all, a filter without entries none.

    `current_addresses` are CIDRs, `vips` addresses that may be another node's the next moment; `port` is the tunnel's.

    Raises EndpointFilterError, and AddressError for an invalid extra endpoint.
    """
    reachable = [
        address
        for address in plain_addresses(current_addresses)
        if address != kubespan_address and address not in vips and not is_siderolink(address)
    ]
    public_addresses = tuple(public_addresses)
    addresses = tuple(dict.fromkeys((*reachable, *public_addresses)))
    if filters is not None:
        addresses = filter_endpoints(addresses, filters)
    public = set(public_addresses) - set(reachable)
    first_public = next((at for at, address in enumerate(addresses) if address in public), len(addresses))
    own = [join_endpoint(parse_address(address).packed, port) for address in addresses]
    added, let_in, at_relays = (
        [join_endpoint(*split_endpoint(endpoint)) for endpoint in endpoints] for endpoints in (extra, mapped, relayed)
    )
    known = [endpoint for endpoint in added if decode_address(split_endpoint(endpoint)[0]) in public]
    return tuple(dict.fromkeys((*own[:first_public], *known, *let_in, *own[first_public:], *added, *at_relays)))


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

"""What this node announces: its addresses, and the endpoints at which it can be reached. Pure rules.

Peers try the endpoints in their order: the node's own addresses first, then the public one that a discovery service
sees, then what the operator added. A filter goes over all but the last, which are meant as they are written.

A filter starts with nothing and takes its entries in their order. A network adds the addresses in it that are not there
yet, one with a `!` in front takes those in it away again. Hence the entries also say which addresses come first, and a
`!` has an effect only behind what it takes away from.

Machines that run containers have bridges for them, and those have the same address on every machine: nobody could be
reached there, and all would advertise it. Addresses of bridges that container engines and hypervisors make, known by
their names, are therefore neither advertised nor endpoints. A bridge of the operator's own, by any other name, counts.

A virtual IP that the node has for the moment is one of its addresses, for its tunnels have to let it through, but no
endpoint: peers would go on calling there, and reach another node.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import ip_interface

import attrs

from nodespan.controllers.config.notation import IpInterface, parse_cidr, parse_ip
from nodespan.controllers.network.status.node_address_rules import filter_addresses, is_siderolink, own_address
from nodespan.discovery.addresses import format_address, join_endpoint, parse_address, split_endpoint
from nodespan.resources.config import HCloudVIPConfig, Layer2VIPConfig, MachineConfigSpec
from nodespan.resources.network import AddressStatusSpec, LinkStatusSpec, NodeAddressFilterSpec

LISTEN_PORT = 51820

_CONTAINER_BRIDGE = re.compile(
    r"""
      docker\d+ | docker_gwbridge | br-[0-9a-f]{12}      # Docker
    | podman\d+ | cni-podman\d+ | nerdctl\d+              # Podman, containerd
    | cni\d+ | cbr\d+ | kube-bridge | weave               # Kubernetes
    | virbr\d+ | lxcbr\d+ | lxdbr\d+ | incusbr\d+ | mpqemubr\d+ | vmbr-nat
    """,
    re.VERBOSE,
)


class EndpointFilterError(ValueError):
    """The entry is no part of an endpoint filter."""


@attrs.frozen
class FilterEntry:
    """A network of addresses to add, or to take away."""

    network: IpInterface
    is_negative: bool

    def matches(self, address: str) -> bool:
        """Whether the address is one of those."""
        return parse_address(address) in self.network.network


def parse_filter_entry(entry: str) -> FilterEntry:
    """An entry such as `10.0.0.0/8`, `10.0.0.1` or `!10.0.0.0/8`. Raises EndpointFilterError."""
    text = entry.removeprefix("!")
    network = ip_interface(text) if parse_ip(text) is not None else parse_cidr(text)
    if network is None:
        raise EndpointFilterError(
            f'{entry!r} is not an entry of an endpoint filter, write it like 10.0.0.0/8 or "!192.168.0.0/16"'
        )
    return FilterEntry(network, entry.startswith("!"))


def filter_endpoints(addresses: Sequence[str], entries: Iterable[str]) -> tuple[str, ...]:
    """The addresses that a filter leaves, in its order. Raises EndpointFilterError."""
    kept: dict[str, None] = {}
    for entry in map(parse_filter_entry, entries):
        matching = [address for address in addresses if entry.matches(address)]
        for address in matching:
            if entry.is_negative:
                kept.pop(address, None)
            else:
                kept.setdefault(address)
    return tuple(kept)


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


def is_container_bridge(name: str, link: LinkStatusSpec) -> bool:
    """Whether a link is a bridge that a container engine or a hypervisor made for its guests."""
    return link.kind == "bridge" and _CONTAINER_BRIDGE.fullmatch(name) is not None


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

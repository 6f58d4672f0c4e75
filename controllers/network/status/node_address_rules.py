"""Which addresses stand for the node, and in which order: pure rules.

Addresses are compared as `ipaddress` interfaces, an address with the length of its prefix. Both orders put IPv4 before
IPv6. v1 is by number, then prefix length. v2 puts what lies inside a prefix before the prefix itself, and otherwise
goes by number; since of two prefixes one holds the other or they are apart, that is the order of their last addresses,
the longer prefix first where these are equal.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network

import attrs

from nodespan.resources.network import (
    EXTERNAL_LINK,
    AddressSortAlgorithm,
    AddressStatusSpec,
    HardwareAddrSpec,
    LinkStatusSpec,
    NodeAddressFilterSpec,
    OperationalState,
    Scope,
)

_Interface = IPv4Interface | IPv6Interface
_SIDEROLINK_PURPOSE = 3


# Bridges that container engines and hypervisors make for their guests have the same address on every machine.
_CONTAINER_BRIDGE = re.compile(
    r"""
      docker\d+ | docker_gwbridge | br-[0-9a-f]{12}      # Docker
    | podman\d+ | cni-podman\d+ | nerdctl\d+              # Podman, containerd
    | cni\d+ | cbr\d+ | kube-bridge | weave               # Kubernetes
    | virbr\d+ | lxcbr\d+ | lxdbr\d+ | incusbr\d+ | mpqemubr\d+ | vmbr-nat
    """,
    re.VERBOSE,
)


# What the network plugins of Kubernetes, and its proxy, hang addresses of pods and services on beside bridges.
_POD_LINK = re.compile(
    r"""
      flannel(?:-v6)?\.\d+ | vxlan(?:-v6)?\.calico | wireguard(?:-v6)?\.cali | cilium_(?:host|net|vxlan|geneve)
    | antrea-gw\d+ | ovn-k8s-mp\d+ | kube-ipvs\d+ | kube-dummy-if | nodelocaldns
    """,
    re.VERBOSE,
)


def is_container_bridge(name: str, link: LinkStatusSpec) -> bool:
    """Whether a container engine, a hypervisor or Kubernetes made this link for its guests: mostly a bridge."""
    return (link.kind == "bridge" and _CONTAINER_BRIDGE.fullmatch(name) is not None) or (
        bool(link.kind) and _POD_LINK.fullmatch(name) is not None
    )


def container_addresses(
    addresses: Iterable[AddressStatusSpec], links: Mapping[str, LinkStatusSpec]
) -> tuple[frozenset[str], frozenset[str]]:
    """The CIDRs of the node on such links, and those on all others. What it has on both is the node's own."""
    bridges = {name for name, link in links.items() if is_container_bridge(name, link)}
    container: set[str] = set()
    own: set[str] = set()
    for status in addresses:
        (container if status.link_name in bridges else own).add(own_address(status))
    return frozenset(container - own), frozenset(own)


@attrs.frozen
class LinkAddress:
    """An address of this node, and the link it is on."""

    link_name: str
    address: str


@lru_cache(maxsize=8192)
def sort_key(address: str, algorithm: AddressSortAlgorithm) -> tuple[int, ...]:
    """The place of a CIDR in the order of the algorithm. Raises ValueError for anything else."""
    interface = ip_interface(address)
    length = interface.network.prefixlen
    if algorithm == AddressSortAlgorithm.V1:
        return (interface.version, int(interface.ip), length)
    return (interface.version, int(interface.network.broadcast_address), -length, int(interface.ip))


def sort_addresses(addresses: Iterable[str], algorithm: AddressSortAlgorithm) -> tuple[str, ...]:
    """The CIDRs in order, each once."""
    return tuple(sorted(set(addresses), key=lambda address: sort_key(address, algorithm)))


# What a container or a network namespace has in place of a NIC.
_GUEST_KINDS = ("veth", "macvlan", "macvtap", "ipvlan")


def first_hardware_address(links: Mapping[str, LinkStatusSpec]) -> HardwareAddrSpec | None:
    """The first NIC by name; where there is none, the first link that takes its place in a container.

    The originals know NICs only; in a container they have no address in the mesh.
    """
    named = {name: link for name, link in sorted(links.items()) if link.hardware_addr}
    bridges = {link.index for name, link in links.items() if is_container_bridge(name, link)}
    nics = [name for name, link in named.items() if link.physical]
    # The host's end of the pair of a nested container comes and goes with it.
    guests = [
        name for name, link in named.items() if link.kind in _GUEST_KINDS and link.master_index not in bridges - {0}
    ]
    for name in (*nics, *guests):
        return HardwareAddrSpec(name=name, hardware_addr=named[name].hardware_addr)
    return None


def own_address(status: AddressStatusSpec) -> str:
    """This node's end as a CIDR: on a point-to-point link the status names the far end first."""
    if not status.local:
        return status.address
    return f"{status.local}/{status.address.rpartition('/')[2]}"


def reaches_others(status: AddressStatusSpec) -> bool:
    """Whether other nodes may reach the node at the address."""
    return status.scope.number < Scope.LINK.number and not _is_local(own_address(status))


# Each address is looked at in every turn, and parsing one takes more than all else.
@lru_cache(maxsize=8192)
def _is_local(cidr: str) -> bool:
    address = ip_interface(cidr).ip
    return address.is_loopback or address.is_multicast or address.is_link_local


def carries_traffic(link: LinkStatusSpec) -> bool:
    """Whether a link is up; one that does not know (lo, tunnels) counts as up, a NIC must have a carrier too."""
    state_allows = link.operational_state in (OperationalState.UP, OperationalState.UNKNOWN)
    return state_allows and (link.link_state or not link.physical)


def is_external(link_name: str, links: Mapping[str, LinkStatusSpec]) -> bool:
    """Whether addresses on a link of this name are the node's elsewhere, as those that a cloud translates for it.

    A link of the machine may be called so too; then its addresses are like those of any other.
    """
    return link_name == EXTERNAL_LINK and link_name not in links


def current_addresses(
    addresses: Iterable[AddressStatusSpec], links: Mapping[str, LinkStatusSpec]
) -> tuple[LinkAddress, ...]:
    """The addresses the node can be reached at now, in no order; also those that it has elsewhere."""
    return tuple(
        LinkAddress(status.link_name, own_address(status))
        for status in addresses
        if reaches_others(status)
        and (
            carries_traffic(links[status.link_name])
            if status.link_name in links
            else is_external(status.link_name, links)
        )
    )


def local_addresses(current: Iterable[LinkAddress], links: Mapping[str, LinkStatusSpec]) -> tuple[LinkAddress, ...]:
    """Those among the current ones that a link of the node has."""
    return tuple(each for each in current if not is_external(each.link_name, links))


def present_addresses(addresses: Iterable[AddressStatusSpec]) -> tuple[str, ...]:
    """The addresses that others may know the node by, also those of links that carry nothing now, in no order."""
    return tuple(own_address(status) for status in addresses if reaches_others(status))


def is_siderolink(address: str) -> bool:
    """Whether it is a unique local address that was derived for the management tunnel."""
    packed = ip_interface(address).ip.packed
    return len(packed) == 16 and packed[0] == 0xFD and packed[7] == _SIDEROLINK_PURPOSE


def routed_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those that are part of the network's routing."""
    return tuple(address for address in addresses if not is_siderolink(address))


def default_address(
    current: Collection[LinkAddress],
    algorithm: AddressSortAlgorithm,
    previous: str | None,
    links: Mapping[str, LinkStatusSpec],
    outside: NodeAddressFilterSpec | None = None,
) -> str | None:
    """The one address that stands for the node: the previous one while the node has it, else the first by link name.

    Never one of a container bridge, and one of a link that has only addresses of pods and services, which `outside`
    does not keep, if there is no other. `previous` is None if there was none, or it was chosen by another algorithm.
    """
    current = [
        each
        for each in current
        if each.link_name not in links or not is_container_bridge(each.link_name, links[each.link_name])
    ]
    if outside is not None:
        kept = filter_addresses([each.address for each in current], outside)
        nodes = {each.link_name for each in current if each.address in kept}
        current = [each for each in current if each.link_name in nodes] or current
    if any(candidate.address == previous for candidate in current):
        return previous
    first = min(current, key=lambda found: (found.link_name, sort_key(found.address, algorithm)), default=None)
    return None if first is None else first.address


def filter_addresses(addresses: Sequence[str], rule: NodeAddressFilterSpec) -> tuple[str, ...]:
    """The addresses, in the same order, that lie in an included subnet (or none is named) and in no excluded one."""
    included = [ip_network(subnet) for subnet in rule.include_subnets]
    excluded = [ip_network(subnet) for subnet in rule.exclude_subnets]

    def passes(address: str) -> bool:
        ip = ip_interface(address).ip
        return (not included or any(ip in subnet for subnet in included)) and not any(
            ip in subnet for subnet in excluded
        )

    return tuple(address for address in addresses if passes(address))

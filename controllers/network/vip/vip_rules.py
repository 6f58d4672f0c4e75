"""Whether a node may stand for the election of a virtual IP, its problems, and its address. Pure."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from urllib.parse import urlsplit

import attrs

from nodespan.etcd import LeaderRecord
from nodespan.resources.config.nodespan import EtcdSettings
from nodespan.resources.network import (
    AddressFlags,
    AddressSpecSpec,
    AddressStatusSpec,
    ConfigLayer,
    Family,
    OperatorSpecSpec,
    VIPState,
)
from nodespan.resources.network.vip_condition import VIPConditionSpec


@attrs.frozen
class Hindrance:
    """What keeps a node from standing for election. It is a `problem` if only an operator can change it."""

    state: VIPState
    reason: str

    @property
    def problem(self) -> str:
        """The reason if an operator has to act, else ""."""
        return self.reason if self.state is VIPState.REFUSED else ""


def _refused(reason: str) -> Hindrance:
    return Hindrance(VIPState.REFUSED, reason)


def _waiting(reason: str) -> Hindrance:
    return Hindrance(VIPState.WAITING, reason)


def election_prefix(ip: str) -> str:
    """The prefix of the candidates' keys, as on Talos."""
    return f"talos:v1:vip:election:{ip_address(ip)}/"


def held_prefix(ip: str) -> str:
    """The address as it is put on the link: `192.0.2.10/32`."""
    address = ip_address(ip)
    return f"{address}/{address.max_prefixlen}"


def held_address(spec: OperatorSpecSpec, valid_until: float) -> AddressSpecSpec:
    """The address that the elected node has until that moment."""
    assert spec.vip is not None
    is_ipv6 = ip_address(spec.vip.ip).version == 6
    return AddressSpecSpec(
        address=held_prefix(spec.vip.ip),
        link_name=spec.link_name,
        family=Family.INET6 if is_ipv6 else Family.INET4,
        # Neighbours were probed before; duplicate address detection by the kernel would take another second.
        flags=AddressFlags.NODAD if is_ipv6 else AddressFlags(0),
        announce_with_arp=spec.vip.gratuitous_arp,
        valid_until=valid_until,
        layer=ConfigLayer.OPERATOR,
    )


def find_hindrance(
    spec: OperatorSpecSpec,
    etcd: EtcdSettings | None,
    hostname: str,
    addresses: Iterable[AddressStatusSpec],
    conditions: Mapping[str, VIPConditionSpec],
    *,
    is_held: bool,
) -> Hindrance | None:
    """What keeps the node from standing, the most basic reason first; None if nothing does.

    `etcd` are the settings, None while there is no configuration; `addresses` are those of the node, `conditions`
    are by name. `is_held`: the virtual IP is on the link because this node was elected.
    """
    assert spec.vip is not None
    ip = ip_address(spec.vip.ip)
    known = tuple(addresses)
    if etcd is None:
        return _waiting("there is no configuration yet")
    return (
        _of_etcd(ip, etcd)
        # A cloud routes its addresses to the node, whatever networks the link has.
        or (None if spec.vip.is_of_cloud else _of_networks(ip, spec.link_name, known))
        or _of_others(ip, spec.link_name, known, is_held=is_held)
        or (None if hostname else _waiting("this node has no hostname yet"))
        or _of_conditions(conditions)
    )


def _of_etcd(ip: IPv4Address | IPv6Address, etcd: EtcdSettings) -> Hindrance | None:
    if not etcd.endpoints:
        return _refused(
            "no etcd endpoints are configured, and without etcd no node can be elected: "
            "add `etcd: {endpoints: [...]}` to the NodespanConfig document"
        )
    for endpoint in etcd.endpoints:
        if _is_host(urlsplit(endpoint).hostname, ip):
            return _refused(
                f"the etcd endpoint {endpoint} is the virtual IP itself, which no node has before etcd is reached: "
                "name the members by their own addresses"
            )
    return None


def _is_host(host: str | None, ip: IPv4Address | IPv6Address) -> bool:
    try:
        return host is not None and ip_address(host) == ip
    except ValueError:
        return False


def _of_networks(
    ip: IPv4Address | IPv6Address, link_name: str, addresses: Iterable[AddressStatusSpec]
) -> Hindrance | None:
    interfaces = (ip_interface(each.address) for each in addresses if each.link_name == link_name)
    networks = {
        interface.network
        for interface in interfaces
        if interface.version == ip.version
        and interface.network.prefixlen < ip.max_prefixlen
        and (not interface.is_link_local or ip.is_link_local)
    }
    if any(ip in network for network in networks):
        return None
    if not networks:
        return _waiting(f"{link_name} has no IPv{ip.version} network yet")
    names = ", ".join(sorted(map(str, networks)))
    return _refused(
        f"{ip} is in none of the networks of {link_name} ({names}): its neighbours there would not look for it; "
        "choose an address of theirs that nothing else uses"
    )


def _of_others(
    ip: IPv4Address | IPv6Address, link_name: str, addresses: Iterable[AddressStatusSpec], *, is_held: bool
) -> Hindrance | None:
    for each in addresses:
        if ip_address(_bare(each)) != ip:
            continue
        if each.link_name != link_name or AddressFlags.PERMANENT in each.flags or not is_as_held(each, str(ip)):
            return _refused(
                f"{each.link_name} has the address {each.address} already, and not by election: "
                "take it away there, or choose another virtual IP"
            )
        # Kernels before 5.18 do not show who added it.
        if not each.fenced and not is_held:
            return _waiting(f"{link_name} still has the address {each.address}, for a limited time")
    return None


def _bare(address: AddressStatusSpec) -> str:
    return address.local or address.address.partition("/")[0]


def is_as_held(address: AddressStatusSpec, ip: str) -> bool:
    """Whether an address of the right link is as an agent puts the virtual IP there: this agent, or one before it."""
    return AddressFlags.PERMANENT not in address.flags and address.address == held_prefix(ip)


def _of_conditions(conditions: Mapping[str, VIPConditionSpec]) -> Hindrance | None:
    unfulfilled = [
        f"{name}: {condition.reason}" if condition.reason else name
        for name, condition in conditions.items()
        if not condition.ok
    ]
    return _waiting(f"waits for {'; '.join(unfulfilled)}") if unfulfilled else None


def namesake(candidates: Iterable[LeaderRecord], hostname: str, own_leases: frozenset[int]) -> str:
    """The problem if another node stands for election under the same hostname, "" if none does."""
    for candidate in candidates:
        if candidate.value == hostname and candidate.lease not in own_leases:
            return (
                f"another node has the hostname {hostname} too (lease {candidate.lease:x} at etcd), so the "
                "leader cannot be distinguished from the other: give each node a name of its own"
            )
    return ""

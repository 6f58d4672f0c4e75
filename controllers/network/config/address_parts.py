"""The addresses that devices and documents of the configuration request."""

import ipaddress
from collections.abc import Iterable, Iterator

from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.controllers.network.config.derived_outputs import Requested
from nodespan.kernel.prefixes import parse_address
from nodespan.resources.config.device import Device
from nodespan.resources.config.links import LinkSettings, VethConfig
from nodespan.resources.network import AddressFlags, AddressSpecSpec, ConfigLayer, Family, Scope, address_id, layered_id

_LAYER = ConfigLayer.CONFIGURATION
_IPV6_SIZE = 16
# Link, address as written, metric of its routes, and whether the prefix length may be missing.
_Written = tuple[str, str, int, bool]


def requested_addresses(part: object) -> Requested[AddressSpecSpec]:
    """The addresses of a part; an invalid one is a problem, and the others are kept."""
    requests: list[tuple[str, AddressSpecSpec]] = []
    problems: list[tuple[str, str]] = []
    for link_name, text, priority, may_be_bare in _written(part):
        try:
            spec = address_spec(link_name, text, priority=priority, may_be_bare=may_be_bare)
        except ValueError as error:
            problems.append((layered_id(_LAYER, address_id(link_name, text)), str(error)))
        else:
            requests.append((layered_id(_LAYER, address_id(link_name, spec.address)), spec))
    return Requested(outputs=tuple(requests), problems=tuple(problems))


def address_spec(link_name: str, text: str, *, priority: int = 0, may_be_bare: bool = False) -> AddressSpecSpec:
    """The spec of one address as it is written. Raises ValueError."""
    if "/" not in text:
        if not may_be_bare:
            raise ValueError(f"the address {text!r} has no prefix length, write it like 10.0.0.5/24")
        try:
            text = f"{text}/{ipaddress.ip_address(text).max_prefixlen}"
        except ValueError:
            raise ValueError(f"{text!r} is not an IP address") from None
    prefix = parse_address(text)
    family = Family.INET6 if len(prefix.packed) == _IPV6_SIZE else Family.INET4
    return AddressSpecSpec(
        address=prefix.text,
        link_name=link_name,
        family=family,
        scope=Scope.GLOBAL,
        flags=AddressFlags.PERMANENT,
        priority=priority,
        layer=_LAYER,
    )


def loopback_address() -> AddressSpecSpec:
    """The default address of lo."""
    return AddressSpecSpec(address="127.0.0.1/8", link_name="lo", family=Family.INET4, scope=Scope.HOST)


def _written(part: object) -> Iterator[_Written]:
    match part:
        case Device():
            yield from _on(part.interface, (*part.addresses, part.cidr), may_be_bare=True)
            for vlan in part.vlans:
                name = vlan_link_name(part.interface, vlan.vlan_id)
                yield from _on(name, (*vlan.addresses, vlan.cidr), may_be_bare=False)
        case LinkSettings():
            for address in part.addresses:
                yield part.name, address.address, address.route_priority, False
            if isinstance(part, VethConfig):
                yield from _written(part.peer)


def _on(link_name: str, texts: Iterable[str], *, may_be_bare: bool) -> Iterator[_Written]:
    for text in filter(None, texts):
        yield link_name, text, 0, may_be_bare

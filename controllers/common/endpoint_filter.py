"""Filters of endpoints: what this node announces, and what it tries of others.

A filter starts with nothing and takes its entries in their order. A network adds the addresses in it that are not there
yet, one with a `!` in front takes those in it away again. Hence the entries also say which addresses come first, and a
`!` has an effect only behind what it takes away from.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_interface

import attrs

from nodespan.controllers.common.ip.notation import IpInterface, parse_cidr, parse_ip
from nodespan.resources.addresses import parse_address


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

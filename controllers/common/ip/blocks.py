"""Sets of IP addresses as sorted ranges of numbers: union, difference, and the fewest prefixes that cover them.

A set holds both families, apart. All operations take time proportional to the ranges of their operands.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

import attrs

from nodespan.controllers.common.ip.ranges import Range, subtract, union

Network = IPv4Network | IPv6Network
# A network in numbers: version, first address, prefix length.
Block = tuple[int, int, int]


def parse_network(text: str) -> Network:
    """A network or an address, host bits dropped. Raises ValueError."""
    return ip_network(text, strict=False)


@attrs.frozen
class IPSet:
    """Addresses of both families; the ranges are sorted and neither overlap nor touch."""

    v4: tuple[Range, ...] = ()
    v6: tuple[Range, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[Network]) -> "IPSet":
        """The union of networks."""
        ranges: dict[int, list[Range]] = {4: [], 6: []}
        for network in networks:
            first = int(network.network_address)
            ranges[network.version].append((first, first + network.num_addresses - 1))
        return cls(union(ranges[4]), union(ranges[6]))

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def __or__(self, other: "IPSet") -> "IPSet":
        return IPSet(union((*self.v4, *other.v4)), union((*self.v6, *other.v6)))

    def __sub__(self, other: "IPSet") -> "IPSet":
        return IPSet(subtract(self.v4, other.v4), subtract(self.v6, other.v6))

    def has(self, version: int, address: int) -> bool:
        """Whether an address, as a number, is in the set."""
        return any(first <= address <= last for first, last in (self.v4 if version == 4 else self.v6))

    def overlaps(self, other: "IPSet") -> bool:
        """Whether the sets have an address in common."""
        return _meet(self.v4, other.v4) or _meet(self.v6, other.v6)

    def blocks(self) -> tuple[Block, ...]:
        """The fewest networks that cover the set, as numbers: IPv4 first, ascending."""
        v4 = [(4, first, 32 - size) for first, size in _blocks(self.v4, 32)]
        v6 = [(6, first, 128 - size) for first, size in _blocks(self.v6, 128)]
        return (*v4, *v6)

    def prefixes(self) -> tuple[Network, ...]:
        """The same as networks."""
        return tuple(
            IPv4Network((first, length)) if version == 4 else IPv6Network((first, length))
            for version, first, length in self.blocks()
        )


def _meet(left: tuple[Range, ...], right: tuple[Range, ...]) -> bool:
    return any(a_first <= b_last and b_first <= a_last for a_first, a_last in left for b_first, b_last in right)


def _blocks(ranges: tuple[Range, ...], bits: int) -> Iterator[tuple[int, int]]:
    """Aligned blocks that make up the ranges: first address, and the number of host bits."""
    for first, last in ranges:
        at = first
        while at <= last:
            aligned = (at & -at).bit_length() - 1 if at else bits
            fitting = (last - at + 1).bit_length() - 1
            size = min(aligned, fitting)
            yield at, size
            at += 1 << size

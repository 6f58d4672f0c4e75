"""Sets of IP addresses as sorted ranges of numbers: union, difference, and the fewest prefixes that cover them.

A set holds both families, apart. All operations take time proportional to the ranges of their operands.
"""

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

import attrs

from nodespan.controllers.common.ip.ranges import BITS, Range, subtract, union

Network = IPv4Network | IPv6Network
# A network in numbers: version, first address, prefix length.
Block = tuple[int, int, int]


def parse_network(text: str) -> Network:
    """A network or an address, host bits dropped. Raises ValueError."""
    return ip_network(text, strict=False)


def _parse_range(text: str) -> tuple[int, Range]:
    """The version of a network or an address, and its first and last address. Raises ValueError.

    As `parse_network` reads it, and several times as fast for all but the rarest forms.
    """
    address, slash, length = text.partition("/")
    version, family = (6, socket.AF_INET6) if ":" in address else (4, socket.AF_INET)
    size = BITS[version]
    try:
        number = int.from_bytes(socket.inet_pton(family, address))
        plain = not slash or (len(length) <= 3 and length.isascii() and length.isdecimal() and int(length) <= size)
    except (OSError, ValueError):
        plain = False
    if not plain:
        network = parse_network(text)
        first = int(network.network_address)
        return network.version, (first, first + network.num_addresses - 1)
    hosts = (1 << size - int(length)) - 1 if slash else 0
    return version, (number & ~hosts, number | hosts)


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

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "IPSet":
        """The union of networks and addresses in their text form. Raises ValueError."""
        ranges: dict[int, list[Range]] = {4: [], 6: []}
        for text in texts:
            version, found = _parse_range(text)
            ranges[version].append(found)
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

    def texts(self) -> tuple[str, ...]:
        """The same in their text form."""
        return tuple(_text(*block) for block in self.blocks())


def _text(version: int, first: int, length: int) -> str:
    """As `str` of a network has it."""
    if version == 4:
        return f"{socket.inet_ntop(socket.AF_INET, first.to_bytes(4))}/{length}"
    if first >> 32 in (0, 0xFFFF):  # which the C library writes as dotted numbers
        return str(IPv6Network((first, length)))
    return f"{socket.inet_ntop(socket.AF_INET6, first.to_bytes(16))}/{length}"


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

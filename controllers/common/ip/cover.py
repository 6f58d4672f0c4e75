"""The elements of an interval set with many owners: its intervals must not overlap, the owners' prefixes may.

An element is a prefix that no other prefix contains. One that is contained in another takes its place when
that is removed. A change costs what it touches.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import NamedTuple

from nodespan.controllers.common.ip.prefix_map import PrefixMap
from nodespan.controllers.common.ip.ranges import BITS


class PrefixKey(NamedTuple):
    """A prefix in the order of sets: by family and address, the wider one first. A `Block` with names."""

    version: int
    first: int
    length: int

    @property
    def last(self) -> int:
        """The highest address in it."""
        return self.first | (1 << (BITS[self.version] - self.length)) - 1

    @property
    def address(self) -> str:
        """The lowest address in it."""
        return str(IPv4Address(self.first) if self.version == 4 else IPv6Address(self.first))

    @property
    def is_address(self) -> bool:
        """Whether it is one address only."""
        return self.length == BITS[self.version]

    def within(self, other: "PrefixKey") -> bool:
        """Whether the other one contains this one."""
        return self.version == other.version and other.first <= self.first and self.last <= other.last


def prefix_key(text: str) -> PrefixKey:
    """Of `10.0.0.0/8` or `10.0.0.1`; host bits are ignored. Raises ValueError."""
    network = ip_network(text, strict=False)
    return PrefixKey(network.version, int(network.network_address), network.prefixlen)


class PrefixCover:
    """Prefixes by owner, and the elements that cover them."""

    def __init__(self) -> None:
        self._owned: dict[str, frozenset[PrefixKey]] = {}
        # How many owners each prefix has.
        self._owners: PrefixMap[int] = PrefixMap()
        self._elements: set[PrefixKey] = set()
        self._touched: set[PrefixKey] = set()

    @property
    def elements(self) -> "frozenset[PrefixKey] | set[PrefixKey]":
        """All elements; read-only."""
        return self._elements

    def put(self, owner: str, prefixes: Iterable[PrefixKey]) -> None:
        """Set the prefixes of an owner; none removes the owner."""
        after = frozenset(prefixes)
        before = self._owned.pop(owner, frozenset())
        if after:
            self._owned[owner] = after
        for prefix in after - before:
            owners = self._owners.get(prefix)
            self._owners[prefix] = 1 + (owners or 0)
            if owners is None:
                self._added(prefix)
        for prefix in before - after:
            owners = self._owners[prefix]
            if owners > 1:
                self._owners[prefix] = owners - 1
            else:
                del self._owners[prefix]
                self._removed(prefix)

    def take(self) -> frozenset[PrefixKey]:
        """The elements added and removed since the last call; a prefix may be in both."""
        touched = frozenset(self._touched)
        self._touched.clear()
        return touched

    def __bool__(self) -> bool:
        return bool(self._owned)

    def _added(self, prefix: PrefixKey) -> None:
        if any(True for _ in self._owners.containing(prefix)):
            return
        inside = self._elements.intersection(self._owners.within(prefix))
        self._elements -= inside
        self._elements.add(prefix)
        self._touched.update(inside, (prefix,))

    def _removed(self, prefix: PrefixKey) -> None:
        if prefix not in self._elements:
            return
        self._elements.discard(prefix)
        self._touched.add(prefix)
        last: PrefixKey | None = None
        for other in map(PrefixKey._make, self._owners.within(prefix)):
            if last is None or not other.within(last):
                last = other
                self._elements.add(other)
                self._touched.add(other)

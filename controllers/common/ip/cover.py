"""The elements of an interval set with many owners: its intervals must not overlap, the owners' prefixes may.

An element is a prefix that no other prefix contains. One that is contained in another takes its place when
that is removed. A change costs what it touches: prefixes are sorted, so those within another follow it.
"""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network

import attrs

_BITS = {4: 32, 6: 128}


@attrs.frozen(order=True)
class PrefixKey:
    """A prefix in the order of sets: by family and address, the wider one first."""

    version: int
    first: int
    length: int

    @property
    def last(self) -> int:
        """The highest address in it."""
        return self.first | (1 << (_BITS[self.version] - self.length)) - 1

    @property
    def address(self) -> str:
        """The lowest address in it."""
        return str(IPv4Address(self.first) if self.version == 4 else IPv6Address(self.first))

    @property
    def is_address(self) -> bool:
        """Whether it is one address only."""
        return self.length == _BITS[self.version]

    def within(self, other: "PrefixKey") -> bool:
        """Whether the other one contains this one."""
        return self.version == other.version and other.first <= self.first and self.last <= other.last

    def widened(self, length: int) -> "PrefixKey":
        """The prefix of a lesser length that contains this one."""
        shift = _BITS[self.version] - length
        return PrefixKey(self.version, self.first >> shift << shift, length)


def prefix_key(text: str) -> PrefixKey:
    """Of `10.0.0.0/8` or `10.0.0.1`; host bits are ignored. Raises ValueError."""
    network = ip_network(text, strict=False)
    return PrefixKey(network.version, int(network.network_address), network.prefixlen)


class PrefixCover:
    """Prefixes by owner, and the elements that they come to."""

    def __init__(self) -> None:
        self._owned: dict[str, frozenset[PrefixKey]] = {}
        self._owners: Counter[PrefixKey] = Counter()
        self._sorted: list[PrefixKey] = []
        self._lengths: defaultdict[int, Counter[int]] = defaultdict(Counter)
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
            self._owners[prefix] += 1
            if self._owners[prefix] == 1:
                self._add(prefix)
        for prefix in before - after:
            self._owners[prefix] -= 1
            if not self._owners[prefix]:
                del self._owners[prefix]
                self._remove(prefix)

    def take(self) -> frozenset[PrefixKey]:
        """The elements added and removed since the last call; a prefix may be in both."""
        touched = frozenset(self._touched)
        self._touched.clear()
        return touched

    def __bool__(self) -> bool:
        return bool(self._owned)

    def _add(self, prefix: PrefixKey) -> None:
        covered = self._is_covered(prefix)
        inside = [] if covered else [other for other in self._inside(prefix) if other in self._elements]
        insort(self._sorted, prefix)
        self._lengths[prefix.version][prefix.length] += 1
        if covered:
            return
        self._elements.difference_update(inside)
        self._elements.add(prefix)
        self._touched.update(inside, (prefix,))

    def _remove(self, prefix: PrefixKey) -> None:
        del self._sorted[bisect_left(self._sorted, prefix)]
        lengths = self._lengths[prefix.version]
        lengths[prefix.length] -= 1
        if not lengths[prefix.length]:
            del lengths[prefix.length]
        if prefix not in self._elements:
            return
        self._elements.discard(prefix)
        self._touched.add(prefix)
        last: PrefixKey | None = None
        for other in self._inside(prefix):
            if last is None or not other.within(last):
                last = other
                self._elements.add(other)
                self._touched.add(other)

    def _is_covered(self, prefix: PrefixKey) -> bool:
        lengths = self._lengths[prefix.version]
        return any(length < prefix.length and self._owners[prefix.widened(length)] > 0 for length in lengths)

    def _inside(self, prefix: PrefixKey) -> Iterable[PrefixKey]:
        """The prefixes within this one, itself left out, in order."""
        position = bisect_left(self._sorted, prefix)
        found = []
        while position < len(self._sorted) and self._sorted[position].within(prefix):
            if self._sorted[position] != prefix:
                found.append(self._sorted[position])
            position += 1
        return found

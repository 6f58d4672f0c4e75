"""Finds the holders of addresses that overlap a given set, without visiting the others.

Kept per family: for each prefix length in use, the networks of that length and who holds them, and all networks in the
order of their first address. The networks that contain a prefix cost one lookup per length in use; those within it are
consecutive in the sorted list.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from nodespan.controllers.common.ip.blocks import Block

H = TypeVar("H", bound=Hashable)
# First address and prefix length.
_Prefix = tuple[int, int]


class _Family(Generic[H]):
    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._holders: dict[_Prefix, set[H]] = {}
        self._sorted: list[_Prefix] = []
        self._lengths: defaultdict[int, int] = defaultdict(int)

    def add(self, prefix: _Prefix, holder: H) -> None:
        holders = self._holders.get(prefix)
        if holders is None:
            self._holders[prefix] = {holder}
            insort(self._sorted, prefix)
            self._lengths[prefix[1]] += 1
        else:
            holders.add(holder)

    def discard(self, prefix: _Prefix, holder: H) -> None:
        holders = self._holders[prefix]
        holders.discard(holder)
        if not holders:
            del self._holders[prefix]
            del self._sorted[bisect_left(self._sorted, prefix)]
            self._lengths[prefix[1]] -= 1
            if not self._lengths[prefix[1]]:
                del self._lengths[prefix[1]]

    def overlapping(self, prefix: _Prefix) -> set[H]:
        first, length = prefix
        found: set[H] = set()
        for shorter in self._lengths:
            if shorter < length:
                host_bits = self._bits - shorter
                found |= self._holders.get((first >> host_bits << host_bits, shorter), set())
        end = first + (1 << (self._bits - length))
        at = bisect_left(self._sorted, (first, length))
        while at < len(self._sorted) and self._sorted[at][0] < end:
            found |= self._holders[self._sorted[at]]
            at += 1
        return found


class PrefixIndex(Generic[H]):
    """Networks and their holders; a network may have several, and a holder many networks."""

    def __init__(self) -> None:
        self._families: dict[int, _Family[H]] = {4: _Family(32), 6: _Family(128)}
        self._held: dict[H, frozenset[Block]] = {}

    def assign(self, holder: H, networks: Iterable[Block]) -> None:
        """Set the networks of a holder; none removes the holder."""
        after = frozenset(networks)
        before = self._held.pop(holder, frozenset())
        if after:
            self._held[holder] = after
        for version, first, length in before - after:
            self._families[version].discard((first, length), holder)
        for version, first, length in after - before:
            self._families[version].add((first, length), holder)

    def overlapping(self, networks: Iterable[Block]) -> set[H]:
        """The holders of any address in these networks."""
        found: set[H] = set()
        for version, first, length in networks:
            found |= self._families[version].overlapping((first, length))
        return found

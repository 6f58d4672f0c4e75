"""A map from prefixes to values that finds, for any prefix, the keys that contain it and those within it.

The prefixes that contain a given one cost a lookup per prefix length in use. Those within it are consecutive in the
order of keys, so they cost what is found.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

from nodespan.controllers.common.ip.blocks import Block
from nodespan.controllers.common.ip.ranges import BITS

V = TypeVar("V")


class PrefixMap(Generic[V]):
    """Both families in one. Do not change it while iterating over `containing`."""

    def __init__(self) -> None:
        self._values: dict[Block, V] = {}
        self._sorted: list[Block] = []
        # Per family, how many keys have each length.
        self._lengths: dict[int, Counter[int]] = {4: Counter(), 6: Counter()}

    def __getitem__(self, prefix: Block) -> V:
        return self._values[prefix]

    def get(self, prefix: Block) -> V | None:
        """The value of a prefix, None for none."""
        return self._values.get(prefix)

    def __setitem__(self, prefix: Block, value: V) -> None:
        if prefix not in self._values:
            insort(self._sorted, prefix)
            self._lengths[prefix[0]][prefix[2]] += 1
        self._values[prefix] = value

    def __delitem__(self, prefix: Block) -> None:
        del self._values[prefix]
        del self._sorted[bisect_left(self._sorted, prefix)]
        lengths = self._lengths[prefix[0]]
        lengths[prefix[2]] -= 1
        if not lengths[prefix[2]]:
            del lengths[prefix[2]]

    def containing(self, prefix: Block) -> Iterator[Block]:
        """The shorter prefixes that contain this one, in no order."""
        version, first, length = prefix
        for shorter in self._lengths[version]:
            if shorter < length:
                host_bits = BITS[version] - shorter
                found = (version, first >> host_bits << host_bits, shorter)
                if found in self._values:
                    yield found

    def within(self, prefix: Block) -> list[Block]:
        """The prefixes that this one contains, itself included, in order."""
        version, first, length = prefix
        begin = bisect_left(self._sorted, prefix)
        end = (version, first + (1 << (BITS[version] - length)), -1)
        return self._sorted[begin : bisect_left(self._sorted, end, begin)]

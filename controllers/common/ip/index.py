"""Finds the holders of addresses that overlap a given set, without visiting the others."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from nodespan.controllers.common.ip.blocks import Block
from nodespan.controllers.common.ip.prefix_map import PrefixMap

H = TypeVar("H", bound=Hashable)


class PrefixIndex(Generic[H]):
    """Networks and their holders; a network may have several, and a holder many networks."""

    def __init__(self) -> None:
        self._holders: PrefixMap[set[H]] = PrefixMap()
        self._held: dict[H, frozenset[Block]] = {}

    def assign(self, holder: H, networks: Iterable[Block]) -> None:
        """Set the networks of a holder; none removes the holder."""
        after = frozenset(networks)
        before = self._held.pop(holder, frozenset())
        if after:
            self._held[holder] = after
        for network in before - after:
            holders = self._holders[network]
            holders.discard(holder)
            if not holders:
                del self._holders[network]
        for network in after - before:
            known = self._holders.get(network)
            if known is None:
                self._holders[network] = {holder}
            else:
                known.add(holder)

    def overlapping(self, networks: Iterable[Block]) -> set[H]:
        """The holders of any address in these networks."""
        found: set[H] = set()
        for network in networks:
            for other in self._holders.containing(network):
                found |= self._holders[other]
            for other in self._holders.within(network):
                found |= self._holders[other]
        return found

"""Which peer of a link gets a network that several of its peers allow: WireGuard routes each network to one of them.

The peer of the highest rank gets it. Peers of the link's own spec rank by their position, so the last one wins, as with
`wg setconf`; peers of resources rank above them, by their public keys. So the owner depends on the desired peers alone,
and not on the order in which they came. Networks of different lengths are different networks.
"""

from collections.abc import Iterable, Mapping

# (0, position, "") in the link's own spec, (1, 0, public key) of a resource.
Rank = tuple[int, int, str]


class AllowedNetworks:
    """The networks that the peers of one link allow. A change costs what the peer's own networks cost."""

    def __init__(self) -> None:
        self._allowed: dict[str, tuple[str, ...]] = {}
        self._ranks: dict[str, Rank] = {}
        # By network, those that allow it; the last one gets it.
        self._candidates: dict[str, list[str]] = {}

    def assign(self, key: str, rank: Rank, networks: Iterable[str]) -> frozenset[str]:
        """The peer allows these networks from now on. Returns the other peers whose networks may differ from before."""
        new = tuple(networks)
        before = self._allowed.pop(key, ())
        concerned: set[str] = set()
        for network in before:
            found = self._candidates[network]
            found.remove(key)
            concerned.update(found[-1:])
            if not found:
                del self._candidates[network]
        self._ranks.pop(key, None)
        if new:
            self._allowed[key] = new
            self._ranks[key] = rank
        for network in new:
            found = self._candidates.setdefault(network, [])
            concerned.update(found[-1:])
            found.append(key)
            found.sort(key=self._ranks.__getitem__)
        return frozenset(concerned - {key})

    def granted(self, key: str) -> tuple[str, ...]:
        """The networks that the peer gets, in its own order."""
        return tuple(network for network in self._allowed.get(key, ()) if self._candidates[network][-1] == key)

    def lost(self, key: str) -> Mapping[str, str]:
        """The networks that the peer allows but does not get, each with the key of the peer that does."""
        owners = {network: self._candidates[network][-1] for network in self._allowed.get(key, ())}
        return {network: owner for network, owner in owners.items() if owner != key}

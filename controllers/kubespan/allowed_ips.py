"""What is routed to which peer: the allowed IPs of all peers, without overlap, kept up to date one affiliate at a time.

Each affiliate claims a set of addresses: those of the node and those it advertises, without the networks that it
excludes, and its address in the mesh, which cannot be excluded. Affiliates are ranked by their id, bytewise; where
claims overlap, the lower id keeps the addresses and the other one loses them. If several affiliates carry one public
key, the peer is what the highest of their ids makes of it. A peer that the configuration names has a claim of its own,
beside that of a member with its key: the peer is granted what either is granted.

A change of one affiliate therefore concerns itself and those of higher rank that its old or its new claim overlaps;
they are found through an index, and no other affiliate is looked at.
"""

import heapq
from collections.abc import Iterable, Sequence

import attrs

from nodespan.controllers.common.ip.blocks import Block, IPSet
from nodespan.controllers.common.ip.index import PrefixIndex
from nodespan.controllers.kubespan.member_word import (
    NOTHING,
    RESERVED,
    believed_endpoints,
    believed_networks,
)
from nodespan.resources.cluster import AffiliateSpec
from nodespan.resources.kubespan import KubeSpanStaticPeer
from nodespan.runtime.text.escaping import bounded

# Whether the configuration names it, and its id.
_Rank = tuple[bool, bytes]


@attrs.frozen
class Claim:
    """The part of an affiliate that matters to routing."""

    public_key: str
    label: str
    address: str
    endpoints: tuple[str, ...]
    claimed: IPSet
    # Whether the configuration names it: it is added to what a member of the same key is granted.
    is_static: bool = False
    # The same for the index: made once, looked up often.
    blocks: tuple[Block, ...] = attrs.field(init=False, eq=False, repr=False)

    @blocks.default
    def _blocks(self) -> tuple[Block, ...]:
        return self.claimed.blocks()


@attrs.frozen
class Overlap:
    """An affiliate lost addresses to another one of lower id."""

    affiliate_id: str
    holder_id: str


@attrs.frozen
class Changes:
    """Public keys whose peer has to be checked again, and the overlaps found on the way."""

    keys: frozenset[str]
    overlaps: tuple[Overlap, ...]


def claim_of(
    affiliate: AffiliateSpec, *, accepted: IPSet = NOTHING, endpoint_filters: Sequence[str] | None = None
) -> Claim | None:
    """The claim of an affiliate as far as it is believed (`member_word`); None if it is no peer.

    Raises ValueError if an address of it cannot be read.
    """
    kubespan = affiliate.kubespan
    if kubespan is None or not kubespan.public_key:
        return None
    named = (*kubespan.additional_addresses, *affiliate.addresses)
    claimed = believed_networks(named, accepted)
    if kubespan.exclude_advertised_networks:
        claimed -= IPSet.parse(kubespan.exclude_advertised_networks)
    own = IPSet.parse([kubespan.address]) - RESERVED
    return Claim(
        public_key=kubespan.public_key,
        label=bounded(affiliate.nodename, 253),
        address=kubespan.address,
        endpoints=believed_endpoints(kubespan.endpoints, endpoint_filters),
        claimed=claimed | own,
    )


def static_claim(peer: KubeSpanStaticPeer) -> Claim:
    """The claim of a peer that the configuration names.

    It is the operator's own word, so networks may be as wide as they like.
    """
    claimed = IPSet.parse(peer.allowed_ips) | IPSet.parse([peer.address] if peer.address else []) - RESERVED
    return Claim(peer.public_key, peer.label, peer.address, peer.endpoints, claimed, is_static=True)


def _with_static(announced: Claim, static: Claim) -> Claim:
    """What a member announces, with what the configuration says of its key. A member knows its own address best."""
    return attrs.evolve(
        announced,
        label=static.label or announced.label,
        endpoints=tuple(dict.fromkeys((*static.endpoints, *announced.endpoints))),
        claimed=announced.claimed | static.claimed,
    )


class AllowedIPs:
    """The claims of all affiliates, and what each is granted."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._granted: dict[str, IPSet] = {}
        self._index: PrefixIndex[str] = PrefixIndex()
        # The affiliates that carry a public key, in the order of their ids.
        self._carriers: dict[str, tuple[str, ...]] = {}

    def assign(self, affiliate_id: str, claim: Claim | None) -> Changes:
        """Set the claim of an affiliate; None for none. Returns which peers may differ from before."""
        before = self._claims.get(affiliate_id)
        if before == claim:
            return Changes(frozenset(), ())
        keys = {held.public_key for held in (before, claim) if held is not None}
        todo: list[str] = []
        if before is not None:
            todo += self._higher(affiliate_id, before)
            self._forget(affiliate_id, before)
        if claim is not None:
            self._claims[affiliate_id] = claim
            self._index.assign(affiliate_id, claim.blocks)
            carriers = (*self._carriers.get(claim.public_key, ()), affiliate_id)
            self._carriers[claim.public_key] = tuple(sorted(carriers, key=self._rank))
            todo += self._higher(affiliate_id, claim)
            todo.append(affiliate_id)
        # Affiliates with the same key rank again too, and so do those that they overlap.
        for key in keys:
            for other in self._carriers.get(key, ()):
                if other != affiliate_id:
                    todo += [other, *self._higher(other, self._claims[other])]
        return self._recompute(todo, keys)

    def peer(self, public_key: str) -> tuple[Claim, IPSet] | None:
        """The claim that stands for a public key and what it is granted; None if no affiliate has the key."""
        standing: tuple[Claim, IPSet] | None = None
        for id in self._carriers.get(public_key, ()):
            claim, granted = self._claims[id], self._granted[id]
            if claim.is_static and standing is not None:
                standing = _with_static(standing[0], claim), standing[1] | granted
            else:
                standing = claim, granted
        return standing

    def affiliates(self) -> Iterable[str]:
        """The ids of all affiliates with a claim."""
        return self._claims.keys()

    def _forget(self, affiliate_id: str, claim: Claim) -> None:
        del self._claims[affiliate_id]
        self._granted.pop(affiliate_id, None)
        self._index.assign(affiliate_id, ())
        carriers = tuple(other for other in self._carriers[claim.public_key] if other != affiliate_id)
        if carriers:
            self._carriers[claim.public_key] = carriers
        else:
            del self._carriers[claim.public_key]

    def _higher(self, affiliate_id: str, claim: Claim) -> list[str]:
        """Those of higher rank with an overlapping claim."""
        rank = self._rank(affiliate_id)
        return [other for other in self._index.overlapping(claim.blocks) if self._rank(other) > rank]

    def _recompute(self, todo: Iterable[str], keys: set[str]) -> Changes:
        """Grant again in the order of rank; a change is passed on to those of higher rank."""
        queue = [(self._rank(id), id) for id in set(todo) if id in self._claims]
        heapq.heapify(queue)
        queued = {id for _, id in queue}
        overlaps: list[Overlap] = []
        while queue:
            _, id = heapq.heappop(queue)
            queued.discard(id)
            claim = self._claims[id]
            granted = claim.claimed
            for holder in self._holders_below(id, claim):
                if granted.overlaps(self._granted[holder]):
                    granted = granted - self._granted[holder]
                    overlaps.append(Overlap(id, holder))
            if self._granted.get(id) == granted:
                continue
            self._granted[id] = granted
            keys.add(claim.public_key)
            for other in self._higher(id, claim):
                if other not in queued:
                    queued.add(other)
                    heapq.heappush(queue, (self._rank(other), other))
        return Changes(frozenset(keys), tuple(overlaps))

    def _holders_below(self, affiliate_id: str, claim: Claim) -> list[str]:
        """Those of lower rank with an overlapping claim that stand for their key at this rank."""
        rank = self._rank(affiliate_id)
        below = [other for other in self._index.overlapping(claim.blocks) if self._rank(other) < rank]
        if claim.is_static:
            # What the member of its key is granted is no loss.
            below = [other for other in below if self._claims[other].public_key != claim.public_key]
        return [other for other in sorted(below, key=self._rank) if self._stands_below(other, rank)]

    def _stands_below(self, affiliate_id: str, rank: _Rank) -> bool:
        claim = self._claims[affiliate_id]
        if claim.is_static:
            return True
        announced = (id for id in reversed(self._carriers[claim.public_key]) if not self._claims[id].is_static)
        return next(other for other in announced if self._rank(other) < rank) == affiliate_id

    def _rank(self, affiliate_id: str) -> _Rank:
        """Peers of the configuration rank after all members: what is behind them takes no address from a member."""
        return self._claims[affiliate_id].is_static, affiliate_id.encode()

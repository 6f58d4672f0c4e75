"""The claims to one label: who has it, and by which labels the others are told apart.

The rules are in `member_naming`. Here the claims are kept in their order, so that one that comes, changes or goes costs
what it touches, however many there are: itself, the holder if that is another one then, and those whose digits begin
alike, for which label each of these has depends on the others.
"""

import bisect
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator

from nodespan.controllers.host.names.member_naming import Rank, first_digits, told_apart

# The rank of a claim, and the id that it is known by here.
_Place = tuple[Rank, str]


class LabelClaims:
    """All claims to a label, each by an id."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._order: list[_Place] = []
        self._ranks: dict[str, Rank] = {}
        # The ids by the digits that the node ids give at first.
        self._alike: defaultdict[str, set[str]] = defaultdict(set)
        self._chosen: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._order)

    @property
    def holder(self) -> str:
        """The id of the claim that has the label, "" if there is none."""
        return self._order[0][1] if self._order else ""

    def put(self, id: str, rank: Rank | None) -> set[str]:
        """A claim has this rank now, None for gone; returns the ids, its own too, whose labels may change."""
        holder = self.holder
        affected = {id}
        before = self._ranks.pop(id, None)
        if before is not None:
            del self._order[bisect.bisect_left(self._order, (before, id))]
            affected |= self._alike[first_digits(before[1])]
            self._alike[first_digits(before[1])].discard(id)
            if not self._alike[first_digits(before[1])]:
                del self._alike[first_digits(before[1])]
            self._chosen.pop(id, None)
        if rank is not None:
            bisect.insort(self._order, (rank, id))
            self._ranks[id] = rank
            self._alike[first_digits(rank[1])].add(id)
            affected |= self._alike[first_digits(rank[1])]
        if holder != self.holder:
            affected |= {each for each in (holder, self.holder) if each}
        return affected

    def with_alike(self, ids: Collection[str]) -> list[str]:
        """These claims and those whose digits begin alike, in the order in which labels are chosen."""
        ranks = (self._ranks[id] for id in ids if id in self._ranks)
        found = {each for rank in ranks for each in self._alike[first_digits(rank[1])]}
        return sorted(found, key=lambda each: (self._ranks[each], each))

    def choose(self, id: str, is_claimed: Callable[[str], bool]) -> tuple[str, tuple[str, ...]]:
        """The label of a claim, "" for none, and the labels that were tried for it, of which the last one is that.

        `is_claimed` says of other labels whether a member claims them. Those before it in the order have chosen.
        """
        rank = self._ranks[id]
        if id == self.holder:
            self._chosen[id] = self.label
            return self.label, ()
        before = {
            self._chosen.get(other, "")
            for other in self._alike[first_digits(rank[1])]
            if (self._ranks[other], other) < (rank, id)
        }
        tried: list[str] = []
        chosen = ""
        for text in told_apart(self.label, rank[1]):
            tried.append(text)
            if text != self.label and text not in before and not is_claimed(text):
                chosen = text
                break
        self._chosen[id] = chosen
        return chosen, tuple(tried)

    def named(self) -> Iterator[tuple[str, str]]:
        """The node id and the label of each claim that has one, in their order."""
        for (_, node_id), id in self._order:
            if label := self._chosen.get(id, ""):
                yield node_id, label

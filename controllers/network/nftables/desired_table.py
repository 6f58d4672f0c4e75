"""What the agent's table of the packet filter should hold, and what is known of what it holds.

Elements of a set have many owners; what changed since the last document is kept by set. After a restart the chains and
elements are known again only one after the other, so what the table held before stays for a while (`STALE_AFTER`).
What the table has of chains is known, too, once it was compared, so that one that changes is sent without listing it.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import attrs
import trio

from nodespan.controllers.common.ip.cover import PrefixCover, PrefixKey, prefix_key
from nodespan.controllers.common.problems import Problems
from nodespan.controllers.network.nftables.document import SeenTable
from nodespan.controllers.network.nftables.render import (
    VERSIONS,
    RenderedChain,
    kernel_set,
    owner_of_part,
    render,
    rendering,
)
from nodespan.controllers.network.nftables.retries import LastingRetries
from nodespan.resources.network import (
    NfTablesChain,
    NfTablesChainSpec,
    NfTablesSetElements,
    NfTablesSetElementsSpec,
)
from nodespan.runtime.controller import Access, Collected, Desired
from nodespan.runtime.resource import Resource
from nodespan.runtime.slices import Slices
from nodespan.runtime.ticks import due_from

# After a restart, what nothing desires stays in the table for so long, in seconds.
STALE_AFTER = 300.0
# The owner of elements that were there before.
_BEFORE = "\0before"


@attrs.define
class ElementSet:
    """A set of one family: what its elements should be, and what they are, None if that is not known."""

    cover: PrefixCover = attrs.field(factory=PrefixCover)
    known: set[PrefixKey] | None = None
    # Elements that may have changed since the last document.
    touched: set[PrefixKey] = attrs.field(factory=set)

    def added(self) -> set[PrefixKey]:
        """The elements to add to those that are known."""
        return {prefix for prefix in self.touched if prefix in self.cover.elements} - (self.known or set())

    def removed(self) -> set[PrefixKey]:
        """The elements to remove from those that are known."""
        return {prefix for prefix in self.touched if prefix not in self.cover.elements} & (self.known or set())


class DesiredTable(Desired):
    """The items are the table and its guard, by their names, from when anything was desired first."""

    chain_problems: Problems
    element_problems: Problems

    def __init__(self, table: str, guard: str, retries: LastingRetries, stale_after: float) -> None:
        self.table = table
        # The name that the table has in the kernel, and that of a table of others that has the first one.
        self.kernel_name = table
        self.foreign = ""
        self.guard = guard
        self._retries = retries
        self._stale_after = stale_after
        self.is_active = False
        self.chains: dict[str, RenderedChain] = {}
        # The chains that the table was made to hold, as long as nothing else is known of it.
        self.known_chains: Mapping[str, RenderedChain] = {}
        self.guard_chains: set[str] = set()
        self.sets: dict[str, ElementSet] = {}
        # Elements that were not sent to the guard; None: compare all.
        self.guard_touched: dict[str, set[PrefixKey]] | None = None
        # Whether the table is to be compared as a whole, and what it was seen to hold for that, None for no table.
        self.must_compare = True
        self.is_listed = False
        # Whether that was asked for since the list was begun that the table is compared by: once more, then.
        self._is_asked_again = False
        self.seen: SeenTable | None = None
        # Whether the last try failed: then sets may differ in more than the elements that changed.
        self.has_failed = False
        # Whether to look at the table and its guard at the next round.
        self.has_news = False
        # Names of chains, without their parts, that were in the table before and that nothing has desired since.
        self.stale_chains: set[str] = set()
        self.stale_until = math.inf
        self._has_taken_over = False
        self._touched_chains: set[str] = set()
        self._touched_owners: set[str] = set()
        # The set that each resource of elements belongs to.
        self._set_of: dict[str, str] = {}
        self._uses: Counter[str] = Counter()

    def touch_chain(self, name: str) -> None:
        """A chain's resource changed."""
        self._touched_chains.add(name)

    def touch_owner(self, id: str) -> None:
        """A resource of elements changed."""
        self._touched_owners.add(id)

    def compare(self) -> None:
        """List the table at the next round, now; again, if it is being listed or changed at the moment."""
        self.must_compare = self._is_asked_again = True
        self.is_listed = False
        self._retries.try_now(self.table)

    @property
    def is_failing(self) -> bool:
        """Whether a try to apply the table failed, and it has not been as desired since."""
        return self._retries.failures(self.table) > 0

    @property
    def again_at(self) -> float:
        """When the table is due again after a try that failed just now."""
        return self._retries.again_at(self.table)

    def note_holds(self, id: str) -> None:
        """The table, or its guard, is as desired: what failed before does not count any more."""
        self._retries.forget(id)

    def leave(self) -> None:
        """The agent is to revert everything: what the table held before does not stay any longer, either."""
        self._stale_after = 0.0
        self.forget_before()
        self.has_news = True
        self.compare()

    def give_way(self, name: str) -> None:
        """Another program has a table of this name: ours has another one from now on."""
        self.foreign, self.kernel_name = name, other_name(name)
        self.compare()

    # What the reconciler asks for.

    async def begin(self, ctx: Access) -> Iterable[str]:
        """Look at all resources."""
        self._touched_chains.update(resource.id for resource in ctx.list(NfTablesChain))
        self._touched_owners.update(resource.id for resource in ctx.list(NfTablesSetElements))
        self.chain_problems = Problems(ctx, NfTablesChain)
        self.element_problems = Problems(ctx, NfTablesSetElements)
        self.compare()
        self.guard_touched = None
        return ()

    async def collect(self, ctx: Access, touched: frozenset[str]) -> Collected:
        """Take in chains and elements."""
        # As long as nothing was ever desired of it, the packet filter is not even looked at.
        has_touched = bool(self._touched_chains or self._touched_owners)
        self.is_active |= has_touched
        has_news, self.has_news = self.has_news or has_touched, False
        await self._take_in_chains(ctx)
        await self._take_in_elements(ctx)
        for name, each in self.sets.items():
            changed = each.cover.take()
            each.touched |= changed
            if changed and self.guard_touched is not None:
                self.guard_touched.setdefault(name, set()).update(changed)
        if trio.current_time() >= self.stale_until:
            self.forget_before()
            self.compare()
        if has_news:
            self._retries.try_now(self.table)
            self._retries.try_now(self.guard)
        return Collected(dirty=touched | (frozenset(self.ids()) if has_news or self.must_compare else frozenset()))

    def ids(self) -> Iterable[str]:
        """The table and its guard."""
        return (self.table, self.guard) if self.is_active else ()

    def __contains__(self, id: str) -> bool:
        return self.is_active and id in (self.table, self.guard)

    # Resources.

    async def _take_in_chains(self, ctx: Access) -> None:
        touched, self._touched_chains = self._touched_chains, set()
        had_chains = bool(self.chains)
        slices = Slices()
        for name in touched:
            resource: Resource[NfTablesChainSpec] | None = ctx.find(NfTablesChain, name)
            before = self.chains.pop(name, None)
            self.guard_chains.discard(name)
            if resource is None or resource.metadata.is_tearing_down:
                await self.chain_problems.clear(name)
                self.compare()
                continue
            try:
                for _ in rendering(resource.spec):
                    await slices.rest()
                chain = render(name, resource.spec)
            except ValueError as error:
                # What was right before stays.
                if before is not None:
                    self.chains[name] = before
                await self.chain_problems.set(name, str(error))
                continue
            await self.chain_problems.clear(name)
            self.chains[name] = chain
            if resource.spec.guard:
                self.guard_chains.add(name)
            self.stale_chains.discard(name)
            if name not in self.known_chains or not self._has_sets(chain):
                self.compare()
        if had_chains and not self.chains:
            # The controllers that desired what was there before are back, and do not desire it any more.
            self.forget_before()

    def _has_sets(self, chain: RenderedChain) -> bool:
        """Whether the sets that a chain matches are in the table."""
        names = (kernel_set(name, version) for name in chain.sets for version in VERSIONS)
        return all(name in self.sets and self.sets[name].known is not None for name in names)

    def changed_chains(self) -> dict[str, RenderedChain]:
        """The desired chains that are not what the table was made to hold."""
        return {
            name: chain
            for name, chain in self.chains.items()
            if name not in self.known_chains or self.known_chains[name].generation != chain.generation
        }

    def chain_names(self) -> set[str]:
        """The chains that are desired, and their parts."""
        return {part for chain in self.chains.values() for part in (chain.name, *chain.parts)}

    async def _take_in_elements(self, ctx: Access) -> None:
        touched, self._touched_owners = self._touched_owners, set()
        for id in touched:
            resource: Resource[NfTablesSetElementsSpec] | None = ctx.find(NfTablesSetElements, id)
            spec = None if resource is None or resource.metadata.is_tearing_down else resource.spec
            before = self._set_of.pop(id, None)
            if before is not None and (spec is None or spec.set_name != before):
                self._put(before, id, ())
                self._release(before)
            if spec is None:
                await self.element_problems.clear(id)
                continue
            prefixes, wrong = _parse(spec.prefixes)
            self._set_of[id] = spec.set_name
            self._uses[spec.set_name] += spec.set_name != before
            self._put(spec.set_name, id, prefixes)
            if wrong:
                await self.element_problems.set(id, wrong)
            else:
                await self.element_problems.clear(id)

    def _put(self, set_name: str, owner: str, prefixes: Iterable[PrefixKey]) -> None:
        prefixes = tuple(prefixes)
        for version in VERSIONS:
            each = self.sets.setdefault(kernel_set(set_name, version), ElementSet())
            each.cover.put(owner, (prefix for prefix in prefixes if prefix.version == version))
            if each.known is None and not self.must_compare:
                # A set that is not there yet.
                self.compare()

    def _release(self, set_name: str) -> None:
        self._uses[set_name] -= 1
        if not self._uses[set_name]:
            del self._uses[set_name]
            self.compare()

    # Names of sets.

    def set_names(self) -> set[str]:
        """The sets that chains match or that have elements."""
        return {name for chain in self.chains.values() for name in chain.sets} | self._uses.keys()

    # What was there before.

    def begin_list(self) -> None:
        """The table is about to be listed: what is asked for from now on is not answered by that."""
        self._is_asked_again = False

    def note_listed(self, seen: SeenTable | None) -> None:
        """The table holds this. The first time, that stays for a while."""
        self.is_listed, self.seen = True, seen
        if self._has_taken_over:
            return
        self._has_taken_over = True
        self.stale_until = due_from(trio.current_time(), self._stale_after)
        if seen is None:
            return
        self.stale_chains = set(map(owner_of_part, seen.chains)) - self.chains.keys()
        for name, elements in seen.sets.items():
            self.sets.setdefault(name, ElementSet()).cover.put(_BEFORE, elements or ())

    def note_compared(self, kept: Collection[str], chains: Mapping[str, RenderedChain]) -> None:
        """The table holds what is desired, with these sets and chains."""
        self.known_chains = chains
        self.must_compare = self._is_asked_again
        self.is_listed = self.has_failed = False
        for name in self.sets.keys() - set(kept):
            del self.sets[name]
        for each in self.sets.values():
            each.cover.take()
            each.touched.clear()
            each.known = set(each.cover.elements)
        self.guard_touched = None

    def note_sent(self, chains: Mapping[str, RenderedChain]) -> None:
        """The table has the chains and the elements that changed."""
        self.known_chains = {**self.known_chains, **chains}
        self.has_failed = False
        for each in self.sets.values():
            if each.known is not None:
                each.known |= each.added()
                each.known -= {prefix for prefix in each.touched if prefix not in each.cover.elements}
                each.touched.clear()

    def note_failed(self) -> None:
        """What the table holds is not certain: it is listed at the next try."""
        self.has_failed = self.must_compare = True
        self.is_listed = False
        self.known_chains = {}

    def forget_before(self) -> None:
        """What the table held before does not count any more."""
        if self._has_taken_over:
            self.stale_until = math.inf
        self.stale_chains.clear()
        for each in self.sets.values():
            each.cover.put(_BEFORE, ())


def other_name(table: str) -> str:
    """The name of our table where another program has one of the first name."""
    return f"{table}_agent"


def _parse(prefixes: Iterable[str]) -> tuple[list[PrefixKey], str]:
    """Those that are prefixes, and what is wrong with the others, "" if nothing."""
    found: list[PrefixKey] = []
    wrong: list[str] = []
    for prefix in prefixes:
        try:
            found.append(prefix_key(prefix))
        except ValueError as error:
            wrong.append(str(error))
    return found, "; ".join(wrong)

"""network.NfTablesChainController: keeps the agent's own table of the packet filter as chains and set elements want it.

The table is listed at first, after a failure and every now and then, and compared as a whole; a changed chain, or a
few changed elements, are told as just that, all that changed at about the same time in one document. After a restart
those who want chains and elements come to know them one after the other; what the table holds of before stays for a
while, so that no packet goes astray meanwhile.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs
import trio

from nodespan.controllers.common.ip.cover import PrefixCover, PrefixKey, prefix_key
from nodespan.controllers.common.problems import Problems, reason_of
from nodespan.controllers.network.apply.spec_applier import RETRY_INTERVAL
from nodespan.controllers.network.nftables.document import FAMILY, Document, SeenTable, is_current, read_table
from nodespan.controllers.network.nftables.render import VERSIONS, RenderedChain, kernel_set, render
from nodespan.kernel import nft
from nodespan.resources.network import (
    NetworkProblem,
    NfTablesChain,
    NfTablesChainSpec,
    NfTablesSetElements,
    NfTablesSetElementsSpec,
)
from nodespan.runtime.controller import QueueContext, QueueController, primary, shared
from nodespan.runtime.resource import Pointer, Resource

TABLE = "nodespan"
# After a restart, so long does what nobody wants stay in the table, in seconds.
STALE_AFTER = 300.0
# Changes that come within this time are one document.
_GATHER = 0.01
_FIRST_DELAY = 0.5
# Who "owns" the elements that were there before.
_BEFORE = "\0before"


@attrs.define
class _Set:
    """A set of one family: what its elements should be, and what they are, None if that is not known."""

    cover: PrefixCover = attrs.field(factory=PrefixCover)
    known: set[PrefixKey] | None = None


class NfTablesChainController(QueueController):
    """Other tables are never touched. Chains need no finalizers: what is in the table and not wanted goes."""

    name = "network.NfTablesChainController"
    inputs = (primary(NfTablesChain), primary(NfTablesSetElements))
    outputs = (shared(NetworkProblem),)

    def __init__(self, *, netns: str | None = None, table: str = TABLE, stale_after: float = STALE_AFTER) -> None:
        self._netns = netns
        self._table = table
        self._stale_after = stale_after
        self._news = trio.Event()
        self._touched_chains: set[str] = set()
        self._touched_owners: set[str] = set()
        self._chains: dict[str, RenderedChain] = {}
        self._sets: dict[str, _Set] = {}
        # The set that each resource of elements belongs to.
        self._set_of: dict[str, str] = {}
        self._uses: Counter[str] = Counter()
        self._compare_at = 0.0
        self._failed = False
        self._taken_over = False
        # Names of chains that were in the table before and that nobody has wanted since.
        self._stale_chains: set[str] = set()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:  # noqa: ARG002
        """Note what changed; `run` takes it up together with others."""
        touched = self._touched_chains if item.type == NfTablesChain.name else self._touched_owners
        touched.add(item.id)
        self._news.set()

    async def run(self, ctx: QueueContext) -> None:
        """Follow the specs."""
        self._touched_chains.update(resource.id for resource in ctx.list(NfTablesChain))
        self._touched_owners.update(resource.id for resource in ctx.list(NfTablesSetElements))
        chain_problems, element_problems = Problems(ctx, NfTablesChain), Problems(ctx, NfTablesSetElements)
        while not (self._touched_chains or self._touched_owners):
            # As long as nobody ever wanted anything of it, the packet filter is not even looked at.
            await self._wait(math.inf)
        stale_until = math.inf
        delay = _FIRST_DELAY
        while True:
            await self._take_in_chains(ctx, chain_problems)
            await self._take_in_elements(ctx, element_problems)
            try:
                if trio.current_time() >= min(self._compare_at, stale_until):
                    seen = await trio.to_thread.run_sync(self._list)
                    if not self._taken_over:
                        self._take_over(seen)
                        stale_until = trio.current_time() + self._stale_after
                    if trio.current_time() >= stale_until:
                        self._forget_what_was_before()
                        stale_until = math.inf
                    await self._compare(seen)
                    self._compare_at = trio.current_time() + RETRY_INTERVAL
                else:
                    await self._tell_changes()
            except OSError as error:
                self._failed = True
                self._compare_at = trio.current_time() + delay
                delay = min(delay * 2, RETRY_INTERVAL)
                await chain_problems.set(self._table, reason_of(error))
            else:
                self._failed = False
                delay = _FIRST_DELAY
                await chain_problems.clear(self._table)
            await self._wait(min(self._compare_at, stale_until))

    async def _wait(self, until: float) -> None:
        with trio.move_on_at(until):
            await self._news.wait()
            await trio.sleep(_GATHER)
        self._news = trio.Event()

    # What is wanted.

    async def _take_in_chains(self, ctx: QueueContext, problems: Problems) -> None:
        touched, self._touched_chains = self._touched_chains, set()
        had_chains = bool(self._chains)
        for name in touched:
            resource: Resource[NfTablesChainSpec] | None = ctx.find(NfTablesChain, name)
            before = self._chains.pop(name, None)
            if resource is None or resource.metadata.is_tearing_down:
                await problems.clear(name)
                self._compare_at = 0.0
                continue
            try:
                chain = render(name, resource.spec)
            except ValueError as error:
                # What was right before stays.
                if before is not None:
                    self._chains[name] = before
                await problems.set(name, str(error))
                continue
            await problems.clear(name)
            self._chains[name] = chain
            self._stale_chains.discard(name)
            if before != chain:
                self._compare_at = 0.0
        if had_chains and not self._chains:
            # Whoever wanted what was there before has been back, and wants it no more.
            self._forget_what_was_before()

    async def _take_in_elements(self, ctx: QueueContext, problems: Problems) -> None:
        touched, self._touched_owners = self._touched_owners, set()
        for id in touched:
            resource: Resource[NfTablesSetElementsSpec] | None = ctx.find(NfTablesSetElements, id)
            spec = None if resource is None or resource.metadata.is_tearing_down else resource.spec
            before = self._set_of.pop(id, None)
            if before is not None and (spec is None or spec.set_name != before):
                self._put(before, id, ())
                self._release(before)
            if spec is None:
                await problems.clear(id)
                continue
            prefixes, wrong = _parse(spec.prefixes)
            self._set_of[id] = spec.set_name
            self._uses[spec.set_name] += spec.set_name != before
            self._put(spec.set_name, id, prefixes)
            if wrong:
                await problems.set(id, wrong)
            else:
                await problems.clear(id)

    def _put(self, set_name: str, owner: str, prefixes: Iterable[PrefixKey]) -> None:
        prefixes = tuple(prefixes)
        for version in VERSIONS:
            cover = self._sets.setdefault(kernel_set(set_name, version), _Set()).cover
            cover.put(owner, (prefix for prefix in prefixes if prefix.version == version))

    def _release(self, set_name: str) -> None:
        self._uses[set_name] -= 1
        if not self._uses[set_name]:
            del self._uses[set_name]
            self._compare_at = 0.0

    def _wanted_sets(self) -> set[str]:
        return {name for chain in self._chains.values() for name in chain.sets} | self._uses.keys()

    # What was there before.

    def _take_over(self, seen: SeenTable | None) -> None:
        self._taken_over = True
        if seen is None:
            return
        self._stale_chains = set(seen.chains.keys() - self._chains.keys())
        for name, elements in seen.sets.items():
            self._sets.setdefault(name, _Set()).cover.put(_BEFORE, elements or ())

    def _forget_what_was_before(self) -> None:
        self._stale_chains.clear()
        for each in self._sets.values():
            each.cover.put(_BEFORE, ())

    # Bringing the two together.

    def _list(self) -> SeenTable | None:
        text = nft.list_table(FAMILY, self._table, self._netns)
        return None if text is None else read_table(text)

    async def _compare(self, seen: SeenTable | None) -> None:
        """Make the table, which is as was listed just now, be as wanted."""
        document = Document(self._table)
        wanted = {kernel_set(name, version) for name in self._wanted_sets() for version in VERSIONS}
        kept = wanted | {name for name, each in self._sets.items() if each.cover}
        if seen is None:
            seen = SeenTable()
        elif not kept and not self._chains and not self._stale_chains:
            document.delete_table()
            await self._apply(document)
            self._sets.clear()
            return
        if not wanted <= seen.sets.keys():
            document.add_sets(self._wanted_sets())
        for name, chain in sorted(self._chains.items()):
            if not is_current(seen.chains.get(name), chain):
                document.put_chain(chain, seen.chains.get(name))
        for name in sorted(seen.chains.keys() - self._chains.keys() - self._stale_chains):
            document.delete_chain(name)
        for name in sorted(wanted):
            self._compare_set(document, name, seen.sets.get(name, frozenset()))
        for name in sorted(seen.sets.keys() - kept):
            document.delete_set(name)
        await self._apply(document)
        for name in self._sets.keys() - kept:
            del self._sets[name]
        for name in wanted:
            current = self._sets[name]
            current.cover.take()
            current.known = set(current.cover.elements)

    def _compare_set(self, document: Document, name: str, seen: frozenset[PrefixKey] | None) -> None:
        elements = self._sets.setdefault(name, _Set()).cover.elements
        if seen is None or (self._failed and seen != elements):
            document.refill(name, elements)
        else:
            document.change_elements(name, added=elements - seen, removed=seen - elements)

    async def _tell_changes(self) -> None:
        """Tell the elements that changed, of sets that are known."""
        document = Document(self._table)
        for name, each in self._sets.items():
            touched = each.cover.take()
            if not touched:
                continue
            if each.known is None:
                # A set that is not there yet: next time.
                self._compare_at = 0.0
                continue
            added = {prefix for prefix in touched if prefix in each.cover.elements} - each.known
            removed = {prefix for prefix in touched if prefix not in each.cover.elements} & each.known
            document.change_elements(name, added=added, removed=removed)
            each.known |= added
            each.known -= removed
        await self._apply(document)

    async def _apply(self, document: Document) -> None:
        if not document.is_empty:
            await trio.to_thread.run_sync(nft.apply, document.text, self._netns)


def _parse(prefixes: Iterable[str]) -> tuple[list[PrefixKey], str]:
    """Those that are prefixes, and what is to be said of the others, "" if nothing."""
    found: list[PrefixKey] = []
    wrong: list[str] = []
    for prefix in prefixes:
        try:
            found.append(prefix_key(prefix))
        except ValueError as error:
            wrong.append(str(error))
    return found, "; ".join(wrong)

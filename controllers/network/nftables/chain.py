"""network.NfTablesChainController: keeps the agent's own table of the packet filter as chains and set elements want it.

The table is listed at first, after a failure and every now and then, and compared as a whole; a changed chain, or a
few changed elements, are told as just that, all that changed at about the same time in one document. After a restart
those who want chains and elements come to know them one after the other; what the table holds of before stays for a
while, so that no packet goes astray meanwhile.

The kernel notifies of every transaction: when another process has touched the table, it is compared at once, and when
it was deleted, as `nft flush ruleset` does, it is written without being listed. A problem names the process. Chains
that are guards have a second copy that such a process cannot touch (`guard`).
"""

import contextlib
import math
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

import attrs
import trio

from nodespan.controllers.common.ip.cover import PrefixCover, PrefixKey, prefix_key
from nodespan.controllers.common.problems import Problems, reason_of
from nodespan.controllers.network.nftables.document import FAMILY, Document, SeenTable, is_current, read_table
from nodespan.controllers.network.nftables.guard import GuardTable
from nodespan.controllers.network.nftables.render import VERSIONS, RenderedChain, kernel_set, render
from nodespan.kernel import nft
from nodespan.kernel.nft_events import Commit, open_filter_events
from nodespan.resources.network import (
    NetworkProblem,
    NfTablesChain,
    NfTablesChainSpec,
    NfTablesSetElements,
    NfTablesSetElementsSpec,
    Severity,
)
from nodespan.runtime.backoff import Backoff, Exponential
from nodespan.runtime.controller import QueueContext, QueueController, primary, shared
from nodespan.runtime.controller.reconciler import FULL_INTERVAL
from nodespan.runtime.resource import Pointer, Resource

TABLE = "nodespan"
GUARD_SUFFIX = "_guard"
# So long is shown that another process changed the table, in seconds.
SHOWN_FOR = 300.0
# The process ids of our own nft that are remembered: notifications arrive within moments of the transaction.
_OWN = 32
# After a restart, so long does what nobody wants stay in the table, in seconds.
STALE_AFTER = 300.0
# Changes that come within this time are one document.
_GATHER = 0.01
_DELAYS = Exponential(base=0.5, cap=FULL_INTERVAL)
_SECOND_LOOK = 0.5
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
        self._guard = GuardTable(f"{table}{GUARD_SUFFIX}", netns)
        self._guards: set[str] = set()
        # Elements that the second copy has not been told of; None: compare all.
        self._guard_touched: dict[str, set[PrefixKey]] | None = None
        self._urgent = False
        self._own: deque[int] = deque(maxlen=_OWN)
        # The table was deleted by another process, and nothing of ours since has made it again.
        self._deleted = False
        # What another process has done, if the next comparison finds a difference; and what it was found to have done.
        self._suspected: str | None = None
        self._disturbance: str | None = None
        self._disturbed_until = math.inf
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
        while not (self._touched_chains or self._touched_owners):
            # As long as nobody ever wanted anything of it, the packet filter is not even looked at.
            await self._wait(math.inf)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._follow_others)
                nursery.start_soon(self._guard.follow, self._guard_lost)
                await self._follow_specs(ctx)
        finally:
            self._guard.close()

    async def _follow_specs(self, ctx: QueueContext) -> None:
        chain_problems, element_problems = Problems(ctx, NfTablesChain), Problems(ctx, NfTablesSetElements)
        stale_until = math.inf
        backoff = Backoff(exponential=_DELAYS)
        while True:
            await self._take_in_chains(ctx, chain_problems)
            await self._take_in_elements(ctx, element_problems)
            try:
                if trio.current_time() >= min(self._compare_at, stale_until):
                    deleted, self._deleted = self._deleted, False
                    seen = None if deleted else await trio.to_thread.run_sync(self._list)
                    if not self._taken_over:
                        self._take_over(seen)
                        stale_until = trio.current_time() + self._stale_after
                    if trio.current_time() >= stale_until:
                        self._forget_what_was_before()
                        stale_until = math.inf
                    suspected, self._suspected = self._suspected, None
                    if await self._compare(seen) and suspected is not None:
                        self._disturbance, self._disturbed_until = suspected, trio.current_time() + SHOWN_FOR
                    # What is in a table that was believed to be deleted is looked at, but after the repair.
                    self._compare_at = trio.current_time() + (_SECOND_LOOK if deleted else FULL_INTERVAL)
                else:
                    await self._tell_changes()
            except OSError as error:
                self._failed = True
                self._compare_at = trio.current_time() + backoff.next()
                await chain_problems.set(self._table, reason_of(error))
            else:
                self._failed = False
                backoff.reset()
                await self._show_disturbance(chain_problems)
            await self._keep_guard(chain_problems)
            await self._wait(min(self._compare_at, stale_until, self._disturbed_until))

    async def _wait(self, until: float) -> None:
        with trio.move_on_at(until):
            await self._news.wait()
            if not self._urgent:
                await trio.sleep(_GATHER)
        self._urgent = False
        self._news = trio.Event()

    # What others do.

    async def _follow_others(self, task_status: trio.TaskStatus[None]) -> None:
        """Has the table compared at once when another process has touched it."""
        try:
            stack = contextlib.ExitStack()
            events = stack.enter_context(open_filter_events(self._netns))
        except OSError:
            # Without the right to listen there is none to change anything either, and applying says so.
            task_status.started()
            return
        with stack:
            task_status.started()
            while True:
                commits = await events.receive()
                if commits is None:
                    self._compare_at = 0.0
                    self._news.set()
                    continue
                for commit in commits:
                    self._note(commit)

    def _note(self, commit: Commit) -> None:
        if commit.pid in self._own or self._table not in commit.touched:
            return
        if self._table in commit.removed:
            self._deleted = True
            what = "deleted"
            for each in self._sets.values():
                each.known = None
        else:
            what = "changed"
        self._suspected = (
            f"the table {FAMILY} {self._table} was {what} by another program "
            f"({commit.program or 'unknown'}, process {commit.pid}) and has been restored; "
            "have that program leave it alone"
        )
        self._compare_at = 0.0
        self._urgent = True
        self._news.set()

    def _guard_lost(self) -> None:
        """Have the second copy of the guards made again at once."""
        self._urgent = True
        self._news.set()

    async def _show_disturbance(self, problems: Problems) -> None:
        if self._disturbance is not None and trio.current_time() < self._disturbed_until:
            await problems.set(self._table, self._disturbance, severity=Severity.WARNING)
        else:
            self._disturbance, self._disturbed_until = None, math.inf
            await problems.clear(self._table)

    async def _keep_guard(self, problems: Problems) -> None:
        """Make the second copy of the guard chains be as the first. Chains and sets that are known in `_sets`."""
        chains = {name: self._chains[name] for name in self._guards if name in self._chains}
        elements = {name: each.cover.elements for name, each in self._sets.items()}
        touched, self._guard_touched = self._guard_touched, {}
        try:
            await self._guard.sync(chains, elements, touched)
        except OSError as error:
            self._guard_touched = None
            await problems.set(
                f"{self._table}{GUARD_SUFFIX}",
                f"{reason_of(error)}: between a flush of the packet filter by another program and the repair, "
                "packets to peers may leave unencrypted",
                severity=Severity.WARNING,
            )
        else:
            await problems.clear(f"{self._table}{GUARD_SUFFIX}")

    # What is wanted.

    async def _take_in_chains(self, ctx: QueueContext, problems: Problems) -> None:
        touched, self._touched_chains = self._touched_chains, set()
        had_chains = bool(self._chains)
        for name in touched:
            resource: Resource[NfTablesChainSpec] | None = ctx.find(NfTablesChain, name)
            before = self._chains.pop(name, None)
            self._guards.discard(name)
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
            if resource.spec.guard:
                self._guards.add(name)
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

    async def _compare(self, seen: SeenTable | None) -> bool:
        """Make the table, which is as was listed just now, be as wanted; returns whether it was not."""
        document = Document(self._table)
        wanted = {kernel_set(name, version) for name in self._wanted_sets() for version in VERSIONS}
        kept = wanted | {name for name, each in self._sets.items() if each.cover}
        if seen is None:
            seen = SeenTable()
        elif not kept and not self._chains and not self._stale_chains:
            document.delete_table()
            await self._apply(document)
            self._sets.clear()
            return False
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
        self._guard_touched = None
        return not document.is_empty

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
            if self._guard_touched is not None:
                self._guard_touched.setdefault(name, set()).update(touched)
        await self._apply(document)

    async def _apply(self, document: Document) -> None:
        if not document.is_empty:
            await trio.to_thread.run_sync(nft.apply, document.text, self._netns, self._own.append)


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

"""network.NfTablesChainController: keeps the agent's own table of the packet filter as chains and set elements say.

The table is listed and compared as a whole at first, after a failure, for a new chain, and at each full comparison.
A chain that changes, and a few changed elements, are sent alone, by the nft that is kept for the guards. What changed
at about the same time is one document.

The kernel notifies of every transaction: when another process has touched the table, it is compared at once, and when
it was deleted, as `nft flush ruleset` does, it is written without being listed. A problem names the process. Chains
that are guards have a second copy that such a process cannot touch (`guard`).

A table of our name that another program made, before there was an agent, is never touched: ours has another name then,
and a problem says so. Which tables are ours is on record (`controllers.common.prior_state`).
"""

import contextlib
import functools
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from nodespan.controllers.common.ip.cover import PrefixKey
from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.common.problems import reason_of
from nodespan.controllers.network.nftables.desired_table import STALE_AFTER, DesiredTable, ElementSet, other_name
from nodespan.controllers.network.nftables.document import (
    FAMILY,
    Document,
    SeenTable,
    is_made_here,
    read_table,
)
from nodespan.controllers.network.nftables.guard import GuardTable, GuardWork, send
from nodespan.controllers.network.nftables.render import VERSIONS, RenderedChain, kernel_set, owner_of_part
from nodespan.controllers.network.nftables.retries import LastingRetries
from nodespan.kernel.packet_filter import nft
from nodespan.kernel.packet_filter.nft_events import Commit, numbers_processes_as_here, open_filter_events
from nodespan.kernel.packet_filter.owned_table import OwnedTable
from nodespan.resources.network import NetworkProblem, NfTablesChain, NfTablesSetElements, Severity
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller import (
    Access,
    Applied,
    Decision,
    Driver,
    Look,
    Plan,
    QueueContext,
    QueueController,
    Reconciler,
    Report,
    primary,
    shared,
)
from nodespan.runtime.controller.reconciler import FULL_INTERVAL
from nodespan.runtime.resource import Pointer

TABLE = "nodespan"
GUARD_SUFFIX = "_guard"
# It is shown for so long that another process changed the table, in seconds.
SHOWN_FOR = 300.0
# The process ids of our own nft that are remembered: notifications arrive within moments of the transaction.
_OWN = 32
# Longer documents are for a process of their own: reading a line takes the interactive nft more than reading a file.
_LONGEST_LINE = 1 << 14
# Changes that come within this time are one document.
_GATHER = 0.01
_RETRIES = Exponential(base=0.5, cap=60.0)
_SECOND_LOOK = 0.5
_MOST_RETRACKING = 2


class NfTablesChainController(QueueController):
    """Other tables are never touched. Chains need no finalizers: what is in the table and not desired goes."""

    name = "network.NfTablesChainController"
    inputs = (primary(NfTablesChain), primary(NfTablesSetElements))
    outputs = (shared(NetworkProblem),)

    def __init__(
        self,
        *,
        netns: str | None = None,
        table: str = TABLE,
        stale_after: float = STALE_AFTER,
        full_interval: float = FULL_INTERVAL,
        prior: PriorState | None = None,
        leaving: trio.Event | None = None,
    ) -> None:
        """`leaving` is set when the agent is to revert everything, also what an earlier agent has left."""
        retries = LastingRetries(_RETRIES)
        self._netns = netns
        self._prior = prior or PriorState(None)
        guard_name = f"{table}{GUARD_SUFFIX}"
        guard = GuardTable(guard_name, netns)
        self._desired = DesiredTable(table, guard_name, retries, stale_after)
        others, tracking = _Others(), _Tracking()
        self._reconciler = Reconciler(
            desired=self._desired,
            plan=_TablePlan(self._desired, guard, others, tracking),
            driver=_TableDriver(
                netns,
                self._desired,
                guard,
                others,
                self._wake_at_once,
                self._prior,
                trio.Event() if leaving is None else leaving,
                tracking,
            ),
            retries=retries,
            report=_TableReport(self._desired, others),
            full_interval=full_interval,
            gather=_GATHER,
        )

    def left_behind(self) -> list[str]:
        """The tables that are still there. Blocks. Raises OSError."""
        there = (name for name in self._prior.own_tables() if nft.list_table(FAMILY, name, self._netns) is not None)
        return [f"the table {FAMILY} {name} of the packet filter" for name in there]

    def _wake_at_once(self) -> None:
        self._reconciler.wake(at_once=True)

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:  # noqa: ARG002
        """Note what changed; a round takes it up together with others."""
        if item.type == NfTablesChain.name:
            self._desired.touch_chain(item.id)
        else:
            self._desired.touch_owner(item.id)
        self._reconciler.wake()

    async def run(self, ctx: QueueContext) -> None:
        """Follow the specs."""
        await self._reconciler.run(ctx)


@attrs.define
class _Others:
    """What other processes did to the table."""

    # The table was deleted, and nothing of ours since has made it again.
    has_deleted: bool = False
    # What was done, if the next comparison finds a difference; and what was found to have been done.
    suspected: str | None = None
    disturbance: str | None = None
    disturbed_until: float = math.inf
    # When to look at a table that was believed to be deleted, after the repair.
    look_at: float = math.inf


@attrs.frozen
class ListTable:
    """Read what the table holds."""


@attrs.frozen
class Track:
    """Make the connections that there are known to the kernel, beside all other work: chains are held back for it."""


@attrs.frozen
class Send:
    """Send a document; `is_whole`: made by comparing all, so that all is known afterwards, and the sets `kept` stay.

    `chains` are those that the table has afterwards; of a document that is not whole, those that changed. `deletes`: it
    is the end of the table. `retracks`: connections are tracked from now on, so what began since they were made known
    is made known after it.
    """

    text: str
    is_whole: bool = False
    kept: frozenset[str] = frozenset()
    chains: Mapping[str, RenderedChain] = attrs.field(factory=dict)
    deletes: bool = False
    retracks: bool = False


TableWork = ListTable | Track | Send | GuardWork


@attrs.frozen
class Sent:
    """What came of the work on a table: what it was seen to hold, or the guard's table; `has_failed`: nothing.

    A guard without a table has lost it before the work. `is_foreign`: another program made the table, before there was
    an agent. `is_same`: it was seen to hold what it held when it was listed before.
    """

    work: TableWork
    seen: SeenTable | None = None
    guard: OwnedTable | None = None
    has_failed: bool = False
    is_foreign: bool = False
    is_same: bool = False


@attrs.define
class _Tracking:
    """What is known of the tracking of connections.

    It begins with the first chain that looks at connections. One that the kernel does not know by then would be cut, so
    such chains are held back until all are known, which may take seconds. Nothing else waits for that.
    """

    # Chains that are desired, and not in the table for this.
    held: frozenset[str] = frozenset()
    is_running: bool = False
    # They were made known just now.
    is_done: bool = False
    # Chains that a document had which the kernel refused, with their generations: nothing is made known for the same
    # ones again before this time. What else there is to send does not wait for it, and is sent without them.
    refused: Mapping[str, str] = attrs.field(factory=dict)
    waits_until: float = math.inf

    def reset(self) -> None:
        """Nothing is held back, and nothing is known of connections."""
        self.held, self.is_done = frozenset(), False
        self.forget_refusal()

    def note_refused(self, chains: Mapping[str, RenderedChain], until: float) -> None:
        """The kernel refused a document with these chains, or what became of it is not known."""
        # Who knows the connections by the next try is not certain.
        self.is_done = False
        if chains:
            self.refused = {name: chain.generation for name, chain in chains.items()}
            self.waits_until = until

    def forget_refusal(self) -> None:
        """The chains may be tried again."""
        self.refused, self.waits_until = {}, math.inf

    def is_waiting(self, chains: Mapping[str, RenderedChain]) -> bool:
        """Whether all that is held back was refused a while ago, as it is now."""
        return all(name in chains and self.refused.get(name) == chains[name].generation for name in self.held)


class _TablePlan(Plan[TableWork]):
    """Lists the table where that is needed, then sends what differs."""

    def __init__(self, desired: DesiredTable, guard: GuardTable, others: _Others, tracking: _Tracking) -> None:
        self._desired = desired
        self._guard = guard
        self._others = others
        self._tracking = tracking

    def everything(self) -> None:
        """Compare the table as a whole."""
        self._desired.must_compare = True
        self._desired.is_listed = False

    def decide(self, id: str) -> Mapping[str, Decision[TableWork]]:
        """What to do with the table, or its guard."""
        desired = self._desired
        if id == desired.guard:
            return {id: Decision(work=self._guard_work())}
        if not desired.must_compare:
            return {id: self._decision(self._changes())}
        if not desired.is_listed and self._others.has_deleted:
            desired.note_listed(None)
        if not desired.is_listed:
            return {id: Decision(work=ListTable())}
        work = self._comparison(desired.seen)
        if work is None:
            desired.note_compared(self._kept()[1], self._sent_chains())
            if not desired.must_compare:
                # Else what is suspected may have been done since the table was listed.
                self._others.suspected = None
        return {id: self._decision(work)}

    def holds(self, id: str) -> None:
        """The table or its guard is as desired."""
        self._desired.note_holds(id)
        if id == self._desired.table:
            self._tracking.forget_refusal()

    def _decision(self, send: Send | None) -> Decision[TableWork]:
        """What to do with the table: what differs is sent first."""
        waiting = "connections are made known before its chains are sent" if self._tracking.held else ""
        return Decision(work=send or self._track(), waiting=waiting)

    def _guard_work(self) -> GuardWork | None:
        desired = self._desired
        if desired.must_compare and not desired.has_failed:
            # The table itself comes first. One that fails is not waited for.
            return None
        chains = {
            name: desired.chains[name]
            for name in desired.guard_chains
            if name in desired.chains and (name not in self._tracking.held or self._guard.has_chain(name))
        }
        elements = {name: each.cover.elements for name, each in desired.sets.items()}
        work = self._guard.plan(chains, elements, desired.guard_touched)
        if work is None:
            desired.guard_touched = {}
        return work

    def _kept(self) -> tuple[set[str], set[str]]:
        """The sets that are desired, and those that stay."""
        desired = self._desired
        names = {kernel_set(name, version) for name in desired.set_names() for version in VERSIONS}
        return names, names | {name for name, each in desired.sets.items() if each.cover}

    def _sent_chains(self) -> dict[str, RenderedChain]:
        """The desired chains that are not held back."""
        return {name: chain for name, chain in self._desired.chains.items() if name not in self._tracking.held}

    def _track(self) -> Track | None:
        """After all else: have the connections made known for which chains are held back."""
        tracking = self._tracking
        if not tracking.held or tracking.is_running or tracking.is_done or tracking.is_waiting(self._desired.chains):
            return None
        return Track()

    def _comparison(self, found: SeenTable | None) -> Send | None:
        """What makes the table, which was listed just now, be as desired; None if it is, but for what is held back."""
        desired = self._desired
        names, kept = self._kept()
        seen = SeenTable() if found is None else found
        if found is not None and not kept and not desired.chains and not desired.stale_chains:
            document = Document(desired.kernel_name)
            document.delete_table()
            # The chains that come with a table made later wait for connections again.
            self._tracking.reset()
            return Send(document.text, is_whole=True, deletes=True)
        new = {name for name, chain in desired.chains.items() if name not in seen.chains and chain.tracks_connections}
        # Another program has removed them just now. Where the guard has such rules, tracking did not even stop.
        was_tracking = bool(new & desired.known_chains.keys())
        tracking = self._tracking
        tracking.is_done = tracking.is_done and bool(new)
        tracking.held = frozenset() if was_tracking or tracking.is_done else frozenset(new)
        chains = self._sent_chains()
        document = self._difference(seen, chains, names, kept)
        if document.is_empty:
            return None
        return Send(
            document.text,
            is_whole=True,
            kept=frozenset(kept),
            chains=chains,
            retracks=not new <= tracking.held and not (was_tracking and self._guard.tracks_connections),
        )

    def _difference(
        self, seen: SeenTable, chains: Mapping[str, RenderedChain], names: Collection[str], kept: Collection[str]
    ) -> Document:
        """What makes the table hold the sets of these names, and these chains; it keeps the sets `kept`."""
        desired, document = self._desired, Document(self._desired.kernel_name)
        if not set(names) <= seen.sets.keys():
            document.add_sets(desired.set_names())
        for _, chain in sorted(chains.items()):
            document.put_chain(chain, seen.chains)
        # A chain comes before its parts, by name: what jumps to them is gone by then.
        for name in sorted(seen.chains.keys() - desired.chain_names()):
            if owner_of_part(name) not in desired.stale_chains:
                document.delete_chain(name)
        for name in sorted(names):
            self._compare_set(document, name, seen.sets.get(name, frozenset()))
        for name in sorted(seen.sets.keys() - set(kept)):
            document.delete_set(name)
        return document

    def _compare_set(self, document: Document, name: str, seen: frozenset[PrefixKey] | None) -> None:
        elements = self._desired.sets.setdefault(name, ElementSet()).cover.elements
        if seen is None or (self._desired.has_failed and seen != elements):
            document.refill(name, elements)
        else:
            document.change_elements(name, added=elements - seen, removed=seen - elements)

    def _changes(self) -> Send | None:
        """The chains that changed, and the elements that did, of sets that are known."""
        desired, document = self._desired, Document(self._desired.kernel_name)
        chains = {name: chain for name, chain in desired.changed_chains().items() if name not in self._tracking.held}
        for name, chain in sorted(chains.items()):
            document.change_chain(chain, desired.known_chains.get(name))
        for name, each in desired.sets.items():
            if each.known is not None:
                document.change_elements(name, added=each.added(), removed=each.removed())
        return None if document.is_empty else Send(document.text, chains=chains)


class _TableReport(Report):
    """Shows failures, and what other processes did, as problems of chains."""

    def __init__(self, desired: DesiredTable, others: _Others) -> None:
        super().__init__()
        self._desired = desired
        self._others = others

    async def failed(self, ctx: Access, id: str, error: Exception) -> None:  # noqa: ARG002
        """Each failure is shown at once."""
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        if id == self._desired.table:
            await self._desired.chain_problems.set(id, reason)
            return
        text = (
            f"{reason}: between a flush of the packet filter by another program and the repair, "
            "packets to peers may leave unencrypted"
        )
        await self._desired.chain_problems.set(id, text, severity=Severity.WARNING)

    async def settled(self, ctx: Access, id: str, decision: Decision[Any]) -> None:  # noqa: ARG002
        """Show for a while what another process did."""
        if decision.work is not None:
            return
        if id == self._desired.table and self._desired.is_failing:
            # Steps of a try succeed also while the kernel refuses what comes last. What it refused stays shown.
            return
        others, problems = self._others, self._desired.chain_problems
        if id == self._desired.table and others.disturbance is not None:
            await problems.set(id, others.disturbance, severity=Severity.WARNING)
        elif id == self._desired.table and self._desired.foreign:
            text = (
                f"another program has made a table {FAMILY} {self._desired.foreign}: it is left alone, and the agent's "
                f"table is {FAMILY} {self._desired.kernel_name}"
            )
            await problems.set(id, text, severity=Severity.WARNING)
        else:
            await problems.clear(id)


class _TableDriver(Driver[TableWork, Mapping[str, Sent]]):
    """Runs nft, and follows the transactions of other processes."""

    _nursery: trio.Nursery

    def __init__(
        self,
        netns: str | None,
        desired: DesiredTable,
        guard: GuardTable,
        others: _Others,
        wake: Callable[[], None],
        prior: PriorState,
        leaving: trio.Event,
        tracking: _Tracking,
    ) -> None:
        self._netns = netns
        self._prior = prior
        self._leaving = leaving
        self._tracking = tracking
        # Tasks that make connections known to rules that are in effect: one at work, and one that follows it.
        self._retracking = 0
        self._tracker = trio.Lock()
        self._desired = desired
        self._guard = guard
        self._others = others
        self._wake = wake
        self._is_following = False
        self._own: deque[int] = deque(maxlen=_OWN)

    @asynccontextmanager
    async def opened(self, ctx: Access, wake: Callable[[], None]) -> AsyncIterator[None]:  # noqa: ARG002
        """A nursery for following others; the guard ends with it."""
        self._is_following = False
        self._retracking = 0
        self._tracking.reset()
        self._tracking.is_running = False
        # The appliers report damage of the record.
        await trio.to_thread.run_sync(self._prior.journal.load)
        other = other_name(self._desired.table)
        if self._prior.journal.is_durable and self._prior.is_own_table(other) and not self._desired.foreign:
            # An earlier agent gave way.
            self._desired.give_way(self._desired.table)
        if self._prior.journal.is_durable and self._prior.is_own_table(self._desired.kernel_name):
            # What an earlier agent left is looked at also if nothing of it is desired any more.
            self._desired.is_active = self._desired.has_news = True
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._guard.follow, self._guard_lost)
                self._nursery.start_soon(self._leave)
                yield
                self._nursery.cancel_scope.cancel()
        finally:
            self._guard.close()

    async def observe(self, look: Look) -> Collection[Hashable]:  # noqa: ARG002
        """Follow others from when anything is desired, and look again at what they deleted."""
        desired, others = self._desired, self._others
        if desired.is_active and not self._is_following:
            self._is_following = True
            await self._nursery.start(self._follow_others)
        now = trio.current_time()
        if now >= others.look_at:
            others.look_at = math.inf
            desired.compare()
        is_shown_long = now >= others.disturbed_until
        if is_shown_long:
            others.disturbance, others.disturbed_until = None, math.inf
        may_track = now >= self._tracking.waits_until
        if may_track:
            self._tracking.forget_refusal()
        return tuple(desired.ids()) if desired.must_compare or is_shown_long or may_track else ()

    def due(self) -> float:
        """When something is to be forgotten, or looked at again."""
        others = self._others
        return min(self._desired.stale_until, others.disturbed_until, others.look_at, self._tracking.waits_until)

    def job(self, work: Mapping[str, TableWork]) -> Callable[[], Applied[Mapping[str, Sent]]]:
        """Run nft. Its process ids are noted from the thread: notifications may arrive before the job returns."""
        if self._others.has_deleted or any(isinstance(each, ListTable) for each in work.values()):
            self._desired.begin_list()
        sender = Sender(self._netns, self._guard.kept, self._own.append)
        known = Known(self._desired.kernel_name, self._desired.seen, self._prior)
        return functools.partial(_run, self._netns, known, work, sender)

    def found_nothing(self, result: Mapping[str, Sent]) -> bool:
        """Whether the table is the one that was compared before."""
        return all(sent.is_same for sent in result.values())

    async def applied(self, ctx: Access, result: Mapping[str, Sent]) -> None:  # noqa: ARG002
        """Note what the tables hold now."""
        desired, others = self._desired, self._others
        for sent in result.values():
            match sent.work:
                case GuardWork():
                    self._guard.note(sent.work, sent.guard)
                    desired.guard_touched = None if sent.has_failed else {}
                    if sent.guard is None and not sent.has_failed:
                        self._guard_lost()
                case _ if sent.has_failed:
                    # Another process may have made it again: it is listed at the next try.
                    others.has_deleted = False
                    refused = sent.work.chains if isinstance(sent.work, Send) else {}
                    self._tracking.note_refused(refused, desired.again_at)
                    desired.note_failed()
                    # Meanwhile the guard is looked at.
                    self._wake()
                case ListTable() if sent.is_foreign:
                    desired.give_way(desired.kernel_name)
                    self._wake()
                case ListTable():
                    desired.note_listed(sent.seen)
                case Track():
                    self._tracking.is_running = True
                    self._nursery.start_soon(self._track)
                case Send(is_whole=True, kept=kept, chains=chains, retracks=retracks):
                    desired.note_compared(kept, chains)
                    # The guard has waited for this. Where nothing differed, it is decided on in the same round.
                    desired.has_news = True
                    if retracks:
                        self._tracking.is_done = False
                        self._begin_tracking_again()
                    if others.suspected is not None:
                        others.disturbance, others.suspected = others.suspected, None
                        others.disturbed_until = trio.current_time() + SHOWN_FOR
                    if others.has_deleted:
                        # What is in a table that was believed to be deleted is looked at, but after the repair.
                        others.has_deleted, others.look_at = False, trio.current_time() + _SECOND_LOOK
                case Send(chains=chains):
                    desired.note_sent(chains)

    async def _leave(self) -> None:
        await self._leaving.wait()
        self._desired.leave()
        self._wake()

    # Connections.

    async def _track(self) -> None:
        """Make the connections that there are known, then have the chains sent that are held back for it."""
        await self._make_known()
        self._tracking.is_running, self._tracking.is_done = False, True
        self._desired.compare()
        self._wake()

    def _begin_tracking_again(self) -> None:
        # One at work may have passed by what began since, and one that waits for it has not.
        if self._retracking < _MOST_RETRACKING:
            self._retracking += 1
            self._nursery.start_soon(self._track_again)

    async def _track_again(self) -> None:
        """Make known what began after all were, and before the rules, which are in effect by now."""
        await self._make_known()
        self._retracking -= 1

    async def _make_known(self) -> None:
        async with self._tracker:
            untracked = await trio.to_thread.run_sync(_track, self._netns, abandon_on_cancel=True)
        if untracked:
            self._others.disturbance = f"connections from before the firewall may be cut off, for {untracked}"
            self._others.disturbed_until = trio.current_time() + SHOWN_FOR
            self._desired.has_news = True
            self._wake()

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
                    self._desired.compare()
                    self._wake()
                    continue
                for commit in commits:
                    self._note(commit)

    def _note(self, commit: Commit) -> None:
        table = self._desired.kernel_name
        if commit.pid in self._own or table not in commit.touched:
            return
        self._desired.compare()
        if commit.program == nft.PROGRAM and not numbers_processes_as_here():
            # In a container the kernel's number of our own nft is not ours: it may be either, so nobody is accused.
            self._wake()
            return
        if table in commit.removed:
            self._others.has_deleted = True
            what = "deleted"
        else:
            what = "changed"
        self._others.suspected = (
            f"the table {FAMILY} {table} was {what} by another program "
            f"({commit.program or 'unknown'}, process {commit.pid}) and has been restored; "
            "have that program leave it alone"
        )
        self._wake()

    def _guard_lost(self) -> None:
        """Have the second copy of the guards made again at once."""
        self._desired.has_news = True
        self._wake()


# In a worker thread.


@attrs.frozen
class Sender:
    """Sends documents: short ones to the nft that is kept, if there is one, all others to a process of their own.

    `started` is called with the process id before nft has the document: the notifications of it are not others' doing.
    """

    netns: str | None
    kept: OwnedTable | None
    started: Callable[[int], object]

    def send(self, text: str) -> None:
        """Apply a document atomically. Blocks; raises OSError as `nft.apply` does."""
        if self.kept is not None and self.kept.is_open and len(text) <= _LONGEST_LINE:
            self.started(self.kept.pid)
            try:
                self.kept.apply(text)
            except BrokenPipeError:
                # It was killed, which the guard notices by itself. What it may have done can be done again.
                pass
            except TimeoutError:
                # What it answers later would be taken for the answer to the next document.
                self.kept.close()
                raise
            else:
                return
        nft.apply(text, self.netns, self.started)


@attrs.frozen
class Known:
    """The table's name in the kernel, what it held when it was listed before, and what is on record of tables."""

    table: str
    seen: SeenTable | None
    prior: PriorState


def _run(netns: str | None, known: Known, work: Mapping[str, TableWork], sender: Sender) -> Applied[Mapping[str, Sent]]:
    sent: dict[str, Sent] = {}
    failed: dict[str, Exception] = {}
    for id, each in work.items():
        try:
            sent[id] = _send(netns, known, each, sender)
        except OSError as error:
            sent[id] = Sent(each, has_failed=True)
            failed[id] = error
    return Applied(result=sent, failed=failed)


def _send(netns: str | None, known: Known, work: TableWork, sender: Sender) -> Sent:
    table, prior = known.table, known.prior
    match work:
        case GuardWork(table=kept) if kept is not None and not kept.is_open:
            # It was given up in the same job, or killed. A new one needs more than what was to be sent.
            return Sent(work)
        case GuardWork():
            return Sent(work, guard=send(work, netns))
        case ListTable():
            text = nft.list_table(FAMILY, table, netns)
            seen = None if text is None else read_table(text)
            is_foreign = seen is not None and not prior.is_own_table(table) and not is_made_here(seen)
            if is_foreign:
                return Sent(work, is_foreign=True)
            return Sent(work, seen=seen, is_same=seen is not None and seen == known.seen)
        case Track():
            # It takes long, and the table is not changed by it: others have their turn meanwhile.
            return Sent(work)
        case Send(text):
            if not work.deletes:
                # On record before it is made: the process may be killed in between.
                prior.note_table(table, is_there=True)
            sender.send(text)
            if work.deletes:
                prior.note_table(table, is_there=False)
            return Sent(work)


def _track(netns: str | None) -> str:
    """Make the connections that there are known to the rules that follow; returns why not, "" if it is done."""
    from nodespan.kernel.packet_filter.connections import track_connections

    try:
        tracked = track_connections(netns)
    except OSError as error:
        return f"they could not be made known to it: {reason_of(error)}"
    if tracked.left_out:
        return f"{tracked.left_out} of them could not be made known to it: {tracked.reason}"
    return ""

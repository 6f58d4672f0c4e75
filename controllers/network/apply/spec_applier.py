"""What all appliers have in common: from a change of a spec or of the kernel to what is done about it.

A mirror holds what the kernel has. A change, of a spec or in the mirror, leads to the specs that it may concern, and
only these are looked at: what one change costs does not depend on how much is configured. Whatever differs is one job
for a worker thread. Done jobs are looked at again, for the kernel has the last word. A spec is held by a finalizer
until what it stood for is gone from the kernel.

Every minute everything is looked at once, which costs no system call beside the mirror's own dump.

While the agent takes over from one that was killed, specs tell what that one has done. Nothing of it is done again, but
what nobody wants any more is taken away.
"""

import errno
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Generic, TypeVar

import attrs
import trio

from nodespan.controllers.common.damping import Damper
from nodespan.controllers.common.problems import Problems, reason_of
from nodespan.controllers.network.apply.interests import Interests, LinkIndex, LinkName
from nodespan.kernel.link_lookup import LinkTable
from nodespan.kernel.links import KernelLink, Links
from nodespan.kernel.mirror import Kind, look_again
from nodespan.kernel.rtnetlink import Kernel, open_kernel
from nodespan.kernel.shared_mirror import MirrorView, open_shared_mirror
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus
from nodespan.resources.network import LinkFlags, NetworkProblem, Severity
from nodespan.runtime.controller import QueueContext, QueueController, mapped, primary, shared
from nodespan.runtime.resource import Metadata, Pointer, Resource, ResourceType

S = TypeVar("S")
J = TypeVar("J")
K = TypeVar("K")
V = TypeVar("V")

# Everything is looked at this often, in seconds, if nothing happens before.
RETRY_INTERVAL = 60.0
# For how long rules are followed before the loop lets others run.
_SLICE = 0.005


@attrs.frozen(kw_only=True)
class Judgement(Generic[J]):
    """What follows from a spec and what the kernel has.

    `job` is to be done now. `waiting` is why nothing can be done until something else changes, `refused` why nothing
    will be done as long as things are as they are. `instead` says what the kernel has that is not wanted.
    """

    job: J | None = None
    waiting: str = ""
    refused: str = ""
    warning: str = ""
    instead: str = ""


class SpecApplier(QueueController, ABC, Generic[S, J]):
    """Makes the kernel be as specs of one type want it."""

    type: ResourceType[S]
    # So many changed specs at a time become one round of work.
    concurrency = 64

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns
        self.inputs = (primary(self.type), mapped(ConfigStatus, CONFIG_STATUS_ID))
        self.outputs = (shared(NetworkProblem),)
        self._wanted: dict[str, S] = {}
        self._leaving: dict[str, S] = {}
        self._interests = Interests()
        self._damper = Damper()
        self._links = LinkTable()
        self._touched: set[str] = set()
        # What to look at although nothing new is known of it.
        self._again: set[str] = set()
        self._everything_at = 0.0
        self._is_taking_over = False
        self._news = trio.Event()
        self._round = trio.Event()

    # What a kind of applier does its own way.

    @abstractmethod
    def watching(self) -> AbstractAsyncContextManager[None]:
        """Entered while the controller runs: opens what `kernel_news` asks."""

    @abstractmethod
    async def kernel_news(self, *, for_work: bool) -> set[Hashable]:
        """Take in what changed in the kernel, and return which topics that is about.

        `for_work`: what the kernel does not tell by itself is asked for, since something is about to be done.
        """

    @abstractmethod
    def judge(self, ids: Iterable[str]) -> dict[str, Judgement[J]]:
        """Decide on these specs, and on those that they compete with; notes what it looked at. Pure otherwise."""

    @abstractmethod
    def work(self, jobs: Mapping[str, J]) -> Mapping[str, OSError]:
        """Do what was decided, in order; returns what failed. Called in a worker thread."""

    async def after_work(self, ctx: QueueContext) -> None:
        """Called after each time that something was done."""

    def holds(self, id: str, spec: S) -> None:
        """Called for each spec that is in effect when it was looked at."""

    def forget(self, id: str) -> None:
        """Called when a spec has gone."""

    def spec_changed(self, id: str) -> None:
        """Called when a spec came, changed or began to leave."""

    def everything(self) -> None:
        """Called when everything is about to be looked at."""

    # From the outside.

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Have the next round take the spec up, and wait for its end."""
        resource: Resource[S] | None = ctx.find(self.type, item.id)
        if resource is not None and self._knows(ctx, resource):
            return
        self._touched.add(item.id)
        self.wake()
        await self._round.wait()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """What goes on with the configuration is a matter of all specs at once."""
        self.wake()
        return ()

    def wake(self) -> None:
        """Ask for a round. Call it from the trio thread only."""
        self._news.set()

    def mirror(self, kind: Kind[K, V]) -> AbstractAsyncContextManager[MirrorView[K, V]]:
        """A mirror of the kernel that wakes the controller."""
        return open_shared_mirror(kind, netns=self._netns, on_change=self.wake)

    def kernel(self) -> AbstractContextManager[Kernel]:
        """A connection to the kernel."""
        return open_kernel(self._netns)

    async def run(self, ctx: QueueContext) -> None:
        """Follow specs and kernel."""
        problems = Problems(ctx, self.type)
        self._touched.update(resource.id for resource in ctx.list(self.type))
        self._touched.update(self._wanted, self._leaving)
        await problems.keep(self._touched)
        try:
            async with self.watching():
                while True:
                    await self._turn(ctx, problems)
                    if not self._touched and not self._again:
                        self._end_round()
                    await self._wait()
        finally:
            # Those who wait are called again when this is started anew.
            self._end_round()

    def _end_round(self) -> None:
        finished, self._round = self._round, trio.Event()
        finished.set()

    async def _wait(self) -> None:
        if self._again or self._touched:
            return
        due = min(self._damper.next_due(trio.current_time()), self._everything_at)
        with trio.move_on_at(due):
            await self._news.wait()
        self._news = trio.Event()

    def _knows(self, ctx: QueueContext, resource: Resource[S]) -> bool:
        metadata = resource.metadata
        return (
            not metadata.is_tearing_down
            and ctx.name in metadata.finalizers
            and resource.id not in self._touched
            and self._wanted.get(resource.id) == resource.spec
        )

    # One round.

    async def _turn(self, ctx: QueueContext, problems: Problems) -> None:
        self._look_at_config(ctx)
        dirty = await self._take_in(ctx)
        dirty |= await self._concerned(for_work=bool(self._leaving))
        judged = await self._judge(dirty)
        if self._to_try(judged):
            more = await self._concerned(for_work=True)
            judged |= await self._judge(more)
        jobs = self._to_try(judged)
        failed: Mapping[str, OSError] = {}
        if jobs:
            failed = await trio.to_thread.run_sync(self.work, jobs)
            now = trio.current_time()
            for id in jobs:
                if id in failed:
                    self._damper.failed(id, now)
                else:
                    self._damper.done(id, now)
                    self._again.add(id)
            await self.after_work(ctx)
        for id, judgement in judged.items():
            if id in self._leaving:
                await self._let_go(ctx, problems, id, judgement, failed.get(id))
            elif id in self._wanted:
                await self._settle(problems, id, judgement, failed.get(id))

    def _look_at_config(self, ctx: QueueContext) -> None:
        status = ctx.find(ConfigStatus, CONFIG_STATUS_ID)
        was_taking_over, self._is_taking_over = self._is_taking_over, status is not None and status.spec.taking_over
        if was_taking_over and not self._is_taking_over:
            self._everything_at = 0.0

    async def _take_in(self, ctx: QueueContext) -> set[str]:
        touched, self._touched = self._touched, set()
        dirty: set[str] = set()
        for id in touched:
            resource: Resource[S] | None = ctx.find(self.type, id)
            if resource is None:
                self._drop(id)
                continue
            held = ctx.name in resource.metadata.finalizers
            if not resource.metadata.is_tearing_down:
                if not held:
                    await ctx.add_finalizer(self.type, id)
                if self._wanted.get(id) != resource.spec:
                    self._damper.forget(id)
                    self._wanted[id] = resource.spec
                    self.spec_changed(id)
                self._leaving.pop(id, None)
            elif held:
                if self._wanted.pop(id, None) is not None:
                    self._damper.forget(id)
                    self.spec_changed(id)
                self._leaving[id] = resource.spec
            else:
                self._drop(id)
                continue
            dirty.add(id)
        return dirty

    def _drop(self, id: str) -> None:
        self._wanted.pop(id, None)
        self._leaving.pop(id, None)
        self._damper.forget(id)
        self._interests.note(id, ())
        self.spec_changed(id)
        self.forget(id)

    async def _concerned(self, *, for_work: bool) -> set[str]:
        now = trio.current_time()
        concerned, self._again = self._again, set()
        topics = await self.kernel_news(for_work=for_work)
        if topics:
            concerned |= self._interests.of(topics)
            for id in self._damper.failing():
                self._damper.hasten(id, now)
        concerned |= self._damper.due(now)
        if now >= self._everything_at:
            self._everything_at = now + RETRY_INTERVAL
            self.everything()
            concerned.update(self._wanted, self._leaving)
        return concerned

    async def _judge(self, ids: Iterable[str]) -> dict[str, Judgement[J]]:
        judged: dict[str, Judgement[J]] = {}
        slice_started = trio.current_time()
        for id in sorted(ids):
            if id not in judged and (id in self._wanted or id in self._leaving):
                judged |= self.judge((id,))
            if trio.current_time() - slice_started > _SLICE:
                await trio.lowlevel.checkpoint()
                slice_started = trio.current_time()
        return judged

    def _to_try(self, judged: Mapping[str, Judgement[J]]) -> dict[str, J]:
        now = trio.current_time()
        return {
            id: judgement.job
            # What leaves makes room for what comes.
            for id, judgement in sorted(judged.items(), key=lambda item: (item[0] in self._wanted, item[0]))
            if judgement.job is not None
            and (id in self._leaving or not self._is_taking_over)
            and self._damper.may_try(id, now)
        }

    async def _settle(self, problems: Problems, id: str, judgement: Judgement[J], error: OSError | None) -> None:
        if error is not None:
            await self._tell(problems, id, error)
            return
        is_damped = self._damper.is_damped(id, trio.current_time())
        if is_damped and judgement.instead:
            await problems.set(id, f"{judgement.instead}: somebody else keeps undoing it; it is done ever less often")
        if judgement.job is not None:
            # It is being done, or what is wrong with it was said when it failed.
            return
        self._damper.holds(id)
        if judgement.refused:
            await problems.set(id, judgement.refused)
        elif judgement.waiting:
            await problems.set(id, judgement.waiting, loud=False)
        else:
            self.holds(id, self._wanted[id])
            if judgement.warning:
                await problems.set(id, judgement.warning, severity=Severity.WARNING)
            elif not is_damped:
                await problems.clear(id)

    async def _tell(self, problems: Problems, id: str, error: OSError) -> None:
        """Show a failure; the log hears only of what does not come right when all that it rests on is there."""
        is_lasting = error.errno == errno.EPERM or self._damper.has_lasted(id)
        await problems.set(id, reason_of(error), loud=is_lasting)

    async def _let_go(
        self, ctx: QueueContext, problems: Problems, id: str, judgement: Judgement[J], error: OSError | None
    ) -> None:
        if error is not None and error.errno != errno.EPERM:
            await self._tell(problems, id, error)
        elif judgement.job is None or error is not None:
            # Who may not change anything has not made it either.
            await ctx.remove_finalizer(self.type, id)
            self._drop(id)
            await problems.clear(id)


class LinkFollower:
    """A mirror of links, and the table that rules look into: both sides of it agree between two rounds."""

    def __init__(self, mirror: MirrorView[int, KernelLink], table: LinkTable) -> None:
        self._mirror = mirror
        self._table = table

    async def take(self) -> set[Hashable]:
        """Bring the table up to date, and return what changed."""
        await self._mirror.catch_up()
        topics: set[Hashable] = set()
        for index in self._mirror.take():
            topics.add(LinkIndex(index))
            topics.update(map(LinkName, self._table.set(index, self._mirror.items.get(index))))
        return topics

    async def look_if_down(self, indexes: Iterable[int], netns: str | None) -> None:
        """Have those of these links that are down read again, here and wherever links are shown."""
        await self._mirror.catch_up()
        known = ((index, self._mirror.items.get(index)) for index in indexes)
        down = {index for index, link in known if link is not None and LinkFlags.UP not in link.status.flags}
        if down:
            await look_again(Links, netns, down)

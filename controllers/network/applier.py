"""What the appliers of addresses, routes and rules have in common.

The kernel's notifications and changed specs wake the controller. A turn compares what is wanted with a mirror of the
kernel, which costs no system call where nothing differs. Where something does, a worker thread lists the kernel anew,
plans on that, for a mirror lags behind, and does the steps. A spec is held by a finalizer until what it stood for is
gone from the kernel.

Because the mirror lags behind, "nothing to do" is not believed of a spec that is leaving; and after a step there is
another look a little later, until the mirror agrees: what somebody undoes at once leaves no trace in it.
"""

import errno
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs
import trio

from controllers.network.kernel.links import KernelLink, Links
from controllers.network.kernel.mirror import Kind, open_mirror
from controllers.network.kernel.rtnetlink import Kernel, open_kernel
from controllers.network.plan import Plan, Step
from controllers.network.problems import Problems, reason_of
from resources.network import NetworkProblem
from runtime.controller import Controller, ControllerContext, shared, strong
from runtime.resource import Resource, ResourceType

S = TypeVar("S")
K = TypeVar("K")
A = TypeVar("A")
O = TypeVar("O")  # noqa: E741
W = TypeVar("W")

# What could not be done is tried again this often, in seconds, if nothing happens before.
RETRY_INTERVAL = 60.0
# How long the mirror may take to show what was done.
_LAG = 0.2
# So often in a row a step is done that does not help, before it is left at that until the next retry.
_ATTEMPTS = 3
_DUMP_ATTEMPTS = 5
_DONE_ALREADY = frozenset({errno.EEXIST})
_GONE_ALREADY = frozenset({errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV})


@attrs.frozen
class _Outcome:
    """What a worker thread did: the specs whose steps it did, and why those of others failed."""

    done: frozenset[str]
    failed: Mapping[str, OSError]


class Applier(Controller, ABC, Generic[S, K, A, W, O]):
    """Makes kernel objects (listed by a kind of key K and items A) be as specs of one type want them.

    Steps add W and remove O.
    """

    type: ResourceType[S]

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns
        self.inputs = (strong(self.type),)
        self.outputs = (shared(NetworkProblem),)
        # The specs as they were when they last were in effect.
        self._before: dict[str, S] = {}
        self._attempts: Counter[str] = Counter()

    @abstractmethod
    def kind(self) -> Kind[K, A]:
        """How the objects are listed."""

    @abstractmethod
    def plan(
        self,
        wanted: Mapping[str, S],
        leaving: Mapping[str, S],
        before: Mapping[str, S],
        links: Mapping[int, KernelLink],
        items: Mapping[K, A],
    ) -> Plan[W, O]:
        """The steps; pure."""

    @abstractmethod
    def add(self, kernel: Kernel, wanted: W) -> None:
        """Add one object; blocks. Raises OSError."""

    @abstractmethod
    def remove(self, kernel: Kernel, seen: O) -> None:
        """Remove one object; blocks. Raises OSError."""

    def after_add(self, wanted: W, links: Mapping[int, KernelLink]) -> None:
        """Called in the worker thread after something was added."""

    async def run(self, ctx: ControllerContext) -> None:
        """Follow specs and kernel."""
        problems = Problems(ctx, self.type)
        async with (
            open_mirror(Links(), netns=self._netns, on_change=ctx.wake) as links,
            open_mirror(self.kind(), netns=self._netns, on_change=ctx.wake) as objects,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._retry, ctx)
            async for _ in ctx:
                links.take()
                objects.take()
                if await self._turn(ctx, problems, links.items, objects.items):
                    nursery.start_soon(self._look_again, ctx)

    async def _retry(self, ctx: ControllerContext) -> None:
        while True:
            await trio.sleep(RETRY_INTERVAL)
            self._attempts.clear()
            ctx.wake()

    async def _look_again(self, ctx: ControllerContext) -> None:
        await trio.sleep(_LAG)
        ctx.wake()

    async def _turn(
        self, ctx: ControllerContext, problems: Problems, links: Mapping[int, KernelLink], items: Mapping[K, A]
    ) -> bool:
        """Compare and do what is to be done; returns whether the mirror has not caught up yet."""
        wanted, leaving = await hold(ctx, self.type)
        plan = self.plan(wanted, leaving, self._before, links, items)
        outcome = _Outcome(frozenset(), {})
        stuck = {step.id for step in plan.steps if self._attempts[step.id] >= _ATTEMPTS}
        differing = any(step.id not in stuck for step in plan.steps)
        if leaving or differing:
            outcome = await trio.to_thread.run_sync(self._apply, wanted, leaving, dict(self._before), stuck)
        self._note(wanted, plan, outcome)
        for id in leaving:
            error = outcome.failed.get(id)
            # Who may not change anything has not made it either.
            if error is None or error.errno == errno.EPERM:
                await ctx.remove_finalizer(self.type, id)
        loud = plan.refused | {id: reason_of(error) for id, error in outcome.failed.items()}
        loud |= dict.fromkeys(stuck, "the kernel does not keep it as it is wanted")
        await problems.show(plan.waiting | loud, loud=frozenset(loud))
        return differing and not outcome.failed

    def _note(self, wanted: Mapping[str, S], plan: Plan[W, O], outcome: _Outcome) -> None:
        differing = {step.id for step in plan.steps}
        for id in self._attempts.keys() - differing:
            del self._attempts[id]
        self._attempts.update(outcome.done)
        for id in self._before.keys() - wanted.keys():
            del self._before[id]
        for id, spec in wanted.items():
            if id not in plan.waiting and id not in plan.refused and id not in outcome.failed:
                if self._before.get(id) != spec:
                    self._attempts.pop(id, None)
                self._before[id] = spec

    def _apply(
        self, wanted: Mapping[str, S], leaving: Mapping[str, S], before: Mapping[str, S], stuck: Iterable[str]
    ) -> _Outcome:
        """In a worker thread."""
        failed: dict[str, OSError] = {}
        with open_kernel(self._netns) as kernel:
            links = list_now(kernel, Links())
            plan = self.plan(wanted, leaving, before, links, list_now(kernel, self.kind()))
            steps = [step for step in plan.steps if step.id not in stuck]
            for step in steps:
                try:
                    self._do(kernel, step, links)
                except OSError as error:
                    failed[step.id] = error
        return _Outcome(frozenset(step.id for step in steps if step.id not in failed), failed)

    def _do(self, kernel: Kernel, step: Step[W, O], links: Mapping[int, KernelLink]) -> None:
        if step.add_first and step.add is not None:
            self._add(kernel, step.add, links)
        for seen in step.remove:
            try:
                self.remove(kernel, seen)
            except OSError as error:
                if error.errno not in _GONE_ALREADY:
                    raise
        if not step.add_first and step.add is not None:
            self._add(kernel, step.add, links)

    def _add(self, kernel: Kernel, wanted: W, links: Mapping[int, KernelLink]) -> None:
        try:
            self.add(kernel, wanted)
        except OSError as error:
            if error.errno not in _DONE_ALREADY:
                raise
        else:
            self.after_add(wanted, links)


async def hold(ctx: ControllerContext, type: ResourceType[S]) -> tuple[dict[str, S], dict[str, S]]:
    """The specs that are wanted, each held by a finalizer from now on, and those that are leaving and held by it."""
    wanted: dict[str, S] = {}
    leaving: dict[str, S] = {}
    resource: Resource[Any]
    for resource in ctx.list(type):
        metadata = resource.metadata
        held = ctx.name in metadata.finalizers
        if metadata.is_tearing_down:
            if held:
                leaving[resource.id] = resource.spec
            continue
        if not held:
            await ctx.add_finalizer(type, resource.id)
        wanted[resource.id] = resource.spec
    return wanted, leaving


def list_now(kernel: Kernel, kind: Kind[K, A]) -> dict[K, A]:
    """The objects of a kind as the kernel has them at this moment; blocks."""
    for _ in range(_DUMP_ATTEMPTS):
        kernel.interrupted = False
        items = kind.collect(kind.dump(kernel))
        if not kernel.interrupted:
            break
    return items

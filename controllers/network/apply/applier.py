"""What the appliers of addresses, routes and rules have in common: a plan is steps that add and remove kernel objects.

Plans are pure and are made on a mirror of the kernel, for one spec at a time, or for those together that are about the
same objects: an address that one spec lets go may be wanted by another.
"""

import errno
from abc import abstractmethod
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import attrs

from nodespan.controllers.network.apply.interests import LinkIndex, LinkName, NotedItems, NotedLinks
from nodespan.controllers.network.apply.plan import Plan, Step
from nodespan.controllers.network.apply.spec_applier import Judgement, LinkFollower, SpecApplier
from nodespan.kernel.link_lookup import LinkTable
from nodespan.kernel.links import KernelLink, PlainLinks
from nodespan.kernel.mirror import Kind
from nodespan.kernel.rtnetlink import Kernel
from nodespan.kernel.shared_mirror import MirrorView

S = TypeVar("S")
K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
O = TypeVar("O")  # noqa: E741
W = TypeVar("W")

_DONE_ALREADY = frozenset({errno.EEXIST})
_GONE_ALREADY = frozenset({errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV})


class Applier(SpecApplier[S, Step[W, O]], Generic[S, K, A, W, O]):
    """Makes kernel objects (listed by a kind of key K and items A) be as specs of one type want them.

    Steps add W and remove O.
    """

    _follower: LinkFollower
    _items: MirrorView[K, A]

    def __init__(self, *, netns: str | None = None) -> None:
        super().__init__(netns=netns)
        # The specs as they were when they last were in effect.
        self._before: dict[str, S] = {}

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
        """The steps for some of the specs; pure. What it asks of `links` and `items` is what it depends on."""

    @abstractmethod
    def add(self, kernel: Kernel, wanted: W) -> None:
        """Add one object; blocks. Raises OSError."""

    @abstractmethod
    def remove(self, kernel: Kernel, seen: O) -> None:
        """Remove one object; blocks. Raises OSError."""

    def after_add(self, wanted: W, links: Mapping[int, KernelLink]) -> None:
        """Called in the worker thread after something was added."""

    # What the common part asks for.

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Mirrors of the links and of the objects."""
        async with self.mirror(PlainLinks()) as links, self.mirror(self.kind()) as items:
            self._links = LinkTable()
            self._follower = LinkFollower(links, self._links)
            self._items = items
            yield

    async def kernel_news(self, *, for_work: bool) -> set[Hashable]:
        """The links and the keys of the objects that changed."""
        topics = await self._follower.take()
        await self._items.catch_up()
        if for_work and not self._items.is_certain:
            await self._items.resync()
        return topics | self._items.take()

    def judge(self, ids: Iterable[str]) -> dict[str, Judgement[Step[W, O]]]:
        """By the plan for these and their rivals."""
        judged: dict[str, Judgement[Step[W, O]]] = {}
        for id in ids:
            noted: set[Hashable] = set()
            plan = self._plan({id}, NotedLinks(self._links, noted), NotedItems(self._items.items, noted))
            self._interests.note(id, noted)
            group = self._rivals(id, noted)
            if len(group) > 1:
                plan = self._plan(group, self._links, self._items.items)
            judged |= _judgements(plan, group)
        return judged

    def work(self, jobs: Mapping[str, Step[W, O]]) -> Mapping[str, OSError]:
        """Take the steps."""
        failed: dict[str, OSError] = {}
        with self.kernel() as kernel:
            for id, step in jobs.items():
                try:
                    self._do(kernel, step)
                except OSError as error:
                    failed[id] = error
        return failed

    def holds(self, id: str, spec: S) -> None:
        """Remember the spec as one that was in effect."""
        self._before[id] = spec

    def forget(self, id: str) -> None:
        """Forget the spec that was in effect."""
        self._before.pop(id, None)

    # How it is done.

    def _plan(self, ids: set[str], links: Mapping[int, KernelLink], items: Mapping[K, A]) -> Plan[W, O]:
        wanted = {id: self._wanted[id] for id in sorted(ids) if id in self._wanted}
        leaving = {id: self._leaving[id] for id in sorted(ids) if id in self._leaving}
        return self.plan(wanted, leaving, self._before, links, items)

    def _rivals(self, id: str, noted: Iterable[Hashable]) -> set[str]:
        """Those that look at the same objects, and at those that they look at, and so on."""
        group = {id}
        reached = self._interests.of(_objects(noted)) - group
        while reached:
            group |= reached
            topics = {topic for rival in reached for topic in self._interests.topics(rival)}
            reached = self._interests.of(_objects(topics)) - group
        return group

    def _do(self, kernel: Kernel, step: Step[W, O]) -> None:
        if step.add_first and step.add is not None:
            self._add(kernel, step.add)
        for seen in step.remove:
            try:
                self.remove(kernel, seen)
            except OSError as error:
                if error.errno not in _GONE_ALREADY:
                    raise
        if not step.add_first and step.add is not None:
            self._add(kernel, step.add)

    def _add(self, kernel: Kernel, wanted: W) -> None:
        try:
            self.add(kernel, wanted)
        except OSError as error:
            if error.errno not in _DONE_ALREADY:
                raise
        else:
            self.after_add(wanted, self._links)


def _objects(topics: Iterable[Hashable]) -> Iterable[Hashable]:
    return (topic for topic in topics if not isinstance(topic, LinkName | LinkIndex))


def _judgements(plan: Plan[W, O], ids: Iterable[str]) -> dict[str, Judgement[Step[W, O]]]:
    steps = {step.id: step for step in plan.steps}
    return {
        id: Judgement(
            job=steps.get(id),
            waiting=plan.waiting.get(id, ""),
            refused=plan.refused.get(id, ""),
            instead=_instead(steps[id]) if id in steps else "",
        )
        for id in ids
    }


def _instead(step: Step[Any, Any]) -> str:
    """What the kernel has in the place of what is wanted, in words."""
    if step.add is None:
        return "it is there again"
    found = step.instead or step.remove
    if not found:
        return "it is gone again"
    return "; ".join(_differences(step.add, seen) for seen in found)


def _differences(wanted: Any, seen: Any) -> str:
    """Fields of the same name that differ. Either may carry its fields in a `spec` or `status`."""
    wanted, seen = getattr(wanted, "spec", wanted), getattr(seen, "status", seen)
    theirs = {field.name for field in attrs.fields(type(seen))}
    pairs = [
        (field.name, getattr(wanted, field.name), getattr(seen, field.name))
        for field in attrs.fields(type(wanted))
        if field.name in theirs and not field.name.endswith("link_name")
    ]
    differing = [f"{name} {_text(there)} instead of {_text(mine)}" for name, mine, there in pairs if mine != there]
    return ", ".join(differing) or "there is another like it"


def _text(value: Any) -> str:
    if isinstance(value, str | int) and not hasattr(value, "text"):
        return str(value) or "none"
    return str(value.text() or "none") if hasattr(value, "text") else str(value)

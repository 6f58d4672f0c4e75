"""Parts for the appliers of addresses, routes and rules: a plan is steps that add and remove kernel objects.

Plans are made on a mirror of the kernel, for one spec at a time, or for those together that are about the same objects:
an address that one spec lets go may be desired by another.
"""

import errno
import functools
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

import attrs

from nodespan.controllers.network.apply.disturbances import program_of, restored
from nodespan.controllers.network.apply.interests import Interests, LinkAtIndex, LinkNamed, NotedItems, NotedLinks
from nodespan.controllers.network.apply.kernel_access import KeptConnection, KernelAccess
from nodespan.controllers.network.apply.link_follower import LinkFollower
from nodespan.controllers.network.apply.plan import Plan as Steps
from nodespan.controllers.network.apply.plan import Step
from nodespan.controllers.network.apply.prior_objects import PriorObjects, SlotKeeper
from nodespan.kernel.link_lookup import LinkTable
from nodespan.kernel.links import BEARERS, KernelLink, Links
from nodespan.kernel.mirror import ObjectKind
from nodespan.kernel.rtnetlink import Request, RtnlSocket, is_foreign_port
from nodespan.kernel.shared_mirror import MirrorView
from nodespan.runtime.controller import Access, Applied, Decision, Driver, Look, Plan, Specs

S = TypeVar("S")
K = TypeVar("K", bound=Hashable)
A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
O = TypeVar("O")  # noqa: E741
W = TypeVar("W")

_DesiredAndLeaving = tuple[Mapping[str, S], Mapping[str, S]]
_OF_LINKS = (LinkNamed, LinkAtIndex)
_DONE_ALREADY = frozenset({errno.EEXIST})
_GONE_ALREADY = frozenset({errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV})


@attrs.frozen(kw_only=True)
class Problem(Generic[S, K, A]):
    """What the steps for some specs are decided on: these specs, those that last were in effect, and the kernel.

    What a rule asks of `links` and `items` is what its answer depends on.
    """

    desired: Mapping[str, S]
    leaving: Mapping[str, S]
    before: Mapping[str, S]
    links: Mapping[int, KernelLink]
    items: Mapping[K, A]


@attrs.frozen(kw_only=True)
class Changes(Generic[W, O]):
    """How objects are added and removed: functions over values that block, and raise OSError.

    `request` is the request that adds an object, None if adding it takes more than that.
    """

    add: Callable[[RtnlSocket, W], None]
    remove: Callable[[RtnlSocket, O], None]
    request: Callable[[W], Request | None] = lambda _: None


@attrs.frozen(kw_only=True)
class Done(Generic[W, O]):
    """One change that a worker made."""

    added: W | None = None
    removed: O | None = None


class Items(Protocol[K, A_co]):
    """The kernel's objects of a kind as plans have them: a mirror's view, or one made of that."""

    @property
    def items(self) -> Mapping[K, A_co]:
        """The objects."""

    @property
    def is_certain(self) -> bool:
        """Whether the mirror is correct as of the last notification processed; if not, a dump is due."""

    def changed_by(self, key: K, /) -> int:
        """The netlink port over which an object was last changed, 0 if that is not known."""

    def take(self) -> frozenset[K]:
        """The keys of all objects that appeared, changed, or went since the last call; at first, all."""

    async def catch_up(self) -> None:
        """Process the notifications that have arrived."""

    async def resync(self) -> None:
        """List everything again."""


class ObjectDriver(Driver[Step[W, O], tuple[Done[W, O], ...]], Generic[K, A, W, O]):
    """Mirrors of the links and of the objects of a kind; steps are taken over a connection of their own.

    Of the links only what objects on them depend on is kept current (`BEARERS`): what else changes of a link concerns
    no spec here. `on_done` is called with what a worker did. `arrange` makes of the mirror's view what plans look into.
    """

    items: Items[K, A]
    links: LinkTable
    _follower: LinkFollower

    def __init__(
        self,
        kernel: KernelAccess,
        kind: ObjectKind[K, A],
        changes: Changes[W, O],
        prior: PriorObjects[Any, K, A, O],
        on_done: Callable[[tuple[Done[W, O], ...]], None] = lambda _: None,
        *,
        arrange: Callable[[MirrorView[K, A]], Items[K, A]] = lambda view: view,
    ) -> None:
        self.prior = prior
        self._kernel = KeptConnection(kernel)
        self._kind = kind
        self._changes = changes
        self._on_done = on_done
        self._arrange = arrange

    @asynccontextmanager
    async def opened(self, ctx: Access, wake: Callable[[], None]) -> AsyncIterator[None]:  # noqa: ARG002
        """Opens the mirrors, once the record of what was there before was read."""
        await self.prior.open(self._kernel.netns)
        async with (
            self._kernel.mirror(Links(), wake, BEARERS) as links,
            self._kernel.mirror(self._kind, wake) as items,
        ):
            self.links = LinkTable()
            self._follower = LinkFollower(links, self.links)
            self.items = self._arrange(items)
            try:
                yield
            finally:
                self._kernel.close()

    async def observe(self, look: Look) -> Collection[Hashable]:
        """The links and the keys of the objects that changed."""
        topics = await self._follower.take()
        await self.items.catch_up()
        if look.certain and not self.items.is_certain:
            await self.items.resync()
        return topics | self.items.take()

    def job(self, work: Mapping[str, Step[W, O]]) -> Callable[[], Applied[tuple[Done[W, O], ...]]]:
        """Take the steps."""
        return functools.partial(_take_steps, self._kernel, self._changes, self.prior.keeper, work)

    async def applied(self, ctx: Access, result: tuple[Done[W, O], ...]) -> None:  # noqa: ARG002
        """Pass on what was done."""
        self._on_done(result)


class ObjectPlan(Plan[Step[W, O]], Generic[S, K, A, W, O]):
    """Decides by a pure rule, and notes what the rule looked at."""

    def __init__(
        self,
        specs: Specs[S],
        driver: ObjectDriver[K, A, W, O],
        rule: Callable[[Problem[S, K, A]], Steps[W, O]],
    ) -> None:
        self._specs = specs
        self._driver = driver
        self._rule = rule
        self._interests = Interests()
        # The specs as they were when they last were in effect.
        self._before: dict[str, S] = {}
        # Those that were in effect when they were last looked at.
        self._in_effect: set[str] = set()

    def concerned(self, topics: Iterable[Hashable]) -> set[str]:
        """The specs whose decision looked at these."""
        return self._interests.of(topics)

    def holds(self, id: str) -> None:
        """Remember the spec as one that was in effect."""
        self._before[id] = self._specs.desired[id]
        self._in_effect.add(id)

    def changed(self, id: str) -> None:
        """The spec is another one, which is not in effect yet."""
        self._in_effect.discard(id)

    def gone(self, id: str) -> None:
        """Forget the spec."""
        self._interests.note(id, ())
        self._before.pop(id, None)
        self._in_effect.discard(id)
        self._driver.prior.forget(id)

    def decide(self, id: str) -> Mapping[str, Decision[Step[W, O]]]:
        """By the rule, for this spec and its rivals."""
        noted: set[Hashable] = set()
        links, items = self._driver.links, self._driver.items.items
        specs = self._specs_of((id,))
        steps = self._steps(specs, NotedLinks(links, noted), NotedItems(items, noted))
        self._interests.note(id, noted)
        group = self._rivals(id, noted)
        if len(group) > 1:
            specs = self._specs_of(sorted(group))
            steps = self._steps(specs, links, items)
        decisions = _decisions(self._keeping(steps, group, specs, items), group)
        for each, decision in decisions.items():
            if decision.waiting or decision.refused:
                self._in_effect.discard(each)
            elif undone := self._undone(each, decision):
                decisions[each] = attrs.evolve(decision, undone=undone)
        return decisions

    def _undone(self, id: str, decision: Decision[Step[W, O]]) -> str:
        """By whom the object was removed or changed, if that came over another program's connection."""
        step = decision.work
        if id not in self._in_effect or step is None or step.add is None:
            return ""
        keys: Iterable[Any] = _objects(self._interests.topics(id))
        port = next((port for key in keys if is_foreign_port(port := self._driver.items.changed_by(key))), 0)
        if not port:
            return ""
        return restored("it was changed" if step.remove or step.instead else "it was removed", program_of(port))

    def _specs_of(self, ids: Iterable[str]) -> _DesiredAndLeaving[S]:
        desired, leaving = self._specs.desired, self._specs.leaving
        found: dict[str, S] = {}
        going: dict[str, S] = {}
        for id in ids:
            if id in desired:
                found[id] = desired[id]
            if id in leaving:
                going[id] = leaving[id]
        return found, going

    def _keeping(
        self, plan: Steps[W, O], ids: set[str], specs: _DesiredAndLeaving[S], items: Mapping[K, A]
    ) -> Steps[W, O]:
        """The steps with regard to what was there before the agent."""
        steps = self._driver.prior.corrected(
            {step.id: step for step in plan.steps},
            ids - plan.waiting.keys() - plan.refused.keys(),
            *specs,
            self._driver.links,
            items,
        )
        return Steps(steps=tuple(steps.values()), waiting=plan.waiting, refused=plan.refused)

    def _steps(
        self, specs: _DesiredAndLeaving[S], links: Mapping[int, KernelLink], items: Mapping[K, A]
    ) -> Steps[W, O]:
        desired, leaving = specs
        return self._rule(Problem(desired=desired, leaving=leaving, before=self._before, links=links, items=items))

    def _rivals(self, id: str, noted: Iterable[Hashable]) -> set[str]:
        """Those that look at the same objects, and at those that they look at, and so on."""
        group = {id}
        reached = self._interests.of(_objects(noted)) - group
        while reached:
            group |= reached
            topics = {topic for rival in reached for topic in self._interests.topics(rival)}
            reached = self._interests.of(_objects(topics)) - group
        return group


# In a worker thread.


def _take_steps(
    access: KernelAccess, changes: Changes[W, O], keeper: SlotKeeper[O], work: Mapping[str, Step[W, O]]
) -> Applied[tuple[Done[W, O], ...]]:
    failed: dict[str, Exception] = {}
    done: list[Done[W, O]] = []
    with access.open() as kernel:
        try:
            keeper.before(access.netns, kernel, work.values())
        except OSError as error:
            return Applied(result=(), failed=dict.fromkeys(work, error))
        for batch in _batches(changes, work.values()):
            for step in _add_at_once(kernel, batch, done):
                try:
                    if step.restore:
                        keeper.restore(kernel, step, functools.partial(changes.remove, kernel))
                    else:
                        _take(kernel, changes, step, done)
                except OSError as error:
                    failed[step.id] = error
        keeper.after(access.netns, [step for id, step in work.items() if id not in failed])
    return Applied(result=tuple(done), failed=failed)


_Batch = list[tuple[Step[W, O], Request | None]]


def _batches(changes: Changes[W, O], steps: Iterable[Step[W, O]]) -> Iterator[_Batch[W, O]]:
    """The steps in their order: those in a row that only add an object together, every other one alone."""
    batch: _Batch[W, O] = []
    for step in steps:
        only_adds = step.add is not None and not step.remove and not step.restore
        request = changes.request(step.add) if only_adds and step.add is not None else None
        if request is None and batch:
            yield batch
            batch = []
        batch.append((step, request))
        if request is None:
            yield batch
            batch = []
    if batch:
        yield batch


def _add_at_once(kernel: RtnlSocket, batch: _Batch[W, O], done: list[Done[W, O]]) -> Iterator[Step[W, O]]:
    """Send the requests of a batch; returns the steps that are still to be taken, as are those that were refused."""
    requests = [request for _, request in batch if request is not None]
    try:
        refused = frozenset(kernel.request_all(requests)) if requests else frozenset()
    except OSError:
        # Not sent, or not all: each by itself says why.
        refused = frozenset(range(len(batch)))
    for position, (step, request) in enumerate(batch):
        if request is None or position in refused:
            yield step
        else:
            done.append(Done(added=step.add))


def _take(kernel: RtnlSocket, changes: Changes[W, O], step: Step[W, O], done: list[Done[W, O]]) -> None:
    if step.add_first and step.add is not None:
        _add(kernel, changes, step.add, done)
    for seen in step.remove:
        try:
            changes.remove(kernel, seen)
        except OSError as error:
            if error.errno not in _GONE_ALREADY:
                raise
        else:
            done.append(Done(removed=seen))
    if not step.add_first and step.add is not None:
        _add(kernel, changes, step.add, done)


def _add(kernel: RtnlSocket, changes: Changes[W, O], desired: W, done: list[Done[W, O]]) -> None:
    try:
        changes.add(kernel, desired)
    except OSError as error:
        if error.errno not in _DONE_ALREADY:
            raise
    else:
        done.append(Done(added=desired))


# Words.


def _objects(topics: Iterable[Hashable]) -> Iterable[Hashable]:
    return (topic for topic in topics if not isinstance(topic, _OF_LINKS))


def _decisions(plan: Steps[W, O], ids: Iterable[str]) -> dict[str, Decision[Step[W, O]]]:
    steps = {step.id: step for step in plan.steps}
    return {
        id: Decision(
            work=steps.get(id),
            waiting=plan.waiting.get(id, ""),
            refused=plan.refused.get(id, ""),
            instead=_instead(steps[id]) if id in steps else "",
        )
        for id in ids
    }


def _instead(step: Step[Any, Any]) -> str:
    """What the kernel has instead of what is desired, in words."""
    if step.add is None:
        return "it is there again" if step.remove else ""
    found = step.instead or step.remove
    if not found:
        return "it is gone again"
    return "; ".join(_differences(step.add, seen) for seen in found)


def _differences(desired: Any, seen: Any) -> str:
    """Fields of the same name that differ. Either may carry its fields in a `spec` or `status`."""
    desired, seen = getattr(desired, "spec", desired), getattr(seen, "status", seen)
    theirs = {field.name for field in attrs.fields(type(seen))}
    pairs = [
        (field.name, getattr(desired, field.name), getattr(seen, field.name))
        for field in attrs.fields(type(desired))
        if field.name in theirs and not field.name.endswith("link_name")
    ]
    differing = [f"{name} {_text(there)} instead of {_text(mine)}" for name, mine, there in pairs if mine != there]
    return ", ".join(differing) or "there is another like it"


def _text(value: Any) -> str:
    if isinstance(value, str | int) and not hasattr(value, "text"):
        return str(value) or "none"
    return str(value.text() or "none") if hasattr(value, "text") else str(value)

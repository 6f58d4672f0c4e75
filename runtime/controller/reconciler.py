"""The generic reconciler: makes what is outside of the state be as the specs desire it.

A round collects what changed, on either side; observes what is there; decides, by pure functions, what differs; has the
difference applied in a worker thread; and settles each item: shown, retried, or let go. What was applied is looked at
again, for the outside has the last word. Every now and then everything is compared. An item that nothing changed for
costs nothing.

    collect → observe → decide → apply (in a thread) → settle → look again
       ↑                            | failed: again after a backoff
       wake, retries that are due, the full comparison

A reconciler is put together from parts, each with one job:

- `Desired`: which items there are, desired or leaving. `Specs` (reconciler_specs) does it for resources of one type.
- `Plan`: pure decisions, from desired and observed to a difference.
- `Driver`: the I/O. It observes, and makes the job of a worker thread, which gets values and returns values.
- `RetryPolicy`: when to try again what failed. `Retries` is an exponential backoff for each item.
- `Report`: where what is wrong is shown.

Who has one input type and an outside without notifications puts none of it together: `ReconcilerController`
(reconciler_controller) takes a function and a driver. Whatever is used, `nodespan get controllers` and the metrics show
the length of the queue, how many items fail, and the last error.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio

from nodespan.runtime.backoff import Backoff, Exponential
from nodespan.runtime.controller.context import Access
from nodespan.runtime.looks import QuietJob
from nodespan.runtime.slices import Slices
from nodespan.runtime.ticks import due_after

T = TypeVar("T")
W = TypeVar("W")
R = TypeVar("R")

# Seconds between two full comparisons.
FULL_INTERVAL = 60.0
# How an item that fails is retried.
RETRIES = Exponential(base=1.0, cap=60.0)


class Worker(Protocol):
    """How jobs that block are run."""

    async def __call__(self, job: Callable[[], T], /) -> T: ...


async def in_thread(job: Callable[[], T], /) -> T:
    """Run a job in a worker thread."""
    return await trio.to_thread.run_sync(job)


class Reader(Protocol):
    """How a driver reads what blocks. `found_nothing` is called in the worker thread with what the job returns."""

    async def __call__(self, job: Callable[[], T], found_nothing: Callable[[T], bool], /) -> T: ...


@attrs.frozen(kw_only=True)
class Decision(Generic[W]):
    """What follows from the desired and the observed state of one item.

    `work` is the difference, to be applied now; None if there is none, or nothing can be done about it. `waiting` is
    why nothing can be done until something else changes, `refused` why nothing will be done as long as things are as
    they are, `warning` what should be known although all is as desired. `instead` is what is there in its place;
    `undone` is what another program has done to what was in effect, and `work` restores.
    """

    work: W | None = None
    waiting: str = ""
    refused: str = ""
    warning: str = ""
    instead: str = ""
    undone: str = ""


@attrs.frozen(kw_only=True)
class Applied(Generic[R]):
    """What a job returns: which items failed, and whatever else the driver wants to know of it."""

    result: R
    failed: Mapping[str, Exception] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Collected:
    """What `Desired.collect` found: items to look at, and among them or beside them those that are new, and gone."""

    dirty: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


async def _read_at_once(job: Callable[[], T], found_nothing: Callable[[T], bool], /) -> T:  # noqa: ARG001
    return await in_thread(job)


@attrs.frozen(kw_only=True)
class Look:
    """What `Driver.observe` is asked for.

    `ids` are about to be decided on. `certain`: something is about to be done, so what may be out of date is read
    again. `everything`: this is a full comparison. `read` runs what blocks, where the jobs run; what a full comparison
    reads and is as before need not wake the loop: it is taken in within a second. Its threads are then none that
    `trio.from_thread` knows.
    """

    ids: frozenset[str] = frozenset()
    certain: bool = False
    everything: bool = False
    read: Reader = attrs.field(default=_read_at_once, eq=False, repr=False)


class Desired(ABC):
    """The items: which are desired, and which are leaving, that is, held until nothing is left of them outside."""

    @abstractmethod
    async def begin(self, ctx: Access) -> Iterable[str]:
        """A run begins: the items to look at first."""

    @abstractmethod
    async def collect(self, ctx: Access, touched: frozenset[str]) -> Collected:
        """Take in what changed; `touched` are the items that `Reconciler.touch` was called for."""

    @abstractmethod
    def ids(self) -> Iterable[str]:
        """All items."""

    @abstractmethod
    def __contains__(self, id: str) -> bool:
        """Whether there is such an item, desired or leaving."""

    # Unless a subclass holds items that leave, none does: what is gone is gone, or is the plan's business.

    def is_leaving(self, id: str) -> bool:  # noqa: ARG002
        """Whether an item is to go."""
        return False

    @property
    def has_leaving(self) -> bool:
        """Whether any item is leaving."""
        return False

    async def let_go(self, ctx: Access, id: str) -> None:  # noqa: ARG002
        """Nothing is left of a leaving item."""
        raise AssertionError(f"{id} is not leaving")

    def knows(self, ctx: Access, id: str) -> bool:  # noqa: ARG002
        """Whether the item is known as it is by now, so that there is nothing to collect."""
        return False


class Plan(ABC, Generic[W]):
    """From desired and observed to the difference; pure, but for notes of what it looked at."""

    @abstractmethod
    def decide(self, id: str) -> Mapping[str, Decision[W]]:
        """Decide on an item, and on those that must be decided together with it."""

    def concerned(self, topics: Iterable[Hashable]) -> set[str]:
        """The items that a change of these topics, which the driver observed, may concern."""
        return {topic for topic in topics if isinstance(topic, str)}

    def changed(self, id: str) -> None:
        """What is desired of an item changed."""

    def gone(self, id: str) -> None:
        """An item is gone."""

    def holds(self, id: str) -> None:
        """An item is as desired."""

    def everything(self) -> None:
        """A full comparison begins."""


class Driver(ABC, Generic[W, R]):
    """The I/O: observing what is there, and applying differences."""

    def opened(self, ctx: Access, wake: Callable[[], None]) -> AbstractAsyncContextManager[None]:  # noqa: ARG002
        """Entered for as long as the reconciler runs; may run tasks that call `wake`."""
        return _nothing()

    @abstractmethod
    async def observe(self, look: Look) -> Collection[Hashable]:
        """Take in what is there, and return the topics that changed. See `Plan.concerned`."""

    @abstractmethod
    def job(self, work: Mapping[str, W]) -> Callable[[], Applied[R]]:
        """A function that applies these differences in order. It runs in a worker thread.

        It gets values and returns values: it must not touch what the trio thread may change meanwhile.
        """

    def found_nothing(self, result: R) -> bool:  # noqa: ARG002
        """Whether a job, of a full comparison and with this result, has changed nothing and has nothing new to say.

        Called in the worker thread. What has found nothing need not wake the loop: it is taken in within a second. Jobs
        of drivers that have this run in threads that `trio.from_thread` does not know.
        """
        return False

    async def applied(self, ctx: Access, result: R) -> None:
        """Take in what a job returned."""

    def due(self) -> float:
        """When, by trio's clock, the driver wants a round without being woken; infinity for never."""
        return math.inf


class RetryPolicy(Protocol):
    """When to try again. Times are seconds of trio's clock."""

    def failed(self, id: str, now: float) -> None: ...
    def done(self, id: str, now: float) -> None: ...
    def holds(self, id: str) -> None: ...
    def forget(self, id: str) -> None: ...
    def hasten(self, id: str, now: float) -> None: ...
    def may_try(self, id: str, now: float) -> bool: ...
    def failing(self) -> Collection[str]: ...
    def due(self, now: float) -> set[str]: ...
    def next_due(self, now: float) -> float: ...


@attrs.define
class _Failing:
    backoff: Backoff
    again_at: float


class Retries:
    """An item that fails is tried again after a backoff of its own; a changed spec is tried at once."""

    def __init__(self, exponential: Exponential = RETRIES, random: Random | None = None) -> None:
        self._exponential = exponential
        self._random = random
        self._failing: dict[str, _Failing] = {}

    def failed(self, id: str, now: float) -> None:
        """It was tried and failed."""
        known = self._failing.get(id)
        if known is None:
            known = self._failing[id] = _Failing(Backoff(self._random, self._exponential), now)
        known.again_at = now + known.backoff.next()

    def done(self, id: str, now: float) -> None:  # noqa: ARG002
        """It was tried and done."""
        self.forget(id)

    def holds(self, id: str) -> None:
        """There is nothing to do."""
        self.forget(id)

    def forget(self, id: str) -> None:
        """Its spec changed, or it is gone."""
        self._failing.pop(id, None)

    def hasten(self, id: str, now: float) -> None:
        """Something else changed; an item waits no less for that."""

    def try_now(self, id: str) -> None:
        """An item that waits may be tried now; it waits as long as before if it fails again."""
        known = self._failing.get(id)
        if known is not None:
            known.again_at = -math.inf

    def may_try(self, id: str, now: float) -> bool:
        """Whether it may be tried now."""
        known = self._failing.get(id)
        return known is None or now >= known.again_at

    def failures(self, id: str) -> int:
        """How often it failed in a row."""
        known = self._failing.get(id)
        return 0 if known is None else known.backoff.failures

    def failing(self) -> Collection[str]:
        """What failed when it was last tried."""
        return self._failing.keys()

    def due(self, now: float) -> set[str]:
        """What may be tried again."""
        return {id for id, known in self._failing.items() if now >= known.again_at}

    def next_due(self, now: float) -> float:  # noqa: ARG002
        """When there is something due next."""
        return min((known.again_at for known in self._failing.values()), default=math.inf)


class Report:
    """Where what is wrong with items is shown; this one logs each new failure."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}

    async def begin(self, ctx: Access, ids: Collection[str]) -> None:
        """A run begins, with these items."""

    async def changed(self, ctx: Access, id: str) -> None:
        """An item is new, or another one than it was."""

    async def failed(self, ctx: Access, id: str, error: Exception) -> None:
        """Applying an item failed."""
        text = describe(error)
        if self._logged.get(id) != text:
            self._logged[id] = text
            ctx.log.warning("cannot apply", id=id, reason=text)

    async def settled(self, ctx: Access, id: str, decision: Decision[Any]) -> None:
        """A desired item was decided on, and what was to be done, if anything, was done."""
        reason = decision.refused or decision.warning
        if not reason:
            self._logged.pop(id, None)
        elif self._logged.get(id) != reason:
            self._logged[id] = reason
            ctx.log.warning("cannot apply" if decision.refused else "needs attention", id=id, reason=reason)

    async def gone(self, ctx: Access, id: str) -> None:  # noqa: ARG002
        """An item is gone."""
        self._logged.pop(id, None)


def describe(error: Exception) -> str:
    """An error in one line: what the system says, or the class and the text."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _never(_: Any) -> bool:
    return False


class Reconciler(Generic[W, R]):
    """Runs the rounds; see the head of the module.

    `gather`: so many seconds after it was woken a round begins, so that what changes together is one round. `hold`:
    while it returns true, only leaving items are worked on. `is_harmless` tells errors that say that nothing can have
    been applied before either, so that a leaving item is let go. `worker` runs the jobs.

    One run at a time. All methods are called from the trio thread.
    """

    def __init__(
        self,
        *,
        desired: Desired,
        plan: Plan[W],
        driver: Driver[W, R],
        retries: RetryPolicy | None = None,
        report: Report | None = None,
        full_interval: float = FULL_INTERVAL,
        gather: float = 0.0,
        hold: Callable[[Access], bool] = _never,
        is_harmless: Callable[[Exception], bool] = _never,
        worker: Worker = in_thread,
    ) -> None:
        self._desired = desired
        self._plan = plan
        self._driver = driver
        self._retries: RetryPolicy = Retries() if retries is None else retries
        self._report = Report() if report is None else report
        self._full_interval = full_interval
        self._gather = gather
        self._hold = hold
        self._is_harmless = is_harmless
        self._worker = worker
        self._is_held = False
        self._touched: set[str] = set()
        # What to look at although nothing new is known of it.
        self._again: set[str] = set()
        # Minus infinity: one was asked for.
        self._full_at = -math.inf
        self._hurries = False
        self._news = trio.Event()
        self._round = trio.Event()
        self._in_round = False
        # Whether the round is about nothing but a full comparison that is due by time, and what that has under way.
        self._only_compares = False
        self._comparing: QuietJob[Any] | None = None
        # Such jobs run in threads that are none of trio's, in which `trio.from_thread` does not work.
        self._may_find_nothing = type(driver).found_nothing is not Driver.found_nothing

    def wake(self, *, at_once: bool = False) -> None:
        """Ask for a round; `at_once`: without gathering."""
        self._hurries |= at_once
        self._note_news()

    def touch(self, ids: Iterable[str]) -> None:
        """What is desired of these items may have changed, or what is there: look at them."""
        self._touched.update(ids)
        self._note_news()

    def compare_all(self) -> None:
        """Make the next round a full comparison, and ask for it."""
        self._full_at = -math.inf
        self._note_news()

    def _note_news(self) -> None:
        self._news.set()
        self._hurry()

    def _hurry(self) -> None:
        if self._comparing is not None:
            self._comparing.hurry()

    async def reconcile(self, ctx: Access, id: str) -> None:
        """Have the next round look at an item, and wait until that is over.

        Of an item that did not change, the round under way may know but has not applied it yet: its end is waited for
        too. Without one, returns at once.
        """
        if id not in self._touched and self._desired.knows(ctx, id):
            if self._in_round:
                self._hurry()
                await self._round.wait()
            return
        self.touch((id,))
        await self._round.wait()

    async def run(self, ctx: Access) -> None:
        """Run rounds until cancelled."""
        first = set(await self._desired.begin(ctx))
        self._touched |= first
        await self._report.begin(ctx, first)
        try:
            async with self._driver.opened(ctx, self.wake):
                while True:
                    self._in_round = True
                    await self._turn(ctx)
                    if not self._touched and not self._again:
                        self._end_round()
                        await self._wait()
        finally:
            # Those who wait are called again when this runs again.
            self._end_round()

    def _end_round(self) -> None:
        self._in_round = False
        finished, self._round = self._round, trio.Event()
        finished.set()

    async def _wait(self) -> None:
        with trio.move_on_at(min(self._retries.next_due(trio.current_time()), self._full_at, self._driver.due())):
            await self._news.wait()
            if self._gather and not self._hurries:
                await trio.sleep(self._gather)
        self._hurries = False
        self._news = trio.Event()

    async def _turn(self, ctx: Access) -> None:
        was_held, self._is_held = self._is_held, self._hold(ctx)
        if was_held and not self._is_held:
            self._full_at = -math.inf
        decisions = await self._decide(await self._look(ctx))
        if self._ready(decisions):
            more = self._concerned(await self._driver.observe(Look(certain=True, read=self._read_at_once)))
            decisions |= await self._decide(more)
        work = self._ready(decisions)
        failed: Mapping[str, Exception] = {}
        if work:
            run = self._run_quietly if self._may_find_nothing else self._read_at_once
            applied = await run(self._driver.job(work), self._found_nothing)
            failed = applied.failed
            self._count(ctx, work, failed)
            await self._driver.applied(ctx, applied.result)
        slices = Slices()
        for id, decision in decisions.items():
            if id in self._desired:
                await self._settle(ctx, id, decision, failed.get(id))
            await slices.rest()
        ctx.work.update(queue_length=len(self._touched | self._again), failing=len(self._retries.failing()))

    async def _run_quietly(self, job: Callable[[], T], found_nothing: Callable[[T], bool], /) -> T:
        """Run a job; that of a full comparison does not wake the loop if it has found nothing."""
        if not self._only_compares or self._worker is not in_thread:
            return await self._worker(job)
        self._comparing = comparing = QuietJob(job, found_nothing)
        try:
            return await comparing.run()
        finally:
            self._comparing = None

    async def _read_at_once(self, job: Callable[[], T], found_nothing: Callable[[T], bool], /) -> T:  # noqa: ARG002
        return await self._worker(job)

    def _found_nothing(self, applied: Applied[R]) -> bool:
        """In the worker thread."""
        return not applied.failed and self._driver.found_nothing(applied.result)

    async def _look(self, ctx: Access) -> set[str]:
        touched, self._touched = frozenset(self._touched), set()
        ctx.work.rounds += 1
        collected = await self._desired.collect(ctx, touched)
        for id in collected.changed | collected.gone:
            self._retries.forget(id)
            self._plan.changed(id)
        slices = Slices()
        for id in collected.changed:
            await self._report.changed(ctx, id)
            await slices.rest()
        for id in collected.gone:
            self._plan.gone(id)
            await self._report.gone(ctx, id)
            await slices.rest()
        dirty = set(collected.dirty)
        again, self._again = self._again, set()
        dirty |= again
        now = trio.current_time()
        dirty |= self._retries.due(now)
        everything = now >= self._full_at
        self._only_compares = everything and not dirty and self._full_at > -math.inf
        if everything:
            self._full_at = due_after(self._full_interval)
            ctx.work.full_comparisons += 1
            self._plan.everything()
            dirty.update(self._desired.ids())
        look = Look(
            ids=frozenset(dirty), certain=self._desired.has_leaving, everything=everything, read=self._run_quietly
        )
        return dirty | self._concerned(await self._driver.observe(look))

    def _concerned(self, topics: Collection[Hashable]) -> set[str]:
        if not topics:
            return set()
        now = trio.current_time()
        for id in tuple(self._retries.failing()):
            self._retries.hasten(id, now)
        return self._plan.concerned(topics) | self._retries.due(now)

    async def _decide(self, ids: Iterable[str]) -> dict[str, Decision[W]]:
        decisions: dict[str, Decision[W]] = {}
        slices = Slices()
        for id in sorted(ids):
            if id not in decisions and id in self._desired:
                decisions.update(self._plan.decide(id))
            await slices.rest()
        return decisions

    def _ready(self, decisions: Mapping[str, Decision[W]]) -> dict[str, W]:
        now = trio.current_time()
        is_leaving = self._desired.is_leaving
        ready = {
            id: decision.work
            for id, decision in decisions.items()
            if decision.work is not None and (not self._is_held or is_leaving(id)) and self._retries.may_try(id, now)
        }
        # What leaves makes room for what comes.
        return dict(sorted(ready.items(), key=lambda item: (not is_leaving(item[0]), item[0])))

    def _count(self, ctx: Access, work: Mapping[str, W], failed: Mapping[str, Exception]) -> None:
        now = trio.current_time()
        for id in work:
            error = failed.get(id)
            if error is None:
                self._retries.done(id, now)
                self._again.add(id)
            else:
                self._retries.failed(id, now)
                ctx.work.last_error = f"{id}: {describe(error)}"
        ctx.work.applied += len(work) - len(failed)
        ctx.work.failures += len(failed)

    async def _settle(self, ctx: Access, id: str, decision: Decision[W], error: Exception | None) -> None:
        if self._desired.is_leaving(id):
            if error is not None and not self._is_harmless(error):
                await self._report.failed(ctx, id, error)
            elif decision.work is None or error is not None:
                await self._desired.let_go(ctx, id)
                self._retries.forget(id)
                self._plan.changed(id)
                self._plan.gone(id)
                await self._report.gone(ctx, id)
            return
        if error is not None:
            await self._report.failed(ctx, id, error)
            return
        if decision.work is None:
            self._retries.holds(id)
            if not decision.refused and not decision.waiting:
                self._plan.holds(id)
        await self._report.settled(ctx, id, decision)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield

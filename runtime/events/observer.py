"""runtime.EventController: compares each changed resource that has rules with what it was, and records events."""

import datetime
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog
import trio

from nodespan.runtime.controller import QueueController, Requeue, exclusive, primary
from nodespan.runtime.controller.context import QueueContext
from nodespan.runtime.events.resource import KIND_LIFECYCLE, Event, EventSpec, event_id
from nodespan.runtime.events.ring_file import Loaded, Numbered, RingFile
from nodespan.runtime.events.rule import EventRule, Happening, load_rules
from nodespan.runtime.lifecycle import AgentLifecycle, AgentLifecycleSpec
from nodespan.runtime.resource import Kind, Pointer, Resource
from nodespan.runtime.text.escaping import bounded

if TYPE_CHECKING:
    from nodespan.runtime.plugins import Settings

CAPACITY = 1000
FILE = "events.jsonl"
# How long, in seconds, a file that cannot be written rests.
_RETRY = 60.0
# How long, in seconds, controllers may take to publish what they observe.
_FIRST_LOOK = 60.0
# With how many other events one is written at a time, and how long, in seconds, it waits for them.
_GATHER = 0.5
_LONGEST_ID = 1000


T = TypeVar("T")


class Blocking(Protocol):
    """Calls a function that may block, without blocking the loop."""

    def __call__(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]: ...


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    return await trio.to_thread.run_sync(function, *arguments)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def agent_rule(version: str) -> EventRule[AgentLifecycleSpec]:
    """The start and the stop of the agent."""

    def describe(
        before: Resource[AgentLifecycleSpec] | None, now: Resource[AgentLifecycleSpec] | None
    ) -> Iterable[Happening]:
        if now is not None and before is None:
            text = f"the agent starts: version {version}, process {now.spec.pid}"
            yield Happening(KIND_LIFECYCLE, text, is_new=True)
        elif now is not None and before is not None and now.metadata.is_tearing_down > before.metadata.is_tearing_down:
            yield Happening(KIND_LIFECYCLE, "the agent stops", is_new=True)

    return EventRule(type=AgentLifecycle, describe=describe)


def _ignored_by_all(rules: Sequence[EventRule[Any]]) -> list[str]:
    first, *others = rules
    return [name for name in first.ignoring if all(name in rule.ignoring for rule in others)]


class EventController(QueueController):
    """Keeps the newest `capacity` events; with a path in a file too.

    `settled` waits until the controllers have published what they observe, for at most so many seconds.
    """

    name = "runtime.EventController"

    def __init__(
        self,
        rules: Iterable[EventRule[Any]],
        *,
        path: Path | None = None,
        capacity: int = CAPACITY,
        settled: Callable[[float], Awaitable[bool]] | None = None,
        now: Callable[[], datetime.datetime] = _now,
        blocking: Blocking = _in_thread,
    ) -> None:
        self._rules: dict[Kind[Any], list[EventRule[Any]]] = {}
        for rule in rules:
            self._rules.setdefault(rule.type.kind, []).append(rule)
        by_type = sorted(self._rules.values(), key=lambda rules: rules[0].type.name)
        self.inputs = tuple(primary(rules[0].type, ignoring=_ignored_by_all(rules)) for rules in by_type)
        self.outputs = (exclusive(Event),)
        self._file = None if path is None else RingFile(path, capacity)
        self._capacity = capacity
        self._settled = settled
        self._now = now
        self._blocking = blocking
        self._loading = trio.Lock()
        self._is_loaded = False
        # Held while events get their numbers and their places in the ring.
        self._numbering = trio.Lock()
        self._numbers: deque[int] = deque()
        self._next = 1
        # The resources as they were when they were looked at last; they are those of the state, not copies.
        self._known: dict[Pointer[Any], Resource[Any]] = {}
        # When changes that have to settle are looked at.
        self._due: dict[Pointer[Any], float] = {}
        # The last event of each kind about a resource, of those of earlier agents that were not overtaken yet.
        self._earlier: dict[tuple[Pointer[Any], str], EventSpec] = {}
        self._unwritten: list[Numbered] = []
        self._has_unwritten = trio.Event()

    # From changes to events.

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Record what happened to one resource since it was looked at last."""
        await self._load(ctx)
        before, now = self._known.get(item), ctx.find(item.kind, item.id)
        if before is now:
            self._due.pop(item, None)
            return
        rules = self._rules[item.kind]
        self._wait_to_settle(item, max(rule.settle for rule in rules))
        if now is None:
            self._known.pop(item, None)
        else:
            self._known[item] = now
        for rule in rules:
            for happening in rule.describe(before, now):
                earlier = self._earlier.pop((item, happening.kind), None)
                text = bounded(happening.text)
                if before is None and not happening.is_new and earlier is not None and earlier.text == text:
                    continue
                await self._record(ctx, item, happening, text)

    def _wait_to_settle(self, item: Pointer[Any], seconds: float) -> None:
        """Raise Requeue while the first change since the resource was looked at last is younger than this."""
        if not seconds:
            return
        left = self._due.setdefault(item, trio.current_time() + seconds) - trio.current_time()
        if left > 0:
            raise Requeue(left)
        del self._due[item]

    async def _record(self, ctx: QueueContext, item: Pointer[Any], happening: Happening, text: str) -> None:
        spec = EventSpec(
            time=self._now(),
            severity=happening.severity,
            kind=happening.kind,
            text=text,
            namespace=item.namespace,
            type=item.type,
            id=item.id if len(item.id) <= _LONGEST_ID else "",
        )
        async with self._numbering:
            number, self._next = self._next, self._next + 1
            await self._add(ctx, number, spec)
            if self._file is not None:
                self._unwritten.append((number, spec))
                del self._unwritten[: -self._capacity]
                self._has_unwritten.set()

    async def _add(self, ctx: QueueContext, number: int, spec: EventSpec) -> None:
        await ctx.put(Event, event_id(number), spec)
        self._numbers.append(number)
        if len(self._numbers) > self._capacity:
            await ctx.destroy(Event, event_id(self._numbers.popleft()))

    async def _load(self, ctx: QueueContext) -> None:
        """Read the file, once; what it has comes before anything new."""
        async with self._loading:
            if self._is_loaded:
                return
            self._is_loaded = True
            if self._file is None:
                return
            try:
                loaded = await self._read(ctx, self._file)
            except OSError as error:
                # Events of now are shown anyway, and those of the file come before them when it can be read.
                ctx.log.warning("the events of earlier agents cannot be read yet", reason=str(error))
                return
            for number, spec in loaded.events:
                self._next = number + 1
                self._earlier[Pointer(spec.namespace, spec.type, spec.id), spec.kind] = spec
                await self._add(ctx, number, spec)

    async def _read(self, ctx: QueueContext, file: RingFile) -> Loaded:
        """Read the file. Raises OSError."""
        loaded = await self._blocking(file.load)
        if loaded.lost:
            ctx.log.warning(
                "damaged lines of the file of events are lost: they cannot be set aside",
                lines=loaded.damaged,
                reason=loaded.lost,
            )
        elif loaded.damaged:
            ctx.log.warning(
                "damaged lines of the file of events were set aside", lines=loaded.damaged, file=str(file.aside)
            )
        return loaded

    async def _read_late(self, ctx: QueueContext, file: RingFile) -> None:
        """Read a file that could not be read before: the events of now get numbers after its own. Raises OSError."""
        async with self._numbering:
            if file.is_known:
                return
            loaded = await self._read(ctx, file)
            if not loaded.events:
                return
            shift = loaded.events[-1][0]
            shown = [(number, ctx.find(Event, event_id(number))) for number in self._numbers]
            for number in self._numbers:
                await ctx.destroy(Event, event_id(number))
            self._numbers.clear()
            self._next += shift
            self._unwritten = [(number + shift, spec) for number, spec in self._unwritten]
            for number, spec in loaded.events:
                await self._add(ctx, number, spec)
            for number, event in shown:
                assert event is not None  # the type is this controller's alone
                await self._add(ctx, number + shift, event.spec)

    # Beside the changes.

    async def run(self, ctx: QueueContext) -> None:
        """Look once for what ended while no agent ran, and write the file for as long as the controller runs."""
        await self._load(ctx)
        async with trio.open_nursery() as nursery:
            if self._settled is not None:
                nursery.start_soon(self._note_ended, ctx, self._settled)
            if self._file is not None:
                nursery.start_soon(self._write_file, ctx, self._file)

    async def shutdown(self, ctx: QueueContext) -> None:
        """Write the last events."""
        if self._file is not None:
            await self._write(ctx, self._file)

    async def _note_ended(self, ctx: QueueContext, settled: Callable[[float], Awaitable[bool]]) -> None:
        if not await settled(_FIRST_LOOK):
            return
        for (item, kind), last in tuple(self._earlier.items()):
            for rule in self._rules.get(item.kind, ()):
                happening = rule.ended(last) if ctx.find(item.kind, item.id) is None else None
                if happening is not None and self._earlier.pop((item, kind), None) is not None:
                    await self._record(ctx, item, happening, bounded(happening.text))

    async def _write_file(self, ctx: QueueContext, file: RingFile) -> None:
        is_written = True
        while True:
            await self._has_unwritten.wait()
            await trio.sleep(_GATHER if is_written else _RETRY)
            is_written = await self._write(ctx, file, is_loud=is_written)

    async def _write(self, ctx: QueueContext, file: RingFile, *, is_loud: bool = True) -> bool:
        """Write what is not written yet; a failure is logged, and leaves it for the next time."""
        try:
            if not file.is_known and self._unwritten:
                await self._read_late(ctx, file)
            batch = tuple(self._unwritten)
            await self._blocking(file.append, batch)
        except OSError as error:
            if is_loud:
                ctx.log.warning(
                    "events cannot be written, and those of now will be missing after a restart", reason=str(error)
                )
            return False
        written = {number for number, _ in batch}
        self._unwritten = [each for each in self._unwritten if each[0] not in written]
        if not self._unwritten:
            self._has_unwritten = trio.Event()
        return True


def controllers(settings: "Settings") -> Iterable[EventController]:
    """What the entry point stands for."""
    rules = load_rules(structlog.get_logger())
    version = "" if settings.agent is None else settings.agent.version
    yield EventController([agent_rule(version), *rules], path=settings.state_dir / FILE, settled=settings.settled)

"""config.FileController: keeps the machine configuration of the state equal to the files, as long as they are right.

It alone also changes them: what `nodespan apply` asks for is done in its turns, one after the other.
"""

import datetime
import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from nodespan.controllers.common.boot_clock import BootClock, SystemBootClock
from nodespan.controllers.config import trial as trials
from nodespan.controllers.config.apply import apply_actions
from nodespan.controllers.config.digest import file_digest, text_digest
from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.in_effect import InEffect
from nodespan.controllers.config.loading import Loaded, load_sources, read_sources
from nodespan.controllers.config.problem import Problem
from nodespan.controllers.config.sources import SourceText, bundle, expand
from nodespan.controllers.config.trial import Trial
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.runtime.actions import Action, ActionError
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive
from nodespan.runtime.plugins import AnyController, at_once
from nodespan.runtime.whole_file import remove_file, replace_file

APPLIED_FILE: Final = "config.yaml"
TRIAL_FILE: Final = "config.trial"
IN_EFFECT_FILE: Final = "config.in-effect"
_POLL_INTERVAL = 1.0
# In seconds: how long what applies a configuration may take until the next one comes, or the last one is forgotten.
_INHERITING, _FORGETTING = 5.0, 60.0
_SHORT_DIGEST = 12
_ON_TRIAL = "on trial"
# The one in effect, the one on trial, and the one in between.
_KNOWN_CONFIGS = 3

# What changes when files come, go, are written or replaced; None for one that is not there.
_Signature = tuple[tuple[str, tuple[int, ...] | None], ...]


@attrs.define(eq=False)
class _Request:
    """Something to be done in a turn, and what came of it."""

    do: Callable[[ControllerContext], Awaitable[str]]
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: str = ""
    refusal: str = ""


class FileController(Controller):
    """Reads the files at start and whenever they change, within a second.

    `files` are those that the agent was given, or directories; without any it is the one that configurations are
    applied to, below `state_dir`, and is waited for if it is not there. Files with mistakes, or none, leave the
    configuration as it is: it says so, and keeps the last good one. While a configuration is on trial, that is in
    effect instead. When the node leaves, the configuration is taken away, and with it everything that was done for it.

    What an agent that was killed had put into effect comes first, so that it can be taken back in good order; that and
    what follows on it is marked as taking over until everybody knows what is wanted in the end. `new_controllers` makes
    the controllers of an agent once more, for dry runs; `settled` waits until none of those at work has anything to do.
    """

    name = "config.FileController"
    inputs = (destroy_ready(MachineConfig),)
    outputs = (exclusive(MachineConfig), exclusive(ConfigStatus))

    def __init__(
        self,
        *files: Path,
        state_dir: Path,
        leaving: trio.Event | None = None,
        clock: BootClock | None = None,
        poll_interval: float = _POLL_INTERVAL,
        new_controllers: Callable[[], Iterable[AnyController]] = tuple,
        settled: Callable[[float], Awaitable[bool]] = at_once,
    ) -> None:
        self._applied = state_dir / APPLIED_FILE
        self._files = files or (self._applied,)
        self._waits = not files
        self._trial_file = state_dir / TRIAL_FILE
        self._leaving = trio.Event() if leaving is None else leaving
        self._clock: BootClock = SystemBootClock() if clock is None else clock
        self._poll_interval = poll_interval
        self._new_controllers = new_controllers
        self._settled = settled
        self._known: dict[str, MachineConfigSpec] = {}
        self._in_effect = InEffect(state_dir / IN_EFFECT_FILE, self._clock)
        # What an agent before this one has put into effect, and is to be taken back in good order.
        self._inheritance: list[str] = []
        self._has_inherited = self._has_published = self._is_taking_over = False
        # The texts, none or one, that nothing is left to be done for.
        self._settled_texts: tuple[str | None, ...] = ()
        self._waits_to_settle = False
        self._signature: _Signature = ()
        self._trial: Trial | None = None
        self._trial_until: datetime.datetime | None = None
        self._requests: list[_Request] = []
        self._wake: Callable[[], None] = lambda: None
        self._has_begun = False
        # What has been said already, for a restart of the controller is no reason to say it again.
        self._said: tuple[object, ...] = ()

    @property
    def actions(self) -> Mapping[str, Action]:
        """What `nodespan apply` asks for."""
        return apply_actions(self, self._new_controllers)

    # What clients ask for; each is done in a turn, and is in effect when it returns. Raises ActionError.

    async def apply(self, loaded: Loaded) -> str:
        """Make this configuration, which has no errors, the one that stays. Returns the file that holds it now."""
        self._remember(loaded)
        return await self._request(functools.partial(self._apply, loaded))

    async def try_out(self, loaded: Loaded, seconds: float) -> str:
        """Make this configuration, which has no errors, the one in effect for so many seconds, or until confirmed."""
        self._remember(loaded)
        return await self._request(functools.partial(self._try_out, loaded, seconds))

    async def confirm(self) -> str:
        """Make the configuration on trial the one that stays. Returns the file that holds it now."""
        return await self._request(self._confirm)

    async def cancel(self) -> str:
        """Go back to the configuration before the trial."""
        return await self._request(self._cancel)

    async def _request(self, do: Callable[[ControllerContext], Awaitable[str]]) -> str:
        request = _Request(do)
        self._requests.append(request)
        self._wake()
        await request.done.wait()
        if request.refusal:
            raise ActionError(request.refusal)
        return request.answer

    # The turns.

    async def run(self, ctx: ControllerContext) -> None:
        self._wake = ctx.wake
        self._waits_to_settle = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, ctx)
            nursery.start_soon(self._wait_to_leave, ctx)
            async for _ in ctx:
                await self._begin(ctx)
                if self._waits_to_settle or await self._inherit(ctx, nursery):
                    continue
                for text in self._settled_texts:
                    await self._note(ctx, self._in_effect.settle, text)
                self._settled_texts = ()
                requests, self._requests = self._requests, []
                try:
                    for request in requests:
                        await self._answer(ctx, request)
                    await self._follow(ctx)
                except BaseException:
                    for request in requests:
                        request.refusal = request.refusal or "the agent failed to do it, its log tells why"
                    raise
                finally:
                    for request in requests:
                        request.done.set()
                if self._is_taking_over:
                    nursery.start_soon(self._have_taken_over, ctx)
                if len(self._in_effect.texts) > 1:
                    nursery.start_soon(self._forget_others, ctx, self._in_effect.texts[-1])

    async def _begin(self, ctx: ControllerContext) -> None:
        """At the start of the process, take up the trial that one before it has begun."""
        if self._has_begun:
            return
        self._has_begun = True
        if not self._waits and self._applied.exists():
            ctx.log.info("what was applied earlier is not used, for the agent has --config", file=str(self._applied))
        try:
            self._take(await trio.to_thread.run_sync(trials.load_trial, self._trial_file))
        except (ValueError, OSError) as error:
            ctx.log.warning("a configuration was on trial, which cannot be continued", error=str(error))
            await trio.to_thread.run_sync(remove_file, self._trial_file)
        if self._trial is not None:
            left = round(self._trial.remaining(self._clock))
            ctx.log.warning("a configuration is on trial", seconds_left=left)
        try:
            await trio.to_thread.run_sync(self._in_effect.load)
        except (ValueError, OSError) as error:
            ctx.log.warning("what was in effect before is not known", error=str(error))
        self._inheritance = [text for text in self._in_effect.texts if text is not None]

    async def _inherit(self, ctx: ControllerContext, nursery: trio.Nursery) -> bool:
        """Whether there is something to take over first; the turn after it has settled goes on."""
        if not self._inheritance:
            return False
        present = await self._present_text()
        while self._inheritance:
            text = self._inheritance.pop(0)
            if text == present:
                continue
            loaded = await self._load([SourceText(name="before", text=text)])
            if not loaded.errors:
                ctx.log.info("taking over what an agent before this one has put into effect")
                self._is_taking_over = True
                # First, so that nobody takes it for what is wanted.
                await ctx.put(ConfigStatus, CONFIG_STATUS_ID, ConfigStatusSpec(taking_over=True))
                await ctx.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)
                self._has_inherited = self._waits_to_settle = True
                nursery.start_soon(self._go_on, ctx)
                return True
        return False

    async def _go_on(self, ctx: ControllerContext) -> None:
        await self._settled(_INHERITING)
        self._waits_to_settle = False
        ctx.wake()

    async def _have_taken_over(self, ctx: ControllerContext) -> None:
        """Give a turn in which everybody knows what is wanted."""
        await self._settled(_INHERITING)
        self._is_taking_over = False
        ctx.wake()

    async def _forget_others(self, ctx: ControllerContext, text: str | None) -> None:
        """Give a turn in which only this text has traces."""
        if await self._settled(_FORGETTING):
            self._settled_texts = (text,)
            ctx.wake()

    async def _note(self, ctx: ControllerContext, note: Callable[[str | None], None], text: str | None) -> None:
        try:
            await trio.to_thread.run_sync(note, text)
        except OSError as error:
            ctx.log.warning("what is in effect cannot be remembered for an agent after this one", error=str(error))

    async def _answer(self, ctx: ControllerContext, request: _Request) -> None:
        if self._leaving.is_set():
            request.refusal = "the agent is about to stop"
            return
        try:
            request.answer = await request.do(ctx)
        except ActionError as error:
            request.refusal = str(error)
        except OSError as error:
            request.refusal = f"{error.filename or 'a file'} cannot be written: {error.strerror or error}"

    async def _follow(self, ctx: ControllerContext) -> None:
        """Put into effect what is to be in effect."""
        if self._leaving.is_set():
            await ctx.remove(MachineConfig, MACHINE_CONFIG_ID)
            await ctx.remove(ConfigStatus, CONFIG_STATUS_ID)
            await trio.to_thread.run_sync(self._in_effect.forget)
            return
        if self._trial is not None and self._trial.remaining(self._clock) == 0:
            ctx.log.warning("nobody confirmed the configuration on trial: going back to the one before it")
            await self._end_trial(ctx)
        if self._trial is not None:
            loaded = await self._load([SourceText(name=_ON_TRIAL, text=self._trial.text)])
            if not loaded.errors:
                await self._publish(ctx, loaded)
                return
            # It was checked before, but maybe by another version of the agent.
            self._report(ctx, loaded)
            await self._end_trial(ctx)
        self._signature = _signature(self._files)
        is_inherited = self._has_inherited and not self._has_published
        has_config = ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
        if self._waits and not self._applied.exists() and (is_inherited or not has_config):
            await self._withdraw(ctx)
            await self._show_status(ctx, (), "")
            return
        loaded = await self._read()
        self._report(ctx, loaded)
        if loaded.errors:
            await self._show_status(ctx, None, str(loaded.errors[0]))
        else:
            await self._publish(ctx, loaded)

    async def _read(self) -> Loaded:
        sources, problems = await self._read_files()
        return await self._load(sources, problems)

    async def _read_files(self) -> tuple[list[SourceText], list[Problem]]:
        return await trio.to_thread.run_sync(functools.partial(read_sources, *self._files), abandon_on_cancel=True)

    async def _load(self, sources: Sequence[SourceText], problems: Sequence[Problem] = ()) -> Loaded:
        """What texts say. A configuration that was in effect not long ago is not worked out once more."""
        known = None if problems else self._known.get(bundle(sources))
        if known is not None:
            return Loaded(config=known, texts={source.name: source.text for source in sources})
        loaded = await trio.to_thread.run_sync(load_sources, sources, problems, abandon_on_cancel=True)
        self._remember(loaded)
        return loaded

    def _remember(self, loaded: Loaded) -> None:
        if not loaded.errors:
            self._known[loaded.config.text] = loaded.config
            while len(self._known) > _KNOWN_CONFIGS:
                del self._known[next(iter(self._known))]

    async def _present_text(self) -> str | None:
        """The text that is to be in effect, None for no configuration."""
        if self._trial is not None and self._trial.remaining(self._clock):
            return self._trial.text
        sources, problems = await self._read_files()
        return None if problems else bundle(sources)

    async def _withdraw(self, ctx: ControllerContext) -> None:
        """Have no configuration in effect."""
        if ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None:
            await self._note(ctx, self._in_effect.begin, None)
            await ctx.teardown_and_destroy(MachineConfig, MACHINE_CONFIG_ID)

    async def _publish(self, ctx: ControllerContext, loaded: Loaded) -> None:
        await self._note(ctx, self._in_effect.begin, loaded.config.text)
        self._has_published = True
        await ctx.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)
        await self._show_status(ctx, tuple(loaded.texts), "")

    async def _show_status(self, ctx: ControllerContext, files: tuple[str, ...] | None, error: str) -> None:
        """Say what is in effect; `files` None is for those that were in effect before."""
        found, before = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(ConfigStatus, CONFIG_STATUS_ID)
        known = before.spec if before else ConfigStatusSpec()
        digest = text_digest(found.spec.text.encode())[:_SHORT_DIGEST] if found else ""
        is_same = digest == known.digest and known.since is not None
        status = ConfigStatusSpec(
            files=known.files if files is None else files,
            digest=digest,
            since=None if found is None else known.since if is_same else _now().replace(microsecond=0),
            trial_until=self._trial_until,
            error=error,
            taking_over=self._is_taking_over,
        )
        await ctx.put(ConfigStatus, CONFIG_STATUS_ID, status)

    # What is done on request.

    async def _apply(self, loaded: Loaded, _ctx: ControllerContext) -> str:
        self._refuse_while_on_trial()
        target = self._target()
        await trio.to_thread.run_sync(replace_file, target, loaded.config.text)
        return str(target)

    async def _try_out(self, loaded: Loaded, seconds: float, ctx: ControllerContext) -> str:
        self._refuse_while_on_trial()
        target = self._target()
        found = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        trial = Trial.start(
            self._clock,
            seconds=seconds,
            text=loaded.config.text,
            previous=None if found is None else found.spec.text,
            base=await trio.to_thread.run_sync(file_digest, target),
        )
        await trio.to_thread.run_sync(replace_file, self._trial_file, trials.dump_trial(trial))
        self._take(trial)
        return str(target)

    async def _confirm(self, ctx: ControllerContext) -> str:
        trial, target = self._require_trial(), self._target()
        if await trio.to_thread.run_sync(file_digest, target) != trial.base:
            raise ActionError(
                f"{target} was changed since the trial began, and would be overwritten: "
                "go back with `nodespan apply --cancel`, and apply a configuration that has both changes"
            )
        # A kill between the two leaves a trial that goes back to what it was itself.
        await trio.to_thread.run_sync(replace_file, target, trial.text)
        await trio.to_thread.run_sync(remove_file, self._trial_file)
        self._take(None)
        ctx.log.info("the configuration on trial was confirmed", file=str(target))
        return str(target)

    async def _cancel(self, ctx: ControllerContext) -> str:
        self._require_trial()
        ctx.log.info("the configuration on trial was cancelled: going back to the one before it")
        await self._end_trial(ctx)
        return ""

    async def _end_trial(self, ctx: ControllerContext) -> None:
        """Go back: to what the files say now, or else to what was in effect before the trial."""
        trial = self._trial
        assert trial is not None
        loaded = await self._read()
        if loaded.errors and trial.previous is not None:
            loaded = await self._load([SourceText(name="before the trial", text=trial.previous)])
        if loaded.errors:
            await self._withdraw(ctx)
        else:
            await self._publish(ctx, loaded)
        # Last, so that a kill in between is made up for by whoever starts next.
        await trio.to_thread.run_sync(remove_file, self._trial_file)
        self._take(None)

    def _take(self, trial: Trial | None) -> None:
        self._trial = trial
        left = None if trial is None else datetime.timedelta(seconds=trial.remaining(self._clock))
        self._trial_until = None if left is None else (_now() + left).replace(microsecond=0)

    def _refuse_while_on_trial(self) -> None:
        trial = self._trial
        if trial is not None and (left := trial.remaining(self._clock)):
            raise ActionError(
                f"a configuration is on trial, for another {left:.0f} s: first keep it with "
                "`nodespan apply --confirm`, or go back with `nodespan apply --cancel`"
            )

    def _require_trial(self) -> Trial:
        if self._trial is None or self._trial.remaining(self._clock) == 0:
            raise ActionError("no configuration is on trial: its time is over, or there was none")
        return self._trial

    def _target(self) -> Path:
        """The one file that is replaced. Raises ActionError if there is none."""
        target = self._files[0]
        if len(self._files) == 1 and not target.is_dir() and (target.is_file() or not target.exists()):
            return target
        named = ", ".join(map(str, self._files))
        raise ActionError(
            f"the agent was started with --config {named}, which is not one file that could be replaced: "
            "change what is there, and it takes effect by itself; or start the agent without --config"
        )

    # What asks for turns.

    async def _wait_to_leave(self, ctx: ControllerContext) -> None:
        await self._leaving.wait()
        ctx.wake()

    async def _watch(self, ctx: ControllerContext) -> None:
        """Asks for a turn when the files are others than those last read, or the time of a trial is over."""
        while True:
            left = None if self._trial is None else self._trial.remaining(self._clock)
            await trio.sleep(min(self._poll_interval, left or self._poll_interval))
            if self._trial is not None:
                is_due = self._trial.remaining(self._clock) == 0
            else:
                is_due = _signature(self._files) != self._signature
            if is_due:
                ctx.wake()

    def _report(self, ctx: ControllerContext, loaded: Loaded) -> None:
        said = (loaded.problems, loaded.ignored)
        if said == self._said:
            return
        self._said = said
        for problem in loaded.problems:
            tell = ctx.log.error if problem.severity is Severity.ERROR else ctx.log.warning
            tell(loaded.render(problem))
        if loaded.errors:
            has_config = ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
            kept = "the last good one stays in effect" if has_config else "none is in effect"
            files = [str(file) for file in self._files]
            ctx.log.error(f"the configuration is not used: {kept}", files=files, errors=len(loaded.errors))
        elif loaded.ignored:
            parts = [str(ignored) for ignored in loaded.ignored]
            ctx.log.info("these parts of the configuration are not managed by nodespan and are ignored", parts=parts)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _signature(paths: tuple[Path, ...]) -> _Signature:
    return tuple((str(file), _state_of(file)) for path in paths for file in _files_of(path))


def _files_of(path: Path) -> tuple[Path, ...]:
    try:
        return expand(path) or (path,)
    except OSError:
        return (path,)


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

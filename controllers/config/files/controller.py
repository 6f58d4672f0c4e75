"""config.FileController: keeps the machine configuration in the state equal to the files, as long as they are valid.

It alone also changes the files: `nodespan apply` submits requests, which are done in the controller's turns. The parts:

    watched      which files, and whether they changed        requests     what clients asked for
    reader       files and texts to configurations            publication  MachineConfig and ConfigStatus
    trial_period the trial that is going on                   takeover     after an agent that was killed
"""

import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import trio

from nodespan.controllers.common.boot_clock import BootClock, SystemBootClock
from nodespan.controllers.common.prior_state import FILE_NAME
from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.controllers.config.action_names import APPLY, CANCEL, CONFIRM, DRY_RUN
from nodespan.controllers.config.digest import file_digest
from nodespan.controllers.config.files.in_effect import InEffect
from nodespan.controllers.config.files.publication import Publication
from nodespan.controllers.config.files.reader import ConfigReader
from nodespan.controllers.config.files.requests import Requests
from nodespan.controllers.config.files.staged import Staged
from nodespan.controllers.config.files.takeover import Takeover
from nodespan.controllers.config.files.trial_period import TrialPeriod
from nodespan.controllers.config.files.watched import APPLIED_FILE, WatchedFiles
from nodespan.controllers.config.loaded import Loaded
from nodespan.controllers.config.sources import SourceText
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.status import ConfigStatus
from nodespan.runtime.actions import Action, ActionCall, ActionError
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive
from nodespan.runtime.loading import load
from nodespan.runtime.plugins import AnyController, at_once
from nodespan.runtime.state.opening import Mount
from nodespan.runtime.ticks import tick
from nodespan.runtime.whole_file import replace_file

TRIAL_FILE: Final = "config.trial"
IN_EFFECT_FILE: Final = "config.in-effect"
STAGED_FILE: Final = "config.staged"
_POLL_INTERVAL = 1.0


class FileController(Controller):
    """Reads the files at start and whenever they change, within a second.

    `files` are those that the agent was given, or directories; without any it is the one that configurations are
    applied to, below `state_dir`, which may be missing until then. Files with errors, or missing ones, leave the last
    good configuration in effect. While a configuration is on trial, that one is in effect instead. When the node
    leaves, the configuration is removed, and with it everything that was done for it.

    `new_controllers` creates the controllers of an agent again, for dry runs; `settled` waits until no controller has
    work left. `mounts` are the states that the agent was started with.
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
        wall: Callable[[], float] = time.time,
        poll_interval: float = _POLL_INTERVAL,
        new_controllers: Callable[[], Iterable[AnyController]] = tuple,
        settled: Callable[[float], Awaitable[bool]] = at_once,
        mounts: Sequence[Mount] = (),
    ) -> None:
        clock = SystemBootClock() if clock is None else clock
        self._leaving = trio.Event() if leaving is None else leaving
        self._poll_interval = poll_interval
        self._new_controllers = new_controllers
        self._prior = state_dir / FILE_NAME
        self._files = WatchedFiles(files, state_dir / APPLIED_FILE)
        self._reader = ConfigReader(self._files.paths)
        wall_offset = WallOffset(clock.now, wall)
        self._trial = TrialPeriod(state_dir / TRIAL_FILE, clock, wall_offset)
        self._takeover = Takeover(InEffect(state_dir / IN_EFFECT_FILE, clock), settled)
        self._publication = Publication(self._trial, self._takeover, wall_offset, mounts)
        self._staged = Staged(state_dir / STAGED_FILE, clock)
        self._requests = Requests()
        self._has_begun = False

    @property
    def actions(self) -> Mapping[str, Action]:
        """What `nodespan apply` calls."""
        return {name: functools.partial(self._act, name) for name in (APPLY, DRY_RUN, CONFIRM, CANCEL)}

    async def _act(self, name: str, call: ActionCall) -> AsyncGenerator[Mapping[str, Any], None]:
        # Only an agent that is asked to apply loads what answers.
        await load("nodespan.controllers.config.apply")
        from nodespan.controllers.config.apply import apply_actions

        async with aclosing(apply_actions(self, self._new_controllers, self._prior)[name](call)) as answers:
            async for answer in answers:
                yield answer

    # Requests of clients. Each is done in a turn, and in effect when it returns. Raises ActionError.

    async def apply(self, loaded: Loaded) -> str:
        """Make this configuration, which has no errors, permanent. Returns the file that holds it."""
        self._reader.keep(loaded)
        return await self._requests.submit(functools.partial(self._apply, loaded))

    async def try_out(self, loaded: Loaded, seconds: float) -> str:
        """Put this configuration, which has no errors, into effect for so many seconds, or until confirmed."""
        self._reader.keep(loaded)
        return await self._requests.submit(functools.partial(self._try_out, loaded, seconds))

    async def stage(self, loaded: Loaded) -> str:
        """Put this configuration, which has no errors, into effect after the next reboot. Returns its file then."""
        return await self._requests.submit(functools.partial(self._stage, loaded))

    async def confirm(self) -> str:
        """Make the configuration on trial permanent. Returns the file that holds it."""
        return await self._requests.submit(self._confirm)

    async def cancel(self) -> str:
        """Go back to the configuration before the trial."""
        return await self._requests.submit(self._cancel)

    # Turns.

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the files, requests, the deadline of a trial, and the end of the agent."""
        self._requests.serve(ctx.wake)
        self._takeover.restart()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, ctx)
            nursery.start_soon(self._wait_to_leave, ctx)
            async for _ in ctx:
                if not self._has_begun:
                    self._has_begun = True
                    await self._resume(ctx)
                if self._takeover.is_waiting:
                    continue
                if await self._inherit(ctx):
                    nursery.start_soon(self._takeover.wait_for_next, ctx.wake)
                    continue
                await self._takeover.note_settled(ctx.log)
                with self._requests.turn() as requests:
                    for request in requests:
                        if self._leaving.is_set():
                            request.refusal = "the agent is about to stop"
                        else:
                            await request.do(ctx)
                    await self._follow(ctx)
                if self._takeover.is_active:
                    nursery.start_soon(self._takeover.wait_for_end, ctx.wake)
                if len(self._takeover.leftovers) > 1:
                    nursery.start_soon(self._takeover.wait_to_forget, self._takeover.leftovers[-1], ctx.wake)

    async def _resume(self, ctx: ControllerContext) -> None:
        """At the start of the process, resume what an earlier one has begun."""
        if unused := self._files.unused():
            ctx.log.info(
                "the configuration applied earlier is not used: the agent was started with --config", file=str(unused)
            )
        await self._unstage(ctx)
        try:
            await self._trial.load()
        except (ValueError, OSError) as error:
            ctx.log.warning("a configuration was on trial, which cannot be continued", error=str(error))
        if self._trial.current is not None:
            ctx.log.warning("a configuration is on trial", seconds_left=round(self._trial.remaining))
        await self._takeover.load(ctx.log)

    async def _unstage(self, ctx: ControllerContext) -> None:
        """After a reboot, put what was staged in place."""
        try:
            text = await self._staged.take()
            if text is not None:
                target = self._files.target()
                await trio.to_thread.run_sync(replace_file, target, text)
                await self._staged.clear()
                ctx.log.info("the configuration that was staged for this boot is in place", file=str(target))
        except (ValueError, OSError, ActionError) as error:
            ctx.log.warning("a configuration was staged, which cannot be used", error=str(error))

    async def _inherit(self, ctx: ControllerContext) -> bool:
        """Publish the next configuration of an earlier agent, if any is left; returns whether it did."""
        if not self._takeover.has_earlier:
            return False
        trial = self._trial.current
        present = trial.text if trial is not None and self._trial.remaining else await self._reader.read_text()
        while self._takeover.has_earlier:
            text = self._takeover.pop_earlier()
            if text == present:
                continue
            loaded = await self._reader.load([SourceText(name="before", text=text)])
            if not loaded.errors:
                ctx.log.info("taking over the configuration that an earlier agent has put into effect")
                self._takeover.begin()
                await self._publication.publish_inherited(ctx, loaded)
                return True
        return False

    async def _follow(self, ctx: ControllerContext) -> None:
        """Put into effect what is to be in effect: nothing when leaving, else the trial, else the files."""
        if self._leaving.is_set():
            await self._publication.leave(ctx)
            return
        if self._trial.is_over:
            ctx.log.warning("the configuration on trial was not confirmed: going back to the one before it")
            await self._go_back(ctx)
        if self._trial.current is not None:
            loaded = await self._reader.load([SourceText(name="on trial", text=self._trial.current.text)])
            if not loaded.errors:
                await self._publication.publish(ctx, loaded)
                return
            # It was checked before, but maybe by another version of the agent.
            self._publication.log_problems(ctx, loaded, self._files.paths)
            await self._go_back(ctx)
        self._files.mark_read()
        has_config = ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
        if self._files.is_awaited() and (self._takeover.is_only_inherited or not has_config):
            await self._publication.withdraw(ctx)
            await self._publication.show_status(ctx, ())
            return
        loaded = await self._reader.read()
        self._publication.log_problems(ctx, loaded, self._files.paths)
        if loaded.errors:
            await self._publication.show_status(ctx, None, str(loaded.errors[0]))
        else:
            await self._publication.publish(ctx, loaded)
            self._publication.log_recovery(ctx, self._files.paths)

    async def _go_back(self, ctx: ControllerContext) -> None:
        """End the trial: back to the files as they are now, or else to what was in effect before the trial."""
        trial = self._trial.current
        assert trial is not None
        loaded = await self._reader.read()
        if loaded.errors and trial.previous is not None:
            loaded = await self._reader.load([SourceText(name="before the trial", text=trial.previous)])
        if loaded.errors:
            await self._publication.withdraw(ctx)
        else:
            await self._publication.publish(ctx, loaded)
        # Last: an agent killed before this goes back when it starts again.
        await self._trial.end()

    # Requests, in their turns.

    async def _apply(self, loaded: Loaded, _ctx: ControllerContext) -> str:
        self._trial.refuse_if_running()
        target = self._files.target()
        await trio.to_thread.run_sync(replace_file, target, loaded.config.text)
        await self._staged.clear()
        return str(target)

    async def _stage(self, loaded: Loaded, _ctx: ControllerContext) -> str:
        self._trial.refuse_if_running()
        target = self._files.target()
        await self._staged.put(loaded.config.text)
        return str(target)

    async def _try_out(self, loaded: Loaded, seconds: float, ctx: ControllerContext) -> str:
        self._trial.refuse_if_running()
        target = self._files.target()
        found = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        await self._trial.start(
            seconds=seconds,
            text=loaded.config.text,
            previous=None if found is None else found.spec.text,
            base=await trio.to_thread.run_sync(file_digest, target),
        )
        return str(target)

    async def _confirm(self, ctx: ControllerContext) -> str:
        trial, target = self._trial.require(), self._files.target()
        if await trio.to_thread.run_sync(file_digest, target) != trial.base:
            raise ActionError(
                f"{target} was changed since the trial began, and would be overwritten: "
                "go back with `nodespan apply --cancel`, and apply a configuration that has both changes"
            )
        # An agent killed between the two goes back, at the deadline, to the same configuration.
        await trio.to_thread.run_sync(replace_file, target, trial.text)
        await self._staged.clear()
        await self._trial.end()
        ctx.log.info("the configuration on trial was confirmed", file=str(target))
        return str(target)

    async def _cancel(self, ctx: ControllerContext) -> str:
        self._trial.require()
        ctx.log.info("the configuration on trial was cancelled: going back to the one before it")
        await self._go_back(ctx)
        return ""

    # What asks for turns.

    async def _wait_to_leave(self, ctx: ControllerContext) -> None:
        await self._leaving.wait()
        ctx.wake()

    async def _watch(self, ctx: ControllerContext) -> None:
        while True:
            await tick(min(self._poll_interval, self._trial.remaining or self._poll_interval))
            is_due = self._trial.is_over if self._trial.current is not None else self._files.have_changed()
            if is_due or self._publication.has_clock_stepped:
                ctx.wake()

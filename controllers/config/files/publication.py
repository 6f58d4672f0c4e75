"""Writes the configuration in effect and its status to the state."""

from collections.abc import Sequence

from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.controllers.config.digest import text_digest
from nodespan.controllers.config.files.mounts import mounts_of
from nodespan.controllers.config.files.takeover import Takeover
from nodespan.controllers.config.files.trial_period import TrialPeriod
from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.loaded import Loaded
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus, ConfigStatusSpec
from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.state.opening import Mount

_SHORT_DIGEST = 12

# Clients of the original that edit a configuration look for it: the YAML form of the resource is the text as a text.
_AS_TEXT = {"talos.dev/yaml-spec": "true"}


class Publication:
    """What a text is published as depends on the trial and the takeover; both are only read here."""

    def __init__(
        self, trial: TrialPeriod, takeover: Takeover, wall_offset: WallOffset, mounts: Sequence[Mount]
    ) -> None:
        self._trial = trial
        self._takeover = takeover
        self._wall_offset = wall_offset
        self._mounts = tuple(mounts)
        self._asked_mounts = self._mounts
        # When what is in effect took effect, by the boot clock; None if that was shown by an earlier process.
        self._since: float | None = None
        self._shown_offset = wall_offset.read()
        # Logged already: a restart of the controller is no reason to log it again.
        self._logged: tuple[object, ...] = ()
        # Logged that the files are not used, and not yet that they are again.
        self._is_refused = False

    async def publish(self, ctx: ControllerContext, loaded: Loaded) -> None:
        """Put a configuration without errors into effect."""
        await self._takeover.note_publishing(loaded.config.text, ctx.log)
        self._compare_mounts(ctx, loaded)
        await ctx.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config, annotations=_AS_TEXT)
        await self.show_status(ctx, tuple(loaded.texts))

    def _compare_mounts(self, ctx: ControllerContext, loaded: Loaded) -> None:
        """Log, once, that the states of the configuration are not those of this agent."""
        mounts = mounts_of(loaded.config.nodespan.states)
        if mounts not in (self._mounts, self._asked_mounts):
            ctx.log.warning("the states of namespaces changed: restart the agent, it keeps those it was started with")
        self._asked_mounts = mounts

    async def publish_inherited(self, ctx: ControllerContext, loaded: Loaded) -> None:
        """Put the configuration of an earlier agent into effect, which is about to be replaced."""
        # The status first, so that no controller takes the configuration for desired.
        await ctx.put(ConfigStatus, CONFIG_STATUS_ID, ConfigStatusSpec(taking_over=True))
        await ctx.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config, annotations=_AS_TEXT)

    async def withdraw(self, ctx: ControllerContext) -> None:
        """Have no configuration in effect."""
        if ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None:
            await self._takeover.note_publishing(None, ctx.log)
            await ctx.teardown_and_destroy(MachineConfig, MACHINE_CONFIG_ID)

    async def leave(self, ctx: ControllerContext) -> None:
        """The node leaves: remove the configuration, and with it everything that controllers did for it."""
        await ctx.remove(MachineConfig, MACHINE_CONFIG_ID)
        await ctx.remove(ConfigStatus, CONFIG_STATUS_ID)
        await self._takeover.forget()

    @property
    def has_clock_stepped(self) -> bool:
        """Whether the wall clock was set since the status was written, so that its times are wrong."""
        return self._wall_offset.read() != self._shown_offset

    async def show_status(self, ctx: ControllerContext, files: tuple[str, ...] | None, error: str = "") -> None:
        """Write the status; `files` None keeps those that it names already."""
        found, before = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(ConfigStatus, CONFIG_STATUS_ID)
        known = before.spec if before else ConfigStatusSpec()
        digest = text_digest(found.spec.text.encode())[:_SHORT_DIGEST] if found else ""
        is_same = digest == known.digest and known.since is not None
        if not is_same:
            self._since = self._wall_offset.now()
        since = known.since if self._since is None else self._wall_offset.time_of_day(self._since)
        self._shown_offset = self._wall_offset.read()
        status = ConfigStatusSpec(
            files=known.files if files is None else files,
            digest=digest,
            since=None if found is None else since,
            trial_until=self._trial.until,
            error=error,
            taking_over=self._takeover.is_active,
        )
        await ctx.put(ConfigStatus, CONFIG_STATUS_ID, status)

    def log_problems(self, ctx: ControllerContext, loaded: Loaded, paths: tuple[object, ...]) -> None:
        """Log the problems of what was read, once."""
        if (loaded.problems, loaded.ignored) == self._logged:
            return
        self._logged = (loaded.problems, loaded.ignored)
        for problem in loaded.problems:
            write = ctx.log.error if problem.severity is Severity.ERROR else ctx.log.warning
            write(loaded.render(problem))
        if loaded.errors:
            self._is_refused = True
            has_config = ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
            kept = "the last good one stays in effect" if has_config else "none is in effect"
            files = [str(path) for path in paths]
            ctx.log.error(f"the configuration is not used: {kept}", files=files, errors=len(loaded.errors))
        elif loaded.ignored:
            parts = [str(ignored) for ignored in loaded.ignored]
            ctx.log.info("these parts of the configuration are not managed by nodespan and are ignored", parts=parts)

    def log_recovery(self, ctx: ControllerContext, paths: tuple[object, ...]) -> None:
        """Log, once, that files which had errors are in effect now: the log must not end with the errors."""
        if self._is_refused:
            self._is_refused = False
            ctx.log.info(
                "the configuration has no errors any more, and is in effect", files=[str(path) for path in paths]
            )
